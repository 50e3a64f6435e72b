"""As cut_cases.py, of the scripts that look for what is wrong and put it right."""

from __future__ import annotations

from typing import Any

from broker_kit import NOW, NOW_MS, Kit, data

from taskq.broker import checking
from taskq.broker.call import Call
from taskq.broker.findings import Fault, Pair


def _places(kit: Kit) -> None:
    """Two jobs in order, one that is nowhere."""
    kit.declare()
    kit.seed(jobs=dict.fromkeys("abc", data()), ready={"a": NOW, "b": NOW + 1}, wake=["1"], workers={"w": NOW})


def audit(kit: Kit) -> Call[Any]:
    _places(kit)
    return checking.audit(kit.keys, ["w"])


def audit_shared(kit: Kit) -> Call[Any]:
    kit.seed(permits={"limit": "2", "extra": "1"}, holders={"a": 1}, line={"b": 1, "c": 2})
    return checking.audit_shared(kit.keys)


def compare(kit: Kit) -> Call[Any]:
    kit.seed(first={"a": 1, "b": 1}, second={"a": 1})
    return checking.compare(kit.keys, Pair("first", "second", ""), "0")


def kinds(kit: Kit) -> Call[Any]:
    kit.seed(a="text", b={"x": 1})
    return checking.kinds(kit.keys, [kit.keys.key(name).encode() for name in "abc"])


def mend(kit: Kit) -> Call[Any]:
    _places(kit)
    return checking.mend_job(kit.keys, Fault(b"c", "lost", ()), ["w"])


def mend_counters(kit: Kit) -> Call[Any]:
    _places(kit)
    kit.seed(meta={"enqueued": "7", "done": str(NOW_MS)})
    return checking.mend_counters(kit.keys)


def mend_lease(kit: Kit) -> Call[Any]:
    kit.seed(jobs={"a": data()}, lease_w={"a": "1;5;0;0"})
    return checking.mend_lease(kit.keys, "w")


def mend_pair(kit: Kit) -> Call[Any]:
    kit.seed(first={"a": 1, "b": 2})
    return checking.mend_pair(kit.keys, Pair("first", "second", ""), b"a")


def mend_token(kit: Kit) -> Call[Any]:
    kit.seed(meta={"paused": "0"}, ready={"a": 1})
    return checking.mend_token(kit.keys)


def survey(kit: Kit) -> Call[Any]:
    _places(kit)
    return checking.survey(kit.keys, "jobs", "0", 100, ["w"])


CHECKS = {
    one.__name__: one
    for one in (
        audit, audit_shared, compare, kinds, mend, mend_counters, mend_lease, mend_pair, mend_token, survey,
    )
}  # fmt: skip
