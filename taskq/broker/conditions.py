"""Calls about condition variables. Their locks are permits of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from taskq.broker.call import Call, make_call
from taskq.broker.keys import QueueKeys, channels
from taskq.broker.queues import META_TTL_MS
from taskq.broker.scripts import load

STALE_US: Final = 90_000_000  # a waiter that lives looks every 30 s
ALL: Final = 2**53  # the largest whole number that a Lua script can compare exactly


@dataclass(frozen=True, slots=True)
class Conflict:
    """The name is in use with another lock, by its kind and name."""

    lock: str
    by: str


def join(condition: QueueKeys, address: str, *, lock: str, who: str) -> Call[Conflict | None]:
    """Stand in line.

    Args:
        condition: which.
        address: of the signal by which the caller is told.
        lock: kind and name of the lock, which the caller holds.
        who: made it first, for messages.
    """
    arguments = (channels(condition.namespace), address, lock, STALE_US, META_TTL_MS, who)
    return make_call(load()["join_condition"], condition, arguments, _conflict, first=address)


def look(condition: QueueKeys, address: str) -> Call[bool]:
    """Answer whether ``address`` is still in line; if not, it was notified."""
    return make_call(load()["look_condition"], condition, (address, META_TTL_MS), lambda reply: bool(reply[0] == b"1"))


def leave(condition: QueueKeys, address: str) -> Call[bool]:
    """Leave the line; answers whether ``address`` was still in it."""
    return make_call(
        load()["leave_condition"], condition, (address,), lambda reply: bool(reply[0] == b"1"), first=address
    )


def notify(condition: QueueKeys, count: int, *, lock: str) -> Call[Conflict | None]:
    """Wake the first ``count`` in line; the caller holds the lock."""
    arguments = (channels(condition.namespace), min(count, ALL), lock, STALE_US)
    return make_call(load()["notify_condition"], condition, arguments, _conflict)


def _conflict(reply: list[Any]) -> Conflict | None:
    return Conflict(reply[1].decode(), reply[2].decode("utf-8", "replace")) if reply[0] == b"X" else None
