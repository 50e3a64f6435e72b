"""Who waits for which job, and who merely wants to know if it happens to be told."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol


class Sink(Protocol):
    """What takes the end of jobs: an AsyncResult, or a ResultSet for many of them. Called from any thread."""

    def _settle(self, job_id: str, data: bytes) -> None:
        """Take the result record of a job; a second one changes nothing."""

    def _vanish(self, job_id: str) -> None:
        """Learn that there is neither the job nor a record."""

    def _covered(self, epoch: object | None) -> None:
        """Learn that there was no record after the subscription ``epoch`` began, which will tell of one."""


class Watch:
    """One waiter's interest in some jobs.

    Attributes:
        sink: what gets their ends.
        left: ids of those that have not ended.
        pushed: their ends are announced to this process; else they are only read.
        wake: called after ``error`` was set; None for who cannot be told of errors, and waits on.
        error: why they could not be read, the last time that was tried.
        due: when they are read next, in monotonic seconds.
        interval: seconds between two reads.
        rounds: how often they were read.
    """

    __slots__ = ("due", "error", "interval", "left", "pushed", "rounds", "sink", "wake")

    def __init__(self, sink: Sink, ids: Iterable[str], *, pushed: bool, wake: Callable[[], None] | None) -> None:
        self.sink = sink
        self.left = set(ids)
        self.pushed = pushed
        self.wake = wake
        self.error: Exception | None = None
        self.due = 0.0
        self.interval = 0.0
        self.rounds = 0


class Registry:
    """Finds the sinks of a job. Any thread may use it.

    ``known`` holds results that somebody may still ask for, and does not keep them alive; watches are kept.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leaving: deque[Watch] = deque()  # to be forgotten by whoever has the lock, when it lets go of it
        self._known: weakref.WeakValueDictionary[str, Sink] = weakref.WeakValueDictionary()
        self._awaited: dict[str, tuple[Watch, ...]] = {}
        self._watches: dict[Watch, None] = {}

    def know(self, job_id: str, sink: Sink) -> bool:
        """Tell ``sink`` of the job's end if it is announced; False if that place is taken by another one."""
        return self._known.setdefault(job_id, sink) is sink

    def uncover(self, job_id: str) -> None:
        """Note that the end of a job was announced without its record: who is not waiting has to read it."""
        sink = self._known.pop(job_id, None)
        if sink is not None:
            sink._covered(None)

    def add(self, watch: Watch) -> None:
        """Let ``watch`` be told."""
        alone = (watch,)
        with self._lock:
            self._watches[watch] = None
            for job_id in watch.left:
                others = self._awaited.setdefault(job_id, alone)
                if others is not alone:
                    self._awaited[job_id] = (*others, watch)
        self._sweep()

    def remove(self, watch: Watch) -> None:
        """Forget ``watch``; harmless if that was done before.

        It never blocks: the collector may end a wait in the middle of any method here, in the very same thread.
        """
        self._leaving.append(watch)
        self._sweep()

    def _sweep(self) -> None:
        while self._leaving and self._lock.acquire(blocking=False):
            try:
                if self._leaving:
                    self._forget(self._leaving.popleft())
            finally:
                self._lock.release()

    def _forget(self, watch: Watch) -> None:
        self._watches.pop(watch, None)
        for job_id in watch.left:
            others = tuple(other for other in self._awaited.get(job_id, ()) if other is not watch)
            if others:
                self._awaited[job_id] = others
            else:
                self._awaited.pop(job_id, None)

    def active(self, watch: Watch) -> bool:
        """Tell whether ``watch`` still waits for anything."""
        return watch in self._watches

    def watches(self) -> list[Watch]:
        """Return all that wait."""
        with self._lock:
            found = list(self._watches)
        self._sweep()
        return found

    def left(self, watch: Watch) -> list[str]:
        """Return the ids that ``watch`` waits for."""
        with self._lock:
            found = list(watch.left) if watch in self._watches else []
        self._sweep()
        return found

    def watchers(self, job_id: str) -> tuple[Watch, ...]:
        """Return who waits for a job."""
        return self._awaited.get(job_id, ())

    def waiting(self) -> int:
        """Return for how many jobs somebody waits."""
        return len(self._awaited)

    def give_up(self, error: Exception, watches: Iterable[Watch] | None = None) -> None:
        """Tell waiters, all where None, that there will be no news because of ``error``."""
        for watch in self.watches() if watches is None else watches:
            watch.error = error
            if watch.wake is not None:
                watch.wake()

    def settle(self, job_id: str, data: bytes) -> None:
        """Hand a job's record to everybody concerned."""
        for sink in self._take(job_id):
            sink._settle(job_id, data)

    def vanish(self, job_id: str) -> None:
        """Tell everybody concerned that there is no such job."""
        for sink in self._take(job_id):
            sink._vanish(job_id)

    def _take(self, job_id: str) -> list[Sink]:
        with self._lock:
            watches = self._awaited.pop(job_id, ())
            for watch in watches:
                watch.left.discard(job_id)
                if not watch.left:
                    self._watches.pop(watch, None)
        self._sweep()
        known = self._known.pop(job_id, None)
        sinks = [watch.sink for watch in watches]
        if known is not None and known not in sinks:
            sinks.append(known)
        return sinks
