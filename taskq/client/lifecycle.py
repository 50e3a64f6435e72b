"""Following what becomes of jobs and workers, as it happens."""

from __future__ import annotations

import difflib
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Self

from taskq.broker.jobs import queue_names
from taskq.broker.lifecycle import GAP, JOB_KINDS, KINDS, WATCH_MS, Feed, LifecycleEvent, parse_events
from taskq.client.waiting import check_wait
from taskq.errors import (
    BrokerReadOnly,
    BrokerUnavailable,
    Indeterminate,
    InvalidOption,
    ProtocolError,
    TaskqError,
    shorten,
)
from taskq.model.discipline import check_queue_name

if TYPE_CHECKING:
    from taskq.app import TaskQ

__all__ = ["KINDS", "Follower", "LifecycleEvent", "follow"]

RENEWAL: Final = 3.0  # seconds between two renewals of the watch
LOOK: Final = 1.0  # seconds between two looks for new queues; one command
FIRST_PAUSE: Final = 0.05  # seconds before a lost connection is opened again; doubles
LONGEST_PAUSE: Final = 2.0  # seconds

logger = logging.getLogger(__name__)


def follow(
    app: TaskQ,
    *,
    queues: Iterable[str] | None = None,
    tasks: Iterable[str] | None = None,
    kinds: Iterable[str] | None = None,
    duration: float | None = None,
) -> Follower:
    """Follow what becomes of jobs and workers; whatever happens once this has returned is told.

    Args:
        app: whose namespace.
        queues: only jobs of these queues, and workers that serve one of them; all where None.
        tasks: only jobs of these tasks, by full name or shell pattern such as ``mail.*``; no workers then.
        kinds: only these of ``KINDS``. A gap is always told.
        duration: seconds after which it ends; None for never.

    Raises:
        InvalidOption: a kind is unknown.
        InvalidQueueName, InvalidTimeout: a queue's name or the duration cannot be used.
        BrokerError: the server refuses, or cannot be reached.
    """
    return Follower(
        app,
        queues=None if queues is None else frozenset(map(check_queue_name, _listed(queues))),
        tasks=None if tasks is None else tuple(_listed(tasks)),
        kinds=frozenset(KINDS) if kinds is None else frozenset(map(check_kind, _listed(kinds))),
        duration=check_wait(duration),
    )


