"""arq."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings

from benchmarks.peers import job

POLL = 0.01  # seconds
LOGS = {"version": 1, "loggers": {"arq": {"level": "WARNING"}}}
SETTINGS = RedisSettings.from_dsn(job.URL)
open_pools: list[ArqRedis] = []


async def noop(_: dict[str, Any], number: int) -> int:
    return job.ran(number)


async def nap(_: dict[str, Any], number: int, seconds: float) -> int:
    return await job.aslept(number, seconds)


async def carry(_: dict[str, Any], number: int, text: str) -> int:
    return job.carried(number, text)


async def burn(_: dict[str, Any], number: int, loops: int) -> int:
    return job.burned(number, loops)


class WorkerSettings:
    """What the worker is started with."""

    functions: ClassVar = [noop, nap, burn, carry]
    redis_settings = SETTINGS
    max_jobs = job.CONCURRENCY
    poll_delay = POLL
    keep_result = job.KEPT if job.RESULTS else 0


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[None]:
    open_pools.append(await create_pool(SETTINGS))
    yield
    await open_pools[0].aclose()


def sender(name: str) -> Callable[..., Awaitable[Any]]:
    enqueue = open_pools[0].enqueue_job

    async def send(*args: Any) -> None:
        await enqueue(name, *args)

    return send


def bulk(_: str) -> None:
    return None


async def call(number: int) -> int:
    sent = await open_pools[0].enqueue_job("noop", number)
    return await sent.result(timeout=60, poll_delay=POLL)
