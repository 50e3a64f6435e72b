"""SAQ.

- ttl=-1 where results are off: https://saq-py.readthedocs.io/en/latest/api/saq.html#saq.job.Job
- job.refresh(until_complete) for results: apply() polls every half second, this one is told
- --workers for several processes: https://github.com/tobymao/saq#usage
- coroutines only (its pool for plain functions has no setting)
"""

from __future__ import annotations

from benchmarks.peers.spec import Command, Plan, Pool, System


def command(plan: Plan) -> Command:
    workers = str(plan.slots) if plan.pool == "process" else "1"
    at_once = "1" if plan.workload == "cpu" else str(max(100, plan.slots))
    return Command(("saq", "benchmarks.peers.tasks.saq.settings", "--workers", workers), {"BENCH_CONCURRENCY": at_once})


SYSTEM = System(
    name="saq",
    requirements=("saq[redis,hiredis]==0.26.4", "typing_extensions"),  # which its wheel forgets
    pools=(Pool("process"), Pool("asyncio")),
    command=command,
    sending="json, queue.enqueue(); no bulk API",
    about=__doc__ or "",
)
