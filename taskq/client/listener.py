"""One subscriber per process and app: tells waiters of results and of signals the moment they are announced."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from taskq.broker.results import channel, parse_announcement, parse_signal
from taskq.client.poller import Poller
from taskq.client.signals import Signals
from taskq.client.watching import Registry, Sink, Watch
from taskq.errors import BrokerUnavailable
from taskq.model.job import random_token

if TYPE_CHECKING:
    from taskq.broker.broker import Broker
    from taskq.broker.subscription import Subscription

FIRST_PAUSE: Final = 0.05  # seconds before a lost connection is opened again; doubles
LONGEST_PAUSE: Final = 2.0  # seconds

logger = logging.getLogger(__name__)


class Listener:
    """The receiving end of one process; a forked child needs its own.

    Nothing is opened before the first ``watch``. Callbacks of results run in its thread.

    Attributes:
        token: says in a job's header that its end is announced here.
        signals: what else is told here, by number.
        epoch: stands for the present subscription, None without one. What was looked up or sent during it, and is
            still the same object, is sure to be told.
    """

    def __init__(self, broker: Broker) -> None:
        self.token = random_token()
        self.signals = Signals(self.token)
        self.epoch: object | None = None
        self._broker = broker
        self._registry = Registry()
        self._poller = Poller(broker, self._registry, self._wait_for_epoch)
        self._lock = threading.Lock()
        self._subscribed = threading.Event()
        self._closing = threading.Event()
        self._subscription: Subscription | None = None
        self._thread: threading.Thread | None = None
        self.know = self._registry.know

    def watch(
        self,
        sink: Sink,
        ids: Iterable[str],
        *,
        pushed: bool,
        covered: bool = False,
        wake: Callable[[], None] | None = None,
    ) -> Watch:
        """Tell ``sink`` of the end of jobs, until ``unwatch``; returns at once.

        Args:
            sink: is kept alive meanwhile.
            ids: of the jobs.
            pushed: they carry this listener's token.
            covered: they have not ended, or will be announced; else they are read first.
            wake: called when reading failed for a whole deadline; the watch's ``error`` says why.

        Raises:
            RuntimeError: no thread could be started; nothing is watched.
        """
        self.start()
        watch = Watch(sink, ids, pushed=pushed, wake=wake)
        self._registry.add(watch)
        try:
            self._poller.add(watch, now=not covered)
        except BaseException:
            self._registry.remove(watch)
            raise
        return watch

    def unwatch(self, watch: Watch) -> None:
        """Leave nothing of ``watch`` behind."""
        self._registry.remove(watch)

    def close(self) -> None:
        """End the threads; who waits in this moment gets an error."""
        self._closing.set()
        self._poller.close()
        with self._lock:
            subscription, thread = self._subscription, self._thread
        if subscription is not None:
            subscription.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join(LONGEST_PAUSE)
        self._registry.give_up(BrokerUnavailable("the app was closed while this was waited for; wait again"))

    def start(self) -> None:
        """Subscribe, if that is not done yet; returns at once, and ``epoch`` follows.

        Raises:
            RuntimeError: no thread could be started.
        """
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="taskq-listener", daemon=True)
                thread.start()
                self._thread = thread

    def _wait_for_epoch(self, seconds: float) -> object | None:
        if self.epoch is None and seconds:
            self._subscribed.wait(seconds)
        return self.epoch

    def _run(self) -> None:
        from taskq.broker.subscription import Subscription

        pause = FIRST_PAUSE
        while not self._closing.is_set():
            with self._lock:
                self._subscription = Subscription(self._broker.link(), channel(self._broker.namespace, self.token))
            try:
                self._subscription.open()
                pause = FIRST_PAUSE
                self._begin()
                for message in self._subscription.messages():
                    self._read(message)
            except Exception as error:
                if not self._closing.is_set():
                    logger.info("listening for results was interrupted: %s", error, extra={"action": "listener_lost"})
            finally:
                self.epoch = None
                self._subscribed.clear()
                self._subscription.close()
            self._closing.wait(pause * random.uniform(0.5, 1.0))
            pause = min(LONGEST_PAUSE, 2 * pause)

    def _begin(self) -> None:
        self.epoch = object()
        self._subscribed.set()
        # What ended while nobody listened is found by reading once more.
        self._poller.hurry(self._registry.watches())
        self.signals.alarm()

    def _read(self, message: bytes) -> None:
        signal = parse_signal(message)
        if signal is not None:
            self.signals.deliver(*signal)
            return
        for job_id, record in parse_announcement(message):
            self._tell(job_id, record)

    def _tell(self, job_id: str, record: bytes) -> None:
        if record:
            self._registry.settle(job_id, record)
        else:  # too large for a message
            self._registry.uncover(job_id)
            self._poller.hurry(self._registry.watchers(job_id))
