"""Whether what a namespace holds is as it must be: reads it page by page, while it is in use, and writes nothing.

Each job, and each member of a lock or its like, is judged in one script by all of its places at one moment, so that a
running system gives no false alarm. ``findings.py`` says what a fault means, ``mend`` puts right what needs no guess.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from taskq.broker import checking, findings, jobs, keys
from taskq.broker.call import Call, Command
from taskq.broker.checking import LOOKED_AT, SOURCES
from taskq.broker.findings import COORDINATION, LEASE, LEFTOVER, WAKE, Audit, Fault, Finding, JobRemedy, Pair
from taskq.broker.jobs import MARK_MS
from taskq.broker.keys import QueueKeys
from taskq.broker.queues import ITEMS, META_TTL_MS
from taskq.broker.workers import GONE_TTL_MS, ORDER_TTL_MS
from taskq.errors import BrokerError, shorten

if TYPE_CHECKING:
    from taskq.broker.broker import Broker

__all__ = ["Finding", "check", "examine", "mend"]

KEYS_PAGE: Final = 1000  # keys a SCAN: half a millisecond of the server's time
PAGE_BYTES: Final = 500_000  # of jobs that one call reads inside the server
FIRST_PAGE: Final = 16  # ids of a page before their size is known
TRIES: Final = 100  # to read a page, or mend a job, while workers come and go
BREATH: Final = 0.01  # seconds before the next try
PAUSE: Final = 1.0  # seconds before a second look at what two commands write, one after the other over a slow link
OTHERS: Final = "__"  # begins names that are not ours: whoever measures or tests may keep something beside a queue
_TTLS: Final = {"s": 300_000, "m": MARK_MS, "control": ORDER_TTL_MS, "gone": GONE_TTL_MS, "worker": GONE_TTL_MS}


def check(broker: Broker, *, strict: bool = False) -> list[Finding]:
    """Return all that is wrong in a broker's namespace; see ``examine``."""
    return list(examine(broker, strict=strict))


def examine(broker: Broker, *, strict: bool = False, queues: Collection[str] = ()) -> Iterator[Finding]:
    """Yield what is wrong, as it is found.

    Args:
        broker: whose namespace.
        strict: also what is allowed for a moment while jobs run or somebody waits; for a system at rest.
        queues: only these; everything in the namespace where none is named.

    Raises:
        BrokerError: the server refused or was not reached.
    """
    tags: dict[str, _Tag] = {}
    yield from _examine_keys(broker, tags, frozenset(queues))
    yield from _unlisted(broker, tags)
    for name in sorted(tags):
        tag = tags[name]
        if not tag.damaged and tag.kind is not None:
            yield from _examine_queue(broker, tag, strict) if tag.kind == "" else _examine_shared(broker, tag, strict)


def mend(broker: Broker, finding: Finding) -> bool:
    """Put right what a finding is about, if it still is wrong; answers whether it was, and is not any more.

    Raises:
        BrokerError: the server refused or was not reached, or workers come and go all the time.
    """
    if isinstance(finding.remedy, JobRemedy):
        return _mend_job(broker, broker.keys(finding.queue), finding.remedy)
    if isinstance(finding.remedy, Call):
        return broker.run(finding.remedy)
    return finding.remedy is not None and broker.read(finding.remedy)


# --- keys -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Tag:
    """What is there of one queue or primitive; ``kind`` is None for a tag that taskq does not make."""

    keys: QueueKeys
    kind: str | None
    names: set[str] = field(default_factory=set)
    leases: set[str] = field(default_factory=set)
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class _Key:
    """A key as SCAN gave it: ``tag`` is None outside of queues; ``name`` is what follows."""

    raw: bytes
    tag: str | None
    name: str

    @property
    def text(self) -> str:
        return self.raw.decode("utf-8", "replace")


def _examine_keys(broker: Broker, tags: dict[str, _Tag], wanted: frozenset[str]) -> Iterator[Finding]:
    """Judge type and lifetime of every key, and gather in ``tags`` which queues and primitives there are."""
    prefix = f"{broker.namespace}:"
    cursor = -1
    while cursor:
        parts = ("SCAN", max(0, cursor), "MATCH", f"{prefix}*", "COUNT", KEYS_PAGE)
        cursor, page = broker.read(Command(parts, lambda reply: (int(reply[0]), reply[1])))
        by_tag: defaultdict[str | None, list[_Key]] = defaultdict(list)
        for raw in page:
            key = _split(raw, prefix)
            if not (wanted and key.tag not in wanted) and not key.name.startswith(OTHERS):
                by_tag[key.tag].append(key)
        for tag, found in by_tag.items():
            if tag is not None:
                _note(broker, tags, tag, found)
            step = LOOKED_AT if tag is not None else 1  # those of the namespace may lie on several nodes
            for start in range(0, len(found), step):
                yield from _examine_some(broker, tags, found[start : start + step])


