"""What scripts and workers tell while somebody watches: who watches a queue, and how to read what is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from taskq.broker import keys
from taskq.broker.broker import Broker
from taskq.broker.call import Call, Command, make_call
from taskq.broker.failures import is_broken, is_passing, translate
from taskq.broker.keys import QueueKeys
from taskq.broker.scripts import load
from taskq.broker.subscription import SILENCE, Subscription
from taskq.errors import BrokerUnavailable, ProtocolError, shorten
from taskq.model.outcome import decode_errors

JOB_KINDS: Final = (
    "enqueued", "started", "succeeded", "failed", "retried", "crashed", "lost", "cancelled", "expired", "dead",
    "quarantined",
)  # fmt: skip
WORKER_DOWN: Final = "worker-down"
WORKER_KINDS: Final = ("worker-up", WORKER_DOWN)
GAP: Final = "gap"
KINDS: Final = (*JOB_KINDS, *WORKER_KINDS, GAP)

WATCH_MS: Final = 15_000  # how far ahead a queue is watched: five renewals, so that a busy moment ends no watch
_FIXSTR, _STR8, _FIXARRAY = 0xA0, 0xD9, 0x90  # msgpack: first bytes of a short text, of a longer one, of an array
_LATEST: Final = 1e11  # seconds since 1970: the year 5138; later ones are no time that can be shown
_NUMBERS = 6  # of a job's event: delivery, attempt, ms, and the lengths of id, body and errors

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LifecycleEvent:
    """Something that became of a job or a worker. What is not known, or not of this kind, is None.

    Attributes:
        kind: one of ``KINDS``.
        at: seconds since 1970 by the server's clock; of a gap by this machine's.
        queue: the job's; of a gap None for all queues.
        id: the job's, ``queue/unique``.
        task: the job's.
        worker: the id of who had the job, or of who came or went.
        attempt: 1 for the first; counts those that ended by an exception.
        delivery: 1 for the first; counts how often the job was handed to a worker.
        delay: seconds until the job may start: of a delayed one, or one that runs again.
        error_type: the class of the exception, where an attempt failed.
        error_message: its text.
        pool: of a worker: process, thread, gevent or asyncio.
        queues: of a worker: those that it serves.
        vanished: of a worker that is down: whether it went without signing off.
        missed: of a gap: how many events are missing, where that is known.
    """

    kind: str
    at: float
    queue: str | None = None
    id: str | None = None
    task: str | None = None
    worker: str | None = None
    attempt: int | None = None
    delivery: int | None = None
    delay: float | None = None
    error_type: str | None = None
    error_message: str | None = None
    pool: str | None = None
    queues: tuple[str, ...] | None = None
    vanished: bool | None = None
    missed: int | None = None


def watch(queue: QueueKeys, ms: int = WATCH_MS) -> Call[bool]:
    """Have scripts tell what becomes of a queue's jobs, for ``ms`` (at most 60,000) from now.

    A queue that nobody declared yet can be watched: so its first job is seen. Answers False for one that holds items.
    """
    arguments = (keys.events(queue.namespace), queue.queue, ms)
    return make_call(load()["watch"], queue, arguments, lambda reply: reply[0] == b"W")


class _WorkerNews(msgspec.Struct):
    kind: str
    worker: str
    at: float
    pool: str | None = None
    queues: tuple[str, ...] = ()
    vanished: bool = False

    def event(self) -> LifecycleEvent:
        return LifecycleEvent(
            self.kind, self.at, worker=self.worker, pool=self.pool or None, queues=self.queues or None,
            vanished=self.vanished if self.kind == WORKER_DOWN else None,
        )  # fmt: skip


_decode_worker = msgspec.json.Decoder(_WorkerNews).decode


def parse_events(message: bytes) -> list[LifecycleEvent]:
    r"""Read one message: ``J ...\n`` of a script, see lua/include/lifecycle.lua, or ``W\n<json>`` of a worker.

    Raises:
        ProtocolError: if it is damaged.
    """
    heading, newline, rest = message.partition(b"\n")
    try:
        if heading == b"W":
            news = _decode_worker(rest)
            if news.kind in WORKER_KINDS and 0 <= news.at < _LATEST:
                return [news.event()]
        elif heading.startswith(b"J ") and newline:
            return list(_jobs(heading, rest))
    except (ValueError, msgspec.MsgspecError, RecursionError):
        pass
    raise ProtocolError(f"message {shorten(message[:200])} on the channel of events is damaged")


def _jobs(heading: bytes, rest: bytes) -> Iterator[LifecycleEvent]:
    _, queue, now, left_out, worker = heading.decode("utf-8", "replace").split(" ", 4)
    at, start = int(now) / 1e6, 0
    while start < len(rest):
        end = rest.index(b"\n", start)
        kind, *numbers = rest[start:end].decode("ascii").split(" ")
        if kind not in JOB_KINDS or len(numbers) != _NUMBERS:
            raise ValueError(kind)
        delivery, attempt, ms, id_size, body_size, errors_size = map(_whole, numbers)
        id_end = end + 1 + id_size
        body_end = id_end + body_size
        start = body_end + errors_size
        if start > len(rest):
            raise ValueError(kind)
        errors = decode_errors(rest[body_end:start])
        yield LifecycleEvent(
            kind, at, queue, f"{queue}/{rest[end + 1 : id_end].decode('utf-8', 'replace')}",
            _task_of(rest[id_end:body_end]), worker or None, attempt or None, delivery or None,
            ms / 1000 if ms else None, errors[-1].type if errors else None, errors[-1].message if errors else None,
        )  # fmt: skip
    if left_out != "0":
        yield LifecycleEvent(GAP, at, queue, missed=int(left_out))


def _whole(text: str) -> int:
    """Return a number of a message; 0 for one that Lua rounded, as only a state that was changed by hand has."""
    return int(text) if text.isdigit() else 0


def _task_of(body: bytes) -> str | None:
    """Return the task's name, with which a body begins; None if it is damaged or cut."""
    if len(body) < 3 or body[0] & 0xF0 != _FIXARRAY:
        return None
    if body[1] & 0xE0 == _FIXSTR:
        start, size = 2, body[1] & 0x1F
    elif body[1] == _STR8:
        start, size = 3, body[2]
    else:
        return None
    name = body[start : start + size]
    return name.decode("utf-8", "replace") if name and len(name) == size else None


