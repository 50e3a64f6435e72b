"""Counts what became of jobs, in the children, for whoever collects metrics; nothing is counted where nobody does."""

from __future__ import annotations

import threading
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

import msgspec

from taskq.model.outcome import Verdict
from taskq.worker.protocol import DEFERRED, JobTally

if TYPE_CHECKING:
    from taskq.worker.attempt import Attempt
    from taskq.worker.protocol import Ended

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
"""Upper ends of the buckets, in seconds: from a no-op's to a report's; the last bucket has no end."""

UNKNOWN: Final = "unknown"  # for every task that the app does not have: such names are anybody's, and without number
SUCCEEDED: Final = "succeeded"
OUTCOMES: Final[dict[str, str]] = {
    Verdict.DONE: SUCCEEDED,
    Verdict.RETRY: "retried",
    Verdict.DEAD: "failed",
    Verdict.CANCELLED: "cancelled",
    Verdict.CRASHED: "crashed",
    DEFERRED: "deferred",
}


class Buckets(msgspec.Struct, array_like=True):
    """A histogram over BOUNDS: a count for each bucket, and the sum of the values."""

    counts: list[int]
    total: float = 0.0

    @classmethod
    def empty(cls) -> Buckets:
        """Return one without values."""
        return cls([0] * (len(BOUNDS) + 1))

    def add(self, value: float) -> None:
        """Count a value in seconds; one below zero, as clocks differ, counts as zero."""
        value = max(0.0, value)
        self.counts[bisect_left(BOUNDS, value)] += 1
        self.total += value

    def merge(self, counts: list[int], total: float) -> None:
        """Count what another one has counted; extra buckets of another version are left out."""
        for i, count in enumerate(counts[: len(self.counts)]):
            self.counts[i] += count
        self.total += total

    def copy(self) -> Buckets:
        """Return another one with the same values."""
        return Buckets(list(self.counts), self.total)


class Sums(msgspec.Struct):
    """Jobs of one queue, task and outcome: how many, how long they waited before the first attempt, and ran."""

    jobs: int = 0
    waits: Buckets = msgspec.field(default_factory=Buckets.empty)
    runs: Buckets = msgspec.field(default_factory=Buckets.empty)


class Tally:
    """What a child's jobs came to since they were last told of. Any thread may note."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # adding to a number takes several steps of the interpreter
        self._noted: dict[tuple[str, str, str], Sums] = {}

    def note(self, attempt: Attempt, ended: Ended | None, started: float = 0.0, seconds: float = 0.0) -> None:
        """Note how a job ended.

        Args:
            attempt: the job.
            ended: the answer; None for a success without a record.
            started: monotonic seconds; 0 for a job that was not run.
            seconds: how long it ran.
        """
        known = getattr(attempt, "known", None)
        outcome = SUCCEEDED if ended is None else OUTCOMES[ended.verdict]
        key = (attempt.frame.queue, known.task.name if known is not None else UNKNOWN, outcome)
        with self._lock:
            sums = self._noted.get(key)
            if sums is None:
                sums = self._noted[key] = Sums()
            sums.jobs += 1
            if not started:
                return
            sums.runs.add(seconds)
            if attempt.state.attempts == 0:
                sums.waits.add(started + attempt.batch.offset_us / 1e6 - attempt.header.enqueued_ms / 1e3)

    def take(self) -> list[JobTally]:
        """Return what was noted, and begin anew."""
        with self._lock:
            noted, self._noted = self._noted, {}
        return [
            JobTally(*key, one.jobs, one.waits.counts, one.waits.total, one.runs.counts, one.runs.total)
            for key, one in noted.items()
        ]
