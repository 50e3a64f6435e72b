"""RQ.

- the default worker forks for each job; SimpleWorker does not, and its notes on performance name when to take it:
  https://github.com/rq/rq/blob/master/docs/benchmark.md; both are here
- worker-pool for several processes: https://python-rq.org/docs/workers/#worker-pool
- result_ttl=0 where results are off: https://python-rq.org/docs/results/
- no pool within a process, so no 100 jobs at once: it is not measured with sleeping jobs
"""

from __future__ import annotations

from benchmarks.peers.spec import Command, Plan, Pool, System

SIMPLE = "SimpleWorker"


def command(plan: Plan) -> Command:
    kind = "rq.worker.SimpleWorker" if plan.variant == SIMPLE else "rq.worker.Worker"
    queues = plan.queues or ("bench",)
    return Command(("rq", "worker-pool", "-u", "%URL", "-n", str(plan.slots), "-w", kind, "-q", *queues))


SYSTEM = System(
    name="rq",
    requirements=("rq==2.12.0", "redis==8.1.0", "hiredis==3.5.0"),
    pools=(Pool("process", share=0.1), Pool("process", SIMPLE)),
    command=command,
    sending="pickle, Queue.enqueue(); bulk: enqueue_many(1,000 at a time)",
    about=__doc__ or "",
    serves_many=True,
)
