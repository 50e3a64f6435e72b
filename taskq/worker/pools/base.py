"""What every pool does with frames, jobs and time; whether a slot is a thread, a greenlet or a task is left to each."""

from __future__ import annotations

import contextvars
import logging
import math
import os
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskq.errors import ProtocolError
from taskq.worker.attempt import Attempt, Strike
from taskq.worker.pools.roster import Roster
from taskq.worker.protocol import Frame, FrameReader, SlotTable

if TYPE_CHECKING:
    from taskq.worker.answers import Answers
    from taskq.worker.desk import Desk
    from taskq.worker.execution import Execution
    from taskq.worker.holdings import Keepers
    from taskq.worker.joblog import JobLog
    from taskq.worker.link import Link
    from taskq.worker.tally import Tally

TICK = 0.002  # seconds between two looks at answers, backlog and limits while there is work; idle children sleep
RECEIVE = 1 << 20  # bytes a read

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a pool works with."""

    link: Link
    desk: Desk
    execution: Execution
    answers: Answers
    joblog: JobLog
    table: SlotTable
    keepers: Keepers
    tally: Tally | None = None


class Slot:
    """A place for one running job.

    Attributes:
        index: its row in the slot table.
        attempt: what runs there, None between jobs.
    """

    __slots__ = ("attempt", "index")

    def __init__(self, index: int) -> None:
        self.index = index
        self.attempt: Attempt | None = None


class Pool(ABC):
    """Runs the jobs of one child.

    ``serve`` reads frames until STOP or a bound ends the child. Subclasses wake slots (``_wake``), interrupt jobs
    (``_strike``) and let each slot go ``take -> begin -> run -> end`` in its own way.
    """

    def __init__(self, parts: Parts, slots: int) -> None:
        self._parts = parts
        self._desk = parts.desk
        self._answers = parts.answers
        self._frames = FrameReader()
        self._base = contextvars.copy_context()  # as the app's import left it; each job starts from a copy
        self._size = slots
        self._roster = Roster(slots)
        self._running: dict[int, Slot] = {}  # by handle
        self._deadlines: dict[int, float] = {}  # by handle: monotonic seconds; only of jobs with a limit, or revoked
        self._revoked: set[int] = set()  # handles among them that are to end as cancelled
        self._look_at = 0.0  # monotonic seconds of the next ``_tick``
        self._stopping = False
        self._forked_by = 0  # in a copy that a job's fork made: the thread, or greenlet, that runs on there

    @abstractmethod
    def serve(self) -> None:
        """Run jobs until the child is to end and all that it was given is answered."""

    def after_fork(self) -> None:
        """Be a copy: jobs and frames are the original's, and the socket must not stay open here after its end."""
        self._forked_by = threading.get_ident()
        self._parts.link.close()

    def leave_fork(self, error: BaseException | None) -> None:
        """End a copy of this process in which a job came back: its original answers for the job.

        The exit code is that of ``sys.exit``, if that is how it came back. Other greenlets of a copy wait for ever.
        """
        while threading.get_ident() != self._forked_by:
            time.sleep(3600.0)
        code = error.code if isinstance(error, SystemExit) else error is not None
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code if isinstance(code, int) else code is not None)

    def close(self) -> None:
        """Leave in good order, after ``serve``."""
        self._parts.joblog.close()

    @abstractmethod
    def _wake(self, slots: Iterable[int]) -> None:
        """Make each of ``slots`` look for jobs."""

    @abstractmethod
    def _call(self) -> None:
        """Have ``_tick`` run soon, from any thread."""

    def _rest(self, slot: Slot) -> bool:
        """Let ``slot`` rest if no job waits; True if it rests."""
        self._answers.flush()
        if not self._roster.rest(slot.index, self._desk.pending):
            return False
        if self.ending:
            self._call()  # this may have been the last one
        return True

    def _strike(self, slot: Slot, attempt: Attempt, strike: Strike) -> bool:  # noqa: ARG002 (for those that can)
        """Interrupt ``attempt`` if it still runs in ``slot``, once.

        Returns:
            False if it cannot be interrupted at this moment, so that it is tried again; what cannot be interrupted at
            all, such as any job of a process pool, is left to the supervisor.
        """
        return True

    # -- frames -------------------------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        """Take in what the supervisor sent; its end is the child's end."""
        if not data:
            self._parts.link.die("the supervisor is gone")
        try:
            for kind, payload in self._frames.feed(data):
                self._obey(kind, payload)
        except ProtocolError as error:
            self._parts.link.die(str(error))

    def _obey(self, kind: Frame, payload: Any) -> None:
        if kind is Frame.JOBS:
            now = time.monotonic()
            self._parts.joblog.tick(now)  # first: after a pause these jobs have lines of their own
            self._desk.add(payload, now)
            self._wake(self._roster.hail())
        elif kind is Frame.RECALL:
            self._desk.recall()
        elif kind is Frame.CANCEL:
            self._cancel(payload)
        elif kind is Frame.LOST:
            self._parts.keepers.lose(payload)
        elif kind is Frame.STOP:
            self._stopping = True
            self._wake(self._roster.hail())  # for a pool whose main thread is a slot, and rests
        else:
            raise ProtocolError(f"frame {kind.name} does not go to a child")

    def _cancel(self, handles: list[int]) -> None:
        now = time.monotonic()
        self._desk.cancel(set(handles), now)
        self._answers.flush()
        for handle in handles:
            self._revoked.add(handle)
            self._deadlines[handle] = now
        self._enforce_limits(now)
        if self._desk.pending:
            self._wake(self._roster.hail())  # slots may have found the desk empty while it was searched

    # -- time ---------------------------------------------------------------------------------------------------------

    def _tick(self, now: float) -> float | None:
        """Do what time asks for: late answers, a backlog, limits, the log.

        Returns:
            Seconds after which to call again; None if only a frame can bring work.
        """
        waits: list[float] = []
        if self._answers.due(now):
            self._answers.flush()
        if self._desk.pending:
            self._wake(self._roster.adjust(self._desk.oldest(now)))
        if self._desk.pending or len(self._answers):
            waits.append(TICK)
        next_line = self._parts.joblog.tick(now)
        if next_line is not None:
            waits.append(next_line - now)
        self._look_at = math.inf  # a job that starts from here on with an earlier limit calls
        if self._deadlines:
            waits.append(self._enforce_limits(now))
        wait = max(0.0, min(waits)) if waits else None
        self._look_at = math.inf if wait is None else now + wait
        return wait

    def _enforce_limits(self, now: float) -> float:
        """Interrupt what ran too long or was revoked; return the seconds until the next limit."""
        soonest = now + 3600.0
        for handle, deadline in list(self._deadlines.items()):
            if deadline <= now:
                if self._ended_or_struck(handle):
                    self._deadlines.pop(handle, None)
                    self._revoked.discard(handle)
                    continue
                deadline = now + TICK  # noqa: PLW2901 (it is between two steps: try again)
            soonest = min(soonest, deadline)
        return soonest - now

    def _ended_or_struck(self, handle: int) -> bool:
        slot = self._running.get(handle)
        attempt = slot.attempt if slot is not None else None
        if slot is None or attempt is None or attempt.frame.handle != handle or attempt.strike is not None:
            return True
        return self._strike(slot, attempt, Strike.CANCEL if handle in self._revoked else Strike.LIMIT)

    @property
    def ending(self) -> bool:
        """Whether nothing more will be started that is not here yet."""
        return self._stopping or self._desk.closed

    @property
    def finished(self) -> bool:
        """Whether the child is to end and nothing runs or waits."""
        return self.ending and not self._desk.pending and self._roster.all_rest

    # -- one job ------------------------------------------------------------------------------------------------------

    def _begin(self, slot: Slot, attempt: Attempt, within: contextvars.Context | None = None) -> float:
        """Note the start of ``attempt``, which runs in ``within``, else right here; return it in monotonic seconds."""
        self._parts.joblog.started(attempt)
        self._parts.execution.before(attempt, within)
        handle = attempt.frame.handle
        started = time.monotonic()
        deadline = 0.0 if attempt.limit is None else started + attempt.limit
        self._parts.table.start(slot.index, handle, started, deadline)
        slot.attempt = attempt
        self._running[handle] = slot
        if deadline:
            self._deadlines[handle] = deadline
            if deadline < self._look_at:
                self._call()
        return started

    def _end(self, slot: Slot, attempt: Attempt, started: float, within: contextvars.Context | None = None) -> float:
        """Judge, note and answer ``attempt``, as ``_begin`` had it; return its end in monotonic seconds."""
        if self._forked_by:
            self.leave_fork(attempt.error)
        parts = self._parts
        finished = time.monotonic()
        seconds = finished - started
        handle = attempt.frame.handle
        slot.attempt = None
        self._running.pop(handle, None)
        self._deadlines.pop(handle, None)
        attempt.known.observe(seconds)
        ended = parts.execution.settle(attempt, slot.index, started, finished)
        parts.table.finish(slot.index, handle)
        if parts.tally is not None:
            parts.tally.note(attempt, ended, started, seconds)
        self._answers.add(handle, ended, seconds, finished)
        parts.joblog.ended(attempt, ended, seconds)
        parts.execution.after(attempt, ended, within)
        self._desk.check_memory(finished)
        return finished
