"""Calls about queues as a whole."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from taskq.broker.call import Call, make_call
from taskq.broker.keys import SCHEMA, QueueKeys, channels
from taskq.broker.line import Wait, parse_wait
from taskq.broker.scripts import load
from taskq.errors import WrongType, shorten
from taskq.model.discipline import Discipline

_DISCIPLINES = tuple(map(str, Discipline))
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
META_TTL_MS = 90 * 86_400_000  # settings of a queue that nobody declares or serves for 90 days; its jobs stay
# When a worker looked, until it looks again, since when it is so, all in ms; and why.
REFUSAL = re.compile(r"([0-9]{1,16}) ([0-9]{1,16}) ([0-9]{1,16}) ([^\x00-\x1f\x7f]+)", re.ASCII)
_LOOKS, _LONGEST_MS = 3, 43_200_000  # as in lua/include/refusal.lua
JOBS, ITEMS, EITHER = "jobs", "items", ""  # what a queue holds; EITHER for who only looks


@dataclass(frozen=True, slots=True)
class Declared:
    """A queue's settings as the server has them."""

    discipline: Discipline
    maxsize: int
    by: str
    content: str = ""


def declare(
    queue: QueueKeys, discipline: Discipline | None, maxsize: int | None, who: str, content: str = JOBS
) -> Call[Declared]:
    """Fix a queue at its first use; None takes the discipline or bound as it is, and EITHER the content.

    The answer may differ from what was asked: then it is declared otherwise, by ``by``.
    """
    arguments = (SCHEMA, discipline or "", "" if maxsize is None else maxsize, who, META_TTL_MS, content)
    return make_call(load()["declare"], queue, arguments, lambda reply: _declared(queue, reply))


def purge(queue: QueueKeys, limit: int = 100) -> Call[tuple[int, int]]:
    """End up to ``limit`` (at most 100) waiting jobs; answers how many, and how many still wait."""
    return make_call(
        load()["purge"], queue, (limit, channels(queue.namespace)), lambda reply: (int(reply[0]), int(reply[1]))
    )


def wait_room(queue: QueueKeys, address: str, turn: str) -> Call[Wait | None]:
    """Look for room for a job, and have ``address`` told where there is none.

    Answers None if there is.
    """

    def parse(reply: list[Any]) -> Wait | None:
        return None if reply[0] == b"R" else parse_wait(reply[1:])

    return make_call(load()["wait_room"], queue, (address, turn, META_TTL_MS), parse)


def leave_room(queue: QueueKeys, address: str) -> Call[bool]:
    """Leave the line for room; answers whether it was still there."""
    arguments = (channels(queue.namespace), address)
    return make_call(load()["leave_room"], queue, arguments, lambda reply: reply[0] == b"1")


def pause(queue: QueueKeys, paused: bool) -> Call[bool]:
    """Stop or resume the claiming of jobs; answers the new state."""
    return make_call(load()["pause"], queue, (1 if paused else 0,), lambda reply: reply[0] == b"1")


