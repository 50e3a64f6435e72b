"""Huey.

- RedisHuey, the storage that blocks instead of polling: https://huey.readthedocs.io/en/latest/api.html#RedisHuey
- notify_result, so that who waits for a result is told: https://huey.readthedocs.io/en/latest/api.html#RedisStorage
- -q, no log line for each job: https://huey.readthedocs.io/en/latest/consumer.html
- a job that a dying worker had is lost
- each of its greenlets has a connection of its own, so 10,000 of them would need more than the server takes
"""

from __future__ import annotations

from benchmarks.peers.spec import Command, Plan, Pool, System

KINDS = {"process": "process", "thread": "thread", "gevent": "greenlet"}


def command(plan: Plan) -> Command:
    instance = "benchmarks.peers.tasks.huey.huey"
    return Command(("huey_consumer", instance, "-k", KINDS[plan.pool], "-w", str(plan.slots), "-q"))


SYSTEM = System(
    name="huey",
    requirements=("huey==3.5.4", "redis==8.1.0", "hiredis==3.5.0", "gevent==26.9.0"),
    pools=(Pool("process"), Pool("thread"), Pool("gevent", most=1_000)),
    command=command,
    sending="pickle, calling the task; no bulk API",
    about=__doc__ or "",
)
