"""Slots that are greenlets: the threads of a patched process. Each runs coroutines in a loop of its own."""

from __future__ import annotations

import os
import time
from contextvars import Context

import gevent

from taskq.worker.attempt import Attempt, Strike
from taskq.worker.interrupt import raised_by
from taskq.worker.pools import green_asyncio
from taskq.worker.pools.base import Parts, Slot
from taskq.worker.pools.crew import Crew, Mate

TURN = 0.003  # seconds after which a slot lets the others and the reader run, if its jobs did not


class GreenMate(Mate):
    """A slot that is a greenlet.

    Attributes:
        greenlet: known once it works.
        open: the attempt whose code runs in it now and may be interrupted.
    """

    __slots__ = ("greenlet", "open")

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.greenlet: gevent.Greenlet | None = None
        self.open: Attempt | None = None


class GeventPool(Crew):
    """Runs jobs in greenlets. A limit reaches code that waits; a busy one is the supervisor's."""

    def __init__(self, parts: Parts, slots: int) -> None:
        super().__init__(parts, slots)
        self._turn = 0.0

    def _make_mate(self, index: int) -> Mate:
        return GreenMate(index)

    def serve(self) -> None:
        """See ``Pool.serve``."""
        # The hub would throw what a job's own greenlet raised into this one, perhaps between two halves of a frame.
        hub = gevent.get_hub()
        hub.SYSTEM_ERROR = ()
        # gevent listens to SIGCHLD only after its first fork, and waits for ever for a child that ended before.
        os.register_at_fork(before=hub.loop.install_sigchld)
        green_asyncio.install()
        self._read()

    def _breathe(self, now: float) -> None:
        if now - self._turn >= TURN:
            gevent.sleep(0)
            self._turn = time.monotonic()

    def _run_function(self, mate: Mate, attempt: Attempt, context: Context) -> BaseException | None:
        assert isinstance(mate, GreenMate)
        mate.greenlet = gevent.getcurrent()
        mate.open = attempt
        error = super()._run_function(mate, attempt, context)
        mate.open = None
        return error

    def _strike(self, slot: Slot, attempt: Attempt, strike: Strike) -> bool:
        assert isinstance(slot, GreenMate)
        if attempt.task.is_async:
            return slot.runner is not None and slot.runner.interrupt(attempt, strike)
        if slot.open is not attempt or attempt.strike is not None:
            return False
        gevent.get_hub().loop.run_callback(self._throw, slot, attempt, strike)
        return True

    def _throw(self, mate: GreenMate, attempt: Attempt, strike: Strike) -> None:
        """Called by the hub: every greenlet is suspended now, so the job cannot end between the look and the throw."""
        if mate.open is attempt and attempt.strike is None and mate.greenlet is not None:
            attempt.strike = strike
            mate.greenlet.throw(raised_by(strike)())
