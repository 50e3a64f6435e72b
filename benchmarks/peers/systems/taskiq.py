"""taskiq, with taskiq-redis.

- RedisStreamBroker, the one that acknowledges: https://github.com/taskiq-python/taskiq-redis; ListQueueBroker, which
  loses what a dying worker had, is here as a variant since it is quicker in some workloads; it has redis-py's timeout
  off, which since version 8 is 5 s: its children would die of it after each 5 s of idleness
- uvloop, which its worker takes if it is installed: https://taskiq-python.github.io/guide/cli.html
- xread_count=1 for long jobs, or one process would hold a hundred of them
- wait_result looks every 5 ms instead of every 200 ms
- plain functions run in threads, as many as --max-threadpool-threads says
"""

from __future__ import annotations

from benchmarks.peers.spec import Command, Plan, Pool, System

LIST = "list broker"


def command(plan: Plan) -> Command:
    workers = str(plan.slots) if plan.pool == "process" else "1"
    at_once = str(1 if plan.workload == "cpu" else max(plan.slots, 100))
    threads = ("--max-threadpool-threads", str(plan.slots)) if plan.pool == "thread" else ()
    broker = "benchmarks.peers.tasks.taskiq:broker"
    options = ("--workers", workers, "--max-async-tasks", at_once, *threads, "--log-level", "WARNING")
    env = {"BENCH_XREAD_COUNT": "1"} if plan.workload == "cpu" else {}
    return Command(("taskiq", "worker", broker, *options), env)


SYSTEM = System(
    name="taskiq",
    requirements=("taskiq==0.13.0", "taskiq-redis==1.2.4", "redis==8.1.0", "hiredis==3.5.0", "uvloop==0.23.0"),
    pools=(Pool("process"), Pool("process", LIST), Pool("thread"), Pool("asyncio"), Pool("asyncio", LIST)),
    command=command,
    sending="json, task.kiq(), uvloop; no bulk API",
    about=__doc__ or "",
)
