"""streaQ."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvloop
from streaq import Worker

from benchmarks.peers import job

loop_factory = uvloop.new_event_loop
worker: Worker[None] = Worker(
    redis_url=job.URL,
    queue_name="bench",
    concurrency=job.CONCURRENCY,
    sync_concurrency=job.CONCURRENCY,
    anyio_kwargs={"use_uvloop": True},
)
options: dict[str, Any] = {"silent": True, "ttl": job.KEPT if job.RESULTS else 0}

if job.POOL == "thread":

    @worker.task(name="noop", **options)
    def noop(number: int) -> int:
        return job.ran(number)

    @worker.task(name="nap", **options)
    def nap(number: int, seconds: float) -> int:
        return job.slept(number, seconds)

else:

    @worker.task(name="noop", **options)
    async def noop(number: int) -> int:
        return job.ran(number)

    @worker.task(name="nap", **options)
    async def nap(number: int, seconds: float) -> int:
        return await job.aslept(number, seconds)


@worker.task(name="carry", **options)
async def carry(number: int, text: str) -> int:
    return job.carried(number, text)


@worker.task(name="burn", **options)
async def burn(number: int, loops: int) -> int:
    return job.burned(number, loops)


TASKS: dict[str, Any] = {"noop": noop, "nap": nap, "burn": burn, "carry": carry}


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[None]:
    async with worker:
        yield


def sender(name: str) -> Callable[..., Awaitable[Any]]:
    task = TASKS[name]

    async def send(*args: Any) -> None:
        await task.enqueue(*args)

    return send


def bulk(name: str) -> Callable[[list[tuple[Any, ...]]], Awaitable[Any]]:
    task = TASKS[name]

    async def send(calls: list[tuple[Any, ...]]) -> None:
        await worker.enqueue_many([task.enqueue(*args) for args in calls])

    return send


async def call(number: int) -> int:
    sent = await noop.enqueue(number)
    return (await sent.result(timeout=60)).result
