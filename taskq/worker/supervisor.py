"""One worker's parent process: claims, settles, watches. It never runs or imports user code."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from taskq import embedded
from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
from taskq.broker.work import StepReply
from taskq.broker.workers import LeaseTimes
from taskq.errors import ConfigError, WorkerError
from taskq.model.job import random_token
from taskq.model.signing import Signer
from taskq.version import VERSION
from taskq.worker import membership
from taskq.worker.card import encode_card
from taskq.worker.claims import Claims
from taskq.worker.control import Control
from taskq.worker.dispatch import Dispatcher
from taskq.worker.fence import Fence
from taskq.worker.health import HealthSocket, Pulse
from taskq.worker.heartbeat import Heartbeat
from taskq.worker.holdings import Holder
from taskq.worker.inbox import Inbox
from taskq.worker.leases import Lease, ServedQueue
from taskq.worker.membership import left
from taskq.worker.notify import Notifier
from taskq.worker.nursery import Nursery
from taskq.worker.options import QueueChoice, WorkerOptions
from taskq.worker.pidfile import Pidfile
from taskq.worker.presence import Presence
from taskq.worker.protocol import Hello
from taskq.worker.reaper import Reaper
from taskq.worker.reload import Watch
from taskq.worker.upkeep import Upkeep
from taskq.worker.vigil import Vigil
from taskq.worker.watchdog import Watchdog

if TYPE_CHECKING:
    from taskq.worker.metrics import Meter, Show

logger = logging.getLogger("taskq.worker")
BOOT_TIMEOUT = 60.0  # seconds for the first child's import of the app
LAST_WORDS = 5.0  # seconds to say what is settled when the server does not answer
CARD_BEATS = 4  # beats that a worker's card outlives it


def run(options: WorkerOptions, health_socket: str | None = None, pidfile: str = "", show: Show | None = None) -> int:
    """Run a worker until it is stopped.

    Args:
        options: the worker's.
        health_socket: where it tells how it is; None for the usual place, empty for nowhere.
        pidfile: holds its process id while it runs; empty for none.
        show: shows its metrics; None where nobody collects them.

    Returns:
        The exit code: 0 after a graceful stop.

    Raises:
        TaskqError: if it cannot start; one line says why.
    """
    return Supervisor(options, health_socket, pidfile, show).run()


class _StoppedEarly(Exception):
    """A signal came while the app was being imported."""


class Supervisor:
    """The loop that joins the parts: children on one side, the broker on the other."""

    def __init__(
        self, options: WorkerOptions, health_socket: str | None = "", pidfile: str = "", show: Show | None = None
    ) -> None:
        self.options = options
        self.id = f"{options.name or socket.gethostname()}.{os.getpid()}.{random_token(6)}"
        self._inbox = Inbox()
        self._started = time.time()
        self._stop_by = 0.0  # monotonic seconds at which running jobs are killed; 0 while not stopping
        self._paused = False
        self._killed = False
        self._quit = False
        self._booted = False
        self._watchdog = Watchdog()
        self._claims = Claims(self.post, self._inbox.watch, self)
        self._meter = self._make_meter(show) if show is not None else None
        self._counters = self._meter.counters if self._meter is not None else None
        self._dispatcher = Dispatcher(self._claims, self.id, self._counters)
        self._nursery = Nursery(options, self._dispatcher, self._inbox.selector, self.id, VERSION, self.post)
        self._control = Control(self.post, self._inbox.watch, self.id, self.obey)
        self._pulse = Pulse(options.children)
        self._health = HealthSocket(self._inbox.selector, self._report)
        self._health_path = health_socket
        self._pidfile = Pidfile(pidfile)
        self._notifier = Notifier()
        self._watch: Watch | None = None
        self._broker: Broker | None = None
        self._heartbeat: Heartbeat
        self._fence: Fence
        self._reaper: Reaper
        self._upkeep: Upkeep
        self._vigil: Vigil

    # --- life ---------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Boot, loop, shut down; a signal before it is ready ends it as gracefully, since it holds nothing yet."""
        with self._inbox.own_signals():
            try:
                self._boot()
                self._loop()
                return self._shut_down()
            except _StoppedEarly:
                logger.info("stopped before it was ready", extra={"action": "worker_stopped"})
                return 0
            finally:
                self._close()

    def _boot(self) -> None:
        self._pidfile.check()
        self._notifier = Notifier.take(os.environ)
        self._health.open(self._health_path, self.id)
        if self._meter is not None:
            self._meter.start()
        if self.options.reload:
            self._watch = Watch(self.options.app, self.options.sys_path, self.post, self._nursery.renew)
        self._nursery.start()
        hello = self._first_hello()
        address = parse_url(hello.url) if hello.url else embedded.address()
        broker = self._broker = Broker(address, hello.namespace)
        broker.signer = self._dispatcher.signer = Signer.of(
            hello.namespace, hello.signing_key, required=hello.require_signed
        )
        self._nursery.holder = Holder(broker)
        times = self.options.times or LeaseTimes(hello.beat, hello.ttl)
        queues = [ServedQueue(choice, broker.keys(choice.name), self.id) for choice in self._choices(hello)]
        names = [queue.name for queue in queues]
        self._aside(lambda: membership.examine(broker, names))
        self._aside(lambda: membership.register(broker, queues, times))
        self._claims.open(broker, queues, self._counters)
        self._control.open(broker)
        if self._meter is not None:
            self._meter.open(broker, [queue.keys for queue in queues])
        self._reaper = Reaper(broker, times, lambda: self.post(self._claims.look))
        self._upkeep = upkeep = Upkeep(self.id, self._claims, self._dispatcher, self._reaper, self.post)
        presence = self._presence(broker.namespace, times)
        self._heartbeat = Heartbeat(broker, queues, times, upkeep.beaten, upkeep.lost, presence)
        self._fence = Fence(self._heartbeat, self._dispatcher, self._claims)
        self._vigil = Vigil(broker, names, times.beat, time.monotonic(), self._inbox.aside)
        self._reaper.start()
        self._heartbeat.start()
        self._vigil.start()
        self._watchdog.start()
        self._pidfile.write()
        self._booted = True
        self._notifier.ready(self.state)
        logger.info(
            "worker %s is ready: pool %s, %d x %d slots, queues %s, server %s", self.id, self.options.pool,
            self.options.children, self.options.slots, ", ".join(names), broker.address,
            extra={"action": "worker_ready", "worker": self.id},
        )  # fmt: skip

    def _first_hello(self) -> Hello:
        deadline = time.monotonic() + BOOT_TIMEOUT
        while self._nursery.first_hello is None:
            if self._inbox.signals:
                raise _StoppedEarly
            if self.options.reload:
                self._nursery.keep(time.monotonic())  # one that cannot start has said why, and waits for a change
            elif time.monotonic() > deadline:
                raise WorkerError(f"the app {self.options.app!r} was not imported within {BOOT_TIMEOUT:.0f} s")
            elif not self._dispatcher.hands and not self._nursery.start_again():
                raise WorkerError(f"the child process died while it imported {self.options.app!r}")
            self._wait(0.5)
        if self._nursery.first_hello.error:
            raise ConfigError(self._nursery.first_hello.error)
        return self._nursery.first_hello

    def _aside(self, step: Callable[[], None]) -> None:
        """Do what waits for the server in a thread, while the loop hears signals and tells how it is."""
        ended = self._inbox.aside(step)
        while not ended.done():
            if self._inbox.signals:
                raise _StoppedEarly
            self._wait(0.5)
        ended.result()

    def _choices(self, hello: Hello) -> list[QueueChoice]:
        if self.options.queues:
            return list(self.options.queues)
        return [QueueChoice(name) for name, _, _ in hello.queues] or [QueueChoice("default")]

    def _make_meter(self, show: Show) -> Meter:
        from taskq.worker.metrics import Meter

        slots = self.options.children * self.options.slots
        return Meter(show, self._report, lambda: self._dispatcher.hands, lambda: self._dispatcher.tasks, slots)

    def _presence(self, namespace: str, times: LeaseTimes) -> Presence:
        about = {"pool": self.options.pool, "queues": [queue.name for queue in self._claims.queues]}
        return Presence(namespace, self.id, self._card, about, CARD_BEATS * times.beat)

    def _card(self) -> bytes:
        fields = {
            "name": self.id, "host": socket.gethostname(), "pid": os.getpid(), "pool": self.options.pool,
            "children": self.options.children, "slots": self.options.slots,
            "queues": [queue.name for queue in self._claims.queues],
            "started": round(self._started), "version": VERSION, "state": self.state, "heard": self._control.heard,
            "outage": self._fence.outage,
        }  # fmt: skip
        return encode_card(fields, self._dispatcher.hands, self._claims.offset_us)

    # --- the loop -----------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while not self._done():
            now = time.monotonic()
            self._handle_signals(now)
            self._nursery.keep(now)
            if self._dispatcher.held or self._nursery.retiring:
                self._nursery.watch(now)
            self._fence.check(now)
            self._vigil.tick(now)
            self._control.tick(now)
            if self._paused:
                self._dispatcher.release_pending()
            self._dispatcher.release_stranded()
            self._claims.pump(now)
            if self.options.drain and not self._stop_by and self._claims.drained and not self._dispatcher.holds_any:
                self._begin_stop(now)
            if not self._paused:
                self._dispatcher.pump()
            self._nursery.watch_writing()
            if self._stop_by:
                self._press_on(now)
            self._feel(now)
            limit = min(self._claims.deadline(now), self._nursery.deadline(now), self._control.deadline(now))
            self._wait(min(limit, self._notifier.deadline()) - time.monotonic())

    def _wait(self, seconds: float) -> None:
        self._watchdog.turn()
        self._inbox.wait(seconds)
        if self._inbox.child_ended:
            self._inbox.child_ended = False  # before reaping: one that ends meanwhile is seen now or the next time
            self._nursery.reap()

    def _feel(self, now: float) -> None:
        self._pulse.alarm = self._vigil.alarm
        self._pulse.turn(now, self._dispatcher.feeding, claiming=self.wanted()[0] > 0)
        self._health.tick(now)
        self._notifier.tick(now, lambda: self._report()["reason"] or self.state)

    def _report(self) -> dict[str, Any]:
        beat = (self._heartbeat.acknowledged, self._fence.limit) if self._booted else (0.0, 0.0)
        about = {"worker": self.id, "pid": os.getpid(), "pool": self.options.pool, "jobs": self._dispatcher.held}
        return about | self._pulse.report(time.monotonic(), self.state if self._booted else "starting", *beat)

    def post(self, function: Callable[[], None]) -> None:
        """Run ``function`` in the loop; any thread may call this."""
        self._inbox.post(function)

    def wanted(self) -> tuple[int, int]:
        """Return how many jobs and how many suspects may be claimed now."""
        return (0, 0) if self._paused else self._dispatcher.wanted()

    def claimed(self, leases: list[Lease]) -> None:
        """Take new leases, and start what can be started, unless this worker stood still for too long meanwhile."""
        self._dispatcher.add(leases)
        self._fence.check(time.monotonic())
        if not self._paused:
            self._dispatcher.pump()

    def noticed(self, queue: ServedQueue, reply: StepReply) -> None:
        """Do the chores that a reply tells of."""
        self._pulse.stepped = time.monotonic()
        self._upkeep.do_chores(queue, reply.ended, reply.outbox, reply.revoked)

    def reconciled(self, queue: ServedQueue, given_back: int, lost: list[str]) -> None:
        """Hear what a comparison with the server has found."""
        self._upkeep.reconciled(queue, given_back, lost)

    def fenced(self, queue: ServedQueue, worker: str) -> None:
        """Hear that the lease of ``worker`` on a queue is gone."""
        self._upkeep.fenced(queue, worker)

    # --- orders -------------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """What it does, in one word; any thread may ask."""
        return "stopping" if self._stop_by else "paused" if self._paused else "running"

    def obey(self, command: str) -> None:
        """Do what was asked for from afar; a worker that is stopping does nothing else any more."""
        now = time.monotonic()
        if command == "stop" and not self._stop_by:
            logger.info("stopping: running jobs have %g s", self.options.grace, extra={"action": "stopping"})
            self._begin_stop(now)
        elif command == "pause" and not self._stop_by:
            self._paused = True
            for hand in self._dispatcher.hands:
                self._dispatcher.recall(hand)
        elif command == "resume" and not self._stop_by:
            self._paused = False
            self._claims.look()
        self._heartbeat.show()

    # --- stopping -----------------------------------------------------------------------------------------------

    def _handle_signals(self, now: float) -> None:
        while self._inbox.signals:
            number = self._inbox.signals.popleft()
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
        self._notifier.stopping()
        self._claims.stopping = self._dispatcher.stopping = self._nursery.stopping = True
        self._dispatcher.release_pending()
        for hand in list(self._dispatcher.hands):
            self._dispatcher.recall(hand)
            self._nursery.dismiss(hand)
        self._heartbeat.show()

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
        self._control.close()
        deadline = time.monotonic() + LAST_WORDS
        while not self._claims.idle and (now := time.monotonic()) < deadline and not self._inbox.signals:
            self._claims.pump(now)
            self._wait(0.05)
        self._relay_rest(deadline)
        self._heartbeat.stop(left(deadline))
        assert self._broker is not None
        membership.deregister(self._broker, self._claims.queues, deadline)
        logger.info("worker %s has stopped", self.id, extra={"action": "worker_stopped", "worker": self.id})
        return 0

    def _relay_rest(self, deadline: float) -> None:
        for queue in self._claims.queues:
            self._reaper.relay(queue.name)
        self._reaper.stop(left(deadline))

    def _close(self) -> None:
        self._watchdog.stop()
        if self._watch is not None:
            self._watch.close()
        self._health.close()
        if self._meter is not None:
            self._meter.close()
        self._pidfile.remove()
        self._nursery.kill_all()
        self._nursery.close()
        if self._nursery.holder is not None:
            self._nursery.holder.close()
        self._control.close()
        if self._claims.queues:
            self._claims.close()
        if self._broker is not None:
            self._broker.close()
        self._inbox.close()
