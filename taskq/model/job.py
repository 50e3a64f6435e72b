r"""The envelope of a job: header, body and state, and the ids that name it.

A job travels in three parts. The *header* is one line of text that scripts may read; the *body* is immutable and opaque
to scripts; the *state* exists only while it differs from the default. Header and body are stored together::

    <enqueued ms>;<version>;<flags>;<reply>;<expires ms>;<priority>\n<body>

where the script that accepts the job writes the first field by the server's clock. Empty fields keep their place. A
signature, where there is one, is a further field and the last; see ``signing.py``.

A newer version may change everything but the first two fields: who does not know it looks at nothing else, and leaves
the job to others. Only where it keeps the priority in its place do older scripts keep the order of a priority queue.
"""

from __future__ import annotations

import os
import re
import threading
import time
from functools import lru_cache
from typing import Any

import msgspec

from taskq.errors import InvalidJobId, shorten
from taskq.model.discipline import check_queue_name

VERSION = 1  # of the envelope; a worker leaves newer ones to others, a script quarantines what is none
FLAG_IGNORE_RESULT = "i"  # no result record is stored
FLAG_EXPIRES = "x"  # the field <expires ms> is set, counted from <enqueued ms>

_USUAL_STAMP = 13  # digits of the first field: milliseconds, until the year 2286
_NEWER = re.compile(rb"[0-9]+;([1-9][0-9]{0,2});")  # how a header begins, whatever follows; as in lua/include/text.lua
JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_STAMP = 16  # digits of a time that is one
_USUAL_REST = 80  # characters of a header after its stamp without a signature; no more are kept for the next job
_SHORT_LINE = 24  # characters of a state's first line: too few for any number in it to be above MAX_COUNT
MAX_COUNT = 10**15  # of anything that happened to a job; what is more was never counted. As in lua/include/state.lua
_DIGITS = "0123456789abcdefghijklmnopqrstuv"  # base32hex in lower case: text order is number order
_PAIRS = [a + b for a in _DIGITS for b in _DIGITS]
_COUNTER_LIMIT = 1 << 15  # three base32 digits, ids of one process within a millisecond


