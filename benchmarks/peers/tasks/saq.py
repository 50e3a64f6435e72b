"""SAQ."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from saq import Queue

from benchmarks.peers import job

TTL = job.KEPT if job.RESULTS else -1
NAMES = {"noop": ("number",), "nap": ("number", "seconds"), "burn": ("number", "loops"), "carry": ("number", "text")}
queue = Queue.from_url(job.URL)


async def noop(_: dict[str, Any], *, number: int) -> int:
    return job.ran(number)


async def nap(_: dict[str, Any], *, number: int, seconds: float) -> int:
    return await job.aslept(number, seconds)


async def carry(_: dict[str, Any], *, number: int, text: str) -> int:
    return job.carried(number, text)


async def burn(_: dict[str, Any], *, number: int, loops: int) -> int:
    return job.burned(number, loops)


settings = {
    "queue": queue,
    "functions": [noop, nap, burn, carry],
    "concurrency": job.CONCURRENCY,
}


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[None]:
    await queue.connect()
    yield
    await queue.disconnect()


def sender(name: str) -> Callable[..., Awaitable[Any]]:
    names = NAMES[name]

    async def send(*args: Any) -> None:
        await queue.enqueue(name, ttl=TTL, **dict(zip(names, args, strict=True)))

    return send


def bulk(_: str) -> None:
    return None


async def call(number: int) -> int:
    sent = await queue.enqueue("noop", ttl=TTL, number=number)
    await sent.refresh(until_complete=60)
    return sent.result
