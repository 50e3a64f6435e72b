"""What waiters of this process are told by number, over the listener's one connection."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol


class Bell(Protocol):
    """Wakes one waiter, from any thread."""

    def ring(self) -> None:
        """Wake it; a bell that was rung already stays so."""


class ThreadBell:
    """Wakes the thread, or greenlet, that made it."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._gate.acquire()

    def ring(self) -> None:
        """See ``Bell``."""
        try:
            self._gate.release()
        except RuntimeError:  # it was rung before, and nobody has heard it yet
            return

    def heard(self, deadline: float | None) -> bool:
        """Wait for the next ring; False if ``deadline``, in monotonic seconds, came first."""
        left = -1.0 if deadline is None else max(0.0, deadline - time.monotonic())
        return self._gate.acquire(timeout=left)


class Signal:
    """One waiter's address. What was told is kept until it is taken.

    Attributes:
        address: what scripts are given to tell it by: the process's token and a number.
        news: what was told and not taken yet, oldest first.
    """

    __slots__ = ("_ring", "address", "news", "number")

    def __init__(self, token: str, number: int, ring: Callable[[], None]) -> None:
        self.number = number
        self.address = f"{token}/{number}"
        self.news: deque[bytes] = deque()
        self._ring = ring

    def tell(self, news: bytes) -> None:
        """Keep ``news`` and wake the waiter."""
        self.news.append(news)
        self._ring()

    def wake(self) -> None:
        """Let the waiter look again: something may have been told while nobody listened."""
        self._ring()


class Signals:
    """The open signals of one process. Any thread may use it.

    Args:
        token: of the process's listener.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        self._numbers = itertools.count(1)
        self._open: dict[int, Signal] = {}

    def __len__(self) -> int:
        return len(self._open)

    def open(self, ring: Callable[[], None]) -> Signal:
        """Return a new signal that calls ``ring`` when something is told, or may have been; ``close`` must follow."""
        signal = Signal(self._token, next(self._numbers), ring)
        self._open[signal.number] = signal
        return signal

    def close(self, signal: Signal) -> None:
        """Leave nothing of ``signal`` behind."""
        self._open.pop(signal.number, None)

    def deliver(self, number: int, news: bytes) -> None:
        """Tell a signal; one that was closed meanwhile is none's business."""
        signal = self._open.get(number)
        if signal is not None:
            signal.tell(news)

    def alarm(self) -> None:
        """Wake all: a new subscription began, and what was told before it was told to nobody."""
        for signal in list(self._open.values()):
            signal.wake()
