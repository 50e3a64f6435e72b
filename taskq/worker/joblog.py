"""The lines about jobs that a person follows, bounded where jobs are many."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from taskq.model.outcome import Verdict
from taskq.worker.logs import one_line
from taskq.worker.protocol import DEFERRED

if TYPE_CHECKING:
    from taskq.model.outcome import ErrorInfo
    from taskq.worker.attempt import Attempt
    from taskq.worker.protocol import Ended

LINES_PER_SECOND = 50  # of starts, and as many of successes: more is not read, and a flood of no-ops may not pay for it
WINDOW = 1.0  # seconds
_ACTIONS: dict[str, str] = {
    Verdict.RETRY: "job_retry",
    Verdict.DEAD: "job_failed",
    Verdict.CANCELLED: "job_cancelled",
    DEFERRED: "job_deferred",
}

logger = logging.getLogger("taskq.job")


class JobLog:
    """Starts and successes up to a bound per second and then one line with their number; every retry and failure.

    Counted without a lock: threads that meet may write a line more than the bound, or miss one in the number.

    Args:
        routine: whether starts and successes are written at all.
        worker: the id of the worker, for machines that read the lines.
    """

    def __init__(self, *, routine: bool = True, worker: str = "") -> None:
        self._worker = worker
        self._routine = routine and logger.isEnabledFor(logging.INFO)
        self._starts = self._successes = LINES_PER_SECOND if self._routine else 0
        self._refusals = LINES_PER_SECOND
        self._quiet = 0  # successes without a line since the last one with a number
        self._window = 0.0  # when the present second began

    def _extra(self, action: str, attempt: Attempt, seconds: float | None = None) -> dict[str, object]:
        extra: dict[str, object] = {
            "action": action,
            "task": attempt.name,
            "job_id": attempt.job_id,
            "queue": attempt.frame.queue,
            "worker": self._worker,
            "attempt": attempt.number,
        }
        if seconds is not None:
            extra["seconds"] = round(seconds, 6)
        return extra

    def started(self, attempt: Attempt) -> None:
        """Note that a job starts."""
        if self._starts > 0:
            self._starts -= 1
            logger.info("%s %s started", attempt.task.name, attempt.job_id, extra=self._extra("job_started", attempt))

    def ended(self, attempt: Attempt, ended: Ended | None, seconds: float) -> None:
        """Note how a job ended after ``seconds``: a retry is a warning, a failure an error."""
        if ended is None or ended.verdict == Verdict.DONE:
            self._succeeded(attempt, seconds)
            return
        extra = self._extra(_ACTIONS[ended.verdict], attempt, seconds)
        about = (attempt.name, attempt.job_id)
        if ended.verdict == Verdict.RETRY:
            logger.warning(
                "%s %s failed at attempt %d and is tried again in %s: %s",
                *about,
                attempt.number,
                _duration(ended.delay_ms / 1000),
                _reason(attempt.info),
                extra=extra,
            )
        elif ended.verdict == Verdict.DEAD:
            logger.error("%s %s failed after %s: %s", *about, _duration(seconds), _reason(attempt.info), extra=extra)
        else:
            logger.warning("%s %s was revoked after %s", *about, _duration(seconds), extra=extra)

    def refused(self, attempt: Attempt, ended: Ended) -> None:
        """Note that a job could not be run at all."""
        if self._refusals <= 0:
            return
        self._refusals -= 1
        action = _ACTIONS[ended.verdict]
        fate = "ends" if ended.verdict == Verdict.DEAD else f"is given back for {_duration(ended.delay_ms / 1000)}"
        logger.warning("job %s %s: %s", attempt.job_id, fate, _reason(attempt.info), extra=self._extra(action, attempt))

    def _succeeded(self, attempt: Attempt, seconds: float) -> None:
        if self._successes > 0:
            self._successes -= 1
            logger.info(
                "%s %s succeeded in %s",
                attempt.task.name,
                attempt.job_id,
                _duration(seconds),
                extra=self._extra("job_succeeded", attempt, seconds),
            )
        else:
            self._quiet += 1

    def tick(self, now: float) -> float | None:
        """Begin another second if it is time, and write the number of jobs that had no line.

        Returns:
            The monotonic time at which this must be called again; None if nothing waits.
        """
        if now - self._window >= WINDOW:
            quiet, self._quiet = self._quiet, 0
            if quiet and self._routine:
                extra = {"action": "jobs_succeeded", "jobs": quiet}
                logger.info("%s more jobs succeeded in the last second", f"{quiet:,}", extra=extra)
            self._window = now
            self._refusals = LINES_PER_SECOND
            self._starts = self._successes = LINES_PER_SECOND if self._routine else 0
        return self._window + WINDOW if self._quiet and self._routine else None

    def close(self) -> None:
        """Write the number of jobs that had no line yet."""
        self._window = 0.0
        self.tick(WINDOW)


def _reason(info: ErrorInfo | None) -> str:
    if info is None:
        return ""
    return one_line(f"{info.type}: {info.message}" if info.message else info.type)


def _duration(seconds: float) -> str:
    return f"{seconds:,.1f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
