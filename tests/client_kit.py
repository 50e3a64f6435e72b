"""What the client's tests share: an app with a task, and what happens while somebody waits."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import redis

from taskq import TaskQ

DEADLINE = 10.0  # seconds: the machine may run other suites
SOON = 0.05  # seconds after which a waiter is taken to wait
_timers: list[threading.Timer] = []


@contextlib.contextmanager
def client_app(name: str, url: str, namespace: str, **options: Any) -> Iterator[TaskQ]:
    """An app with the task ``add``."""
    with TaskQ(name, url, namespace, **options) as app:

        @app.task(name="add")
        def add(a: int, b: int = 0) -> int:
            return a + b

        yield app


def later(function: Callable[..., Any], *args: Any) -> None:
    """Call ``function`` in a thread once this thread waits."""
    timer = threading.Timer(SOON, function, args)
    timer.daemon = True
    _timers.append(timer)
    timer.start()


def end_timers() -> None:
    """Wait for what ``later`` began: it may still talk to a server that ends with the test."""
    while _timers:
        _timers.pop().join(10.0)


def commands_of(client: redis.Redis, name: str) -> int:
    """Return how often the server ran a command."""
    return int(client.info("commandstats").get(f"cmdstat_{name}", {"calls": 0})["calls"])
