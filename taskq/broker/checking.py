"""Calls that read what fsck judges, and those that put one thing right; each looks again before it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from taskq.broker.call import Argument, Call, make_call
from taskq.broker.findings import Audit, Fault, Pair, Shared
from taskq.broker.keys import QueueKeys
from taskq.broker.scripts import load

SOURCES: Final = ("jobs", "state", "ready", "delayed", "suspect", "dead", "revoked")
LOOKED_AT: Final = 500  # keys or ids a call: a millisecond or two of the server's time


@dataclass(frozen=True, slots=True)
class Page:
    """What is wrong on a page of ids: where the next one begins ('0' ends), how many ids and bytes it had."""

    cursor: str
    looked: int
    size: int
    faults: list[Fault]


def kinds(queue: QueueKeys, raw: Sequence[bytes]) -> Call[list[tuple[str, int]]]:
    """Read type and milliseconds to live of keys of one queue, as they are: a damaged name may be no text."""

    def parse(reply: list[Any]) -> list[tuple[str, int]]:
        return [(reply[i].decode(), int(reply[i + 1])) for i in range(0, len(reply), 2)]

    names: Any = tuple(raw)
    return Call(load()["kinds"], queue, names, (), parse)


def survey(queue: QueueKeys, source: str, cursor: str, count: int, workers: Sequence[str]) -> Call[Page | None]:
    """Judge some ids of one of SOURCES, or of ``l:<worker>``; None if there are more workers than ``workers``."""

    def parse(reply: list[Any]) -> Page | None:
        if reply[0] == b"W":
            return None
        faults = [
            Fault(reply[i], reply[i + 1].decode(), tuple(reply[i + 2].decode().split()))
            for i in range(3, len(reply), 3)
        ]
        return Page(reply[0].decode(), int(reply[1]), int(reply[2]), faults)

    arguments: tuple[Argument, ...] = (_bytes(source), cursor, count, *map(_bytes, workers))
    return make_call(load()["survey"], queue, arguments, parse, extra_keys=_leases(queue, workers))


def mend_job(queue: QueueKeys, fault: Fault, workers: Sequence[str]) -> Call[bool | None]:
    """Put a job right; None if there are more workers than ``workers``."""

    def parse(reply: list[Any]) -> bool | None:
        return None if reply[0] == b"W" else _mended(reply)

    arguments: tuple[Argument, ...] = (fault.unique, fault.word, *map(_bytes, workers))
    return make_call(load()["mend"], queue, arguments, parse, extra_keys=_leases(queue, workers))


def audit(queue: QueueKeys, workers: Sequence[str]) -> Call[Audit]:
    """Read lengths, settings and counters; ``workers`` are those whose jobs are counted."""

    def parse(reply: list[Any]) -> Audit:
        lengths, held, flat = reply
        meta = [part.decode("utf-8", "replace") for part in flat]
        holders = {worker: (int(held[2 * i]), bool(held[2 * i + 1])) for i, worker in enumerate(workers)}
        tokens, ready, stored, dead, quarantine, ended, outbox = map(int, lengths)
        settings = dict(zip(meta[::2], meta[1::2], strict=True))
        return Audit(tokens, ready, stored, dead, quarantine, ended, outbox, holders, settings)

    names = tuple(map(_bytes, workers))
    return make_call(load()["audit"], queue, names, parse, extra_keys=_leases(queue, workers))


def mend_counters(queue: QueueKeys) -> Call[bool]:
    """Let the number of jobs that came be what left and what is there."""
    return make_call(load()["mend_counters"], queue, (), _mended)


def mend_token(queue: QueueKeys) -> Call[bool]:
    """Let one wake token be there if claimable jobs are, never more."""
    return make_call(load()["mend_token"], queue, (), _mended)


def mend_lease(queue: QueueKeys, worker: str) -> Call[bool]:
    """Have a worker reaped that has jobs and no lease."""
    both: Any = (queue.key("workers"), *_leases(queue, [worker]))
    return Call(load()["mend_lease"], queue, both, (_bytes(worker),), _mended)


def audit_shared(queue: QueueKeys) -> Call[Shared]:
    """Read how a primitive, or the items of a data queue, stand."""
    return make_call(load()["audit_shared"], queue, (), Shared.read)


def compare(queue: QueueKeys, pair: Pair, cursor: str, count: int = LOOKED_AT) -> Call[tuple[str, list[bytes]]]:
    """Find members on which two keys do not agree, with the cursor of the next ones; '0' begins and ends."""

    def parse(reply: list[Any]) -> tuple[str, list[bytes]]:
        return reply[0].decode(), reply[1:]

    return Call(load()["compare"], queue, _both(queue, pair), (cursor, count, pair.wanted), parse)


def mend_pair(queue: QueueKeys, pair: Pair, member: bytes) -> Call[bool]:
    """Let two keys agree on a member."""
    return Call(load()["mend_pair"], queue, _both(queue, pair), (member, pair.wanted, pair.act), _mended)


def _both(queue: QueueKeys, pair: Pair) -> tuple[str, str]:
    return queue.key(pair.first), queue.key(pair.second)


def _bytes(name: str) -> bytes:
    """Return a worker's name as it is stored: one that was written by hand may be no text."""
    return name.encode("utf-8", "surrogateescape")


def _leases(queue: QueueKeys, workers: Sequence[str]) -> Any:
    return [_bytes(queue.lease(worker)) for worker in workers]


def _mended(reply: list[Any]) -> bool:
    return bool(reply[0] == b"M")
