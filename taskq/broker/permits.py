"""Calls about the permits of locks and semaphores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from taskq.broker.call import Call, make_call
from taskq.broker.keys import QueueKeys, channels
from taskq.broker.line import Wait, microseconds, parse_wait
from taskq.broker.queues import META_TTL_MS
from taskq.broker.scripts import load

USED: Final = "+"  # before the address of a permit that is used up, not lost


@dataclass(frozen=True, slots=True)
class Given:
    """A permit; ``fence`` is greater than that of every earlier one."""

    fence: int


@dataclass(frozen=True, slots=True)
class Refused:
    """No permit, as none was free and the caller does not wait."""


@dataclass(frozen=True, slots=True)
class TooMany:
    """A bounded one would have more permits than it may.

    Attributes:
        dropped: how many of the holders named, from the first on, hold no more: others gave theirs back already.
    """

    dropped: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """The name is in use with another number of permits."""

    limit: int
    by: str


def take(
    permits: QueueKeys, address: str, *, limit: int, lease: float, turn: str, who: str
) -> Call[Given | Wait | Refused | Conflict]:
    """Take a permit or stand in line for one.

    Args:
        permits: of which lock or semaphore.
        address: of the signal by which the caller is told; it is the holder's name, too.
        limit: how many permits there are.
        lease: seconds for which the permit is held unless renewed.
        turn: NO_PLACE, LAST_PLACE, or the one from an earlier answer.
        who: made it first, for messages.
    """

    def parse(reply: list[Any]) -> Given | Wait | Refused | Conflict:
        letter, *rest = reply
        if letter == b"G":
            return Given(int(rest[0]))
        if letter == b"W":
            return parse_wait(rest)
        if letter == b"X":
            return Conflict(int(rest[0]), rest[1].decode("utf-8", "replace"))
        return Refused()

    arguments = (channels(permits.namespace), address, limit, turn, microseconds(lease), META_TTL_MS, who)
    return make_call(load()["take_permit"], permits, arguments, parse, first=address)


def give(
    permits: QueueKeys,
    addresses: Sequence[str],
    *,
    limit: int,
    lease: float,
    count: int = 0,
    bounded: bool = False,
    dead: bool = False,
) -> Call[int | TooMany]:
    """Give permits back, leave the line, or add permits; answers how many of ``addresses`` held one.

    Args:
        permits: of which lock or semaphore.
        addresses: of holders and waiters.
        limit: how many permits there are.
        lease: seconds, as the caller asked for; who gets it next has it for the longest that anybody did.
        count: permits to add that nobody holds.
        bounded: answer TooMany, and give nothing, if there were more than ``limit`` then.
        dead: the holders died: what they took is free, but for what was added in place of theirs.
    """

    def parse(reply: list[Any]) -> int | TooMany:
        number = int(reply[1])
        return number if reply[0] == b"G" else TooMany(number)

    arguments = (
        channels(permits.namespace), microseconds(lease), META_TTL_MS, "1" if bounded else "0", limit, count,
        "1" if dead else "0", *addresses,
    )  # fmt: skip
    return make_call(load()["give_permit"], permits, arguments, parse, first=addresses[0] if addresses else "")


def leave(permits: QueueKeys, address: str) -> Call[Given | None]:
    """Leave the line; answers the permit if it was given meanwhile."""
    return make_call(
        load()["leave_line"], permits, (address,), lambda reply: Given(int(reply[0])) if reply[0] else None
    )


def keep(permits: QueueKeys, addresses: Sequence[str], lease: float) -> Call[list[str]]:
    """Renew the leases of holders; answers those that hold nothing any more.

    With USED before it one that stood for a permit that was added, such as a consumed signal: nobody else has it.
    """

    def parse(reply: list[Any]) -> list[str]:
        return [address.decode() for address in reply]

    script, first = load()["keep_permits"], addresses[0] if addresses else ""
    return make_call(script, permits, (microseconds(lease), META_TTL_MS, *addresses), parse, first=first)


@dataclass(frozen=True, slots=True)
class Count:
    """Permits that are free and held, and how many wait."""

    free: int
    held: int
    waiting: int


def count(permits: QueueKeys, limit: int) -> Call[Count]:
    """Look."""
    return make_call(load()["count_permits"], permits, (limit,), lambda reply: Count(*map(int, reply)))
