"""Renews in the background what this process holds: permits of locks and semaphores, places, claimed items."""

from __future__ import annotations

import logging
import threading
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from taskq.broker.permits import USED
from taskq.errors import InvalidTimeout, TaskqError, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from taskq.broker.broker import Broker
    from taskq.broker.call import Call

BEATS_PER_LEASE: Final = 5  # as the scripts have it: an outage of three is noticed before any lease seems to be over

SHORTEST_LEASE: Final = 0.05  # seconds; a fifth of it is one round trip and a thread's turn
LONGEST_LEASE: Final = 86_400.0  # seconds

LEAST_PATIENCE: Final = 0.1  # seconds; a server that is busy for so long is not away
ENOUGH_PATIENCE: Final = 1.0  # seconds; for a connection to a far server by TLS

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
        """Return the call that renews all of this group; it answers which are lost, and which used up, see USED."""

    def lose(self) -> None:
        """Take note that the server gave it to somebody else."""


@runtime_checkable
class Usable(Protocol):
    """What may be used up, as a signal is: it is held no more, and nobody else has it."""

    def use_up(self) -> None:
        """Take note of that."""


@runtime_checkable
class Doubtable(Protocol):
    """What says whether it is sure to be held."""

    def doubt(self, doubted: bool) -> None:
        """Take note that its lease may be over, as no renewal was answered for so long; or that it is not after all."""


class Keeper:
    """One thread per process and app, started with the first thing to keep. A forked child needs its own.

    Code that keeps the interpreter busy for longer than a lease without letting other threads run, such as a long call
    into C, loses what it holds: that is what fencing numbers are for.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._changed = threading.Condition()
        self._kept: dict[str, Kept] = {}
        self._renewed: dict[str, float] = {}  # by address: monotonic seconds of the last renewal that was answered
        self._due: dict[Hashable, float] = {}  # by group: monotonic seconds of the next renewal
        self._thread: threading.Thread | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, held: Kept) -> None:
        """Renew ``held`` until ``drop``; returns at once.

        Raises:
            RuntimeError: no thread could be started, and nothing is kept.
        """
        with self._changed:
            if self._closed:
                held.lose()
                return
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="taskq-keeper", daemon=True)
                thread.start()
                self._thread = thread
            self._renewed[held.address] = time.monotonic()
            self._kept[held.address] = held
            if held.group not in self._due:
                self._due[held.group] = time.monotonic() + held.lease / BEATS_PER_LEASE
                self._changed.notify()

    def drop(self, held: Kept) -> None:
        """Renew ``held`` no more."""
        self._pop(held)  # its group goes with the next round: a lock is often taken again at once

    def close(self) -> None:
        """End the thread; leases run out, so that all that is held is lost to this process."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        for held in list(self._kept.values()):
            if self._pop(held):
                _tell(held, held.lose)

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
                try:
                    self._renew(group)
                except Exception:  # a thread that ended of any would lose all that is held
                    logger.exception("leases were not renewed", extra={"action": "keep_failed"})
                    with self._changed:
                        self._due[group] = time.monotonic() + SHORTEST_LEASE

    def _renew(self, group: Hashable) -> None:
        held = self._members(group)
        started = time.monotonic()
        if held:
            beat = held[0].lease / BEATS_PER_LEASE
            patience = patience_of(held[0].lease, [one.lease for one in (*held, *list(self._kept.values()))])
            try:
                with self._broker.session() as session:
                    renewal = held[0].renewal([one.address for one in held])
                    gone = set(session.run(renewal, min(beat, patience), patience))
            except Exception as error:  # the group is renewed again a beat later
                self._doubt(held)
                defect = not isinstance(error, TaskqError)
                logger.warning("leases were not renewed: %s", error, exc_info=defect, extra={"action": "keep_failed"})
            else:
                self._note(held, gone, started)
        with self._changed:
            if held:
                self._due[group] = started + beat
            elif not self._members(group):
                self._due.pop(group, None)
            else:  # taken again this moment
                self._due[group] = started

    def _note(self, held: Sequence[Kept], gone: set[str], renewed: float) -> None:
        for one in held:
            if one.address in gone:
                if self._pop(one):
                    _lose(one)
            elif USED + one.address in gone:
                if self._pop(one):
                    use_up(one)
            elif one.address in self._renewed:
                self._renewed[one.address] = renewed
                if isinstance(one, Doubtable):
                    one.doubt(False)

    def _doubt(self, held: Sequence[Kept]) -> None:
        """Have those say so whose lease may be over: who has lost the server does not know who holds what now."""
        now = time.monotonic()
        for one in held:
            if isinstance(one, Doubtable) and now - self._renewed.get(one.address, now) >= one.lease:
                one.doubt(True)

    def _pop(self, held: Kept) -> bool:
        self._renewed.pop(held.address, None)
        return self._kept.pop(held.address, None) is not None

    def _members(self, group: Hashable) -> list[Kept]:
        # A copy: what is given back goes at once, without the lock, so that a collector may do it too.
        return [one for one in list(self._kept.values()) if one.group == group]


def _lose(one: Kept) -> None:
    logger.error("%s was lost: its lease ran out", one, extra={"action": "lease_lost"})
    _tell(one, one.lose)


def use_up(one: Kept) -> None:
    """Tell ``one`` that it is used up."""
    if isinstance(one, Usable):
        _tell(one, one.use_up)


def _tell(one: Kept, tell: Callable[[], None]) -> None:
    try:
        tell()
    except Exception:  # the others must learn of their losses
        logger.exception("who held %s could not be told", one, extra={"action": "lose_failed"})


def patience_of(lease: float, leases: Sequence[float]) -> float:
    """Return for how many seconds a renewal waits for an answer, before its connection is given up.

    Args:
        lease: what is renewed.
        leases: of all that is kept: the others must not wait for long.
    """
    return max(LEAST_PATIENCE, min(lease / BEATS_PER_LEASE, max(ENOUGH_PATIENCE, min(leases) / BEATS_PER_LEASE)))


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
