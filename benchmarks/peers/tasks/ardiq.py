"""ArdiQ."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ardiq import Ardiq

from benchmarks.peers import job

app = Ardiq(
    redis_url=job.URL,
    queue_name="bench",
    concurrency=job.CONCURRENCY,
    result_ttl_ms=job.KEPT * 1_000 if job.RESULTS else 0,
)

if job.POOL == "thread":

    @app.task
    def noop(number: int) -> int:
        return job.ran(number)

    @app.task
    def nap(number: int, seconds: float) -> int:
        return job.slept(number, seconds)

else:

    @app.task
    async def noop(number: int) -> int:
        return job.ran(number)

    @app.task
    async def nap(number: int, seconds: float) -> int:
        return await job.aslept(number, seconds)


@app.task
async def carry(number: int, text: str) -> int:
    return job.carried(number, text)


@app.task
async def burn(number: int, loops: int) -> int:
    return job.burned(number, loops)


TASKS: dict[str, Any] = {"noop": noop, "nap": nap, "burn": burn, "carry": carry}


def sender(name: str) -> Callable[..., Awaitable[Any]]:
    task = TASKS[name]

    async def send(*args: Any) -> None:
        await task.enqueue(*args)

    return send


def bulk(name: str) -> Callable[[list[tuple[Any, ...]]], Awaitable[Any]]:
    task = TASKS[name]

    async def send(calls: list[tuple[Any, ...]]) -> None:
        await app.enqueue_many([task.prepare(*args) for args in calls])

    return send


async def call(number: int) -> int:
    sent = await noop.enqueue(number)
    return (await sent.result(timeout=60)).value
