"""Calls about barriers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from taskq.broker.call import Call, Command, make_call
from taskq.broker.keys import QueueKeys, channels
from taskq.broker.line import microseconds
from taskq.broker.queues import META_TTL_MS
from taskq.broker.scripts import load


class Standing(StrEnum):
    """How a wait stands, in answers as in what is told."""

    WAITING = "W"
    ACTING = "A"  # all have arrived, and this party is the one that runs the action
    RELEASED = "R"
    BROKEN = "B"
    LOOK = "L"  # all have arrived, and somebody has to see to what follows


@dataclass(frozen=True, slots=True)
class Place:
    """A party's place, which it keeps when asking again.

    Attributes:
        ticket: counts the arrivals; all generations have as many.
        born: microseconds; tells this barrier from one that was made after the server had lost it.
    """

    ticket: int
    born: str


@dataclass(frozen=True, slots=True)
class Entered:
    """The answer to an arrival or a look; no place where the barrier is broken."""

    standing: Standing
    place: Place | None


@dataclass(frozen=True, slots=True)
class Conflict:
    """The name is in use with another number of parties."""

    parties: int
    by: str


def enter(
    barrier: QueueKeys, address: str, place: Place | None, *, parties: int, acts: bool, lease: float, who: str
) -> Call[Entered | Conflict]:
    """Arrive at a barrier, or look again.

    Args:
        barrier: which.
        address: of the signal by which the caller is told.
        place: from the first answer; None to arrive.
        parties: how many it is for.
        acts: whether the caller has an action to run.
        lease: seconds for which it waits unless renewed.
        who: made it first, for messages.
    """

    def parse(reply: list[Any]) -> Entered | Conflict:
        letter, number, text = reply
        if letter == b"X":
            return Conflict(int(number), text.decode("utf-8", "replace"))
        return Entered(Standing(letter.decode()), Place(int(number), text.decode()) if number else None)

    born, ticket = _place(place)
    arguments = (
        channels(barrier.namespace),
        address,
        parties,
        born,
        ticket,
        int(acts),
        microseconds(lease),
        META_TTL_MS,
        who,
    )
    return make_call(load()["enter_barrier"], barrier, arguments, parse, first=address)


def finish(barrier: QueueKeys, address: str, place: Place, *, done: bool) -> Call[Standing]:
    """Release a generation after its action was run, or break it where that failed; answers which it was."""
    arguments = (channels(barrier.namespace), address, *_place(place), int(done), META_TTL_MS)
    return make_call(load()["open_barrier"], barrier, arguments, _standing)


def leave(barrier: QueueKeys, address: str, place: Place | None, *, stays: bool, idle: bool = False) -> Call[Standing]:
    """Give up a wait, which breaks the barrier unless all have arrived.

    Args:
        barrier: which.
        address: of the party.
        place: None where it is not known, or not even whether the party arrived.
        stays: it goes on waiting where all have arrived, which is answered by WAITING.
        idle: it has surely not begun the action; else its leaving breaks the barrier where it was to run it.
    """
    arguments = (channels(barrier.namespace), address, *_place(place), int(stays), int(idle), META_TTL_MS)
    return make_call(load()["leave_barrier"], barrier, arguments, _standing)


def end_waits(barrier: QueueKeys, *, parties: int, anew: bool, who: str) -> Call[Conflict | None]:
    """Break a barrier, and with ``anew`` make it usable again."""

    def parse(reply: list[Any]) -> Conflict | None:
        return Conflict(int(reply[1]), reply[2].decode("utf-8", "replace")) if reply[0] == b"X" else None

    arguments = (channels(barrier.namespace), parties, int(anew), META_TTL_MS, who)
    return make_call(load()["break_barrier"], barrier, arguments, parse)


def keep(barrier: QueueKeys, addresses: Sequence[str], lease: float) -> Call[list[str]]:
    """Renew the leases of parties; the answer is empty, as they are told by signal how their wait ended."""
    return make_call(
        load()["keep_barrier"],
        barrier,
        (channels(barrier.namespace), microseconds(lease), META_TTL_MS, *addresses),
        lambda _: [],
    )


def is_broken(barrier: QueueKeys) -> Command[bool]:
    """Read whether it is broken."""
    return Command(("HEXISTS", barrier.key("barrier"), "broken"), bool)


def count(barrier: QueueKeys) -> Command[int]:
    """Read how many have arrived and are not released, those beyond the present generation included."""
    return Command(("ZCARD", barrier.key("arrived")), int)


def _standing(reply: list[Any]) -> Standing:
    return Standing(reply[0].decode())


def _place(place: Place | None) -> tuple[str, str]:
    return (place.born, str(place.ticket)) if place is not None else ("", "")
