"""The producer of one system, in that system's environment: ``python -m benchmarks.peers.agent MODULE``.

It is told what to do by JSON lines and answers with JSON lines. The module of tasks has

- ``sender(name)``: what is called with a job's arguments, once for each job; a coroutine function where the system's
  API is one,
- ``bulk(name)``: what is called with a list of arguments of many jobs, or None where the system cannot,
- ``call(number)``: send the job that does nothing and wait for its result,
- perhaps ``asender(name)``, as ``sender``, a coroutine function where the system has both APIs,
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
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any, TextIO

from benchmarks.peers import job

CHUNK = 1_000  # jobs to a call of a bulk API
TICK = 0.005  # seconds between two looks at how many jobs are due
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
        sends = self.module.sender("noop")
        return {
            "bulk": self.module.bulk("noop") is not None,
            "threads": not inspect.iscoroutinefunction(sends),
            "coroutines": inspect.iscoroutinefunction(sends) or hasattr(self.module, "asender"),
        }

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

    async def do_spread(self, count: int, first: int, ways: int, threads: bool) -> Order:
        """Send so many jobs from so many threads, else coroutines, at once; return what it took."""
        shares = [range(first + way, first + count, ways) for way in range(ways)]
        if threads:
            return await asyncio.to_thread(from_threads, self.module.sender("noop"), shares)
        send = getattr(self.module, "asender", self.module.sender)("noop")

        async def one(share: range) -> None:
            for number in share:
                await send(number)

        with timed() as took:
            await asyncio.gather(*(one(share) for share in shares))
        return took

    async def do_pace(self, rate: float, seconds: float, first: int) -> Order:
        """Send so many jobs a second for so long, in bulk if it can; return how many, how long, until when."""
        send, bulk = self.module.sender("noop"), self.module.bulk("noop")
        send, at_once = (bulk, CHUNK) if bulk else (send, 1)
        waits, sent, started = inspect.iscoroutinefunction(send), 0, time.perf_counter()
        while (passed := time.perf_counter() - started) < seconds:
            if not (more := min(due(rate, passed, sent), at_once)):
                await asyncio.sleep(TICK)
                continue
            calls = [(number,) for number in range(first + sent, first + sent + more)]
            answer = send(calls) if bulk else send(*calls[0])
            if waits:
                await answer
            sent += more
        return {"sent": sent, "seconds": time.perf_counter() - started, "ended": time.time()}

    async def do_trips(self, count: int, pause: float, budget: float, first: int) -> list[float]:
        """Send a job and wait for its result, so often or until the budget of seconds is spent; return seconds."""
        call, waits, trips = self.module.call, inspect.iscoroutinefunction(self.module.call), []
        ends = time.monotonic() + budget
        for number in range(first, first + count):
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


def due(rate: float, passed: float, sent: int) -> int:
    """Return how many jobs have to be sent now to have sent ``rate`` of them a second so far."""
    return max(0, int(rate * passed) - sent)


def from_threads(send: Callable[..., Any], shares: list[range]) -> dict[str, float]:
    """Send each share from a thread of its own; return what it took from when all threads are up."""
    ready = threading.Barrier(len(shares) + 1)

    def one(share: range) -> None:
        ready.wait()
        for number in share:
            send(number)

    with ThreadPoolExecutor(len(shares)) as pool:
        running = [pool.submit(one, share) for share in shares]
        ready.wait()
        with timed() as took:
            for each in running:
                each.result()
    return took


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
