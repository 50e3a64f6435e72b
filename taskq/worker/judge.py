"""How an attempt ended: from what it raised or returned to what the supervisor is told."""

from __future__ import annotations

import logging
import math
import traceback
from typing import TYPE_CHECKING, Any

import msgspec

from taskq.config import MAX_SECONDS
from taskq.errors import InvalidDelay, Retry, TimeLimitExceeded, shorten
from taskq.model.following import FollowUp, after_failure
from taskq.model.job import State
from taskq.model.outcome import RECORD_VERSION, Ending, ErrorInfo, Record, Verdict, add_error, encode_record, error_info
from taskq.model.signing import is_signed
from taskq.worker.attempt import Attempt, Stage, Strike
from taskq.worker.protocol import DEFERRED, Ended

if TYPE_CHECKING:
    from taskq.model.job import Body, Header
    from taskq.model.signing import Signer
    from taskq.worker.attempt import Known

DEFER_FIRST = (
    1.0  # seconds until a job of an unknown task is offered again, doubled each time; the script has the bound
)
DEFER_MAX = 60.0  # seconds
MAX_COUNTDOWN = 10 * 365 * 86_400.0  # seconds: ten years, as for a delay that a producer asks for
DEFAULT_TTL = 3600.0  # seconds that the record of a job is kept whose task is not known here
FRESH = State()

logger = logging.getLogger(__name__)


class Judge:
    """Judges the attempts of one child.

    Args:
        worker: the worker's name, for result records.
        child: this process's number, for result records.
        signer: signs them; None where nothing is signed.
    """

    def __init__(self, worker: str, child: int, signer: Signer | None = None) -> None:
        self._worker = worker
        self._child = child
        self._signer = signer

    def settle(self, attempt: Attempt, slot: int, started: float, finished: float) -> Ended | None:
        """Judge an attempt that ran.

        Args:
            attempt: with ``error`` and ``strike`` as the pool found them.
            slot: where it ran.
            started: in monotonic seconds.
            finished: likewise.

        Returns:
            What to report; None for a success that has no more to say.
        """
        times = (slot, started, finished)
        error = attempt.error
        if attempt.strike is Strike.LIMIT:
            late = TimeLimitExceeded(f"{attempt.task.name} ran longer than its time_limit of {attempt.limit or 0:g} s")
            error = late.with_traceback(error.__traceback__ if error is not None else None)
        if error is None:
            return self._success(attempt, *times)
        if attempt.strike is Strike.CANCEL:
            return self.cancelled(attempt, *times)
        delay = retry_delay(attempt, error)
        info = describe(attempt, error)
        attempt.error = None  # it holds every frame of the job, and those hold it
        if delay is None:
            return self.dead(attempt, info, *times)
        attempt.info = info
        errors = add_error(attempt.state.errors, info)
        return Ended(attempt.frame.handle, Verdict.RETRY, delay_ms=int(delay * 1000), errors=errors)

    def _success(self, attempt: Attempt, slot: int, started: float, finished: float) -> Ended | None:
        meta, reply = attempt.body.meta, attempt.header.reply
        follow_ups = attempt.given if attempt.passes else follow_ups_of(meta, "link") if meta else []
        if attempt.quiet:
            if not reply and not follow_ups:
                return None
            return Ended(attempt.frame.handle, Verdict.DONE, reply=reply, follow_ups=follow_ups)
        record = self._record(attempt, Ending.SUCCEEDED, None, slot, started, finished)
        return Ended(attempt.frame.handle, Verdict.DONE, record, 0, _ttl_ms(attempt), b"", reply, follow_ups)

    def cancelled(self, attempt: Attempt, slot: int = 0, started: float = 0.0, finished: float = 0.0) -> Ended:
        """Judge a job that was revoked, whether it had started or not."""
        attempt.error = None
        attempt.info = info = ErrorInfo("CancelledError", "revoked")
        record = b"" if attempt.quiet else self._record(attempt, Ending.CANCELLED, info, slot, started, finished)
        reply = attempt.header.reply
        return Ended(attempt.frame.handle, Verdict.CANCELLED, record, 0, _ttl_ms(attempt), b"", reply)

    def dead(
        self, attempt: Attempt, info: ErrorInfo, slot: int = 0, started: float = 0.0, finished: float = 0.0
    ) -> Ended:
        """Judge a job that failed for good, however little of its envelope could be read."""
        attempt.info = info
        state: State = getattr(attempt, "state", FRESH)
        header: Header | None = getattr(attempt, "header", None)
        body: Body | None = getattr(attempt, "body", None)
        return Ended(
            attempt.frame.handle,
            Verdict.DEAD,
            self._record(attempt, Ending.FAILED, info, slot, started, finished),
            0,
            _ttl_ms(attempt),
            add_error(state.errors, info),
            header.reply if header is not None else "",
            self._after(attempt, body, info) if body is not None and body.meta else [],
        )

    def _after(self, attempt: Attempt, body: Body, info: ErrorInfo) -> list[FollowUp]:
        signer = self._signer if self._signer is not None and is_signed(attempt.frame.data) else None
        lives = attempt.state.lives
        links = after_failure(body.meta, attempt.job_id, body.task, Ending.FAILED, info, signer, lives)
        return _checked(links, "link_error") if links else []

    def deferred(self, attempt: Attempt, error: Exception) -> Ended:
        """Judge a job that this worker does not know how to run, and another one may."""
        attempt.info = error_info(error)
        state: State = getattr(attempt, "state", FRESH)
        delay = min(DEFER_MAX, DEFER_FIRST * 2.0 ** min(state.defers, 16))
        errors = add_error(state.errors, attempt.info)
        return Ended(attempt.frame.handle, DEFERRED, delay_ms=int(delay * 1000), errors=errors)

    def _record(
        self,
        attempt: Attempt,
        ending: Ending,
        error: ErrorInfo | None,
        slot: int,
        started: float,
        finished: float,
    ) -> bytes:
        offset = attempt.batch.offset_us
        known: Known | None = getattr(attempt, "known", None)
        header: Header | None = getattr(attempt, "header", None)
        record = encode_record(
            Record(
                RECORD_VERSION,
                ending,
                attempt.payload if error is None else b"",
                known.task.codec.name if known is not None else "",
                error,
                attempt.name,
                self._worker,
                self._child,
                slot,
                attempt.number,
                header.enqueued_ms * 1000 if header is not None else 0,
                attempt.batch.claimed_us,
                offset + int(started * 1e6) if started else 0,
                offset + int(finished * 1e6) if finished else 0,
                attempt.root,
            )
        )
        if self._signer is None:
            return record
        return self._signer.sign_result(attempt.frame.queue, attempt.frame.unique, record)


