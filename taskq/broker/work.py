"""Calls of a worker's claim loop: settle, claim, give back, finish what ended inside a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from taskq.broker import keys
from taskq.broker.call import Argument, Call, Command, make_call
from taskq.broker.keys import QueueKeys
from taskq.broker.scripts import load
from taskq.errors import Fenced
from taskq.model.outcome import clean

STEP_JOBS = 500  # settled or claimed a call; about two milliseconds of the server
STEP_BYTES = 4 * 1024 * 1024  # of claimed jobs a call


class FullSettlement(msgspec.Struct, frozen=True, gc=False):
    """One finished job with more to say than success; see model.outcome.Outcome."""

    unique: str
    delivery: str
    verdict: str
    record: bytes
    ms: int
    errors: bytes
    reply: str
    follow_ups: Sequence[tuple[str, bytes]] = ()


@dataclass(slots=True)
class StepRequest:
    """What one step does: ``plain`` is flat (unique, delivery) pairs of jobs that succeeded without a record."""

    plain: list[str] = field(default_factory=list)
    full: list[FullSettlement] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    count: int = 0
    suspects: int = 0
    max_bytes: int = STEP_BYTES

    def __bool__(self) -> bool:
        """Whether there is anything to settle or to mark."""
        return bool(self.plain or self.full or self.started)


@dataclass(frozen=True, slots=True)
class StepReply:
    """What one step answered. Times are microseconds of the server's clock, due times 0 for none.

    ``claims`` is flat: unique, state, data of each job, as bytes; the first ``apart`` of them are suspects.
    """

    now: int
    next_due: int
    suspect_due: int
    paused: bool
    ended: int
    outbox: int
    revoked: int
    ready: int
    apart: int
    letters: str
    claims: list[bytes]


def step(queue: QueueKeys, worker: str, request: StepRequest) -> Call[StepReply]:
    """Settle and claim in one go.

    Raises (from the call's answer):
        Fenced: the worker's lease is gone; nothing was applied.
    """
    full = request.full
    follow: list[Argument] = []
    records: list[str] = []
    arguments: list[Argument] = [
        queue.queue, worker, keys.channels(queue.namespace), request.count, request.max_bytes, request.suspects,
        len(request.plain) // 2, len(full), len(request.started), 0, *request.plain,
    ]  # fmt: skip
    for index, item in enumerate(full, 1):
        arguments += (item.unique, item.delivery, item.verdict, item.record, item.ms, item.errors, item.reply)
        records.append(queue.result(item.unique))
        for name, message in item.follow_ups:
            follow += [index, name, message]
    arguments[9] = len(follow) // 3
    arguments += request.started
    arguments += follow
    first = request.plain[0] if request.plain else full[0].unique if full else ""
    return make_call(load()["step"], queue, arguments, _step_reply, worker=worker, extra_keys=records, first=first)


def _step_reply(reply: list[Any]) -> StepReply:
    if reply[0] == b"FENCED":
        raise Fenced("the worker's lease is gone")
    now, next_due, suspect_due, paused, ended, outbox, revoked, ready, apart = map(int, reply[0].split())
    letters = reply[1].decode()
    del reply[:2]
    return StepReply(now, next_due, suspect_due, bool(paused), ended, outbox, revoked, ready, apart, letters, reply)


def wait(tokens: Sequence[str], seconds: float) -> Command[object]:
    """Block until one of the queues' tokens is there; its keys are in the order in which they are looked at."""
    return Command(("BLPOP", *tokens, f"{seconds:.3f}"), lambda reply: reply)


def release(queue: QueueKeys, worker: str, jobs: Sequence[tuple[str, str, int]]) -> Call[str]:
    """Give back (unique, delivery, defer_ms) uncounted; answers A given back or S not held, a letter a job."""
    arguments = [value for job in jobs for value in job]
    return make_call(load()["release"], queue, arguments, lambda reply: str(reply[0].decode()), worker=worker)


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job that ended inside a script; ``state`` and ``data`` as stored, empty if they are gone."""

    unique: str
    reason: str
    state: bytes
    data: bytes


def ended(queue: QueueKeys, only: str = "") -> Call[tuple[int, list[EndedJob]]]:
    """Read up to 50 of the jobs that wait for their result, or ``only`` that one; with the server's time in us."""

    def parse(reply: list[Any]) -> tuple[int, list[EndedJob]]:
        return int(reply[0]), _ended_jobs(reply)

    return make_call(load()["ended"], queue, (_stored(only), ""), parse)


def ended_after(queue: QueueKeys, place: str) -> Call[tuple[int, str, list[EndedJob], list[str]]]:
    """Read some of the jobs that wait for their result, on a walk through all of them.

    Args:
        queue: theirs.
        place: ``0`` at first, then what the last call answered.

    Returns:
        A call that answers the server's time in us, the next place, which is ``0`` at the end, the jobs, and the ids
        of those that are too large to come along with them.
    """

    def parse(reply: list[Any]) -> tuple[int, str, list[EndedJob], list[str]]:
        large = [_text(reply[i]) for i in range(2, len(reply), 4) if reply[i + 3] is None]
        return int(reply[0]), reply[1].decode(), _ended_jobs(reply), large

    return make_call(load()["ended"], queue, ("", place), parse)


def _ended_jobs(reply: list[Any]) -> list[EndedJob]:
    return [
        EndedJob(_text(reply[i]), _text(reply[i + 1]), reply[i + 2], reply[i + 3])
        for i in range(2, len(reply), 4)
        if reply[i + 3] is not None
    ]


def _text(stored: bytes) -> str:
    """Read an id or a reason; by hand anything may be written there, and must be found again to be removed."""
    return stored.decode("utf-8", "surrogateescape")


def _stored(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Finish:
    """The second half of a job's end: what its waiters read, and whether it stays in the dead set."""

    unique: str
    reason: str
    record: bytes
    ttl_ms: int
    reply: str
    dead: bool
    errors: bytes = b""
    follow_ups: Sequence[tuple[str, bytes]] = ()


def end(queue: QueueKeys, items: Sequence[Finish]) -> Call[str]:
    """Finish ended jobs; idempotent; answers A finished or S finished before, a letter a job."""
    arguments: list[Argument] = [queue.queue, keys.channels(queue.namespace), len(items)]
    follow: list[Argument] = []
    for index, item in enumerate(items, 1):
        arguments += (
            _stored(item.unique), _stored(item.reason), item.record, item.ttl_ms, item.reply, 1 if item.dead else 0,
            item.errors,
        )  # fmt: skip
        for name, message in item.follow_ups:
            follow += [index, name, message]
    extra = [queue.result(clean(item.unique)) for item in items]
    return make_call(load()["end"], queue, arguments + follow, lambda reply: str(reply[0].decode()), extra_keys=extra)
