"""streaQ.

- uvloop, a tenth quicker here: anyio_kwargs of https://streaq.readthedocs.io/en/latest/worker.html
- ttl=0 where results are off, silent for no log line a job: https://streaq.readthedocs.io/en/latest/task.html
- sync_concurrency for plain functions, which run in threads
"""

from __future__ import annotations

from benchmarks.peers.spec import Command, Plan, Pool, System


def command(plan: Plan) -> Command:
    workers = str(plan.slots) if plan.pool == "process" else "1"
    at_once = "1" if plan.workload == "cpu" else str(plan.slots) if plan.pool == "thread" else str(max(100, plan.slots))
    return Command(
        ("streaq", "run", "benchmarks.peers.tasks.streaq:worker", "--workers", workers), {"BENCH_CONCURRENCY": at_once}
    )


SYSTEM = System(
    name="streaq",
    requirements=("streaq==7.2.0", "uvloop==0.23.0"),
    pools=(Pool("process"), Pool("thread"), Pool("asyncio")),
    command=command,
    sending="pickle, task.enqueue(), uvloop; bulk: enqueue_many(1,000 at a time)",
    about=__doc__ or "",
)
