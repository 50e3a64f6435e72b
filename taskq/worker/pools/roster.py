"""Which slots of a child rest and which are on watch: the policy of waking, without threads, loops or clocks.

A slot on watch is awake and will soon look for the next job: it was just woken, or it runs a job known to be short.
One on watch is enough for any number of short jobs, and waking another would cost more than they do. Whoever starts a
job that may be long leaves the watch and wakes a successor first, so waiting jobs have a slot on its way while one is
free. Where the watch does not keep up (short jobs that wait for something, or turn long) ``adjust`` doubles it.
"""

from __future__ import annotations

import threading

PATIENCE = 0.005  # seconds a job may wait before the watch is doubled


class Roster:
    """The slots 0 to ``size - 1``, all at rest. Safe to call from any thread.

    Methods that return slot numbers hand them over: the caller wakes each, and it counts as on watch from then on.
    """

    def __init__(self, size: int) -> None:
        self._resting = list(range(size - 1, -1, -1))  # a stack: the last to rest is the warmest
        self._size = size
        self._lock = threading.Lock()
        self._wanted = 1
        self.watch = 0

    @property
    def resting(self) -> int:
        """The number of slots at rest."""
        return len(self._resting)

    @property
    def all_rest(self) -> bool:
        """Whether no slot is awake."""
        return len(self._resting) == self._size

    def hail(self) -> list[int]:
        """Answer the arrival of jobs: one slot to wake if none is on watch."""
        with self._lock:
            return self._call(1 - self.watch)

    def leave(self, *, waiting: bool) -> list[int]:
        """Take the calling slot off the watch, as it starts a job that may be long.

        Args:
            waiting: whether more jobs wait.

        Returns:
            The successor to wake, if one is needed and free.
        """
        with self._lock:
            self.watch -= 1
            return self._call(1 - self.watch) if waiting else []

    def back(self) -> None:
        """Put the calling slot on watch again, after such a job."""
        with self._lock:
            self.watch += 1

    def rest(self, slot: int, pending: object) -> bool:
        """Let ``slot``, which is on watch, rest.

        Returns:
            False if ``pending`` is not empty: a job came meanwhile, and nobody else may have been woken for it.
        """
        with self._lock:
            if pending:
                return False
            self._put(slot)
            return True

    def surplus(self, slot: int) -> bool:
        """Let ``slot`` rest if the watch is larger than wanted; True if it rests."""
        if self.watch <= self._wanted:
            return False
        with self._lock:
            if self.watch <= self._wanted:
                return False
            self._put(slot)
            return True

    def adjust(self, age: float) -> list[int]:
        """Enlarge or shrink the watch by the ``age`` in seconds of the oldest waiting job, 0 for none.

        To be called every few milliseconds while jobs wait.
        """
        with self._lock:
            if age < PATIENCE:
                self._wanted = max(1, self._wanted // 2)
                return []
            self._wanted = min(self._size, max(self._wanted, self.watch) * 2)
            return self._call(self._wanted - self.watch)

    def _put(self, slot: int) -> None:
        self.watch -= 1
        self._resting.append(slot)

    def _call(self, count: int) -> list[int]:
        called = [self._resting.pop() for _ in range(min(count, len(self._resting)))]
        self.watch += len(called)
        return called
