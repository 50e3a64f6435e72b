"""Renews the worker's leases from a thread and a connection of its own, which no user code and no queue can delay."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from taskq.broker import workers
from taskq.broker.broker import Broker
from taskq.broker.session import Session
from taskq.broker.workers import Beat, LeaseTimes
from taskq.errors import BrokerUnavailable, Fenced, Indeterminate, TaskqError
from taskq.worker.leases import ServedQueue

logger = logging.getLogger("taskq.worker")
FORGOTTEN = 86_400  # seconds that a worker which died without a word is still listed
CARD_BEATS = 4  # beats that a worker's card outlives it


@dataclass(slots=True)
class Heartbeat:
    """The heartbeat thread.

    Attributes:
        broker: where to.
        queues: whose leases are renewed.
        times: how often, and for how long.
        name: the worker's id, for its card.
        beaten: takes each queue's answer, in this thread.
        fenced: takes a queue and the id whose lease on it is gone, in this thread.
        card: returns what the worker says of itself.
        acknowledged: monotonic seconds of the last beat that the server took.
    """

    broker: Broker
    queues: list[ServedQueue]
    times: LeaseTimes
    name: str
    beaten: Callable[[ServedQueue, Beat], None]
    fenced: Callable[[ServedQueue, str], None]
    card: Callable[[], dict[str, Any]]
    acknowledged: float = field(default_factory=time.monotonic)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to beat."""
        self._thread = threading.Thread(target=self._run, name="taskq-heartbeat", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End the thread and take the worker's card away; gives up after ``timeout`` seconds."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        session = Session(self.broker.address, deadline=self.times.ttl)
        following = time.monotonic()
        while not self._stop.is_set():
            try:
                self.beat(session)
            except TaskqError as error:
                logger.warning("heartbeat failed: %s", error, extra={"action": "heartbeat_failed"})
            following = max(following + self.times.beat, time.monotonic())
            self._stop.wait(following - time.monotonic())
        try:
            session.read(workers.sign_off(self.broker.namespace, self.name), 1.0)
            session.read(workers.drop_card(self.broker.namespace, self.name), 1.0)
        except TaskqError:
            logger.debug("the card of %s is left to its time-to-live", self.name)
        session.close()

    def beat(self, session: Session) -> None:
        """Renew every lease once; the worker counts as acknowledged from the moment of sending."""
        sent = time.monotonic()
        now = 0
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
                self.beaten(queue, beat)
        if now:
            self.acknowledged = sent
            self._show_card(session, now // 1_000_000)

    def _show_card(self, session: Session, now: int) -> None:
        text = json.dumps(self.card()).encode()
        ttl_ms = round(CARD_BEATS * self.times.beat * 1000)
        session.read(workers.write_card(self.broker.namespace, self.name, text, ttl_ms))
        session.read(workers.sign_in(self.broker.namespace, self.name, now))
        session.read(workers.prune_roster(self.broker.namespace, now - FORGOTTEN))