def check_kind(kind: object) -> str:
    """Return ``kind`` if events can be of it.

    Raises:
        InvalidOption: if they cannot.
    """
    if kind in KINDS:
        return str(kind)
    near = difflib.get_close_matches(str(kind), KINDS, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InvalidOption(f"kind {shorten(kind)} of events is unknown; {hint}there are {', '.join(KINDS)}")


def _listed(names: Iterable[str]) -> Iterable[str]:
    return (names,) if isinstance(names, str) else names


class Follower(Iterator[LifecycleEvent]):
    """An iterator over events in the order in which they happened; made by ``follow``.

    One thread at a time may iterate, any may ``close``. A lost connection is opened again, and an event of the kind
    ``gap`` says that something may be missing. Who asks for no event for ``WATCH_MS`` is not told any more, and finds
    a gap when it comes back; so is one that falls behind by more than the server keeps for it.

    Attributes:
        watched: the queues that are watched now.
    """

    def __init__(
        self,
        app: TaskQ,
        *,
        queues: frozenset[str] | None,
        tasks: tuple[str, ...] | None,
        kinds: Collection[str],
        duration: float | None,
    ) -> None:
        self.watched: set[str] = set()
        self._broker = app.broker
        self._queues = queues
        self._tasks = tasks
        self._kinds = kinds
        self._closing = threading.Event()
        self._ready: deque[LifecycleEvent] = deque()
        self._known = frozenset((*app.queues, app.default_queue))  # watched before their first job
        self._asked: frozenset[str] = frozenset()  # what of it cannot be watched is asked for at each renewal
        self._renewed = self._looked = 0.0  # monotonic
        self._pause = FIRST_PAUSE
        self._deadline = None if duration is None else time.monotonic() + duration
        self._feed: Feed | None = Feed(self._broker)
        try:
            self._broker.read(queue_names(self._broker.namespace))  # tells in plain words what hinders
            self._feed.open()
            self._watch(self._feed, RENEWAL)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> LifecycleEvent:
        """Return the next event, however long that takes.

        Raises:
            StopIteration: it was closed, or its time is over.
            BrokerError: the server refuses; what cannot be reached is awaited.
        """
        while not self._ready:
            left = self._left()
            if self._closing.is_set() or left <= 0:
                self.close()
                raise StopIteration
            try:
                self._read(left)
            except (BrokerUnavailable, Indeterminate, BrokerReadOnly) as error:
                self._lose(error)
            except BaseException:
                self._drop()  # a reply may be half read
                raise
        return self._ready.popleft()

    def close(self) -> None:
        """End the iteration, also of another thread; the watch then runs out by itself. May be called again."""
        self._closing.set()
        feed = self._feed
        if feed is not None:
            feed.close()

    def _left(self) -> float:
        return RENEWAL if self._deadline is None else min(RENEWAL, self._deadline - time.monotonic())

    def _read(self, left: float) -> None:
        """Gather what came within ``left`` seconds, renewing the watch and the connection where it is time."""
        if self._feed is None:
            self._reopen(left)
        feed, now = self._feed, time.monotonic()
        if feed is None:
            return
        if now - self._renewed >= RENEWAL:
            feed.ask()
            self._renew(feed, left)
        elif now - self._looked >= LOOK:
            self._look(feed, left)
        message = feed.receive(min(left, max(0.0, self._looked + LOOK - time.monotonic())))
        if message is not None:
            self._take(message)

    def _take(self, message: bytes) -> None:
        try:
            self._ready.extend(filter(self._wants, parse_events(message)))
        except ProtocolError as error:
            logger.warning("%s", error, extra={"action": "event_damaged"})

    def _wants(self, event: LifecycleEvent) -> bool:
        if event.kind == GAP:
            return self._queues is None or event.queue is None or event.queue in self._queues
        if event.kind not in self._kinds:
            return False
        if event.kind not in JOB_KINDS:
            return self._tasks is None and (
                self._queues is None or event.queues is None or not self._queues.isdisjoint(event.queues)
            )
        if self._queues is not None and event.queue not in self._queues:
            return False
        return self._tasks is None or any(fnmatchcase(event.task or "", pattern) for pattern in self._tasks)

    def _renew(self, feed: Feed, left: float) -> None:
        """Watch for longer, and watch new queues; says where something may have been missed."""
        before, lapsed = self.watched, time.monotonic() - self._renewed > WATCH_MS / 1000
        self._watch(feed, left)
        self._tell_new([None] if lapsed else sorted(self.watched - before))

    def _look(self, feed: Feed, left: float) -> None:
        """Watch queues that are new; their first jobs may have been missed."""
        names = self._names(left)
        new = feed.watch(names - self._asked, left)
        self._asked = names
        self.watched |= new
        self._tell_new(sorted(new))

    def _watch(self, feed: Feed, left: float) -> None:
        self._asked, self._renewed = self._names(left), time.monotonic()
        self.watched = feed.watch(self._asked, left)

    def _names(self, left: float) -> frozenset[str]:
        self._looked = time.monotonic()
        if self._queues is not None:
            return self._queues
        registered = self._broker.read(queue_names(self._broker.namespace), left)
        return self._known.union(registered)

    def _tell_new(self, queues: Iterable[str | None]) -> None:
        self._ready.extend(LifecycleEvent(GAP, time.time(), queue) for queue in queues)

    def _lose(self, error: TaskqError) -> None:
        if not self._closing.is_set():
            logger.info("following events was interrupted: %s", error, extra={"action": "feed_lost"})
        self._drop()
        self._closing.wait(min(self._pause * random.uniform(0.5, 1.0), max(0.0, self._left())))
        self._pause = min(LONGEST_PAUSE, 2 * self._pause)

    def _drop(self) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.close()

    def _reopen(self, left: float) -> None:
        """Subscribe anew; what happened since the connection was lost may be missing."""
        feed = self._feed = Feed(self._broker)
        if self._closing.is_set():  # by another thread, which saw no feed to close
            self._drop()
            return
        feed.open()
        self._watch(feed, left)
        self._pause = FIRST_PAUSE
        self._tell_new([None])
