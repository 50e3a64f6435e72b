"""What a child was given and has not started yet, and the bounds after which it starts nothing more."""

from __future__ import annotations

import itertools
import logging
import os
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path

from taskq.worker.answers import Answers
from taskq.worker.attempt import Attempt, Batch
from taskq.worker.execution import Execution
from taskq.worker.joblog import JobLog
from taskq.worker.protocol import Ended, Frame, JobFrame, Jobs, encode_frame
from taskq.worker.tally import Tally

MEMORY_INTERVAL = 0.1  # seconds between two looks at the resident memory: one takes 20 us
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024

logger = logging.getLogger(__name__)


class Desk:
    """Hands out jobs to slots, each to one, and hands back the rest when asked.

    Slots take from any thread. ``pending`` is emptied only by ``popleft``, so a job is either taken or handed back.

    Args:
        execution: prepares what is taken.
        answers: gets the refusals of jobs that cannot be run.
        joblog: notes them.
        send: sends one frame's bytes.
        tally: counts them; None where nobody collects it.
        max_jobs: after so many the desk closes; 0 for no bound.
        max_memory_kib: with more resident memory the desk closes; 0 for no bound.
    """

    def __init__(
        self,
        execution: Execution,
        answers: Answers,
        joblog: JobLog,
        send: Callable[[bytes], None],
        tally: Tally | None = None,
        *,
        max_jobs: int = 0,
        max_memory_kib: int = 0,
    ) -> None:
        self.pending: deque[tuple[JobFrame, Batch]] = deque()
        self.closed = False  # nothing more starts
        self._execution = execution
        self._answers = answers
        self._joblog = joblog
        self._send = send
        self._tally = tally
        self._max_jobs = max_jobs
        self._tickets = itertools.count(1)
        self._max_memory_kib = max_memory_kib
        self._memory_at = 0.0

    def add(self, jobs: Jobs, now: float) -> None:
        """Take in a batch; after closing it goes straight back."""
        batch = Batch(jobs.offset_us, jobs.claimed_us, now)
        self.pending.extend([(frame, batch) for frame in jobs.jobs])
        if self.closed:
            self.recall(answer_empty=False)

    def take(self) -> Attempt | None:
        """Return the next job that can be run, None if there is none; what cannot be run is answered on the way."""
        while True:
            try:
                entry = self.pending.popleft()
            except IndexError:
                return None
            frame, batch = entry
            attempt = self._execution.prepare(frame, batch)
            if attempt.refusal is not None:
                self._answer(attempt, attempt.refusal, batch.arrived)
                self._joblog.refused(attempt, attempt.refusal)
            elif not self._max_jobs:
                return attempt
            else:
                ticket = next(self._tickets)
                if ticket > self._max_jobs:
                    self.pending.appendleft(entry)
                if ticket >= self._max_jobs:
                    self.close("max_jobs")
                return attempt if ticket <= self._max_jobs else None

    def oldest(self, now: float) -> float:
        """Return the seconds that the next job waits already, 0 if there is none."""
        try:
            return now - self.pending[0][1].arrived
        except IndexError:
            return 0.0

    def recall(self, *, answer_empty: bool = True) -> None:
        """Hand back all that has not started, as one frame; an empty one too unless told otherwise."""
        handles = [frame.handle for frame, _ in self._drain()]
        if handles or answer_empty:
            self._send(encode_frame(Frame.BACK, handles))

    def cancel(self, handles: Collection[int], now: float) -> None:
        """Answer those of ``handles`` that have not started as cancelled; the others keep their order."""
        kept = []
        for entry in self._drain():
            frame, batch = entry
            if frame.handle not in handles:
                kept.append(entry)
                continue
            attempt = self._execution.prepare(frame, batch)
            self._answer(attempt, self._execution.cancelled(attempt), now)
        self.pending.extendleft(reversed(kept))

    def _answer(self, attempt: Attempt, ended: Ended, now: float) -> None:
        if self._tally is not None:
            self._tally.note(attempt, ended)
        self._answers.add(attempt.frame.handle, ended, 0.0, now)

    def _drain(self) -> list[tuple[JobFrame, Batch]]:
        entries = []
        while True:
            try:
                entries.append(self.pending.popleft())
            except IndexError:
                return entries

    def close(self, reason: str) -> None:
        """Start nothing more and hand back what waits."""
        if not self.closed:
            self.closed = True
            logger.info("child ends after its running jobs: %s reached", reason, extra={"action": "child_recycle"})
        self.recall(answer_empty=False)

    def check_memory(self, now: float) -> None:
        """Close if a job has left more memory than is allowed; to be called after each job."""
        if self._max_memory_kib and not self.closed and now - self._memory_at >= MEMORY_INTERVAL:
            self._memory_at = now
            if resident_kib() > self._max_memory_kib:
                self.close("max_memory")


def resident_kib() -> int:
    """Return this process's resident memory in KiB."""
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE_KIB
