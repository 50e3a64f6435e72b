"""arq.

- poll_delay 10 ms instead of 0.5 s: it starts at most queue_read_limit jobs a poll, 1,000 a second by default;
  https://arq-docs.helpmanual.io/#arq.worker.Worker
- keep_result=0 where results are off: same page
- several processes are several workers; coroutines only
"""

from __future__ import annotations

from benchmarks.peers.spec import Command, Plan, Pool, System


def command(plan: Plan) -> Command:
    module = "benchmarks.peers.tasks.arq"
    argv = ("arq", f"{module}.WorkerSettings", "--custom-log-dict", f"{module}.LOGS")
    return Command(argv, {"BENCH_CONCURRENCY": at_once(plan)}, copies=plan.slots if plan.pool == "process" else 1)


def at_once(plan: Plan) -> str:
    """Return its max_jobs: ten, its default, where jobs use the CPU, or a process would hold the jobs of the other."""
    return "10" if plan.workload == "cpu" else str(max(100, plan.slots))


SYSTEM = System(
    name="arq",
    requirements=("arq==0.28.0", "hiredis==3.5.0"),  # which pins redis-py to 5
    pools=(Pool("process"), Pool("asyncio")),
    command=command,
    sending="pickle, enqueue_job(); no bulk API",
    about=__doc__ or "",
)