class Feed:
    """The receiving end of the channel of events, over a connection of its own, and the watch over queues.

    For one thread at a time; any may close it. What is not read waits at the server, up to its limit for subscribers.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._link = broker.link()
        self._subscription = Subscription(self._link, keys.events(broker.namespace))
        self._closed = False
        self._asked: float | None = None  # monotonic time of a question that is not answered yet

    def open(self) -> None:
        """Connect and subscribe.

        Raises:
            BrokerError: the server refuses, or cannot be reached.
        """
        self._do(self._subscription.open)

    def receive(self, seconds: float) -> bytes | None:
        """Return the next message, or None if none came within ``seconds``.

        Raises:
            BrokerUnavailable: the connection is lost; make another feed.
        """
        return self._do(lambda: self._receive(time.monotonic() + seconds))

    def _receive(self, deadline: float) -> bytes | None:
        while self._link.wait(max(0.0, deadline - time.monotonic())):
            reply = self._link.receive()
            self._asked = None
            if reply[0] == b"message":
                message: bytes = reply[2]
                return message
        if self._asked is not None and time.monotonic() - self._asked > SILENCE:
            raise TimeoutError(f"no answer for {SILENCE:g} s")
        return None

    def ask(self) -> None:
        """Ask for a sign of life, which ``receive`` then misses if it does not come.

        Raises:
            BrokerUnavailable: the connection is lost.
        """
        if self._asked is None:
            self._do(self._ask)
            self._asked = time.monotonic()

    def _ask(self) -> None:
        if not self._closed:
            self._link.send(Command(("PING",), bytes).pack())
        if self._closed:  # a link that another thread closed has connected again, without the subscription
            self._link.close()
            raise ConnectionError("the feed was closed")

    def watch(self, queues: Iterable[str], deadline: float) -> set[str]:
        """Watch queues for the next ``WATCH_MS``; return those that can be.

        Raises:
            BrokerError: the server refuses, or could not be reached for ``deadline`` seconds.
        """
        with self._broker.session() as session:
            return {name for name in queues if session.run(watch(self._broker.keys(name)), deadline)}

    def close(self) -> None:
        """Close the connection; a thread that waits in ``receive`` gets an error."""
        self._closed = True
        self._subscription.close()

    def _do(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except Exception as error:
            # A socket that another thread closes in this moment raises whatever it likes.
            lost = self._closed or is_broken(error) or is_passing(error)
            self.close()
            if lost:
                raise BrokerUnavailable(str(translate(error, self._broker.address))) from error
            raise translate(error, self._broker.address) from error
