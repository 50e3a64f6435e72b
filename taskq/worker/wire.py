"""The supervisor's connections: one call in flight, repeated until it is answered, without blocking the loop."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from taskq.broker.broker import Broker
from taskq.broker.call import Call
from taskq.broker.connection import PARTIAL, Link
from taskq.broker.failures import is_broken, is_missing_script, is_moved, is_passing, reason, translate
from taskq.broker.progress import LARGE, LOOK, WHOLE
from taskq.broker.session import FIRST_PAUSE, LONGEST_PAUSE
from taskq.errors import TaskqError

if TYPE_CHECKING:
    from taskq.worker.metrics import Counters

logger = logging.getLogger("taskq.worker")

Post = Callable[[Callable[[], None]], None]
"""Runs a function in the supervisor's loop, from any thread."""


Watch = Callable[[Link | None, "Wire"], None]


class Wire:
    """A connection whose reply the loop waits for, and which is rebuilt by a thread of its own when it breaks.

    Args:
        broker: gives connections.
        post: runs a function in the loop.
        name: for the log.
        watch: is told of a new socket to wait for, again when ``writing`` has changed, and of None before it is closed.
        reply_timeout: seconds without a byte, either way, after which a call is sent again over a new connection.
        counters: count its calls; None where nobody collects them.
        silent: is told in the loop that the connection was given up since the server said nothing.
    """

    def __init__(
        self,
        broker: Broker,
        post: Post,
        name: str,
        watch: Watch,
        reply_timeout: float = 15.0,
        counters: Counters | None = None,
        silent: Callable[[], None] = lambda: None,
    ) -> None:
        self._broker = broker
        self._post = post
        self._name = name
        self._watch = watch
        self._reply_timeout = reply_timeout
        self._counters = counters
        self._silent = silent
        self._link: Link | None = None
        self._connecting = False
        self._closed = False
        self._pack: Callable[[bool], bytes] | None = None
        self._answer: Callable[[Any], None] | None = None
        self._refuse: Callable[[TaskqError], None] | None = None
        self._pause = FIRST_PAUSE
        self._again_at = 0.0  # monotonic seconds of the next repetition; 0 for none
        self._sent_at = 0.0  # monotonic seconds
        self._overdue_at = 0.0  # monotonic seconds; 0 while nobody can answer
        self._rest = memoryview(b"")  # of a large call: what is not sent yet
        self._left = 0  # bytes of a large call that the server had not taken at the last look
        self._look_at = 0.0  # monotonic seconds of the next look; 0 for none
        self._unproven = False  # the connection has not answered yet: a proxy without a server accepts, and hangs up

    @property
    def writing(self) -> bool:
        """Whether there is more to send as soon as the socket takes it; nothing is read before that."""
        return bool(self._rest)

    @property
    def busy(self) -> bool:
        """Whether a call waits for its answer."""
        return self._answer is not None

    def call(
        self,
        call: Call[Any],
        session: str,
        seq: int,
        answer: Callable[[Any], None],
        refuse: Callable[[TaskqError], None],
    ) -> None:
        """Send a script call; exactly one of ``answer`` and ``refuse`` runs later, in the loop."""

        def answered(reply: Any) -> None:
            try:
                value = call.parse(reply)
            except TaskqError as error:  # the reply says so: fenced
                refuse(error)
            else:
                answer(value)

        self._begin(lambda by_source: call.pack(session, seq, by_source=by_source), answered, refuse)

    def command(self, packed: bytes, answer: Callable[[Any], None], refuse: Callable[[TaskqError], None]) -> None:
        """Send a plain command that may be repeated."""
        self._begin(lambda _: packed, answer, refuse)

    def _begin(
        self,
        pack: Callable[[bool], bytes],
        answer: Callable[[Any], None],
        refuse: Callable[[TaskqError], None],
    ) -> None:
        assert self._answer is None, "one call at a time"
        self._pack, self._answer, self._refuse = pack, answer, refuse
        self._send(by_source=False)

    def _send(self, *, by_source: bool) -> None:
        self._again_at = 0.0
        if self._link is None:
            self._connect()
            return
        assert self._pack is not None
        self._sent_at = time.monotonic()
        self._overdue_at = self._sent_at + self._reply_timeout
        packed = self._pack(by_source)
        if len(packed) <= LARGE:
            try:
                self._link.send(packed)
            except Exception as error:
                self._broken(error)
            return
        self._rest, self._left = memoryview(packed), len(packed)
        self._look_at = self._sent_at + LOOK
        self._write()
        if self._rest and self._link is not None:
            self._watch(self._link, self)

    def turn(self) -> None:
        """Do what the selector says can be done: read, or write where there is more to send."""
        if not self._rest:
            self.receive()
            return
        self._write()
        if not self._rest and self._link is not None:
            self._watch(self._link, self)

    def _write(self) -> None:
        link = self._link
        if link is None:
            return
        try:
            self._rest = link.send_ready(self._rest)
        except Exception as error:
            self._broken(error)

    def _look(self, now: float) -> None:
        """Note whether the server has taken more of a large call: silence is counted from there."""
        assert self._link is not None
        left = len(self._rest) + self._link.unsent()
        self._look_at = now + LOOK
        if left < self._left:
            self._left = left
            self._overdue_at = min(now + self._reply_timeout, self._sent_at + WHOLE)

    def receive(self) -> None:
        """Read what the selector announced: a reply, a part of it, or that the connection has ended."""
        link = self._link
        if link is None:
            return
        try:
            reply = link.receive_ready()
        except Exception as error:
            self._failed(error)
            return
        now = time.monotonic()
        if reply is PARTIAL:
            if self._overdue_at:
                self._overdue_at = min(now + self._reply_timeout, self._sent_at + WHOLE)
            return
        self._pause = FIRST_PAUSE
        self._unproven = False
        if self._counters is not None and self._overdue_at:
            self._counters.answered(now - self._sent_at)
        answer = self._answer
        self._forget_call()
        if answer is not None:
            answer(reply)

    def _failed(self, error: Exception) -> None:
        if is_missing_script(error) and self._answer is not None:
            self._send(by_source=True)
        elif is_broken(error) or (self._link is not None and not self._link.connected):  # closed after garbage, say
            self._broken(error)
        elif is_passing(error):
            self._again_at = time.monotonic() + self._next_pause()
            self._count("busy")
            if is_moved(error):
                self.drop_link()
            logger.warning("%s: server is not ready: %s", self._name, error, extra={"action": "broker_busy"})
        else:
            self._count("refused")
            refuse = self._refuse
            self._forget_call()
            if refuse is not None:
                refuse(translate(error, self._broker.address))

    def _broken(self, error: Exception) -> None:
        self.drop_link()
        if not self._closed:
            self._count("lost")
            logger.warning(
                "%s: connection to %s lost (%s), reconnecting", self._name, self._broker.address, reason(error),
                extra={"action": "broker_lost"},
            )  # fmt: skip
            self._connect()

    def _count(self, kind: str) -> None:
        if self._counters is not None:
            self._counters.failed(kind)

    def _forget_call(self) -> None:
        self._pack = self._answer = self._refuse = None
        self._again_at = self._overdue_at = self._look_at = 0.0

    def _next_pause(self) -> float:
        pause = self._pause
        self._pause = min(LONGEST_PAUSE, pause * 2)
        return pause

    def tick(self, now: float) -> None:
        """Repeat a call whose pause is over; give a connection up that does not answer."""
        if self._again_at and now >= self._again_at:
            self._send(by_source=False)
            return
        if self._answer is None or self._link is None or not self._overdue_at:
            return
        if self._look_at and now >= self._look_at:
            self._look(now)
        if now >= self._overdue_at:
            dripped = now >= self._sent_at + WHOLE
            late = f"the {'call' if self._rest else 'reply'} is not whole after {WHOLE:g} s"
            self._broken(TimeoutError(late if dripped else f"no reply for {self._reply_timeout:g} s"))
            self._silent()

    def deadline(self) -> float:
        """Return the monotonic time at which ``tick`` has something to do; 0 for none."""
        if self._again_at or self._answer is None:
            return self._again_at
        return min(self._look_at, self._overdue_at) if self._look_at and self._overdue_at else self._overdue_at

    def connect(self) -> None:
        """Open the connection now, in this thread; where it breaks, another one goes on trying.

        Raises:
            TaskqError: the server refuses it.
        """
        link = self._broker.link()
        try:
            link.connect()
        except Exception as error:
            link.close()
            if not is_broken(error) and not is_passing(error):
                raise translate(error, self._broker.address) from None
            self._broken(error)
            return
        self._link = link
        self._watch(link, self)

    def _connect(self) -> None:
        if not self._connecting and not self._closed:
            self._connecting = True
            delay = self._next_pause() if self._unproven else 0.0
            name = f"taskq-{self._name}-reconnect"
            threading.Thread(target=self._reconnect, args=(delay,), name=name, daemon=True).start()

    def _reconnect(self, delay: float) -> None:
        time.sleep(delay)
        pause = FIRST_PAUSE
        while not self._closed:
            link = self._broker.link()
            try:
                link.connect()
            except Exception:
                link.close()
                self._count("unreachable")
                time.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
            else:
                self._post(functools.partial(self._connected, link))
                return

    def _connected(self, link: Link) -> None:
        self._connecting = False
        if self._closed:
            link.close()
            return
        self._link = link
        self._unproven = True
        self._watch(link, self)
        logger.info("%s: connected to %s", self._name, self._broker.address, extra={"action": "broker_connected"})
        if self._answer is not None:
            self._send(by_source=False)

    def renew(self) -> None:
        """Use another connection from the next call on; one that is under way waits for its answer."""
        if not self.busy:
            self.drop_link()

    def drop_link(self) -> None:
        """Close the connection; a call in flight is sent again over the next one."""
        self._overdue_at = self._look_at = 0.0  # nobody can answer: until the next connection there is no deadline
        self._rest = memoryview(b"")
        if self._link is not None:
            self._watch(None, self)
            self._link.close()
            self._link = None

    def close(self) -> None:
        """Give the connection and its call up."""
        self._closed = True
        self._forget_call()
        self.drop_link()
