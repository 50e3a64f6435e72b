"""Calls about Events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from taskq.broker.call import Call, Command, make_call
from taskq.broker.keys import QueueKeys, channels
from taskq.broker.queues import META_TTL_MS
from taskq.broker.scripts import load

STALE_US: Final = 90_000_000  # a waiter that lives looks every 30 s


@dataclass(frozen=True, slots=True)
class Flag:
    """An Event's flag, and how often it went from clear to set."""

    up: bool
    sets: int


def set_event(event: QueueKeys) -> Call[int]:
    """Set the flag and tell who waits; answers how often that was done."""
    arguments = (channels(event.namespace), META_TTL_MS)
    return make_call(load()["set_event"], event, arguments, lambda reply: int(reply[0]))


def clear(event: QueueKeys) -> Call[bool]:
    """Clear the flag; answers whether it was set."""
    return make_call(load()["clear_event"], event, (), lambda reply: reply[0] == b"1")


def wait(event: QueueKeys, address: str) -> Call[Flag]:
    """Look, and have ``address`` told of the next set where the flag is clear."""

    def parse(reply: list[Any]) -> Flag:
        return Flag(reply[0] == b"1", int(reply[1]))

    return make_call(load()["wait_event"], event, (address, STALE_US, META_TTL_MS), parse)


def leave(event: QueueKeys, address: str) -> Command[int]:
    """Have ``address`` told no more."""
    return Command(("ZREM", event.key("waiters"), address), int)


def is_set(event: QueueKeys) -> Command[bool]:
    """Read the flag."""
    return Command(("HGET", event.key("event"), "flag"), lambda reply: reply == b"1")
