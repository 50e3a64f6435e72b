"""Calls for whoever looks at jobs, page by page, and for the few things that only a person does with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from taskq.broker import keys
from taskq.broker.call import Call, Command, make_call
from taskq.broker.keys import QueueKeys
from taskq.broker.scripts import load

PAGE: Final = 500  # jobs a call; browse.lua reads no more, for a millisecond of the server's time
SHOWN: Final = 512  # bytes of a job that are read to show it in a list: its header and the name of its task
CHUNK: Final = 100  # jobs that one call of ``drop`` or ``requeue`` takes
PLACES: Final = ("ready", "delayed", "suspect", "dead", "quarantine")


@dataclass(frozen=True, slots=True)
class Glance:
    """The beginning of a job.

    Attributes:
        unique: its id in its queue.
        score: its place in line; None where it was asked for by id.
        size: bytes of header and body; -1 if the job is gone, or was put there by hand.
        state: its history as stored.
        data: the first bytes of header and body.
    """

    unique: str
    score: float | None
    size: int
    state: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs at ``now``, in microseconds; ``looked`` of those asked for, if they were too large for one reply."""

    now: int
    looked: int
    jobs: list[Glance]


def browse(queue: QueueKeys, place: str, start: int, count: int, *, newest: bool = False) -> Call[Page]:
    """Read jobs of one of PLACES from rank ``start``, or from the other end."""
    return make_call(load()["browse"], queue, (place, start, count, 1 if newest else 0, SHOWN), _page)


def glance(queue: QueueKeys, uniques: Sequence[str]) -> Call[Page]:
    """Read jobs by id, at most PAGE."""
    return make_call(load()["browse"], queue, ("", 0, PAGE, 0, SHOWN, *uniques), _page)


def drop(queue: QueueKeys, uniques: Sequence[str], holders: Sequence[str] = ()) -> Call[int]:
    """Forget dead or quarantined jobs, at most CHUNK; answers how many there were.

    Args:
        queue: where they are.
        uniques: which.
        holders: the queue's workers: one of them may have a job that came back under the id of a damaged one.
    """
    leases = [queue.lease(worker) for worker in holders]
    return make_call(load()["drop"], queue, tuple(uniques), lambda reply: int(reply[0]), extra_keys=leases)


def move(queue: QueueKeys, unique: str, target: str, fresh: str, sealed: str = "") -> Call[str]:
    """End a job that no worker has, to go on in queue ``target`` under the id ``fresh``.

    ``sealed`` is the header line that a signed one will have there.

    Answers M on its way (``finish_ended`` and ``relay_outbox`` bring it there), L with a worker, E ended, V newer than
    this taskq, X damaged, N unknown; or the reason of its end, see ``finishing.moved_to``, if it was on its way before.
    """
    arguments = (unique, target, fresh, keys.channels(queue.namespace), sealed)
    return make_call(load()["move"], queue, arguments, lambda reply: str(reply[0].decode()), first=unique)


def lease_holders(queue: QueueKeys) -> Command[list[str]]:
    """Read the workers that serve a queue, by the end of their lease."""
    return Command(("ZRANGE", queue.key("workers"), 0, -1), _texts)


def leased(queue: QueueKeys, worker: str, cursor: int) -> Command[tuple[int, list[str]]]:
    """Read some ids of the jobs that a worker holds, with the cursor of the next ones; 0 begins and ends."""

    def parse(reply: list[Any]) -> tuple[int, list[str]]:
        return int(reply[0]), _texts(reply[1])[::2]

    return Command(("HSCAN", queue.lease(worker), cursor, "COUNT", PAGE), parse)


def holds(queue: QueueKeys, worker: str, unique: str) -> Command[bool]:
    """Tell whether a worker holds a job."""
    return Command(("HEXISTS", queue.lease(worker), unique), bool)


def ending(queue: QueueKeys, cursor: int) -> Command[tuple[int, list[str]]]:
    """Read some ids of jobs that ended inside a script and have no result yet; see ``leased``."""

    def parse(reply: list[Any]) -> tuple[int, list[str]]:
        return int(reply[0]), _texts(reply[1])[::2]

    return Command(("HSCAN", queue.key("ended"), cursor, "COUNT", PAGE), parse)


def _page(reply: list[Any]) -> Page:
    found = [
        Glance(
            unique.decode("utf-8", "replace"), float(score) if score else None, int(size), state, data,
        )
        for unique, score, size, state, data in zip(*(reply[2 + i :: 5] for i in range(5)), strict=True)
    ]  # fmt: skip
    return Page(int(reply[0]), int(reply[1]), found)


def _texts(reply: list[bytes]) -> list[str]:
    return [part.decode("utf-8", "replace") for part in reply]