def refuse(queue: QueueKeys, why: str, every: float) -> Call[bool]:
    """Have new jobs refused, or accepted again where ``why`` is empty; answers whether they are refused.

    Args:
        queue: which one.
        why: one line of at most 300 bytes, with the way out; producers see it.
        every: seconds until whoever says so looks again; after three of them without another word the refusal is dead.
    """
    return make_call(load()["refuse"], queue, (round(every * 1000), why), lambda reply: reply[0] == b"R")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a queue refuses new jobs, in one line, and since when (seconds since 1970, by the server's clock)."""

    why: str
    since: float


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """A queue's lengths by state; ``oldest_ms`` is the age of a ready job at an end of the queue, None without one.

    ``rate_in`` and ``rate_out`` are jobs a second that lately came, and left for good; None if no worker counts them.
    ``refusal`` is there while the server may evict jobs.
    """

    name: str
    discipline: str
    maxsize: int
    paused: bool
    ready: int
    delayed: int
    running: int
    suspect: int
    dead: int
    ending: int
    outbox: int
    quarantine: int
    oldest_ms: int | None
    counters: dict[str, int] = field(default_factory=dict)
    content: str = JOBS
    rate_in: float | None = None
    rate_out: float | None = None
    refusal: Refusal | None = None


COUNTERS = (
    "enqueued", "done", "failed", "retried", "cancelled", "expired", "crashed", "lost", "purged", "unknown", "moved",
    "crashes", "losses", "requeued", "quarantined", "jumps",
)  # fmt: skip

# What heartbeat.lua samples: jobs that came to a queue, and jobs that left it for good.
_CAME = ("enqueued", "requeued")
_LEFT = ("done", "failed", "cancelled", "expired", "crashed", "lost", "purged", "unknown", "moved", "quarantined")
_NEWEST_SAMPLE = 1_000_000  # microseconds old: over less, a single job would make a rate of thousands
_OLDEST_SAMPLE = 600_000_000  # microseconds old: no worker has beaten since, and the rate says nothing of now


def inspect(queue: QueueKeys) -> Call[QueueInfo]:
    """Read a queue's lengths and counters; running is what is in no other place."""

    def parse(reply: list[Any]) -> QueueInfo:
        now = int(reply[0])
        ready, delayed, suspect, dead, ending, outbox, quarantine, jobs = map(int, reply[1:9])
        oldest = now // 1000 - int(reply[9]) if reply[9] else None
        meta = {reply[i].decode(): reply[i + 1].decode("utf-8", "replace") for i in range(10, len(reply) - 1, 2)}
        running = max(0, jobs - ready - delayed - suspect - dead - ending - quarantine)
        return QueueInfo(
            queue.queue, meta.get("discipline", ""), _count(meta.get("maxsize")), meta.get("paused") == "1",
            ready, delayed, running, suspect, dead, ending, outbox, quarantine, oldest,
            {name: _count(meta[name]) for name in COUNTERS if name in meta}, meta.get("content") or JOBS,
            *_rates(meta, now), _refusal(meta, now),
        )  # fmt: skip

    return make_call(load()["inspect"], queue, ("",), parse)


def _refusal(meta: dict[str, str], now: int) -> Refusal | None:
    """Return the refusal that enqueues see, by the rules of lua/include/refusal.lua."""
    found = REFUSAL.fullmatch(meta.get("refusal", ""))
    if found is None:
        return None
    looked, every, since = map(int, found.groups()[:3])
    if every > _LONGEST_MS or since > looked or abs(now / 1000 - looked) > _LOOKS * every:
        return None
    return Refusal(found[4], since / 1000)


def _rates(meta: dict[str, str], now: int) -> tuple[float | None, float | None]:
    """Return jobs a second that came and that left since the older sample; None without a usable one."""
    words = meta.get("sample", "").split(" ")
    if len(words) not in {3, 6} or not all(_NUMBER.fullmatch(word) for word in words):
        return None, None
    numbers = [int(word) for word in words]
    came, left = (sum(_count(meta.get(name)) for name in names) for names in (_CAME, _LEFT))
    for at, came_then, left_then in (numbers[:3], numbers[-3:]):
        if _NEWEST_SAMPLE <= now - at <= _OLDEST_SAMPLE and came_then <= came and left_then <= left:
            seconds = (now - at) / 1e6
            return (came - came_then) / seconds, (left - left_then) / seconds
    return None, None


def _declared(queue: QueueKeys, reply: list[Any]) -> Declared:
    discipline, maxsize, by, content = (part.decode("utf-8", "replace") for part in reply[:4])
    if discipline not in _DISCIPLINES:
        raise WrongType(
            f"queue {queue.queue!r} has the discipline {shorten(discipline)} in the hash {queue.key('meta')!r}; "
            f"somebody changed it by hand: set it to one of {', '.join(_DISCIPLINES)}"
        )
    return Declared(Discipline(discipline), _count(maxsize), by, content)


def _count(text: str | None) -> int:
    """Return a stored number; 0, as the scripts take it, for what somebody changed by hand into something else."""
    return int(text) if text is not None and _NUMBER.fullmatch(text) else 0
