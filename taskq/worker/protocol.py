"""Frames between a supervisor and a child, over one stream socket, and the slot table they share.

A frame is 4 bytes of length (little endian, of what follows), 1 byte of type and a msgpack payload. A type with the bit
IGNORABLE may be skipped by a reader that does not know it; any other unknown type is an error.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Annotated, Any

import msgspec

from taskq.errors import ProtocolError

PROTOCOL = 1
MAX_FRAME = 64 * 1024 * 1024  # bytes; a batch is bounded far below, so more is a broken peer
IGNORABLE = 0x80
DEFERRED = "u"  # a verdict beside those of model.outcome: not run, its task or envelope is unknown here; offer it later
_HEAD = struct.Struct("<IB")


class Frame(IntEnum):
    """What a frame says; supervisor to child below 32, child to supervisor from 32."""

    JOBS = 1  # Jobs: run these
    RECALL = 2  # None: hand back what has not started
    CANCEL = 3  # list of handles: stop these if they run, as revoked
    STOP = 4  # None: no more jobs will come; exit when all given ones are answered
    EXTEND = 5  # reserved: move a job's time limit
    LOST = IGNORABLE | 6  # list of addresses: leases that jobs held and that ran out
    HELLO = 32  # Hello: the first frame of a child
    DONE = 33  # Done: jobs that ended
    BACK = 34  # list of handles that never started
    PROGRESS = IGNORABLE | 35  # reserved
    CHUNK = IGNORABLE | 36  # reserved: part of a streamed result
    LOG = IGNORABLE | 37  # reserved
    HOLDINGS = IGNORABLE | 38  # Holdings: leases to renew for jobs, or no more


class JobFrame(msgspec.Struct, array_like=True, frozen=True):
    """One job to run. ``handle`` (> 0) names it between the two processes; ``data`` is header and body as stored."""

    handle: int
    queue: str
    unique: str
    delivery: int
    state: bytes
    data: bytes


class Jobs(msgspec.Struct, array_like=True, frozen=True):
    """A batch: ``offset_us`` is the server's clock minus this machine's monotonic clock, both in microseconds."""

    offset_us: int
    claimed_us: int
    jobs: list[JobFrame]


# Checked when it is read: the settling script would refuse a whole batch for one number out of range, again and again.
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=10**15)]


class Ended(msgspec.Struct, array_like=True, frozen=True):
    """One job that ended with more to say than success without a result; fields as in model.outcome.Outcome.

    ``reply`` is the producer's channel token; ``follow_ups`` are (queue, unique, delay_ms, data) to be enqueued.
    """

    handle: int
    verdict: str
    record: bytes = b""
    delay_ms: Milliseconds = 0
    ttl_ms: Milliseconds = 0
    errors: bytes = b""
    reply: str = ""
    follow_ups: list[tuple[str, str, int, bytes]] = []


class JobTally(msgspec.Struct, array_like=True, frozen=True):
    """Jobs of one queue, task and outcome: how many, how long they waited and ran; see ``worker.tally.Sums``."""

    queue: str
    task: str
    outcome: str
    jobs: int
    waits: list[int]
    waited: float
    runs: list[int]
    ran: float


class Done(msgspec.Struct, array_like=True, frozen=True):
    """Ended jobs: handles that succeeded without a record, the others, and the microseconds that all of them ran.

    ``tallies`` say the same in numbers, where somebody collects them.
    """

    plain: list[int]
    ended: list[Ended]
    run_us: int
    tallies: list[JobTally] = []


class Holding(msgspec.Struct, array_like=True, frozen=True):
    """Something that a job holds under a lease of ``lease`` seconds; see client.keeper.Kept."""

    kind: str
    tag: str
    address: str
    lease: float
    limit: int


class Holdings(msgspec.Struct, array_like=True, frozen=True):
    """What jobs began to hold, and addresses of what they gave back."""

    kept: list[Holding]
    dropped: list[str]


class TaskInfo(msgspec.Struct, array_like=True, frozen=True):
    """What a supervisor must know of a task to judge a job whose child it had to kill."""

    max_retries: int
    backoff: float
    jitter: float
    retries_time_limit: bool
    result_ttl_ms: int
    ignore_result: bool
    signature: str = ""


class Hello(msgspec.Struct, frozen=True):
    """What a child reports when its app is imported; ``error`` is one line if it could not be."""

    protocol: int
    version: str
    pid: int
    error: str = ""
    url: str = ""
    namespace: str = ""
    beat: float = 5.0
    ttl: float = 25.0
    tasks: dict[str, TaskInfo] = {}
    queues: list[tuple[str, str, int]] = []
    signing_key: list[str] = []
    require_signed: bool = False

    def __repr__(self) -> str:  # what is in it opens the server and signs jobs
        return f"<{type(self).__name__} of {self.pid}>"


_encoder = msgspec.msgpack.Encoder()
_decoders: dict[int, msgspec.msgpack.Decoder[Any]] = {
    Frame.JOBS: msgspec.msgpack.Decoder(Jobs),
    Frame.RECALL: msgspec.msgpack.Decoder(None),
    Frame.CANCEL: msgspec.msgpack.Decoder(list[int]),
    Frame.STOP: msgspec.msgpack.Decoder(None),
    Frame.HELLO: msgspec.msgpack.Decoder(Hello),
    Frame.DONE: msgspec.msgpack.Decoder(Done),
    Frame.BACK: msgspec.msgpack.Decoder(list[int]),
    Frame.LOST: msgspec.msgpack.Decoder(list[str]),
    Frame.HOLDINGS: msgspec.msgpack.Decoder(Holdings),
}


def encode_frame(kind: Frame, payload: object = None) -> bytes:
    """Return one frame's bytes.

    Raises:
        ProtocolError: if it is longer than MAX_FRAME.
    """
    body = _encoder.encode(payload)
    if len(body) + 1 > MAX_FRAME:
        raise ProtocolError(f"frame {kind.name} of {len(body)} bytes is over the limit of {MAX_FRAME}")
    return _HEAD.pack(len(body) + 1, kind) + body


class FrameReader:
    """Cuts a byte stream into frames, whatever the sizes it arrives in."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Frame, Any]]:
        """Add ``data`` and yield each complete frame with its decoded payload.

        Raises:
            ProtocolError: on a length over MAX_FRAME, an unknown type or a payload of another shape.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _HEAD.size:
            length, kind = _HEAD.unpack_from(buffer, start)
            if not 1 <= length <= MAX_FRAME:
                raise ProtocolError(f"frame of {length} bytes is over the limit of {MAX_FRAME}")
            end = start + 4 + length
            if len(buffer) < end:
                break
            payload = bytes(memoryview(buffer)[start + _HEAD.size : end])
            start = end
            decoder = _decoders.get(kind)
            if decoder is not None:
                try:
                    decoded = decoder.decode(payload)
                except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # no text, or nested too deeply
                    raise ProtocolError(f"frame {Frame(kind).name} is broken: {error}") from None
                yield Frame(kind), decoded
            elif not kind & IGNORABLE:
                raise ProtocolError(f"frame of unknown type {kind}")
        del buffer[:start]

    @property
    def pending(self) -> int:
        """Bytes of a frame that has not arrived whole."""
        return len(self._buffer)


_START = struct.Struct("@ddQ")  # started, deadline, running
_FINISH = struct.Struct("@QQ")  # running, finished
_ROW = struct.Struct("@ddQQ")


class SlotTable:
    """What each slot of a child runs, in memory shared with its supervisor: no frame per start.

    Row: monotonic seconds of the start, of the hard limit (0: none), the handle that runs (0: none), the last one that
    finished. Each field is eight aligned bytes, so a reader never sees half of one.
    """

    def __init__(self, fd: int, slots: int) -> None:
        self.slots = slots
        self._map = mmap.mmap(fd, self.size(slots))

    @staticmethod
    def size(slots: int) -> int:
        """Return the bytes needed for ``slots`` rows."""
        return max(slots, 1) * _ROW.size

    @classmethod
    def create(cls, slots: int) -> tuple[SlotTable, int]:
        """Make an empty table; return it with the file descriptor that a child inherits."""
        fd = os.memfd_create("taskq-slots")
        os.ftruncate(fd, cls.size(slots))
        return cls(fd, slots), fd

    def start(self, slot: int, handle: int, started: float, deadline: float) -> None:
        """Note that ``slot`` runs ``handle``."""
        _START.pack_into(self._map, slot * 32, started, deadline, handle)

    def finish(self, slot: int, handle: int) -> None:
        """Note that ``slot`` is idle again and ``handle`` has ended."""
        _FINISH.pack_into(self._map, slot * 32 + 16, 0, handle)

    def row(self, slot: int) -> tuple[float, float, int, int]:
        """Return (started, deadline, running, finished) of ``slot``."""
        started, deadline, running, finished = _ROW.unpack_from(self._map, slot * 32)
        return started, deadline, running, finished

    def running(self) -> list[tuple[int, float, float]]:
        """Return (handle, started, deadline) of every slot that runs a job."""
        rows = _ROW.iter_unpack(self._map[: self.slots * _ROW.size])  # a tenth of the time that row after row takes
        return [(running, started, deadline) for started, deadline, running, _ in rows if running]

    def close(self) -> None:
        """Unmap the table."""
        self._map.close()
