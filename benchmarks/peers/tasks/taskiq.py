"""taskiq with taskiq-redis."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvloop
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.peers import job

LOOK = 0.005  # seconds between two looks for a result
loop_factory = uvloop.new_event_loop

if job.VARIANT == "list broker":
    broker = ListQueueBroker(url=job.URL, socket_timeout=None)
else:
    broker = RedisStreamBroker(url=job.URL, xread_count=int(os.environ.get("BENCH_XREAD_COUNT", "100")))  # its default
if job.RESULTS:
    broker = broker.with_result_backend(RedisAsyncResultBackend(redis_url=job.URL, result_ex_time=job.KEPT))

if job.POOL == "thread":

    @broker.task(task_name="noop")
    def noop(number: int) -> int:
        return job.ran(number)

    @broker.task(task_name="nap")
    def nap(number: int, seconds: float) -> int:
        return job.slept(number, seconds)

else:

    @broker.task(task_name="noop")
    async def noop(number: int) -> int:
        return job.ran(number)

    @broker.task(task_name="nap")
    async def nap(number: int, seconds: float) -> int:
        return await job.aslept(number, seconds)


@broker.task(task_name="carry")
async def carry(number: int, text: str) -> int:
    return job.carried(number, text)


@broker.task(task_name="burn")
async def burn(number: int, loops: int) -> int:
    return job.burned(number, loops)


TASKS: dict[str, Any] = {"noop": noop, "nap": nap, "burn": burn, "carry": carry}


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[None]:
    await broker.startup()
    yield
    await broker.shutdown()


def sender(name: str) -> Callable[..., Awaitable[Any]]:
    return TASKS[name].kiq


def bulk(_: str) -> None:
    return None


async def call(number: int) -> int:
    sent = await noop.kiq(number)
    result = await sent.wait_result(check_interval=LOOK, timeout=60)
    return result.return_value
