"""Calls about jobs: what producers and waiters ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from taskq.broker import keys
from taskq.broker.call import Argument, Call, Command, make_call
from taskq.broker.keys import QueueKeys
from taskq.broker.scripts import load
from taskq.model.job import Job

BATCH_JOBS = 1000  # a call; bounds the time the server spends in one script to a few milliseconds
BATCH_BYTES = 4 * 1024 * 1024  # a call
MARK_MS = 300_000  # how long a follow-up's acceptance is remembered: a relay is repeated for a minute at most


class Accept(StrEnum):
    """What became of one enqueued job."""

    ACCEPTED = "A"
    DUPLICATE = "D"  # the same job is there already
    CONFLICT = "C"  # the id is there with other content
    FULL = "F"
    UNDECLARED = "U"
    MALFORMED = "X"  # a follow-up that no later script could read


def enqueue(queue: QueueKeys, jobs: Sequence[Job], *, forced: bool = False) -> Call[str]:
    """Accept ``jobs`` (at most BATCH_JOBS); answers one ``Accept`` letter a job, or a single UNDECLARED.

    Args:
        queue: where to.
        jobs: in order; a batch that a bound cuts short is accepted as a prefix.
        forced: pass the bound.
    """
    script = "enqueue_one" if len(jobs) == 1 and not jobs[0].delay_ms else "enqueue"
    arguments: list[Argument] = ["1" if forced else "0"]
    for job in jobs:
        arguments += (job.unique, job.delay_ms, job.data)
    return make_call(load()[script], queue, arguments, _first_text, first=jobs[0].unique)


def cancel(queue: QueueKeys, unique: str, *, revoke: bool = False, terminate: bool = False) -> Call[str]:
    """Take a job out before it starts; answers C taken out, L with a worker, E ended, N unknown.

    Args:
        queue: where it is.
        unique: which job.
        revoke: a worker that has it drops it if it has not started.
        terminate: a worker that runs it stops it.
    """
    mode = "t" if terminate else "r" if revoke else ""
    return make_call(load()["cancel"], queue, (unique, mode, keys.channels(queue.namespace)), _first_text, first=unique)


def requeue(queue: QueueKeys, uniques: Sequence[str]) -> Call[int]:
    """Put dead jobs (at most 100) back in line; answers how many there were."""
    results = [queue.result(unique) for unique in uniques]
    return make_call(load()["requeue"], queue, tuple(uniques), _first_number, extra_keys=results)


def relay(queue: QueueKeys, jobs: Sequence[Job]) -> Call[str]:
    """Accept follow-ups; idempotent by id, also after a job ended; answers as ``enqueue``."""
    arguments: list[Argument] = [MARK_MS]
    extra: list[str] = []
    for job in jobs:
        arguments += (job.unique, job.delay_ms, job.data)
        extra += (queue.result(job.unique), queue.mark(job.unique))
    return make_call(load()["relay"], queue, arguments, _first_text, extra_keys=extra)


def relayed(queue: QueueKeys, fields: Sequence[str]) -> Call[int]:
    """Drop messages from the outbox; answers how many are left."""
    stored = tuple(name.encode("utf-8", "surrogateescape") for name in fields)  # as ``outbox`` read them
    return make_call(load()["relayed"], queue, stored, _first_number)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job is: ready, delayed, suspect, running, revoked, dead, quarantine, or why it is ending."""

    place: str
    score: float | None
    state: bytes
    data: bytes


def find(queue: QueueKeys, unique: str) -> Call[Place | None]:
    """Look a job up; answers None if the queue does not know it (any more)."""
    return make_call(load()["inspect"], queue, (unique,), _place)


def result(queue: QueueKeys, unique: str) -> Command[bytes | None]:
    """Read a result record."""
    return Command(("GET", queue.result(unique)), _same)


def outbox(queue: QueueKeys) -> Command[list[tuple[str, bytes]]]:
    """Read some messages that wait for their queue; empty only if none wait, as HSCAN's first page may be."""
    return Command(("HRANDFIELD", queue.key("outbox"), 100, "WITHVALUES"), _fields)


def queue_names(namespace: str) -> Command[list[str]]:
    """Read the names of all queues."""
    # By hand anything may be written there; a name that is no text is shown, and leads to a queue that is empty.
    return Command(
        ("SMEMBERS", keys.registry(namespace)), lambda reply: sorted(name.decode("utf-8", "replace") for name in reply)
    )


def register_queue(namespace: str, queue: str) -> Command[int]:
    """Add a queue's name to the registry."""
    return Command(("SADD", keys.registry(namespace), queue), int)


def _same(reply: Any) -> Any:
    return reply


def _first_text(reply: list[Any]) -> str:
    text: str = reply[0].decode()
    return text


def _first_number(reply: list[Any]) -> int:
    return int(reply[0])


def _place(reply: list[Any]) -> Place | None:
    place, score, state, data = reply
    return Place(place.decode("utf-8", "replace"), float(score) if score else None, state, data) if place else None


def _fields(found: list[Any]) -> list[tuple[str, bytes]]:
    # By hand anything may be written there: it must be found again as it is, to be dropped.
    return [(found[i].decode("utf-8", "surrogateescape"), found[i + 1]) for i in range(0, len(found), 2)]
