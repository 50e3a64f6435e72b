"""Slots that fetch their jobs themselves: threads, or greenlets where the process is patched, or the main thread."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from contextvars import Context
from typing import TYPE_CHECKING

from taskq.worker.attempt import Attempt
from taskq.worker.pools.base import RECEIVE, Parts, Pool, Slot

if TYPE_CHECKING:
    from taskq.worker.coroutines import CoroutineRunner

logger = logging.getLogger(__name__)


class Mate(Slot):
    """A slot that waits at a gate between its shifts.

    Attributes:
        gate: locked while the slot may not work; None until it is first needed.
        runner: runs its coroutines; None until the first one.
    """

    __slots__ = ("gate", "runner")

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.gate: threading.Lock | None = None
        self.runner: CoroutineRunner | None = None


class Crew(Pool):
    """The common part of the process, thread and gevent pools."""

    def __init__(self, parts: Parts, slots: int) -> None:
        super().__init__(parts, slots)
        self._mates = [self._make_mate(index) for index in range(slots)]

    def _make_mate(self, index: int) -> Mate:
        return Mate(index)

    def _wake(self, slots: Iterable[int]) -> None:
        for index in slots:
            mate = self._mates[index]
            if mate.gate is None:
                mate.gate = threading.Lock()
                mate.gate.acquire()
                self._spawn(mate)
            else:
                mate.gate.release()

    def _spawn(self, mate: Mate) -> None:
        name = f"taskq-slot-{mate.index}"
        threading.Thread(target=self._stay, args=(mate,), name=name, daemon=True).start()

    def _stay(self, mate: Mate) -> None:
        """Work one shift after the other for as long as the process lives."""
        gate = mate.gate
        assert gate is not None
        try:
            while True:
                self._shift(mate)
                gate.acquire()
        except BaseException:  # a slot that is lost with its job would never be missed
            logger.critical("slot %d failed", mate.index, exc_info=True, extra={"action": "slot_failed"})
            self._parts.link.die("a slot failed outside of a job")

    def _shift(self, mate: Mate) -> None:
        """Run jobs until there are none, or others on watch are enough."""
        take, answers, roster = self._desk.take, self._answers, self._roster
        while True:
            attempt = take()
            if attempt is None:
                if self._rest(mate):
                    return
                continue
            if attempt.known.short:
                now = self._do(mate, attempt)
            else:
                answers.flush()
                self._wake(roster.leave(waiting=bool(self._desk.pending)))
                now = self._do(mate, attempt)
                roster.back()
            if answers.due(now):
                answers.flush()
            self._breathe(now)
            if roster.surplus(mate.index):
                answers.flush()
                return

    def _breathe(self, now: float) -> None:
        """Let others run, where threads do not take turns by themselves."""

    def _do(self, mate: Mate, attempt: Attempt) -> float:
        """Run one job; return its end in monotonic seconds."""
        context = self._base.copy()
        started = self._begin(mate, attempt, context)
        if attempt.task.is_async:
            attempt.error = self._run_coroutine(mate, attempt, context)
        else:
            attempt.error = self._run_function(mate, attempt, context)
        return self._end(mate, attempt, started, context)

    def _run_function(self, mate: Mate, attempt: Attempt, context: Context) -> BaseException | None:  # noqa: ARG002 (for those that interrupt)
        """Run the task in this thread; return what it raised."""
        try:
            context.run(self._parts.execution.run, attempt)
        except BaseException as error:
            return error
        return None

    def _run_coroutine(self, mate: Mate, attempt: Attempt, context: Context) -> BaseException | None:
        """Run the task in the slot's own loop; return what it raised."""
        if mate.runner is None:
            from taskq.worker.coroutines import CoroutineRunner

            mate.runner = CoroutineRunner()
        return mate.runner.run(attempt, self._parts.execution.run_async, context)

    def _call(self) -> None:
        self._parts.link.ring()

    def _read(self) -> None:
        """Take in frames and do what time asks for, until the child is to end."""
        link, wait = self._parts.link, None
        while not self.finished:
            ready = link.wait(wait)
            if self._forked_by:
                self.leave_fork(None)
            if ready:
                self._feed(link.receive(RECEIVE))
            wait = self._tick(time.monotonic())
