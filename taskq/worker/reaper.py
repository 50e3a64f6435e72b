"""Chores for others: jobs of dead workers, jobs that ended inside a script, follow-ups that wait for their queue."""

from __future__ import annotations

import logging
import queue as stdlib_queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from taskq.broker import workers
from taskq.broker.broker import Broker
from taskq.broker.finishing import finish_ended, relay_outbox
from taskq.broker.session import Session
from taskq.broker.workers import LeaseTimes
from taskq.errors import TaskqError
from taskq.worker.leases import ServedQueue

logger = logging.getLogger("taskq.worker")
AGAIN = 1.0  # seconds until a refused registration is repeated
REST = 1.0  # seconds until endings that wait for newer workers are looked at again, and others that came meanwhile
Chore = tuple[str, str, str]  # kind, queue, worker
Told = Callable[[dict[str, str]], None]


@dataclass(slots=True)
class Reaper:
    """The thread that does chores; each is idempotent, so any number of workers may do the same one.

    Attributes:
        broker: where to.
        times: the lease of all workers of the app.
        reaped: is told that jobs came back, in this thread.
    """

    broker: Broker
    times: LeaseTimes
    reaped: Callable[[], None]
    _chores: stdlib_queue.SimpleQueue[Chore | None] = field(default_factory=stdlib_queue.SimpleQueue)
    _waiting: set[Chore] = field(default_factory=set)
    _told: dict[str, Told] = field(default_factory=dict)
    _registered: dict[str, Callable[[], None]] = field(default_factory=dict)
    _rest_until: dict[str, float] = field(default_factory=dict)  # by queue, in monotonic seconds
    _places: dict[str, str] = field(default_factory=dict)  # by queue, where to go on after that
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to work."""
        self._thread = threading.Thread(target=self._run, name="taskq-reaper", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Do the chores that wait, then end; gives up after ``timeout`` seconds."""
        self._chores.put(None)
        if self._thread is not None:
            self._thread.join(timeout)

    def reap(self, queue: str, worker: str) -> None:
        """Take the jobs of ``worker``, whose lease seems to be over; the script checks again."""
        self._add(("reap", queue, worker))

    def finish(self, queue: str) -> None:
        """Make the results of jobs that ended inside a script."""
        if time.monotonic() >= self._rest_until.get(queue, 0.0):
            self._add(("finish", queue, ""))

    def relay(self, queue: str) -> None:
        """Send follow-ups on."""
        self._add(("relay", queue, ""))

    def read_revoked(self, queue: str, told: Told) -> None:
        """Read which jobs are to be dropped, and tell ``told`` in this thread."""
        self._told[queue] = told
        self._add(("revoked", queue, ""))

    def register(self, queue: ServedQueue, worker: str, registered: Callable[[], None]) -> None:
        """Get a lease under a new id after a fence; ``registered`` runs in this thread."""
        self._registered[worker] = registered
        self._add(("register", queue.name, worker))

    def _add(self, chore: Chore) -> None:
        if chore not in self._waiting:
            self._waiting.add(chore)
            self._chores.put(chore)

    def _run(self) -> None:
        session = Session(self.broker.address, deadline=self.times.ttl)
        while (chore := self._chores.get()) is not None:
            self._waiting.discard(chore)
            try:
                self.run_once(session, chore)
            except TaskqError as error:
                if chore[0] == "register":  # nothing else would ask again
                    threading.Timer(AGAIN, self._add, (chore,)).start()
                logger.warning("%s of queue %s failed: %s", chore[0], chore[1], error, extra={"action": "chore_failed"})
            except Exception:
                logger.exception("%s of queue %s failed", chore[0], chore[1], extra={"action": "chore_failed"})
        session.close()

    def run_once(self, session: Session, chore: Chore) -> None:
        """Do one chore; what is left of it comes back with the next beat."""
        kind, queue, worker = chore
        keys = self.broker.keys(queue)
        if kind == "finish":
            after = self._places.pop(queue, "0")
            finish_ended(
                session, keys, left=lambda place: self._rest(queue, place), signer=self.broker.signer, after=after
            )
        elif kind == "relay":
            relay_outbox(session, self.broker.keys, queue)
        elif kind == "revoked":
            self._told[queue](session.read(workers.revoked(keys)))
        elif kind == "register":
            session.run(workers.register(keys, worker, self.times))
            self._registered.pop(worker, lambda: None)()
        else:
            self._reap(session, queue, worker)

    def _rest(self, queue: str, place: str) -> None:
        """Look no further for a while: every step tells of what has ended, and would have it read in vain."""
        self._places[queue] = place
        self._rest_until[queue] = time.monotonic() + REST

    def _reap(self, session: Session, queue: str, worker: str) -> None:
        moved = 0
        while True:
            some, left = session.run(workers.reap(self.broker.keys(queue), worker, self.times))
            moved += some
            if left <= 0 or some == 0:
                break
        if moved:
            logger.warning(
                "worker %s is gone: %d of its jobs in queue %s are back", worker, moved, queue,
                extra={"action": "reaped", "queue": queue, "worker": worker, "jobs": moved},
            )  # fmt: skip
            self.reaped()