def retry_delay(attempt: Attempt, error: BaseException) -> float | None:
    """Return the seconds until the next attempt, None if this was the last.

    A job whose arguments or result cannot be used is not tried again: it would end the same way.
    """
    policy, attempts = attempt.task.retry, attempt.state.attempts
    if attempt.strike is None and attempt.stage is not Stage.RUN:
        return None
    if not policy.allows(attempts):
        return None
    if isinstance(error, Retry):
        return policy.delay(attempts) if error.countdown is None else _seconds(error.countdown)
    return policy.delay(attempts) if isinstance(error, attempt.task.retry_types) else None


def _seconds(countdown: object) -> float | None:
    """Return ``countdown`` if it can be waited, None (the job ends) if it is no number of seconds."""
    if isinstance(countdown, bool) or not isinstance(countdown, int | float) or not 0 <= countdown < math.inf:
        return None
    return min(float(countdown), MAX_COUNTDOWN)


def describe(attempt: Attempt, error: BaseException) -> ErrorInfo:
    """Return the error as data, with the frames of the job's own code only; never raises."""
    if attempt.stage is not Stage.RUN:
        return error_info(error)
    if not isinstance(error, Retry):
        return error_info(error, _traceback(error))
    policy = attempt.task.retry
    if error.countdown is not None and _seconds(error.countdown) is None:
        wrong = InvalidDelay(f"Retry(countdown={shorten(error.countdown)}) is no number of seconds from 0")
        return error_info(wrong, _traceback(error))
    if policy.allows(attempt.state.attempts):
        return error_info(error, _traceback(error))
    reason = f"asked for another attempt after all {policy.max_retries} retries"
    reason = f"{error.reason} ({reason})" if error.reason else reason
    return ErrorInfo("Retry", error_info(ValueError(reason)).message, error_info(error, _traceback(error)).traceback)


def _traceback(error: BaseException) -> str:
    frames = error.__traceback__
    while frames is not None and str(frames.tb_frame.f_globals.get("__name__")).startswith("taskq.worker."):
        frames = frames.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, frames))
    except BaseException:  # an exception may override anything that formatting touches
        return ""


def _ttl_ms(attempt: Attempt) -> int:
    """Return how long the record is kept: as the call, else the task says."""
    body: Body | None = getattr(attempt, "body", None)
    known: Known | None = getattr(attempt, "known", None)
    value = body.meta.get("result_ttl") if body is not None and body.meta else None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return int(min(value, MAX_SECONDS) * 1000)
    return int((known.task.result_ttl if known is not None else DEFAULT_TTL) * 1000)


def follow_ups_of(meta: dict[str, Any], key: str) -> list[FollowUp]:
    """Return the calls that follow, as the client encoded them."""
    return _checked(meta.get(key) or [], key)


def _checked(links: Any, key: str) -> list[FollowUp]:
    try:
        return msgspec.convert(links, list[FollowUp])
    except msgspec.ValidationError as error:
        logger.error("%s of a job is damaged and left out: %s", key, error, extra={"action": "link_damaged"})
        return []
