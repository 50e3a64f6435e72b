"""What tests of barriers share: parties that come, and how their waits end."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future
from typing import Any

from coordination_kit import DEADLINE, until

from taskq.coordination.barrier import Barrier

LEASE = 0.6  # seconds, where something dies
BROKEN = "BrokenBarrierError"


class HeldAction:
    """A barrier's action that goes on until it is told to end."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.end = threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        self.end.wait(DEADLINE)


def waiting(barrier: Barrier, number: int) -> None:
    """Return when ``number`` wait."""
    until(lambda: barrier.n_waiting == number, f"{number} wait")


def enter(threads: Executor, barrier: Barrier, number: int, timeout: float = DEADLINE) -> list[Future[int]]:
    """Have ``number`` threads wait, and return when the server knows them all."""
    before = barrier.n_waiting
    waits = [threads.submit(barrier.wait, timeout) for _ in range(number)]
    waiting(barrier, before + number)
    return waits


def fates(waits: list[Future[int]]) -> list[Any]:
    """What each wait returned or raised."""
    return [type(wait.exception()).__name__ if wait.exception(DEADLINE) else wait.result() for wait in waits]
