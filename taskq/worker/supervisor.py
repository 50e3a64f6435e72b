"""One worker's parent process: claims, settles, watches. It never runs or imports user code."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from taskq import embedded
from taskq.broker import doctor, workers
from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
from taskq.broker.connection import Link
from taskq.broker.work import StepReply
from taskq.broker.workers import Beat, LeaseTimes
from taskq.errors import ConfigError, TaskqError, WorkerError
from taskq.model.job import random_token
from taskq.version import VERSION
from taskq.worker.claims import Claims
from taskq.worker.dispatch import Dispatcher
from taskq.worker.heartbeat import Heartbeat
from taskq.worker.holdings import Holder
from taskq.worker.leases import Lease, ServedQueue
from taskq.worker.nursery import Nursery
from taskq.worker.options import QueueChoice, WorkerOptions
from taskq.worker.protocol import Hello
from taskq.worker.reaper import Reaper
from taskq.worker.wire import Wire

logger = logging.getLogger("taskq.worker")
BOOT_TIMEOUT = 60.0  # seconds for the first child's import of the app
LAST_WORDS = 5.0  # seconds to say what is settled when the server does not answer
LEAST_WORDS = 0.2  # seconds for each further step of a stop whose time is over
SELF_FENCE = 0.8  # share of the lease after which an unrenewed worker starts nothing new
PR_SET_CHILD_SUBREAPER = 36  # prctl: orphaned grandchildren come here, and are reaped as by pid 1
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD)


def run(options: WorkerOptions) -> int:
    """Run a worker until it is stopped.

    Returns:
        The exit code: 0 after a graceful stop.

    Raises:
        TaskqError: if it cannot start; one line says why.
    """
    return Supervisor(options).run()


class _StoppedEarly(Exception):
    """A signal came while the app was being imported."""


class Supervisor:
    """The loop that joins the parts: children on one side, the broker on the other."""

    def __init__(self, options: WorkerOptions) -> None:
        self.options = options
        self.id = f"{options.name or socket.gethostname()}.{os.getpid()}.{random_token(6)}"
        self._selector = selectors.DefaultSelector()
        self._inbox: deque[Callable[[], None]] = deque()
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)
        self._signals: deque[int] = deque()  # never iterated: a signal may come between
        self._child_ended = False
        self._started = time.time()
        self._stop_by = 0.0  # monotonic seconds at which running jobs are killed; 0 while not stopping
        self._killed = False
        self._quit = False
        self._claims = Claims(self.post, self._watch, self)
        self._dispatcher = Dispatcher(self._claims, self.id)
        self._nursery = Nursery(options, self._dispatcher, self._selector, self.id, VERSION, self.post)
        self._broker: Broker | None = None
        self._heartbeat: Heartbeat
        self._reaper: Reaper

    # --- life ---------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Boot, loop, shut down; a signal before it is ready ends it as gracefully, since it holds nothing yet."""
        self._selector.register(self._wake_out, selectors.EVENT_READ, self._awake)
        with self._own_signals():
            try:
                self._boot()
                self._loop()
                return self._shut_down()
            except _StoppedEarly:
                logger.info("stopped before it was ready", extra={"action": "worker_stopped"})
                return 0
            finally:
                self._close()

    @contextlib.contextmanager
    def _own_signals(self) -> Iterator[None]:
        _become_subreaper()
        before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        wakeup = signal.set_wakeup_fd(self._wake_in.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _: object) -> None:
        if number == signal.SIGCHLD:
            self._child_ended = True
        else:
            self._signals.append(number)

    def _boot(self) -> None:
        self._nursery.start()
        hello = self._first_hello()
        address = parse_url(hello.url) if hello.url else embedded.address()
        broker = self._broker = Broker(address, hello.namespace)
        self._nursery.holder = Holder(broker)
        times = self.options.times or LeaseTimes(hello.beat, hello.ttl)
        queues = [ServedQueue(choice, broker.keys(choice.name), self.id) for choice in self._choices(hello)]
        self._examine(broker, [queue.name for queue in queues])
        self._register(broker, queues, times)
        self._claims.open(broker, queues)
        self._heartbeat = Heartbeat(
            broker,
            queues,
            times,
            self.id,
            self._beaten,
            lambda queue, worker: self.post(lambda: self.fenced(queue, worker)),
            self._card,
        )
        self._reaper = Reaper(broker, times, lambda: self.post(self._claims.look))
        self._heartbeat.start()
        self._reaper.start()
        logger.info(
            "worker %s is ready: pool %s, %d x %d slots, queues %s, server %s", self.id, self.options.pool,
            self.options.children, self.options.slots, ", ".join(queue.name for queue in queues), broker.address,
            extra={"action": "worker_ready", "worker": self.id},
        )  # fmt: skip

    def _first_hello(self) -> Hello:
        deadline = time.monotonic() + BOOT_TIMEOUT
        while self._nursery.first_hello is None:
            if self._signals:
                raise _StoppedEarly
            if time.monotonic() > deadline:
                raise WorkerError(f"the app {self.options.app!r} was not imported within {BOOT_TIMEOUT:.0f} s")
            if not self._dispatcher.hands:
                raise WorkerError(f"the child process died while it imported {self.options.app!r}")
            self._wait(0.5)
        if self._nursery.first_hello.error:
            raise ConfigError(self._nursery.first_hello.error)
        return self._nursery.first_hello

    def _choices(self, hello: Hello) -> list[QueueChoice]:
        if self.options.queues:
            return list(self.options.queues)
        return [QueueChoice(name) for name, _, _ in hello.queues] or [QueueChoice("default")]

    def _examine(self, broker: Broker, names: list[str]) -> None:
        link = broker.link()
        try:
            findings = doctor.examine(link, broker.namespace, names)
        finally:
            link.close()
        for finding in findings:
            if finding.level == "warn" and not (broker.address.revive and finding.name == "memory-limit"):
                logger.warning("%s", finding.text, extra={"action": "doctor", "check": finding.name})
        doctor.refuse(findings)

    def _register(self, broker: Broker, queues: list[ServedQueue], times: LeaseTimes) -> None:
        for queue in queues:
            if not broker.run(workers.register(queue.keys, queue.worker, times)):
                raise WorkerError(f"worker id {queue.worker} is taken in queue {queue.name}; was the machine cloned?")

    # --- the loop -----------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while not self._done():
            now = time.monotonic()
            self._handle_signals(now)
            self._nursery.keep(now)
            if self._dispatcher.held or self._nursery.retiring:
                self._nursery.watch(now)
            self._check_lease(now)
            self._claims.pump(now)
            if self.options.drain and not self._stop_by and self._claims.drained and not self._dispatcher.holds_any:
                self._begin_stop(now)
            self._dispatcher.pump()
            self._nursery.watch_writing()
            if self._stop_by:
                self._press_on(now)
            limit = min(self._claims.deadline(now), self._nursery.deadline(now))
            self._wait(limit - time.monotonic())

    def _wait(self, seconds: float) -> None:
        for key, _ in self._selector.select(max(0.0, seconds)):
            key.data()
        while self._inbox:
            self._inbox.popleft()()
        if self._child_ended:
            self._child_ended = False  # before reaping: one that ends meanwhile is seen now or the next time
            self._nursery.reap()

    def _awake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake_out.recv(4096):
                pass

    def post(self, function: Callable[[], None]) -> None:
        """Run ``function`` in the loop; any thread may call this."""
        self._inbox.append(function)
        with contextlib.suppress(BlockingIOError, OSError):  # full: the loop is about to wake; closed: it has ended
            self._wake_in.send(b"\0")

    def _watch(self, link: Link | None, wire: Wire) -> None:
        if link is not None:
            self._selector.register(link.fileno(), selectors.EVENT_READ, wire.receive)
            return
        for key in list(self._selector.get_map().values()):
            if key.data == wire.receive:
                self._selector.unregister(key.fileobj)

    def _check_lease(self, now: float) -> None:
        late = now - self._heartbeat.acknowledged > SELF_FENCE * self._heartbeat.times.ttl
        if late and not self._dispatcher.held_back:
            logger.warning(
                "the lease could not be renewed: no job is started until it is", extra={"action": "held_back"}
            )
            for hand in self._dispatcher.hands:
                self._dispatcher.recall(hand)
        elif self._dispatcher.held_back and not late:
            self._claims.look()
        self._dispatcher.held_back = late

    def wanted(self) -> tuple[int, int]:
        """Return how many jobs and how many suspects may be claimed now."""
        return self._dispatcher.wanted()

    def claimed(self, leases: list[Lease]) -> None:
        """Take new leases."""
        self._dispatcher.add(leases)

    def noticed(self, queue: ServedQueue, reply: StepReply) -> None:
        """Do the chores that a reply tells of."""
        self._do_chores(queue, reply.ended, reply.outbox, reply.revoked)

    def _beaten(self, queue: ServedQueue, beat: Beat) -> None:
        for worker in beat.over:
            if worker != queue.worker:
                self._reaper.reap(queue.name, worker)
        worker = queue.worker
        self.post(lambda: self._compare(queue, worker, beat.held))
        if beat.ended or beat.outbox or beat.revoked:
            self.post(lambda: self._do_chores(queue, beat.ended, beat.outbox, beat.revoked))

    def _compare(self, queue: ServedQueue, worker: str, held: int) -> None:
        """Look for jobs that the server leased to this worker in a reply that never came, or came too late.

        Under load the counts differ by what is on its way; that costs one call in two beats and gives nothing back.
        """
        if queue.fenced or queue.worker != worker:
            return
        equal = held == len(self._dispatcher.ids(queue)) + len(queue.unsaid())
        queue.mismatches = 0 if equal else queue.mismatches + 1
        if queue.mismatches >= 2:
            queue.mismatches = 0
            self._claims.reconcile(queue, lambda: self._dispatcher.ids(queue))

    def reconciled(self, queue: ServedQueue, given_back: int, lost: list[str]) -> None:
        """Hear what a comparison with the server has found."""
        if given_back:
            logger.warning(
                "queue %s: %d jobs were leased to this worker without its knowledge, and are given back",
                queue.name, given_back, extra={"action": "reconciled", "queue": queue.name, "jobs": given_back},
            )  # fmt: skip
            self._claims.look()
        if lost:
            self._dispatcher.drop_waiting(queue, set(lost))

    def _do_chores(self, queue: ServedQueue, ended: int, outbox: int, revoked: int) -> None:
        if ended:
            self._reaper.finish(queue.name)
        if outbox:
            self._reaper.relay(queue.name)
        if revoked:
            self._reaper.read_revoked(
                queue.name, lambda modes: self.post(lambda: self._dispatcher.drop_revoked(queue.name, modes))
            )

    def fenced(self, queue: ServedQueue, worker: str) -> None:
        """Take a new id for a queue whose lease is gone; what has not started is forgotten, it has other owners."""
        if queue.fenced or queue.worker != worker:  # the beat and the step both hear of one end, maybe seconds apart
            return
        queue.fenced = True
        fresh = f"{self.id}.{random_token(4)}"
        logger.error(
            "the lease on queue %s was taken away; going on as %s", queue.name, fresh,
            extra={"action": "fenced", "queue": queue.name, "worker": queue.worker},
        )  # fmt: skip
        self._dispatcher.forget(queue)
        self._reaper.register(queue, fresh, lambda: self.post(lambda: self._rejoin(queue, fresh)))

    def _rejoin(self, queue: ServedQueue, worker: str) -> None:
        queue.start_over(worker)
        self._claims.look()

    # --- stopping -----------------------------------------------------------------------------------------------

    def _handle_signals(self, now: float) -> None:
        while self._signals:
            number = self._signals.popleft()
            if number == signal.SIGQUIT:
                self._quit = True
            elif not self._stop_by:
                logger.info("stopping: running jobs have %g s", self.options.grace, extra={"action": "stopping"})
                self._begin_stop(now)
            else:
                logger.warning("stopping now: running jobs are given back", extra={"action": "stopping_now"})
                self._stop_by = now
        if self._nursery.outdated and not self._stop_by:
            self._begin_stop(now)

    def _begin_stop(self, now: float) -> None:
        self._stop_by = now + self.options.grace
        self._claims.stopping = self._dispatcher.stopping = self._nursery.stopping = True
        self._dispatcher.release_pending()
        for hand in list(self._dispatcher.hands):
            self._dispatcher.recall(hand)
            self._nursery.dismiss(hand)

    def _press_on(self, now: float) -> None:
        if now >= self._stop_by and not self._killed:
            self._killed = True
            self._nursery.kill_all()

    def _done(self) -> bool:
        if self._quit:
            return True
        return bool(self._stop_by) and not self._dispatcher.hands

    def _shut_down(self) -> int:
        if self._quit:
            logger.warning("quitting at once", extra={"action": "quit"})
            self._nursery.kill_all()
            return 128 + signal.SIGQUIT
        deadline = time.monotonic() + LAST_WORDS
        while not self._claims.idle and (now := time.monotonic()) < deadline and not self._signals:
            self._claims.pump(now)
            self._wait(0.05)
        self._relay_rest(deadline)
        self._heartbeat.stop(_left(deadline))
        for queue in self._claims.queues:
            assert self._broker is not None
            try:
                self._broker.run(workers.deregister(queue.keys, queue.worker), _left(deadline))
            except TaskqError as error:
                logger.warning(
                    "queue %s keeps this worker's lease until it ends: %s", queue.name, error,
                    extra={"action": "not_deregistered", "queue": queue.name},
                )  # fmt: skip
                if _left(deadline) <= LEAST_WORDS:
                    break
        logger.info("worker %s has stopped", self.id, extra={"action": "worker_stopped", "worker": self.id})
        return 0

    def _relay_rest(self, deadline: float) -> None:
        for queue in self._claims.queues:
            self._reaper.relay(queue.name)
        self._reaper.stop(_left(deadline))

    def _close(self) -> None:
        self._nursery.kill_all()
        self._nursery.close()
        if self._nursery.holder is not None:
            self._nursery.holder.close()
        if self._claims.queues:
            self._claims.close()
        if self._broker is not None:
            self._broker.close()
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()

    def _card(self) -> dict[str, Any]:
        return {
            "name": self.id, "host": socket.gethostname(), "pid": os.getpid(), "pool": self.options.pool,
            "children": self.options.children, "slots": self.options.slots,
            "queues": [queue.name for queue in self._claims.queues], "busy": self._dispatcher.held,
            "started": round(self._started), "version": VERSION,
        }  # fmt: skip


def _left(deadline: float) -> float:
    return max(LEAST_WORDS, deadline - time.monotonic())


def _become_subreaper() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
