"""How an attempt ended, and the result record that tells it."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from taskq import errors as own
from taskq.errors import (
    CallRefused,
    JobCrashed,
    JobError,
    JobExpired,
    RemoteError,
    ResultTooLarge,
    SignatureError,
    TimeLimitExceeded,
    UnknownSigningKey,
    shorten,
)
from taskq.model.signing import bare

MAX_TRACEBACK = 16_384  # characters; the end of a traceback names the error, so the end is kept
MAX_MESSAGE = 2_048  # characters of an exception's text
MAX_TYPE = 200  # characters of a class's name; its end tells more than its package
MAX_ERRORS = 3  # kept with a job: the first is gone soon, the last explain it
RECORD_VERSION = 1


class Verdict(StrEnum):
    """What the settling script does with a job; the letters are its arguments."""

    DONE = "o"
    RETRY = "r"
    DEAD = "f"
    CRASHED = "c"
    CANCELLED = "x"


class Ending(StrEnum):
    """The terminal states, as a result record and a person name them."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CRASHED = "crashed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class ErrorInfo(msgspec.Struct, array_like=True, frozen=True):
    """An exception as data: nothing is ever imported by ``type``, which is as ``type_name`` gives it."""

    type: str
    message: str
    traceback: str = ""


class Record(msgspec.Struct, array_like=True, frozen=True):
    """A result record. Times are microseconds of the server's clock, 0 where unknown.

    ``root`` is the id of the job from which this one came, over however many; empty for a call from outside.
    """

    version: int
    ending: str
    payload: bytes = b""
    codec: str = ""
    error: ErrorInfo | None = None
    task: str = ""
    worker: str = ""
    child: int = 0
    slot: int = 0
    attempt: int = 1
    enqueued_us: int = 0
    claimed_us: int = 0
    started_us: int = 0
    finished_us: int = 0
    root: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one delivery ended, as a child reports it.

    Attributes:
        verdict: what becomes of the job.
        record: the encoded result record; empty where no result is kept.
        delay_ms: for RETRY, until the next attempt.
        ttl_ms: for DONE and DEAD, how long the record is kept.
        errors: the job's last errors, encoded; for RETRY and DEAD.
    """

    verdict: Verdict
    record: bytes = b""
    delay_ms: int = 0
    ttl_ms: int = 0
    errors: bytes = b""

    @property
    def error(self) -> ErrorInfo | None:
        """What this delivery raised, as data; None for a success and for a job that was revoked."""
        errors = decode_errors(self.errors)
        return errors[-1] if errors else None


_encoder = msgspec.msgpack.Encoder()
_decode_record = msgspec.msgpack.Decoder(Record).decode
_decode_errors = msgspec.msgpack.Decoder(list[ErrorInfo]).decode


def encode_record(record: Record) -> bytes:
    """Return the record's bytes."""
    return _encoder.encode(record)


def decode_record(data: bytes) -> Record:
    """Read a record; a signature before it is not looked at.

    Raises:
        msgspec.DecodeError: if the bytes are no record.
    """
    try:
        return _decode_record(bare(data))
    except (ValueError, RecursionError) as error:  # text that is none, or nested too deeply
        raise msgspec.DecodeError(str(error)) from None


def add_error(errors: bytes, error: ErrorInfo) -> bytes:
    """Return ``errors`` with ``error`` as the last, at most MAX_ERRORS of them; damaged ones are dropped."""
    return _encoder.encode([*decode_errors(errors), error][-MAX_ERRORS:])


def decode_errors(errors: bytes) -> list[ErrorInfo]:
    """Read a job's last errors; damaged bytes give none."""
    try:
        return _decode_errors(errors) if errors else []
    except (msgspec.DecodeError, ValueError, RecursionError):  # text that is none, or nested too deeply
        return []


def error_info(error: BaseException, traceback: str = "") -> ErrorInfo:
    """Describe ``error`` as data, capped; never raises, whatever the exception's own methods do."""
    try:
        message = str(error)
    except BaseException as inner:
        message = f"<{type(inner).__name__} while reading the message>"
    return ErrorInfo(type_name(type(error)), clean(message[:MAX_MESSAGE]), clean(traceback[-MAX_TRACEBACK:]))


def type_name(cls: type) -> str:
    """Return how a record names the class of an exception; never raises.

    Bare for Python's and taskq's own exceptions, else with the module, as a traceback shows it: so that no other class
    has the name of a builtin.
    """
    try:
        name = cls.__name__
        if vars(builtins).get(name) is cls or vars(own).get(name) is cls:
            return name
        path = f"{cls.__module__}.{cls.__qualname__.replace('<locals>.', '')}"
    except Exception:  # a metaclass may override anything
        return "?"
    return clean(path[-MAX_TYPE:])


def clean(text: str) -> str:
    """Return ``text`` with lone surrogates replaced, so that it can be encoded."""
    return text.encode("utf-8", "replace").decode("utf-8")


_ERRORS: dict[str, type[JobError]] = {
    error.__name__: error
    for error in (
        JobExpired, JobCrashed, TimeLimitExceeded, ResultTooLarge, CallRefused, SignatureError, UnknownSigningKey,
    )
}  # fmt: skip


def exception_of(record: Record, job_id: str) -> JobError:
    """Return the exception that tells a caller how a job without a value ended.

    Only taskq's own conditions come back as their classes; a task's exception is a ``RemoteError``, with the remote
    traceback as a note.
    """
    info = record.error or ErrorInfo("Unknown", f"job ended as {shorten(record.ending)}")
    own = _ERRORS.get(info.type)
    if own is not None:
        return own(info.message if job_id in info.message else f"{info.message} (job {job_id})")
    error = RemoteError(info.type, info.message, info.traceback, job_id)
    if info.traceback:
        error.add_note(f"\n{info.traceback.rstrip()}")
    return error
