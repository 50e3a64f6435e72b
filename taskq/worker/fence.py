"""Lets a worker start nothing while it cannot renew its lease: its jobs may be somebody else's soon."""

from __future__ import annotations

import logging
from typing import Final

from taskq.worker.claims import Claims
from taskq.worker.dispatch import Dispatcher
from taskq.worker.heartbeat import Heartbeat

logger = logging.getLogger("taskq.worker")
SELF_FENCE: Final = 0.8  # share of the lease after which an unrenewed worker starts nothing new


class Fence:
    """Used by the supervisor's loop.

    Args:
        heartbeat: renews the lease.
        dispatcher: is held back.
        claims: looks for jobs afterwards.

    Attributes:
        limit: seconds without a renewal after which nothing is started.
        outage: of the last one, seconds since 1970 of its end, by the server's clock, and how long it was.
    """

    def __init__(self, heartbeat: Heartbeat, dispatcher: Dispatcher, claims: Claims) -> None:
        self.limit = SELF_FENCE * heartbeat.times.ttl
        self.outage: list[float] = []
        self._heartbeat = heartbeat
        self._dispatcher = dispatcher
        self._claims = claims
        self._since = 0.0  # monotonic seconds of the last beat before an outage

    def check(self, now: float) -> None:
        """Hold the children back, or let them go on."""
        acknowledged = self._heartbeat.acknowledged
        late = now - acknowledged > self.limit
        if late and not self._dispatcher.held_back:
            logger.warning(
                "the lease could not be renewed: no job is started until it is", extra={"action": "held_back"}
            )
            self._since = acknowledged
            for hand in self._dispatcher.hands:
                self._dispatcher.recall(hand)
        elif self._dispatcher.held_back and not late:
            away = acknowledged - self._since
            logger.warning(
                "the server is back after %.1f s: the lease is renewed, jobs are started again", away,
                extra={"action": "renewed", "seconds": round(away, 1)},
            )  # fmt: skip
            self.outage = [round(acknowledged + self._heartbeat.presence.offset, 3), round(away, 3)]
            self._heartbeat.show()
            self._claims.look()
        self._dispatcher.held_back = late
