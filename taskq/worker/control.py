"""Hears what the worker is asked to do from afar: stop, pause, resume.

A command of several seconds waits at the server on a connection of its own; the supervisor's loop reads its answer.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable

from taskq.broker import workers
from taskq.broker.broker import Broker
from taskq.broker.session import LONGEST_PAUSE
from taskq.errors import TaskqError, shorten
from taskq.worker.wire import Post, Watch, Wire

logger = logging.getLogger("taskq.worker")
WAIT = 5.0  # seconds a wait for an order lasts: what an idle worker costs, and not what an order takes
FIRST_REFUSAL = 0.05  # seconds until a refused wait is tried again; doubles up to LONGEST_PAUSE
MAX_HEARD = 16  # tokens that are shown: who asked looks for his own within seconds


class Control:
    """Waits for orders while it is open; driven by the supervisor's loop.

    Args:
        post: runs a function in the loop.
        watch: is told of the socket to wait for.
        worker: the worker's id.
        obey: does what is asked for, in the loop.
    """

    def __init__(self, post: Post, watch: Watch, worker: str, obey: Callable[[str], None]) -> None:
        self._post = post
        self._watch = watch
        self._worker = worker
        self._obey = obey
        self._wire: Wire | None = None
        self._namespace = ""
        self._again_at = 0.0  # monotonic seconds before which a refused wait is not tried again
        self._pause = FIRST_REFUSAL
        self._heard: deque[str] = deque(maxlen=MAX_HEARD)

    @property
    def heard(self) -> list[str]:
        """Tokens of the last orders, for the card; any thread may read them."""
        return list(self._heard)

    def open(self, broker: Broker) -> None:
        """Begin to listen; without a connection it goes on trying."""
        self._namespace = broker.namespace
        self._wire = Wire(broker, self._post, "control", self._watch, reply_timeout=WAIT + 3)
        with contextlib.suppress(Exception):  # no reason not to run jobs; the first wait tries again and says why not
            self._wire.connect()

    def tick(self, now: float) -> None:
        """Go on listening, if nothing is under way."""
        if self._wire is None:
            return
        self._wire.tick(now)
        if not self._wire.busy and now >= self._again_at:
            seconds = WAIT * random.uniform(0.75, 1.0)
            command = workers.await_order(self._namespace, self._worker, seconds)
            self._wire.command(command.pack(), lambda reply: self._answered(command.parse(reply)), self._refused)

    def deadline(self, now: float) -> float:
        """Return the monotonic time until which the loop may sleep as far as orders go."""
        if self._wire is None:
            return now + WAIT
        if not self._wire.busy:
            return max(now, self._again_at)
        return self._wire.deadline() or now + WAIT

    def close(self) -> None:
        """Listen no more."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _answered(self, data: bytes | None) -> None:
        self._pause = FIRST_REFUSAL
        if data is None:
            return
        order = workers.read_order(data)
        if order is None:
            logger.warning("an order that cannot be read is left out: %s", shorten(data), extra={"action": "bad_order"})
            return
        if order.token in self._heard:  # sent twice over a connection that broke
            return
        logger.info("%s was asked for by %s", order.command, shorten(order.asker), extra={"action": "ordered"})
        self._heard.append(order.token)
        self._obey(order.command)

    def _refused(self, error: TaskqError) -> None:
        level = (
            logging.WARNING if self._pause == FIRST_REFUSAL else logging.DEBUG
        )  # one line, not one every two seconds
        logger.log(level, "orders cannot be heard: %s", error, extra={"action": "control_refused"})
        self._again_at = time.monotonic() + self._pause
        self._pause = min(LONGEST_PAUSE, self._pause * 2)
