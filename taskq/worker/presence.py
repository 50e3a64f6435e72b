"""How others see that a worker is there: its card, its place in the roster, the news that it came or went."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from taskq.broker import workers
from taskq.broker.session import Session
from taskq.errors import TaskqError

logger = logging.getLogger("taskq.worker")
FORGOTTEN = 86_400  # seconds that a worker which died without a word is still listed
SOON = 1.0  # seconds that saying so is tried; nothing depends on it, and the next beat says it again


class Presence:
    """Used by the heartbeat's thread alone.

    Args:
        namespace: whose roster.
        worker: its id.
        card: returns what it says of itself.
        about: what news of it carry beside kind, id and time: pool and queues.
        ttl: seconds that the card outlives the last beat.

    Attributes:
        offset: seconds: the server's clock minus the monotonic one, as of the last beat.
    """

    def __init__(
        self, namespace: str, worker: str, card: Callable[[], bytes], about: Mapping[str, object], ttl: float
    ) -> None:
        self._namespace = namespace
        self._worker = worker
        self._card = card
        self._about = about
        self._ttl_ms = round(ttl * 1000)
        self.offset = 0.0
        self._told = False

    def beat(self, session: Session, now_us: int) -> None:
        """Sign in anew, at the server's time ``now_us``; raises as ``Session.read``."""
        self.offset = now_us / 1e6 - time.monotonic()
        now = now_us // 1_000_000
        self._write_card(session)
        session.read(workers.sign_in(self._namespace, self._worker, now))
        session.read(workers.prune_roster(self._namespace, now - FORGOTTEN))
        if not self._told:
            self._told = True
            self._announce(session, "worker-up", self._worker, **self._about)

    def show(self, session: Session) -> None:
        """Renew the card alone: something on it has changed."""
        try:
            self._write_card(session, SOON)
        except TaskqError as error:
            logger.debug("the card waits for the next beat: %s", error)

    def leave(self, session: Session) -> None:
        """Sign off."""
        try:
            session.read(workers.sign_off(self._namespace, self._worker), SOON)
            session.read(workers.drop_card(self._namespace, self._worker), SOON)
        except TaskqError:
            logger.debug("the card of %s is left to its time-to-live", self._worker)
        else:
            self._announce(session, "worker-down", self._worker, **self._about)

    def tell_vanished(self, session: Session, over: Sequence[str]) -> None:
        """Announce which of the workers whose lease is over vanished; any number of us finds the same, one says it."""
        for worker in over:
            try:
                if (
                    session.read(workers.last_seen(self._namespace, worker), SOON) is not None
                    and session.read(workers.read_card(self._namespace, worker), SOON) is None
                    and session.read(workers.note_gone(self._namespace, worker), SOON)
                ):
                    self._announce(session, "worker-down", worker, pool="", queues=[], vanished=True)
            except TaskqError as error:
                logger.debug("whether %s vanished is not known: %s", worker, error)

    def _write_card(self, session: Session, deadline: float | None = None) -> None:
        try:
            text = self._card()
        except Exception:  # what is told to people must not cost the lease
            logger.exception("the card cannot be written", extra={"action": "card_failed"})
            text = b"{}"
        session.read(workers.write_card(self._namespace, self._worker, text, self._ttl_ms), deadline)

    def _announce(self, session: Session, kind: str, worker: str, **more: object) -> None:
        at = round(self.offset + time.monotonic(), 6)
        news = {"kind": kind, "worker": worker, "at": at, **more}
        try:
            session.read(workers.announce(self._namespace, news), SOON)
        except TaskqError as error:  # a right that is missing, say
            logger.debug("%s of %s is not announced: %s", kind, worker, error)
