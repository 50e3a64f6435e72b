"""ArdiQ.

- --workers for several processes, defaults else: https://ardiq.bytay.dev/guides/performance/
- result_ttl_ms=0 where results are off: https://ardiq.bytay.dev/reference/api/
- plain functions run in asyncio's default executor, whose size it has no setting for
"""

from __future__ import annotations

from benchmarks.peers.spec import Command, Plan, Pool, System


def command(plan: Plan) -> Command:
    workers = str(plan.slots) if plan.pool == "process" else "1"
    at_once = "1" if plan.workload == "cpu" else str(plan.slots) if plan.pool == "thread" else str(max(100, plan.slots))
    return Command(
        ("ardiq", "run", "benchmarks.peers.tasks.ardiq:app", "-q", "--workers", workers), {"BENCH_CONCURRENCY": at_once}
    )


SYSTEM = System(
    name="ardiq",
    requirements=("ardiq==1.2.0",),
    pools=(Pool("process"), Pool("thread"), Pool("asyncio")),
    command=command,
    sending="msgpack, task.enqueue(); bulk: enqueue_many(1,000 at a time)",
    about=__doc__ or "",
    python=(3, 12),
)
