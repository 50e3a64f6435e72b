"""Renews the worker's leases from a thread and a connection of its own, which no user code and no queue can delay."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from taskq.broker import workers
from taskq.broker.broker import Broker
from taskq.broker.session import Session
from taskq.broker.workers import Beat, LeaseTimes
from taskq.errors import BrokerUnavailable, Fenced, Indeterminate, TaskqError
from taskq.worker.leases import ServedQueue
from taskq.worker.presence import Presence

logger = logging.getLogger("taskq.worker")
FIRST_BEAT = 1.0  # seconds that a start waits for it; a beat takes 1 ms, and nothing is lost by going on without


@dataclass(slots=True)
class Heartbeat:
    """The heartbeat thread.

    Attributes:
        broker: where to.
        queues: whose leases are renewed.
        times: how often, and for how long.
        beaten: takes each queue's answer, in this thread.
        fenced: takes a queue and the id whose lease on it is gone, in this thread.
        presence: tells others of the worker.
        acknowledged: monotonic seconds of the last beat that the server took.
    """

    broker: Broker
    queues: list[ServedQueue]
    times: LeaseTimes
    beaten: Callable[[ServedQueue, Beat], None]
    fenced: Callable[[ServedQueue, str], None]
    presence: Presence
    acknowledged: float = field(default_factory=time.monotonic)
    _stop: threading.Event = field(default_factory=threading.Event)
    _bell: threading.Event = field(default_factory=threading.Event)
    _begun: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to beat; returns after the first, so that a worker which says it is ready is seen by others."""
        self._thread = threading.Thread(target=self._run, name="taskq-heartbeat", daemon=True)
        self._thread.start()
        self._begun.wait(FIRST_BEAT)

    def stop(self, timeout: float) -> None:
        """End the thread and take the worker's card away; gives up after ``timeout`` seconds."""
        self._stop.set()
        self._bell.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def show(self) -> None:
        """Have the worker's card renewed now; returns at once."""
        self._bell.set()

    def _run(self) -> None:
        session = Session(self.broker.address, deadline=self.times.ttl)
        following = time.monotonic()
        while not self._stop.is_set():
            try:
                self.beat(session)
            except TaskqError as error:
                logger.warning("heartbeat failed: %s", error, extra={"action": "heartbeat_failed"})
            self._begun.set()
            following = max(following + self.times.beat, time.monotonic())
            self._rest(session, following)
        self.presence.leave(session)
        session.close()

    def _rest(self, session: Session, until: float) -> None:
        """Sleep until a monotonic time, or the end; show what changes meanwhile."""
        while self._bell.wait(max(0.0, until - time.monotonic())):
            self._bell.clear()
            if self._stop.is_set():
                return
            self.presence.show(session)

    def beat(self, session: Session) -> None:
        """Renew every lease once; the worker counts as acknowledged from the moment of sending."""
        sent = time.monotonic()
        now = 0
        over: set[str] = set()
        for queue in self.queues:
            if queue.fenced:
                continue
            worker = queue.worker
            try:
                beat = session.run(workers.heartbeat(queue.keys, worker, self.times))
            except Fenced:
                self.fenced(queue, worker)
            except (BrokerUnavailable, Indeterminate):
                raise
            except TaskqError as error:  # a damaged key of one queue must not cost the others their leases
                logger.warning(
                    "heartbeat of queue %s failed: %s", queue.name, error,
                    extra={"action": "heartbeat_failed", "queue": queue.name},
                )  # fmt: skip
            else:
                now = beat.now
                over.update(beat.over)
                self.beaten(queue, beat)
        if now:
            self.acknowledged = sent
            self.presence.beat(session, now)
            self.presence.tell_vanished(session, sorted(over))
