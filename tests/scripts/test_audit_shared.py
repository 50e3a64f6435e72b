"""audit_shared.lua: how a lock, barrier, condition or data queue stands is read at one moment."""

from __future__ import annotations

from broker_kit import Kit

from taskq.broker import checking
from taskq.broker.findings import Shared


def test_all_of_it_is_read(kit: Kit):
    kit.seed(permits={"limit": "2", "extra": "1"}, holders={"a": 1}, line={"b": 1, "c": 2})
    kit.seed(barrier={"parties": "3", "next": "5"}, arrived={"d": 3, "e": 4}, waiters={"f": 1}, waiting={"g": 1})
    kit.seed(tally={"seq": "1"}, items={"h": 1}, claims={"1": 1, "2": 2}, getters={"i": 1}, putters={"j": 1})
    kit.command("SADD", kit.keys.key("joiners"), "k")
    before = kit.snapshot()
    assert kit.run(checking.audit_shared(kit.keys)) == Shared("2", "1", 1, 2, "3", "5", 2, "4", 1, 1, 1, 2, -1, 1, 1, 1)
    assert kit.snapshot() == before


def test_what_is_not_there_is_empty(kit: Kit):
    assert kit.run(checking.audit_shared(kit.keys)) == Shared("", "", 0, 0, "", "", 0, "", 0, 0, 0, 0, -2, 0, 0, 0)
