"""Calls about the items of data queues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from taskq.broker.call import Call, make_call
from taskq.broker.keys import QueueKeys, channels
from taskq.broker.line import Wait, microseconds, parse_wait
from taskq.broker.queues import META_TTL_MS
from taskq.broker.scripts import load

BATCH_ITEMS: Final = 1000  # a call, as of jobs
BATCH_BYTES: Final = 4 * 1024 * 1024  # a call
ARRIVAL: Final = 16  # digits before an item: the number of its arrival
GETTERS, PUTTERS, JOINERS = "g", "p", "j"


@dataclass(frozen=True, slots=True)
class Put:
    """How many items were put; ``wait`` if the rest waits for room; ``full`` if there was none for it."""

    accepted: int = 0
    wait: Wait | None = None
    full: bool = False
    shut: bool = False
    undeclared: bool = False


@dataclass(frozen=True, slots=True)
class Got:
    """Members that were taken; none if the queue is empty. ``claims`` names those of claimed ones, in order."""

    members: Sequence[bytes] = ()
    claims: Sequence[str] = ()
    wait: Wait | None = None
    shut: bool = False
    undeclared: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How a data queue stands."""

    discipline: str
    maxsize: int
    items: int
    claimed: int
    unfinished: int
    shut: bool


def put(queue: QueueKeys, address: str, items: Sequence[tuple[str, bytes]], turn: str) -> Call[Put]:
    """Put items (at most BATCH_ITEMS), each with its place in a priority queue or ''."""
    arguments: list[Any] = [channels(queue.namespace), address, turn, META_TTL_MS]
    for item in items:
        arguments += item
    return make_call(load()["put_items"], queue, arguments, _put, first=address)


def get(
    queue: QueueKeys, address: str, *, most: int, turn: str, lease: float, claim: bool, max_bytes: int = BATCH_BYTES
) -> Call[Got]:
    """Take up to ``most`` items, under a lease if ``claim``; at least one is taken whatever its size."""
    arguments = (
        channels(queue.namespace), address, turn, most, max_bytes, "1" if claim else "0", microseconds(lease),
        META_TTL_MS,
    )  # fmt: skip
    return make_call(load()["get_items"], queue, arguments, _got, first=address)


def done(queue: QueueKeys, count: int) -> Call[bool]:
    """Count items as finished; answers False if that were more than were put."""
    return _end(queue, count, (), back=False, parse=lambda reply: reply[0] != b"E")


def end_claims(queue: QueueKeys, claims: Sequence[str], *, back: bool) -> Call[int]:
    """Finish claimed items, or give them back; answers how many of them were lost."""
    return _end(queue, 0, claims, back=back, parse=lambda reply: 0 if reply[0] == b"E" else int(reply[0]))


def address_of(queue: QueueKeys, claim: str) -> str:
    """Return a name for a claim that no other queue has."""
    return f"{queue.prefix}{claim}"


def claim_of(queue: QueueKeys, address: str) -> str:
    """Return the claim of an address."""
    return address[len(queue.prefix) :]


def keep(queue: QueueKeys, addresses: Sequence[str], lease: float) -> Call[list[str]]:
    """Renew the leases of claims, given by address; answers those that are lost."""

    def parse(reply: list[Any]) -> list[str]:
        return [address_of(queue, claim.decode()) for claim in reply]

    claims = [claim_of(queue, address) for address in addresses]
    return make_call(load()["keep_claims"], queue, (microseconds(lease), *claims), parse)


def put_back(queue: QueueKeys, members: Sequence[tuple[float, bytes]]) -> Call[int]:
    """Put members that were taken back at their places; answers how many."""
    arguments: list[Any] = [channels(queue.namespace)]
    for place, member in members:
        arguments += (repr(place), member)
    return make_call(load()["return_items"], queue, arguments, lambda reply: int(reply[0]))


def leave(queue: QueueKeys, address: str, line: str) -> Call[bool]:
    """Leave a line: GETTERS, PUTTERS or JOINERS; answers whether it was still there."""
    arguments = (channels(queue.namespace), address, line)
    return make_call(load()["leave_items"], queue, arguments, lambda reply: reply[0] == b"1")


def join(queue: QueueKeys, address: str) -> Call[int]:
    """Read how many items are unfinished, and have ``address`` told when none are."""
    return make_call(load()["join_items"], queue, (address, META_TTL_MS), lambda reply: int(reply[0]))


def close(queue: QueueKeys, *, shutdown: bool | None, drop: bool) -> Call[int]:
    """Shut down or open again (None: neither), and drop what waits; answers how many items were dropped."""
    state = "" if shutdown is None else "1" if shutdown else "0"
    arguments = (channels(queue.namespace), META_TTL_MS, state, "1" if drop else "0")
    return make_call(load()["close_items"], queue, arguments, lambda reply: int(reply[0]))


def stand(queue: QueueKeys) -> Call[Standing]:
    """Look."""

    def parse(reply: list[Any]) -> Standing:
        maxsize, items, claimed, unfinished = map(int, reply[1:5])
        return Standing(reply[0].decode(), maxsize, items, claimed, unfinished, reply[5] == b"1")

    return make_call(load()["count_items"], queue, (), parse)


def _end(queue: QueueKeys, count: int, claims: Sequence[str], *, back: bool, parse: Callable[[Any], Any]) -> Call[Any]:
    arguments = (channels(queue.namespace), META_TTL_MS, count, "1" if back else "0", *claims)
    return make_call(load()["end_items"], queue, arguments, parse, first=claims[0] if claims else "")


def _put(reply: list[Any]) -> Put:
    letter = reply[0]
    if letter == b"A":
        return Put(int(reply[1]))
    if letter == b"W":
        return Put(int(reply[1]), wait=parse_wait(reply[2:]))
    if letter == b"F":
        return Put(int(reply[1]), full=True)
    return Put(shut=letter == b"S", undeclared=letter == b"U")


def _got(reply: list[Any]) -> Got:
    letter = reply[0]
    if letter == b"I":
        return Got(reply[1:])
    if letter == b"C":
        return Got(reply[2::2], [name.decode() for name in reply[1::2]])
    if letter == b"W":
        return Got(wait=parse_wait(reply[1:]))
    return Got(shut=letter == b"S", undeclared=letter == b"U")
