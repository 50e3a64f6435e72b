"""taskq."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.peers import job
from taskq import TaskQ

app = TaskQ("bench", url=job.URL)
LEVELS = 10  # priorities, where there are any

if job.POOL == "asyncio":

    @app.task(queue="bench", ignore_result=not job.RESULTS)
    async def noop(number: int) -> int:
        return job.ran(number)

    @app.task(queue="bench", ignore_result=not job.RESULTS)
    async def nap(number: int, seconds: float) -> int:
        return await job.aslept(number, seconds)

    @app.task(queue="bench", ignore_result=not job.RESULTS)
    async def carry(number: int, text: str) -> int:
        return job.carried(number, text)

else:

    @app.task(queue="bench", ignore_result=not job.RESULTS)
    def noop(number: int) -> int:
        return job.ran(number)

    @app.task(queue="bench", ignore_result=not job.RESULTS)
    def nap(number: int, seconds: float) -> int:
        return job.slept(number, seconds)

    @app.task(queue="bench", ignore_result=not job.RESULTS)
    def carry(number: int, text: str) -> int:
        return job.carried(number, text)


@app.task(queue="bench", ignore_result=not job.RESULTS)
def burn(number: int, loops: int) -> int:
    return job.burned(number, loops)


TASKS: dict[str, Any] = {"noop": noop, "nap": nap, "burn": burn, "carry": carry}


def declare(name: str, queue: Any, **options: Any) -> Any:
    """Add a task that does nothing, with a queue of its own."""
    return app.task(name=name, queue=queue, ignore_result=not job.RESULTS, **options)(noop.function)


LEVEL: list[Any] = []  # the task of each priority
for name in job.QUEUES:
    if name == "priority":
        LEVEL += [declare(f"priority.{level}", app.PriorityQueue(name), priority=level) for level in range(LEVELS)]
    else:
        TASKS[f"noop@{name}"] = declare(f"noop.{name}", app.LifoQueue(name) if name == "lifo" else name)


def sender(name: str) -> Callable[..., Any]:
    if name == "noop@priority":
        return lambda number: LEVEL[number % LEVELS].delay(number)
    return TASKS[name].delay


def asender(name: str) -> Callable[..., Awaitable[Any]]:
    return TASKS[name].aio.delay


def bulk(name: str) -> Callable[[list[tuple[Any, ...]]], Any]:
    if name == "noop@priority":
        return by_priority
    task = TASKS[name]
    return lambda calls: task.delay_many(*zip(*calls, strict=True))


def by_priority(calls: list[tuple[Any, ...]]) -> None:
    for level in range(LEVELS):
        LEVEL[level].delay_many([args[0] for args in calls if args[0] % LEVELS == level])


def call(number: int) -> int:
    return noop.delay(number).get(timeout=60)
