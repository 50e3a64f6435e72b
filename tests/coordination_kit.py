"""What tests of primitives share: programs in other processes, cancelled waits, and a look at the server."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Container, Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import redis
from servers import TestServer, redis_program, require_redis

from taskq.client.operation import Hear, perform

if TYPE_CHECKING:
    from taskq import TaskQ

DEADLINE = 20.0  # seconds: the machine may run other suites


def until(reached: Callable[[], Any], what: str = "", seconds: float = DEADLINE) -> Any:
    """Return the first true value of ``reached``; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (value := reached()):
        assert time.monotonic() < deadline, f"did not happen in time: {what or reached}"
        time.sleep(0.002)
    return value


async def aio_until(reached: Callable[[], Awaitable[Any]]) -> None:
    """Return when the awaited answer of ``reached`` is true."""
    async with asyncio.timeout(DEADLINE):
        while not await reached():  # noqa: ASYNC110 (the server is asked, and others come in threads)
            await asyncio.sleep(0.005)


class Program:
    """A Python program in a process of its own; its first two arguments are the url and the namespace."""

    def __init__(self, source: str, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", source, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name="program-lines", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def line(self, seconds: float = DEADLINE) -> str:
        """Return the next line that it prints."""
        try:
            return self._lines.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"the program said nothing for {seconds:g} s") from None

    def tell(self, line: str = "") -> None:
        """Write a line to its input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it by SIGKILL; return when it is gone."""
        self.signal(signal.SIGKILL)
        self._process.wait(DEADLINE)

    def end(self, seconds: float = DEADLINE) -> int:
        """Close its input and wait for its end."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        return self._process.wait(seconds)

    def close(self) -> None:
        if self.running:
            self.kill()
        self._reader.join(DEADLINE)
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                assert stream is not None
                stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))


class Board:
    """What the server has of the primitives of one namespace."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self.client = client
        self._namespace = namespace

    def key(self, kind: str, name: str, part: str) -> str:
        return f"{self._namespace}:{{{kind}:{name}}}:{part}"

    def in_line(self, kind: str, name: str) -> int:
        return int(self.client.zcard(self.key(kind, name, "line")))

    def holders(self, kind: str, name: str) -> int:
        return int(self.client.zcard(self.key(kind, name, "holders")))

    def listed(self, name: str) -> int:
        return int(self.client.zcard(self.key("event", name, "waiters")))

    def places(self) -> dict[str, int]:
        """Return every place in a line or a list, and every permit that is held, by key."""
        found = {}
        for key in self.client.scan_iter(f"{self._namespace}:*"):
            name, part = key.decode(), key.decode().rpartition(":")[2]
            if part in {"line", "holders", "fences", "waiters"}:
                count = self.client.hlen if part == "fences" else self.client.zcard
                found[name] = int(count(key))
        return found

    def listeners(self) -> int:
        return len(self.client.client_list(_type="pubsub"))

    def connections(self) -> int:
        return len(self.client.client_list())


def left_over(app: TaskQ, *things: Any) -> dict[str, int]:
    """Return what a process still has of waits and holds; empty where nothing is left."""
    found = {"signals": len(app._listener.signals), "kept": len(app._sender.keeper)}
    for thing in things:
        found[f"holds of {thing!r}"] = len(getattr(thing, "_holds", ()))
        found[f"waiters of {thing!r}"] = sum(len(crowd._waiters) for crowd in getattr(thing, "_crowds", {}).values())
    return {name: count for name, count in found.items() if count}


def own_threads() -> int:
    """Return how many threads of taskq run; those of the test's own tools come and go."""
    return sum(thread.name.startswith("taskq-") for thread in threading.enumerate())


class CancelledAt:
    """Awaits a coroutine in the running task, which is cancelled at the coroutine's n-th suspension.

    Attributes:
        suspended: how often it was suspended.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], at: int) -> None:
        self._coroutine = coroutine
        self._at = at
        self.suspended = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._coroutine.__await__()
        send: Callable[[], Any] = steps.__next__
        for number in itertools.count():
            try:
                future = send()
            except StopIteration as end:
                return end.value
            self.suspended = number + 1
            if number == self._at:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()  # before the task sees the future: as if it came while it was awaited
            try:
                answer = yield future
            except BaseException as error:
                send = _thrower(steps, error)
            else:
                send = _sender(steps, answer)
        raise AssertionError("unreachable")


async def cancel_everywhere(
    run: Callable[[int], Coroutine[Any, Any, Any]], app: TaskQ, board: Board, thing: Any, places: dict[str, int]
) -> tuple[int, Any]:
    """Have waits for a thing cancelled, each at its next suspension, until one ends; none leaves anything behind.

    Args:
        run: makes a wait that is cancelled at the suspension of this number.
        places: what the server has where nobody waits.

    Returns:
        How many were cancelled, and what the last returned.
    """
    connections = board.connections()
    for at in range(1000):
        task = asyncio.ensure_future(run(at))
        await asyncio.wait({task}, timeout=DEADLINE)
        if not task.cancelled():
            return at, task.result()
        await asyncio.to_thread(until, lambda: board.places() == places, f"nothing is left of {at}", 5)
        assert left_over(app, thing) == {}
        assert board.connections() == connections
    raise AssertionError("it does not end")


def _thrower(steps: Any, error: BaseException) -> Callable[[], Any]:
    return lambda: steps.throw(error)


def _sender(steps: Any, answer: Any) -> Callable[[], Any]:
    return lambda: steps.send(answer)


def interrupt(app: TaskQ, operation: Generator[Any, Any, Any], cancelled: Container[int], *, ran: bool) -> None:
    """Drive an operation, and cancel it at the needs of these numbers: in their place, or after they ``ran``."""
    answer, failure = None, None
    for number in itertools.count():
        need = operation.throw(failure) if failure else operation.send(answer)
        answer, failure = None, asyncio.CancelledError() if number in cancelled else None
        if failure is None or (ran and not isinstance(need, Hear)):
            answer = perform(one(need), app.broker)


def one(need: Any) -> Generator[Any, Any, Any]:
    """Return an operation of one need."""
    return (yield need)


@contextlib.contextmanager
def in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Iterator[Callable[[], Any]]:
    """Run a function in a thread for the length of a block; the block is given what waits for its value."""
    answers: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue()

    def run() -> None:
        try:
            answers.put((function(*args, **kwargs), None))
        except BaseException as error:
            answers.put((None, error))

    thread = threading.Thread(target=run, name="in-thread", daemon=True)
    thread.start()

    def value(seconds: float = DEADLINE) -> Any:
        value, error = answers.get(timeout=seconds)
        if error is not None:
            raise error
        return value

    yield value
    thread.join(DEADLINE)
    assert not thread.is_alive()


BOTH_SERVERS = [pytest.param(name, marks=pytest.mark.both_servers) for name in ("valkey", "redis7")]


@contextlib.contextmanager
def own_server(name: str) -> Iterator[TestServer]:
    """Start a server on which nobody else listens: tests cut and count its connections."""
    program = redis_program() if name == "redis7" else None
    if name == "redis7" and program is None:
        (pytest.fail if require_redis() else pytest.skip)("no redis-server on PATH")
    with TestServer(program) as running:
        yield running


def long_form(name: str, short: int) -> int:
    """Return how much a test shall do: what the environment variable says, else the short form."""
    return int(os.environ.get(name, short))