def _base32(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        digits.append(_DIGITS[number & 31])
        number >>= 5
    return "".join(reversed(digits))


class IdGenerator:
    """Makes ids of 20 characters that sort by time: 9 of milliseconds, 3 of a counter, 8 of chance.

    The counter comes before the chance so that the ids of one process always ascend. The 40 bits of chance are drawn
    anew in every process; 10,000 producers at once have a chance of 1 in 20,000 that any two drew the same, and then
    only jobs of the same millisecond and counter would meet, which the enqueue script reports as a conflict.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Another thread may hold it at the moment of a fork, and is not there in the child to let it go.
        os.register_at_fork(after_in_child=self._lock._at_fork_reinit)  # type: ignore[attr-defined]
        self._pid = 0
        self._ms = 0
        self._counter = 0
        self._prefix = ""
        self._suffix = ""

    def __call__(self) -> str:
        """Return a new id, greater than all before it in this process."""
        with self._lock:
            if os.getpid() != self._pid:
                self._start()
            ms = time.time_ns() // 1_000_000
            counter = self._counter + 1
            if ms > self._ms:
                self._ms, counter = ms, 0
                self._prefix = _base32(ms, 9)
            elif counter == _COUNTER_LIMIT:
                self._ms, counter = self._ms + 1, 0  # run ahead of the clock rather than wait for it
                self._prefix = _base32(self._ms, 9)
            self._counter = counter
            return f"{self._prefix}{_PAIRS[counter >> 5]}{_DIGITS[counter & 31]}{self._suffix}"

    def _start(self) -> None:
        self._pid = os.getpid()
        self._suffix = random_token(8)


def random_token(width: int = 12) -> str:
    """Return ``width`` random base32 characters (5 bits each)."""
    return _base32(int.from_bytes(os.urandom((width * 5 + 7) // 8), "big"), width)


def check_job_id(unique: object) -> str:
    """Return ``unique`` if it can name a job inside its queue.

    Raises:
        InvalidJobId: if it is no text, or has other characters or more than 64.
    """
    if not isinstance(unique, str) or JOB_ID.fullmatch(unique) is None:
        raise InvalidJobId(
            f"job id {shorten(unique)} cannot be used: 1 to 64 letters, digits, '.', '_' or '-', "
            "the first a letter or digit"
        )
    return unique


def split_id(job_id: object) -> tuple[str, str]:
    """Split ``queue/unique`` into its parts; the queue is empty where only the unique part is given.

    Raises:
        InvalidJobId: if it is no such text.
    """
    if not isinstance(job_id, str) or job_id.count("/") > 1:
        raise InvalidJobId(f"job id {shorten(job_id)} is not of the form queue/unique")
    queue, _, unique = job_id.rpartition("/")
    if "/" in job_id:
        check_queue_name(queue)
    return queue, check_job_id(unique)


class Body(msgspec.Struct, array_like=True, frozen=True):
    """The immutable part: what to run.

    Attributes:
        task: the registered name.
        payload: the encoded arguments.
        codec: the serializer's name; empty for the default.
        meta: what is rarely there: ``parent``, ``root``, ``headers``, ``time_limit``, ``result_ttl``, ``link``,
            ``link_error``.
    """

    task: str
    payload: bytes
    codec: str = ""
    meta: dict[str, Any] = {}


_encode = msgspec.msgpack.Encoder().encode
_decode_body = msgspec.msgpack.Decoder(Body).decode


def encode_body(task: str, payload: bytes, codec: str = "", meta: dict[str, Any] | None = None) -> bytes:
    """Return the body's bytes; trailing defaults take no room."""
    if meta:
        return _encode((task, payload, codec, meta))
    return _encode((task, payload, codec)) if codec else _encode((task, payload))


def decode_body(data: bytes) -> Body:
    """Read a body.

    Raises:
        msgspec.DecodeError: if the bytes are no body.
    """
    try:
        return _decode_body(data)
    except (ValueError, RecursionError) as error:  # text that is none, or nested too deeply
        raise msgspec.DecodeError(str(error)) from None


def encode_header(
    reply: str = "", flags: str = "", expires_ms: int | None = None, priority: float | None = None
) -> str:
    """Return the header line of a job without its first field, which the server writes.

    Args:
        reply: the producer's channel token; empty where nobody is told.
        flags: letters of the ``FLAG_`` constants.
        expires_ms: milliseconds after which the job may not start any more.
        priority: lower leaves first; only for priority queues.
    """
    if expires_ms is not None:
        flags += FLAG_EXPIRES
    expires = "" if expires_ms is None else str(expires_ms)
    rank = "" if priority is None else repr(priority)
    return f"{VERSION};{flags};{reply};{expires};{rank}\n"


class Job(msgspec.Struct, frozen=True, gc=False):
    """One frozen call of a task as it is sent: ``data`` is header and body, ``delay_ms`` counts from acceptance."""

    unique: str
    data: bytes
    delay_ms: int = 0


class State(msgspec.Struct, frozen=True, gc=False):
    """What happened to a job so far; the default is a job that was never handed out."""

    delivery: int = 0
    attempts: int = 0  # ended by an exception and retried
    crashes: int = 0  # a child died while running it
    losses: int = 0  # its worker vanished while it ran
    defers: int = 0  # given back because the task was unknown; or the envelope was newer, which is counted to six
    errors: bytes = b""  # of the last attempts, encoded by outcome.encode_errors
    lives: int = 0  # how often it was put back in line after it had failed for good


def decode_state(data: bytes | None) -> State:
    r"""Read ``delivery;attempts;crashes;losses;defers[;lives]\n<errors>``.

    Raises:
        ValueError: if it is damaged.
    """
    if not data:
        return State()
    return _decode_state(data) if len(data) > _SHORT_LINE else _short_state(data)


def _decode_state(data: bytes) -> State:
    line, _, errors = data.partition(b"\n")
    delivery, attempts, crashes, losses, defers, *more = map(int, line.split(b";"))
    if len(line) > _SHORT_LINE and max(map(abs, (delivery, attempts, crashes, losses, defers, *more))) > MAX_COUNT:
        raise ValueError(f"its history {shorten(line)} has a number above {MAX_COUNT}")
    if not more:
        return State(delivery, attempts, crashes, losses, defers, errors)
    (lives,) = more
    return State(delivery, attempts, crashes, losses, defers, errors, lives)


_short_state = lru_cache(maxsize=256)(_decode_state)  # nearly all jobs have one of a few: 0.1 us instead of 0.6


class Header(msgspec.Struct, frozen=True, gc=False):
    """The header as read back: times in milliseconds of the server's clock."""

    enqueued_ms: int
    version: int
    flags: str
    reply: str
    expires_ms: int | None
    priority: float | None


def newer_version(data: bytes) -> int | None:
    """Return the version of a stored job's envelope if it is newer than ``VERSION``, else None."""
    if data[_USUAL_STAMP : _USUAL_STAMP + 3] == b";1;":  # a fourth of the time that the pattern takes
        return None
    found = _NEWER.match(data)
    version = int(found[1]) if found else 0
    return version if version > VERSION else None


def split_data(data: bytes) -> tuple[Header, bytes]:
    """Split a stored job into header and body.

    Raises:
        ValueError: if the header is damaged, or newer than ``VERSION``.
    """
    if (newer := newer_version(data)) is not None:
        raise ValueError(f"its envelope has version {newer}, and {VERSION} is the newest known here")
    return split_known(data)


def split_known(data: bytes) -> tuple[Header, bytes]:
    """Split a stored job of which ``newer_version`` is None; raises as ``split_data``."""
    line, newline, body = data.partition(b"\n")
    if not newline:
        raise ValueError("envelope has no header")
    stamp, _, rest = line.partition(b";")
    if len(stamp) > _STAMP:
        raise ValueError(f"{shorten(stamp.decode('ascii'))} is no number of milliseconds")
    version, flags, reply, expires, priority = _fields(rest) if len(rest) > _USUAL_REST else _usual_fields(rest)
    return Header(int(stamp), version, flags, reply, expires, priority), body


def _fields(rest: bytes) -> tuple[int, str, str, int | None, float | None]:
    version, flags, reply, expires, priority = rest.decode("ascii").split(";")[:5]
    if len(expires) > _STAMP:
        raise ValueError(f"{shorten(expires)} is no number of milliseconds")
    return int(version), flags, reply, int(expires) if expires else None, float(priority) if priority else None


_usual_fields = lru_cache(maxsize=256)(_fields)  # a producer's jobs mostly differ in their stamp: 0.1 us, not 0.4


def peek(data: bytes) -> tuple[int | None, str]:
    """Read when a job was accepted, in milliseconds, and its task's name from the first bytes of header and body.

    Whatever is damaged, cut off or of a newer version is missing in the answer.
    """
    line, _, body = data.partition(b"\n")
    stamp, _, _ = line.partition(b";")
    enqueued = int(stamp) if stamp.isdigit() and len(stamp) <= _STAMP else None
    if newer_version(data) is not None:
        return enqueued, ""
    return enqueued, _first_text(body[1:]) if body[:1] and 0x90 <= body[0] <= 0x9F else ""


def _first_text(packed: bytes) -> str:
    """Read the text at the beginning of msgpack bytes, empty if there is none or not all of it."""
    kind, start = packed[0] if packed else 0, 1
    size = kind & 0x1F
    if kind in {0xD9, 0xDA}:
        start = 2 if kind == 0xD9 else 3
        size = int.from_bytes(packed[1:start])
    elif not 0xA0 <= kind <= 0xBF:
        return ""
    text = packed[start : start + size]
    return text.decode("utf-8", "replace") if len(text) == size else ""
