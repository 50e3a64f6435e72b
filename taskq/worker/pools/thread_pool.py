"""Slots that are threads, made when first needed; the main thread reads."""

from __future__ import annotations

from contextvars import Context

from taskq.worker.attempt import Attempt, Strike
from taskq.worker.interrupt import Interruptible
from taskq.worker.pools.base import Slot
from taskq.worker.pools.crew import Crew, Mate


class ThreadMate(Mate):
    """A slot whose thread can be interrupted."""

    __slots__ = ("code",)

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.code = Interruptible()


class ThreadPool(Crew):
    """Runs jobs in threads. A limit reaches Python code at its next byte code, and no call that blocks in C."""

    def _make_mate(self, index: int) -> Mate:
        return ThreadMate(index)

    def serve(self) -> None:
        """See ``Pool.serve``."""
        self._read()

    def _run_function(self, mate: Mate, attempt: Attempt, context: Context) -> BaseException | None:
        assert isinstance(mate, ThreadMate)
        return mate.code.run(attempt, lambda job: context.run(self._parts.execution.run, job))

    def _strike(self, slot: Slot, attempt: Attempt, strike: Strike) -> bool:
        assert isinstance(slot, ThreadMate)
        if attempt.task.is_async:
            return slot.runner is not None and slot.runner.interrupt(attempt, strike)
        return slot.code.interrupt(attempt, strike)
