"""Renews in the background what this process holds: permits of locks and semaphores, places, claimed items."""

from __future__ import annotations

import logging
import threading
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from taskq.errors import InvalidTimeout, TaskqError, shorten

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from taskq.broker.broker import Broker
    from taskq.broker.call import Call

BEATS_PER_LEASE: Final = 5  # as the scripts have it: an outage of three is noticed before any lease seems to be over

SHORTEST_LEASE: Final = 0.05  # seconds; a fifth of it is one round trip and a thread's turn
LONGEST_LEASE: Final = 86_400.0  # seconds

logger = logging.getLogger(__name__)


class Kind(StrEnum):
    """What is held."""

    PERMIT = "permit"
    CLAIM = "claim"
    PLACE = "place"


class Kept(Protocol):
    """Something that is held under a lease.

    Attributes:
        address: the holder's name at the server.
        lease: seconds.
    """

    address: str
    lease: float

    @property
    def kind(self) -> Kind:
        """What is held."""

    @property
    def tag(self) -> str:
        """The name that its keys share."""

    @property
    def limit(self) -> int:
        """Of how many, for permits."""

    @property
    def group(self) -> Hashable:
        """Equal for what one call can renew."""

    def renewal(self, addresses: Sequence[str]) -> Call[list[str]]:
        """Return the call that renews all of this group; it answers which are lost."""

    def lose(self) -> None:
        """Take note that the server gave it to somebody else."""


class Keeper:
    """One thread per process and app, started with the first thing to keep. A forked child needs its own.

    Code that keeps the interpreter busy for longer than a lease without letting other threads run, such as a long call
    into C, loses what it holds: that is what fencing numbers are for.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._changed = threading.Condition()
        self._kept: dict[str, Kept] = {}
        self._due: dict[Hashable, float] = {}  # by group: monotonic seconds of the next renewal
        self._thread: threading.Thread | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, held: Kept) -> None:
        """Renew ``held`` until ``drop``; returns at once."""
        with self._changed:
            self._kept[held.address] = held
            if held.group in self._due:
                return
            self._due[held.group] = time.monotonic() + held.lease / BEATS_PER_LEASE
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="taskq-keeper", daemon=True)
                self._thread.start()
            else:
                self._changed.notify()

    def drop(self, held: Kept) -> None:
        """Renew ``held`` no more."""
        self._kept.pop(held.address, None)  # its group goes with the next round: a lock is often taken again at once

    def close(self) -> None:
        """End the thread; leases run out."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                due = [group for group, at in self._due.items() if at <= now]
                while not due:
                    if self._closed:
                        return
                    self._changed.wait(min(self._due.values()) - now if self._due else None)
                    now = time.monotonic()
                    due = [group for group, at in self._due.items() if at <= now]
                if self._closed:
                    return
            for group in due:
                self._renew(group)

    def _renew(self, group: Hashable) -> None:
        held = [one for one in list(self._kept.values()) if one.group == group]
        started = time.monotonic()
        if held:
            beat = held[0].lease / BEATS_PER_LEASE
            try:
                with self._broker.session() as session:
                    lost = set(session.run(held[0].renewal([one.address for one in held]), beat))
            except Exception as error:  # a thread that ended of any would lose all that is held
                defect = not isinstance(error, TaskqError)
                logger.warning("leases were not renewed: %s", error, exc_info=defect, extra={"action": "keep_failed"})
            else:
                for one in held:
                    if one.address in lost and self._kept.pop(one.address, None) is not None:
                        one.lose()
                        logger.error("%s was lost: its lease ran out", one, extra={"action": "lease_lost"})
        with self._changed:
            if held:
                self._due[group] = started + beat
            elif not any(one.group == group for one in self._kept.values()):
                self._due.pop(group, None)
            else:  # taken again this moment
                self._due[group] = started


def check_lease(lease: object) -> float:
    """Return a lease in seconds.

    Raises:
        InvalidTimeout: if it is no number, or too short to be renewed in time.
    """
    if isinstance(lease, bool) or not isinstance(lease, int | float) or not SHORTEST_LEASE <= lease <= LONGEST_LEASE:
        raise InvalidTimeout(
            f"lease {shorten(lease)} is no number of seconds from {SHORTEST_LEASE:g} to {LONGEST_LEASE:g}"
        )
    return float(lease)
