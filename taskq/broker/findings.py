"""What keys of a namespace must hold, and what it means where they do not: the judging half of fsck, without any I/O.

The numbers are those of the invariants in docs/fsck.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from taskq.broker.call import Call, Command
from taskq.broker.doctor import QUEUE_TYPES
from taskq.broker.keys import SCHEMA
from taskq.broker.queues import COUNTERS as COUNTED
from taskq.broker.queues import REFUSAL
from taskq.errors import shorten
from taskq.model.discipline import QUEUE_NAME, Discipline

PARTITION: Final = "partition 1"
REST: Final = "rest 3"  # of a system in which nothing runs; looked at by --strict alone
LEASE: Final = "lease 4"
DELIVERY: Final = "delivery 5"
WAKE: Final = "wake 12"
COUNTERS: Final = "counters 17"
LEFTOVER: Final = "leftover 18"
COORDINATION: Final = "coordination 19"

MAX_DEAD: Final = 10_000  # as bury.lua and quarantine.lua keep them
MAX_QUARANTINE: Final = 1000
FINAL: Final = ("done", "failed", "cancelled", "expired", "crashed", "lost", "purged", "unknown", "moved")
_WHOLE = re.compile(r"[0-9]{1,16}", re.ASCII)
_CHECKED_NUMBERS: Final = ("maxsize", "seq", *COUNTED)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        invariant: which one is broken: a word and its number.
        queue: where, or ``kind:name`` of a primitive; empty for what belongs to none.
        id: of the job, waiter, worker or key.
        text: one line.
        repair: how it can be put right without guessing; empty where it cannot.
        remedy: does so, and answers whether it was still wrong.
    """

    invariant: str
    queue: str
    id: str
    text: str
    repair: str = ""
    remedy: Call[bool] | Command[bool] | JobRemedy | None = field(default=None, repr=False, compare=False)


# --- jobs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fault:
    """What survey.lua says of one id: a word, and the places in which it is."""

    unique: bytes
    word: str
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobRemedy:
    """What mend.lua is told of a job, and the workers whose leases were found; others may come until then."""

    fault: Fault
    workers: frozenset[str]


_BACK = "back in line by the time at which it was accepted; when it was due is not known any more"
_ASIDE = "put into quarantine"
# word -> invariant, text after the id, how it is repaired
_FAULTS: Mapping[str, tuple[str, str, str]] = {
    "lost": (PARTITION, "is stored and in no place: nobody would ever run it", _BACK),
    "double": (PARTITION, "is in more than one place", "taken out of the line, as a worker has it or it has ended"),
    "body": (PARTITION, "is not stored", _ASIDE),
    "state": (LEFTOVER, "has a history and is not stored", "the history is removed"),
    "revoked": (LEFTOVER, "is marked as revoked and does not exist", "the mark is removed"),
    "envelope": (PARTITION, "has a damaged id or header", _ASIDE),
    "score": (PARTITION, "has no finite place in line", _ASIDE),
    "history": (DELIVERY, "has a damaged history", _ASIDE),
    "bounds": (DELIVERY, "has crashed, vanished or been put off more often than it may", _ASIDE),
    "apart": (DELIVERY, "has crashed a worker and is in line with others", "moved to where suspects wait"),
    "lease": (LEASE, "has a damaged lease", ""),
    "delivery": (DELIVERY, "is leased as a delivery that was handed out before", ""),
}


def of_job(queue: str, fault: Fault) -> Finding:
    """Say what is wrong with a job; without the remedy."""
    invariant, text, repair = _FAULTS[fault.word]
    where = f" ({', '.join(fault.places)})" if fault.places else ""
    unique = fault.unique.decode("utf-8", "replace")
    shown = unique if QUEUE_NAME.fullmatch(unique) else shorten(unique)
    return Finding(
        invariant, queue, unique, f"job {queue}/{shown} {text}{where}", repair if _can_be_mended(fault) else ""
    )


def _can_be_mended(fault: Fault) -> bool:
    """Tell whether mend.lua has nothing to guess."""
    if fault.word == "double":
        return fault.places.count("leased") + fault.places.count("ended") == 1 and "dead" not in fault.places
    return fault.word in {"state", "revoked", "lost"} or "leased" not in fault.places


# --- queues -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Audit:
    """What audit.lua reads of a queue; ``held``: worker to how many jobs it has and whether it is entered."""

    tokens: int
    ready: int
    jobs: int
    dead: int
    quarantine: int
    ended: int
    outbox: int
    held: Mapping[str, tuple[int, bool]]
    meta: Mapping[str, str]


