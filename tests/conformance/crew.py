"""The test's side of actors: proxies of primitives whose every method runs in an actor of some kind, somewhere."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from actor import Reply, Request, ThreadHost

DEADLINE = 20.0  # seconds: the machine may run other suites
KINDS = ("threads", "processes", "gevent", "asyncio", "mixed")
PROGRAM = Path(__file__).with_name("actor.py")


class Raised(Exception):
    """What an actor's call raised.

    Attributes:
        name: of its class.
        bases: the names of that class and all above it.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"{reply['error']}: {reply['message']}")
        self.name: str = reply["error"]
        self.bases: list[str] = reply["bases"]


class Doing:
    """A call that an actor was told to make."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._reply: Reply | None = None
        self._done = threading.Event()

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def settle(self, reply: Reply) -> None:
        self._reply = reply
        self._done.set()

    def finish(self, timeout: float = DEADLINE) -> Any:
        """Return the value; raise Raised with the error, AssertionError if there is neither within ``timeout``."""
        assert self._done.wait(timeout), f"{self._what} did not end within {timeout:g} s"
        assert self._reply is not None
        if "error" in self._reply:
            raise Raised(self._reply)
        return self._reply["value"]


class Home:
    """Where actors live; of one process, this one or another."""

    def __init__(self, kind: str, url: str, namespace: str) -> None:
        self.kind = kind
        self._numbers = itertools.count(1)
        self.doing: dict[int, Doing] = {}
        self._process: subprocess.Popen[str] | None = None
        if kind == "here":
            self._host = ThreadHost(url, namespace, self._settle)
            return
        tests = str(PROGRAM.parent.parent.parent)
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), kind, url, namespace],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, "PYTHONPATH": tests},
        )
        ready = self.doing[0] = Doing("the start of an actor's process")
        self._reader = threading.Thread(target=self._read, name="actor-replies", daemon=True)
        self._reader.start()
        ready.finish()

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else os.getpid()

    def tell(self, what: str, request: Request) -> Doing:
        doing = Doing(what)
        request["id"] = next(self._numbers)
        self.doing[request["id"]] = doing
        if self._process is None:
            self._host.receive(request)
        else:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return doing

    def close(self) -> None:
        process = self._process
        if process is None:
            self._host.close()
            return
        with contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        try:
            process.wait(0.1 if self.doing else 3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._reader.join(DEADLINE)
        assert process.stdout is not None
        process.stdout.close()

    def _settle(self, reply: Reply) -> None:
        self.doing.pop(reply["id"]).settle(reply)

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._settle(json.loads(line))


class Homes:
    """All homes on one server, each started once and used by many tests."""

    def __init__(self, url: str, namespace: str) -> None:
        self._url = url
        self.namespace = namespace
        self._homes: dict[tuple[str, int], Home] = {}

    def home(self, kind: str, number: int) -> Home:
        key = (kind, number)
        if key not in self._homes:
            self._homes[key] = Home(kind, self._url, self.namespace)
        return self._homes[key]

    def tidy(self) -> None:
        """End the homes of which an actor is still busy: a test failed there."""
        for key, home in list(self._homes.items()):
            if home.doing:
                self._homes.pop(key).close()

    def close(self) -> None:
        for home in self._homes.values():
            home.close()


class Thing:
    """A primitive as one actor sees it. ``lock.acquire()`` waits for the answer, ``lock.start.acquire()`` does not."""

    def __init__(self, actor: Actor, kind: str, name: str, options: dict[str, Any]) -> None:
        self.actor = actor
        self.of = [kind, name, options]
        self.start = _Starter(self)

    def __getattr__(self, call: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self.tell(call, *args, **kwargs).finish()

    def tell(self, call: str, *args: Any, **kwargs: Any) -> Doing:
        request = {"thing": self.of, "call": call, "args": args, "kwargs": kwargs, "actor": self.actor.number}
        return self.actor.home.tell(f"{self.of[0]}.{call} of {self.actor}", request)

    def read(self, attribute: str) -> Any:
        """Return an attribute."""
        return self.tell("read", attribute).finish()

    def inside(self, *calls: list[Any], error: str | None = None) -> Any:
        """Return the values of ``calls`` made inside a with-block, which then raises ``error``."""
        return self.tell("with", *calls, **({"error": error} if error else {})).finish()


class _Starter:
    def __init__(self, thing: Thing) -> None:
        self._thing = thing

    def __getattr__(self, call: str) -> Callable[..., Doing]:
        return lambda *args, **kwargs: self._thing.tell(call, *args, **kwargs)


class Actor:
    """A thread, greenlet, task or process; ``actor.Lock(name)`` is a lock as it sees it."""

    def __init__(self, home: Home, number: int) -> None:
        self.home = home
        self.number = number

    def __repr__(self) -> str:
        return f"actor {self.number} ({self.home.kind})"

    def __getattr__(self, kind: str) -> Callable[..., Thing]:
        return lambda name, **options: Thing(self, kind, name, options)

    def parked(self) -> bool:
        """Tell whether it waits for a signal."""
        return bool(self.home.tell("parked", {"ask": "parked", "actor": self.number}).finish())


class Crew:
    """Makes actors of one kind, and looks at the server for what they do."""

    def __init__(self, kind: str, homes: Homes, client: redis.Redis) -> None:
        self.kind = kind
        self.one_process = kind in {"threads", "gevent", "asyncio"}
        self.many = 3 if kind in {"processes", "mixed"} else 8  # processes take memory
        self._homes = homes
        self._client = client

    def __call__(self, count: int) -> list[Actor]:
        """Return the first ``count`` actors, the same ones at each call."""
        return [self._actor(number) for number in range(count)]

    def _actor(self, number: int) -> Actor:
        if self.kind == "threads":
            return Actor(self._homes.home("here", 0), number)
        if self.kind == "processes":
            return Actor(self._homes.home("thread", number), 0)
        if self.kind == "mixed":
            return Actor(self._homes.home(("thread", "gevent", "asyncio", "here")[number % 4], 0), number // 4)
        return Actor(self._homes.home(self.kind, 0), number)

    def key(self, kind: str, name: str, part: str) -> str:
        tag = f"{kind}:{name}" if kind else name  # queues have names without a kind
        return f"{self._homes.namespace}:{{{tag}}}:{part}"

    def in_line(self, kind: str, name: str, part: str = "line") -> int:
        """Return how many places there are in a line of a primitive."""
        return int(self._client.zcard(self.key(kind, name, part)))

    def listed(self, name: str) -> int:
        """Return how many processes wait for an Event."""
        return int(self._client.zcard(self.key("event", name, "waiters")))

    def parked(self, *actors: Actor) -> None:
        """Return when each of ``actors`` waits for a signal."""
        for actor in actors:
            until(actor.parked, f"{actor} waits")

    def in_line_one_by_one(
        self, kind: str, name: str, starts: list[Callable[[], Doing]], part: str = "line"
    ) -> list[Doing]:
        """Start one call after another, each when the one before stands in line."""
        doing = []
        for start in starts:
            before = self.in_line(kind, name, part)
            doing.append(start())
            until(lambda before=before: self.in_line(kind, name, part) == before + 1, "one more in line")
        return doing


def until(reached: Callable[[], Any], what: str) -> None:
    """Return as soon as ``reached``; fail after a while."""
    deadline = time.monotonic() + DEADLINE
    while not reached():
        assert time.monotonic() < deadline, f"did not happen in time: {what}"
        time.sleep(0.002)


@contextlib.contextmanager
def raises(name: str) -> Iterator[None]:
    """Expect an actor's call to raise the class of that name, or one below it."""
    with pytest.raises(Raised) as caught:
        yield
    assert name in caught.value.bases, f"{caught.value} is no {name}"
