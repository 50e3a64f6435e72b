"""Huey."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.peers import job

if job.POOL == "gevent" and job.IN_WORKER:  # the consumer leaves it to the app
    from gevent import monkey

    monkey.patch_all()

from huey import RedisHuey

huey = RedisHuey("bench", results=job.RESULTS, notify_result=job.RESULTS, url=job.WIDE_URL)


@huey.task()
def noop(number: int) -> int:
    return job.ran(number)


@huey.task()
def nap(number: int, seconds: float) -> int:
    return job.slept(number, seconds)


@huey.task()
def carry(number: int, text: str) -> int:
    return job.carried(number, text)


@huey.task()
def burn(number: int, loops: int) -> int:
    return job.burned(number, loops)


TASKS: dict[str, Any] = {"noop": noop, "nap": nap, "burn": burn, "carry": carry}


def sender(name: str) -> Callable[..., Any]:
    return TASKS[name]


def bulk(_: str) -> None:
    return None


def call(number: int) -> int:
    return noop(number).get(blocking=True, timeout=60)