def of_settings(queue: str, meta: Mapping[str, str]) -> Iterator[Finding]:
    """Judge what somebody may have changed by hand in ``meta``; only a person knows what was meant."""
    schema = meta.get("schema", "")
    if schema and is_newer(schema):
        text = f"queue {queue} has schema {shorten(schema)}, this taskq knows {SCHEMA}; upgrade it"
        yield Finding(LEFTOVER, queue, "schema", text)
    discipline = meta.get("discipline")
    if discipline is not None and discipline not in tuple(Discipline):
        yield Finding(
            LEFTOVER, queue, "discipline", f"queue {queue} has the discipline {shorten(discipline)}; set it by hand"
        )
    refusal = meta.get("refusal")
    if refusal is not None and REFUSAL.fullmatch(refusal) is None:
        text = f"queue {queue} has the refusal {shorten(refusal)}, which nobody can read; it goes with the next new job"
        yield Finding(LEFTOVER, queue, "refusal", text)
    for name in _CHECKED_NUMBERS:
        if name in meta and not _WHOLE.fullmatch(meta[name]):
            text = f"queue {queue} has {name} {shorten(meta[name])} in its settings, which is no number; set it by hand"
            yield Finding(COUNTERS, queue, name, text)


def is_newer(schema: str) -> bool:
    """Tell whether a queue was written by a taskq that knows more; it is left alone."""
    return not _WHOLE.fullmatch(schema) or int(schema) > SCHEMA


def of_counters(queue: str, audit: Audit) -> Iterator[Finding]:
    """Judge whether each job that came is there or was counted when it left.

    Settings that were forgotten took the counters along, so that a queue without them is not judged. A damaged id is
    counted as quarantined whether it ever was a job or not, and a dead job that is moved leaves twice.
    """
    if "enqueued" not in audit.meta or any(not _WHOLE.fullmatch(audit.meta.get(name, "0")) for name in COUNTED):
        return
    count = {name: int(audit.meta.get(name, "0")) for name in {*COUNTED, *FINAL}}
    came, left = count["enqueued"] + count["requeued"], sum(count[name] for name in FINAL)
    surplus = came - left - (audit.jobs - audit.dead)
    if not -count["moved"] - audit.ended <= surplus <= count["quarantined"]:
        text = f"queue {queue} counted {came} jobs that came and {left} that left, and holds {audit.jobs - audit.dead}"
        yield Finding(COUNTERS, queue, "enqueued", text, "what came is set to what left and what is there")


def of_lengths(queue: str, audit: Audit, *, strict: bool) -> Iterator[Finding]:
    """Judge the caps; with ``strict`` also what must be empty while nothing runs."""
    for name, length, most in (("dead", audit.dead, MAX_DEAD), ("quarantine", audit.quarantine, MAX_QUARANTINE)):
        if length > most:
            yield Finding(
                LEFTOVER, queue, name, f"queue {queue} keeps {length} jobs in {name!r}, which holds at most {most}"
            )
    if not strict:
        return
    for name, length, what in (
        ("ended", audit.ended, "jobs that have ended and have no result yet"),
        ("outbox", audit.outbox, "follow-ups that are on their way"),
        ("leased", sum(held for held, _ in audit.held.values()), "jobs with workers"),
    ):
        if length:
            yield Finding(REST, queue, name, f"queue {queue} has {length} {what}")


# --- locks, barriers, conditions, data queues -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shared:
    """What audit_shared.lua reads, in its order; texts of hashes as they are."""

    limit: str
    extra: str
    held: int
    line: int
    parties: str
    next: str
    arrived: int
    last: str
    waiters: int
    waiting: int
    items: int
    claims: int
    tally_ms: int
    getters: int
    putters: int
    joiners: int

    @classmethod
    def read(cls, reply: Sequence[Any]) -> Shared:
        """Read the script's answer."""
        parts: list[Any] = [part.decode("utf-8", "replace") if isinstance(part, bytes) else part for part in reply]
        return cls(*parts)


def of_shared(tag: str, seen: Shared, *, strict: bool) -> Iterator[Finding]:
    """Judge a primitive, or the items of a data queue, as a whole."""
    permits = _number(seen.limit) + _number(seen.extra)
    if seen.held > permits:
        yield Finding(COORDINATION, tag, "holders", f"{tag} has {seen.held} holders of {permits} permits")
    if seen.arrived and not _number(seen.parties):
        text = f"{tag} has {seen.arrived} parties that wait, and is for {shorten(seen.parties)}"
        yield Finding(COORDINATION, tag, "parties", text)
    if seen.arrived and float(seen.last or 0) >= _number(seen.next):
        text = f"{tag} has given ticket {seen.last}, and is going to give {shorten(seen.next)}"
        yield Finding(COORDINATION, tag, "next", text)
    if seen.items + seen.claims and seen.tally_ms != -1:
        text = f"{tag} has items, and what counts them is to be forgotten, or is gone"
        yield Finding(COORDINATION, tag, "tally", text)
    if strict:
        for name, count, what in (
            ("holders", seen.held, "holders"),
            ("line", seen.line + seen.waiting + seen.getters + seen.putters + seen.joiners, "waiters"),
            ("arrived", seen.arrived, "parties that wait"),
            ("claims", seen.claims, "claimed items"),
        ):
            if count:
                yield Finding(REST, tag, name, f"{tag} has {count} {what}")


