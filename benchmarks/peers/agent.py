"""The producer of one system, in that system's environment: ``python -m benchmarks.peers.agent MODULE``.

It is told what to do by JSON lines and answers with JSON lines. The module of tasks has

- ``sender(name)``: what is called with a job's arguments, once for each job; a coroutine function where the system's
  API is one,
- ``bulk(name)``: what is called with a list of arguments of many jobs, or None where the system cannot,
- ``call(number)``: send the job that does nothing and wait for its result,
- for a system of coroutines ``opened()``, an async context manager, and perhaps ``loop_factory``.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from types import ModuleType
from typing import Any, TextIO

from benchmarks.peers import job

CHUNK = 1_000  # jobs to a call of a bulk API
Order = dict[str, Any]


class Agent:
    """Does what it is told with the producer's side of one system."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module

    async def do(self, order: Order) -> Any:
        """Run one order and return its answer."""
        result = getattr(self, f"do_{order.pop('do')}")(**order)
        return await result if inspect.isawaitable(result) else result

    def do_hello(self) -> Order:
        return {"bulk": self.module.bulk("noop") is not None, "python": sys.version.split()[0]}

    def do_calibrate(self, seconds: float) -> int:
        return job.loops_for(seconds)

    def do_burn(self, count: int, loops: int) -> float:
        """Return how long the work of so many jobs takes without any queue."""
        with timed() as took:
            for _ in range(count):
                job.spin(loops)
        return took["seconds"]

    async def do_enqueue(self, task: str, count: int, extra: list[Any], bulk: bool, first: int) -> Order:
        """Send so many jobs, numbered from ``first``; return the seconds and the seconds of CPU that it took."""
        calls = [(number, *extra) for number in range(first, first + count)]
        if bulk:
            send, calls = self.module.bulk(task), [(calls[at : at + CHUNK],) for at in range(0, count, CHUNK)]
        else:
            send = self.module.sender(task)
        if inspect.iscoroutinefunction(send):
            with timed() as took:
                for args in calls:
                    await send(*args)
        else:
            with timed() as took:
                for args in calls:
                    send(*args)
        return took

    async def do_trips(self, count: int, pause: float, budget: float) -> list[float]:
        """Send a job and wait for its result, so often or until the budget of seconds is spent; return seconds."""
        call, waits, trips = self.module.call, inspect.iscoroutinefunction(self.module.call), []
        ends = time.monotonic() + budget
        for number in range(count):
            if pause:
                await asyncio.sleep(pause)
            started = time.perf_counter()
            answer = await call(number) if waits else call(number)
            trips.append(time.perf_counter() - started)
            if answer != number:
                raise AssertionError(f"job {number} answered {answer!r}")
            if time.monotonic() > ends:
                break
        return trips


@contextlib.contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Put wall and CPU seconds of the block into what it yields."""
    took: dict[str, float] = {}
    wall, cpu = time.perf_counter(), time.process_time()
    yield took
    took["seconds"], took["cpu"] = time.perf_counter() - wall, time.process_time() - cpu


async def serve(agent: Agent, answers: TextIO) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if hasattr(agent.module, "opened"):
            await stack.enter_async_context(agent.module.opened())
        # Read in a thread: the system's own tasks of the loop go on between two orders.
        while line := await asyncio.to_thread(sys.stdin.readline):
            answers.write(json.dumps(await answer(agent.do, json.loads(line))) + "\n")
            answers.flush()


async def answer(do: Callable[[Order], Awaitable[Any]], order: Order) -> Order:
    try:
        return {"answer": await do(order)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    # Systems print: whatever they say goes to the log, the answers alone to whoever asked.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    agent = Agent(importlib.import_module(sys.argv[1]))
    with asyncio.Runner(loop_factory=getattr(agent.module, "loop_factory", None)) as runner:
        runner.run(serve(agent, answers))


if __name__ == "__main__":
    main()
