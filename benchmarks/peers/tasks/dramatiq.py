"""Dramatiq."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers import job

broker = RedisBroker(url=job.WIDE_URL)
if job.RESULTS:
    from dramatiq.results import Results
    from dramatiq.results.backends import RedisBackend

    broker.add_middleware(Results(backend=RedisBackend(url=job.WIDE_URL), result_ttl=job.KEPT * 1_000))
if job.POOL == "asyncio":
    from dramatiq.middleware.asyncio import AsyncIO

    broker.add_middleware(AsyncIO())
dramatiq.set_broker(broker)
options = {"store_results": True} if job.RESULTS else {}

if job.POOL == "asyncio":

    @dramatiq.actor(**options)
    async def noop(number: int) -> int:
        return job.ran(number)

    @dramatiq.actor(**options)
    async def nap(number: int, seconds: float) -> int:
        return await job.aslept(number, seconds)

else:

    @dramatiq.actor(**options)
    def noop(number: int) -> int:
        return job.ran(number)

    @dramatiq.actor(**options)
    def nap(number: int, seconds: float) -> int:
        return job.slept(number, seconds)


@dramatiq.actor(**options)
def carry(number: int, text: str) -> int:
    return job.carried(number, text)


@dramatiq.actor(**options)
def burn(number: int, loops: int) -> int:
    return job.burned(number, loops)


TASKS: dict[str, Any] = {"noop": noop, "nap": nap, "burn": burn, "carry": carry}
for queue in job.QUEUES:  # of which each actor has one
    TASKS[f"noop@{queue}"] = dramatiq.actor(noop.fn, actor_name=f"noop.{queue}", queue_name=queue, **options)


def sender(name: str) -> Callable[..., Any]:
    return TASKS[name].send


def bulk(_: str) -> None:
    return None


def call(number: int) -> int:
    return noop.send(number).get_result(block=True, timeout=60_000)