def _split(raw: bytes, prefix: str) -> _Key:
    rest = raw.decode("utf-8", "surrogateescape")[len(prefix) :]
    tag, found, name = rest[1:].partition("}:")
    return _Key(raw, tag, name) if rest.startswith("{") and found else _Key(raw, None, rest)


def _note(broker: Broker, tags: dict[str, _Tag], tag: str, found: Sequence[_Key]) -> None:
    if tag not in tags:
        split = findings.split_tag(tag)
        tags[tag] = _Tag(QueueKeys(broker.namespace, tag), split[0] if split else None)
    for key in found:
        if key.name.startswith("l:"):
            tags[tag].leases.add(key.name[2:])
        elif ":" not in key.name:
            tags[tag].names.add(key.name)


def _examine_some(broker: Broker, tags: dict[str, _Tag], found: Sequence[_Key]) -> Iterator[Finding]:
    known, suspicious = [], []
    for key in found:
        expected = findings.expect(key.tag, key.name)
        if expected is None:
            yield Finding(LEFTOVER, key.tag or "", key.text, f"key {shorten(key.text)} is none that taskq makes")
        else:
            known.append((key, expected))
    for (key, expected), (type_, ms) in zip(known, _kinds(broker, [key for key, _ in known]), strict=True):
        if type_ != "none" and (type_ != expected.type or (expected.mortal and ms == -1)):
            suspicious.append((key, expected))
    if suspicious:
        time.sleep(PAUSE)
    for (key, expected), (type_, ms) in zip(suspicious, _kinds(broker, [key for key, _ in suspicious]), strict=True):
        tag = key.tag or ""
        if type_ not in {"none", expected.type}:
            if tag:
                tags[tag].damaged = True
            text = f"key {shorten(key.text)} is a {type_}, not a {expected.type}; rename or delete it by hand"
            yield Finding(LEFTOVER, tag, key.text, text)
        elif type_ != "none" and expected.mortal and ms == -1:
            ttl = _TTLS.get(key.name.partition(":")[0], META_TTL_MS)
            command = Command(("PEXPIRE", key.raw, ttl, "NX"), bool)
            text = f"key {shorten(key.text)} has no time to live"
            yield Finding(LEFTOVER, tag, key.text, text, f"it gets one of {ttl // 1000} s", command)


def _kinds(broker: Broker, found: Sequence[_Key]) -> list[tuple[str, int]]:
    """Read type and milliseconds to live of keys of one tag."""
    if not found:
        return []
    return broker.run(checking.kinds(QueueKeys(broker.namespace, found[0].tag or ""), [key.raw for key in found]))


def _unlisted(broker: Broker, tags: dict[str, _Tag]) -> Iterator[Finding]:
    """Find queues that are declared and not in the registry; who declares one lists it a moment later."""

    def find() -> list[str]:
        listed = broker.read(jobs.queue_names(broker.namespace))
        return [name for name, tag in sorted(tags.items()) if tag.kind == "" and not tag.damaged and name not in listed]

    try:
        missing = find()
    except BrokerError:  # a registry of a wrong type, which is a finding already
        return
    missing = [name for name in missing if broker.read(_is_declared(tags[name].keys))]
    if missing:
        time.sleep(PAUSE)
        missing = [name for name in missing if name in find()]
    for name in missing:
        add: Command[bool] = Command(jobs.register_queue(broker.namespace, name).parts, bool)
        text = f"queue {name} is not in the list {keys.registry(broker.namespace)!r}, so that nobody sees it"
        yield Finding(LEFTOVER, name, "", text, "it is added", add)


def _is_declared(queue: QueueKeys) -> Command[bool]:
    return Command(("HEXISTS", queue.key("meta"), "discipline"), bool)


# --- queues -----------------------------------------------------------------------------------------------------------


def _examine_queue(broker: Broker, tag: _Tag, strict: bool) -> Iterator[Finding]:
    queue = tag.keys.queue
    audit = broker.run(checking.audit(tag.keys, sorted(tag.leases)))
    yield from findings.of_settings(queue, audit.meta)
    if findings.is_newer(audit.meta.get("schema") or "0"):
        return  # what it means is for whoever knows it
    for finding in findings.of_counters(queue, audit):
        yield replace(finding, remedy=checking.mend_counters(tag.keys))
    yield from findings.of_lengths(queue, audit, strict=strict)
    yield from _of_token(tag.keys, audit, strict)
    for worker, (held, entered) in audit.held.items():
        if held and not entered:
            text = f"worker {shorten(worker)} has {held} jobs of queue {queue} and no lease"
            how = "it is entered as one whose lease is over, so that the next worker takes them back"
            yield Finding(LEASE, queue, worker, text, how, checking.mend_lease(tag.keys, worker))
    if audit.meta.get("content") == ITEMS:
        yield from _examine_shared(broker, tag, strict)
    else:
        yield from _examine_jobs(broker, tag)