def _number(text: str) -> int:
    return int(text) if _WHOLE.fullmatch(text) else 0


@dataclass(frozen=True, slots=True)
class Pair:
    """Two keys that must agree: each member of ``first`` is in ``second``, or with ``wanted`` '0' none is.

    Attributes:
        text: after the member.
        repair: how; empty where it is left alone.
        act: of mend_pair.lua.
    """

    first: str
    second: str
    text: str
    repair: str = ""
    wanted: str = "1"
    act: str = "drop"


_PERMITS: Final = (
    Pair("holders", "fences", "holds a permit without a number"),
    Pair("fences", "holders", "has a number and holds no permit", "the number is removed"),
    Pair("line", "holders", "waits in line for what it holds", "taken out of the line", "0"),
)
_CONDITION: Final = (
    Pair("waiting", "seen", "waits, and nobody knows since when", "taken for one that died", act="lapse"),
    Pair("seen", "waiting", "was seen and does not wait", "it is forgotten"),
)
ITEM_PAIRS: Final = (
    Pair("claims", "claimed", "is a claim without an item", "the claim is removed"),
    Pair(
        "claimed", "claims", "is a claimed item without a lease", "given back, as if its lease were over", act="lapse"
    ),
)
PAIRS: Mapping[str, tuple[Pair, ...]] = {
    "lock": _PERMITS,
    "rlock": _PERMITS,
    "semaphore": _PERMITS,
    "condition": (*_PERMITS, *_CONDITION),  # it may have a lock of its own
    "barrier": (Pair("deadlines", "arrived", "has a lease and does not wait", "the lease is removed"),),
    "event": (),
}

# --- keys -------------------------------------------------------------------------------------------------------------

_LOCK_TYPES: Final = {"permits": "hash", "holders": "zset", "fences": "hash", "line": "zset"}
TYPES: Mapping[str, Mapping[str, str]] = {
    "": QUEUE_TYPES,
    "lock": _LOCK_TYPES,
    "rlock": _LOCK_TYPES,
    "semaphore": _LOCK_TYPES,
    "condition": {**_LOCK_TYPES, "condition": "hash", "waiting": "zset", "seen": "zset"},
    "barrier": {"barrier": "hash", "arrived": "zset", "deadlines": "zset", "failed": "zset"},
    "event": {"event": "hash", "waiters": "zset"},
}
_MORTAL: Final = {"meta", "revoked", "getters", "putters", "joiners"}  # of a queue's keys those that live for a time
_PREFIXES: Final = {"r": "string", "s": "string", "m": "string", "l": "hash"}
_OF_NAMESPACE: Final = {"queues": ("set", False), "workers": ("zset", False)}
_OF_WORKER: Final = {"worker": "string", "control": "list", "gone": "string"}


@dataclass(frozen=True, slots=True)
class Expected:
    """What a key should hold, and whether it should end some day."""

    type: str
    mortal: bool


def split_tag(tag: str) -> tuple[str, str] | None:
    """Split a tag into kind ('' of queues) and name; None where taskq makes none such."""
    kind, _, name = tag.rpartition(":")
    return (kind, name) if kind in TYPES and QUEUE_NAME.fullmatch(name) else None


def expect(tag: str | None, name: str) -> Expected | None:
    """Return what a key should be, None for one that taskq does not make; ``tag`` is None outside of queues."""
    head, colon, rest = name.partition(":")
    if tag is None:
        if colon and rest and head in _OF_WORKER:
            return Expected(_OF_WORKER[head], True)
        return Expected(*_OF_NAMESPACE[name]) if name in _OF_NAMESPACE else None
    split = split_tag(tag)
    if split is None:
        return None
    if colon:
        fits = rest and head in _PREFIXES and (not split[0] or head == "s")
        return Expected(_PREFIXES[head], head != "l") if fits else None
    type_ = TYPES[split[0]].get(name)
    return Expected(type_, bool(split[0]) or name in _MORTAL) if type_ is not None else None
