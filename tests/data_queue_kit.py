"""What tests of data queues share: calls that block, and a look at the lines in which they stand."""

from __future__ import annotations

import queue as standard
import threading
import time
from collections.abc import Callable
from typing import Any

from worker_kit import wait_until

from taskq.broker import items
from taskq.broker.call import Command

DEADLINE = 20.0  # seconds: the machine may run other suites; below the 30 s after which a lost message is found


class Call:
    """A call that blocks, in a thread of its own.

    Attributes:
        value: what it returned.
        error: what it raised.
        ended_at: when, on the monotonic clock; 0 while it blocks.
    """

    def __init__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self.ended_at = 0.0
        self._call = (function, args, kwargs)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def blocks(self) -> bool:
        return self._thread.is_alive()

    def end(self, timeout: float = DEADLINE) -> Any:
        """Wait for its end; return or raise what it did."""
        self._thread.join(timeout)
        assert not self.blocks, "still blocked"
        if self.error is not None:
            raise self.error
        return self.value

    def _run(self) -> None:
        function, args, kwargs = self._call
        try:
            self.value = function(*args, **kwargs)
        except BaseException as error:
            self.error = error
        self.ended_at = time.monotonic()


def in_line(queue: Any, line: str) -> int:
    """How many stand in a line of the queue, or wait for ``join``."""
    card = "SCARD" if line == "joiners" else "ZCARD"
    return int(queue._app.broker.read(Command((card, queue._keys.key(line)), int)))


def blocked(queue: Any, line: str, calls: list[Call]) -> list[Call]:
    """Wait until all ``calls`` stand in a line."""
    wait_until(lambda: in_line(queue, line) == len(calls), f"{len(calls)} {line}: {[each.error for each in calls]}")
    assert all(call.blocks for call in calls)
    return calls


def drained(queue: Any) -> list[Any]:
    """Take all items that are there."""
    found = []
    while True:
        try:
            found.append(queue.get_nowait())
        except standard.Empty:
            return found


def unfinished(queue: Any) -> int:
    """How many items were put and not finished."""
    return int(queue._app.broker.run(items.stand(queue._keys)).unfinished)