def _of_token(queue: QueueKeys, audit: Audit, strict: bool) -> Iterator[Finding]:
    remedy = checking.mend_token(queue)
    if audit.tokens > 1:
        text = f"queue {queue.queue} has {audit.tokens} wake tokens"
        yield Finding(WAKE, queue.queue, "wake", text, "all but one are removed", remedy)
    elif strict and audit.ready and not audit.tokens and audit.meta.get("paused") != "1":
        text = f"queue {queue.queue} has {audit.ready} ready jobs and no wake token"
        yield Finding(WAKE, queue.queue, "wake", text, "it is set", remedy)


def _examine_jobs(broker: Broker, tag: _Tag) -> Iterator[Finding]:
    """Judge every id that any of the queue's keys names."""
    told: set[tuple[str, bytes]] = set()  # a page may bring again what another one brought
    sources = [source for source in SOURCES if source in tag.names]
    for source in [*sources, *(f"l:{worker}" for worker in sorted(tag.leases))]:
        for fault in _survey(broker, tag, source):
            if (fault.word, fault.unique) not in told:
                told.add((fault.word, fault.unique))
                finding = findings.of_job(tag.keys.queue, fault)
                remedy = JobRemedy(fault, frozenset(tag.leases)) if finding.repair else None
                yield replace(finding, remedy=remedy)


def _survey(broker: Broker, tag: _Tag, source: str) -> Iterator[Fault]:
    """Yield the faults of one key's ids."""
    queue, cursor, count, tries = tag.keys, "0", FIRST_PAGE, 0
    workers = _workers(broker, queue, tag.leases)
    while True:
        count = max(1, min(count, LOOKED_AT))
        page = broker.run(checking.survey(queue, source, cursor, count, workers))
        if page is None:
            tries += 1
            _breathe(queue, tries)
            workers = _workers(broker, queue, tag.leases)
            continue
        tries = 0
        yield from page.faults
        cursor = page.cursor
        if cursor == "0":
            return
        count = PAGE_BYTES * page.looked // page.size if page.size else LOOKED_AT


def _mend_job(broker: Broker, queue: QueueKeys, remedy: JobRemedy) -> bool:
    for tries in range(1, TRIES + 1):
        workers = _workers(broker, queue, remedy.workers)
        mended = broker.run(checking.mend_job(queue, remedy.fault, workers))
        if mended is not None:
            return mended
        _breathe(queue, tries)
    raise AssertionError("the last try has raised")


def _breathe(queue: QueueKeys, tries: int) -> None:
    """Wait before the next try of what a worker came in between of; raises BrokerError after TRIES."""
    if tries >= TRIES:
        raise BrokerError(f"workers of queue {queue.queue!r} come and go too fast to look at it; try again")
    time.sleep(BREATH)


def _workers(broker: Broker, queue: QueueKeys, known: Collection[str]) -> list[str]:
    """Return the workers with a lease, or with jobs (``known``); who is entered meanwhile is seen by the script."""
    command = Command(("ZRANGE", queue.key("workers"), 0, -1), lambda reply: reply)
    return sorted({*known, *(name.decode("utf-8", "surrogateescape") for name in broker.read(command))})


# --- locks, barriers, conditions, data queues -------------------------------------------------------------------------


def _examine_shared(broker: Broker, tag: _Tag, strict: bool) -> Iterator[Finding]:
    seen = broker.run(checking.audit_shared(tag.keys))
    yield from findings.of_shared(tag.keys.queue, seen, strict=strict)
    for pair in findings.PAIRS[tag.kind] if tag.kind else findings.ITEM_PAIRS:
        if pair.first in tag.names:
            yield from _compare(broker, tag.keys, pair)


def _compare(broker: Broker, queue: QueueKeys, pair: Pair) -> Iterator[Finding]:
    cursor, told = "", set[bytes]()
    while cursor != "0":
        cursor, members = broker.run(checking.compare(queue, pair, cursor or "0"))
        for member in members:
            if member in told:
                continue
            told.add(member)
            name = member.decode("utf-8", "replace")
            remedy = checking.mend_pair(queue, pair, member) if pair.repair else None
            text = f"{shorten(name)} of {queue.queue} {pair.text}"
            yield Finding(COORDINATION, queue.queue, name, text, pair.repair, remedy)
