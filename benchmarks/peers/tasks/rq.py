"""RQ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis
from rq import Queue

from benchmarks.peers import job

TTL = job.KEPT if job.RESULTS else 0
queue = Queue("bench", connection=redis.Redis.from_url(job.URL))


def noop(number: int) -> int:
    return job.ran(number)


def nap(number: int, seconds: float) -> int:
    return job.slept(number, seconds)


def carry(number: int, text: str) -> int:
    return job.carried(number, text)


def burn(number: int, loops: int) -> int:
    return job.burned(number, loops)


TASKS: dict[str, Any] = {"noop": noop, "nap": nap, "burn": burn, "carry": carry}


def sender(name: str) -> Callable[..., Any]:
    name, _, other = name.partition("@")
    task, to = TASKS[name], Queue(other, connection=queue.connection) if other else queue
    return lambda *args: to.enqueue(task, *args, result_ttl=TTL)


def bulk(name: str) -> Callable[[list[tuple[Any, ...]]], Any]:
    task = TASKS[name]
    return lambda calls: queue.enqueue_many([Queue.prepare_data(task, args, result_ttl=TTL) for args in calls])


def call(number: int) -> int:
    result = queue.enqueue(noop, number, result_ttl=TTL).latest_result(timeout=60)
    return int(result.return_value)
