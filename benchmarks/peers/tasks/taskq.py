"""taskq."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.peers import job
from taskq import TaskQ

app = TaskQ("bench", url=job.URL)

if job.POOL == "asyncio":

    @app.task(queue="bench", ignore_result=not job.RESULTS)
    async def noop(number: int) -> int:
        return job.ran(number)

    @app.task(queue="bench", ignore_result=not job.RESULTS)
    async def nap(number: int, seconds: float) -> int:
        return await job.aslept(number, seconds)

else:

    @app.task(queue="bench", ignore_result=not job.RESULTS)
    def noop(number: int) -> int:
        return job.ran(number)

    @app.task(queue="bench", ignore_result=not job.RESULTS)
    def nap(number: int, seconds: float) -> int:
        return job.slept(number, seconds)


@app.task(queue="bench", ignore_result=not job.RESULTS)
def burn(number: int, loops: int) -> int:
    return job.burned(number, loops)


TASKS: dict[str, Any] = {"noop": noop, "nap": nap, "burn": burn}


def sender(name: str) -> Callable[..., Any]:
    return TASKS[name].delay


def bulk(name: str) -> Callable[[list[tuple[Any, ...]]], Any]:
    task = TASKS[name]
    return lambda calls: task.delay_many(*zip(*calls, strict=True))


def call(number: int) -> int:
    return noop.delay(number).get(timeout=60)
