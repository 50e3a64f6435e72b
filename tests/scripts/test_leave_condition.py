"""leave_condition.lua: a waiter gives up, and learns whether it was notified before."""

from __future__ import annotations

from broker_kit import NOW, Kit

from taskq.broker import conditions


def test_who_is_in_line_leaves_it(kit: Kit):
    kit.seed(condition={"turn": "2"}, waiting={"a/1": 1, "b/1": 2}, seen={"a/1": NOW, "b/1": NOW})
    assert kit.run(conditions.leave(kit.keys, "a/1")) is True
    assert kit.snapshot() == {"condition": {"turn": "2"}, "waiting": {"b/1": 2}, "seen": {"b/1": NOW}}


def test_who_is_not_in_line_was_notified(kit: Kit):
    kit.seed(waiting={"b/1": 2}, seen={"b/1": NOW})
    before = kit.snapshot()
    assert kit.run(conditions.leave(kit.keys, "a/1")) is False
    assert kit.snapshot() == before


def test_a_repeated_call_does_not_take_a_timeout_for_a_notification(kit: Kit):
    kit.seed(waiting={"a/1": 1}, seen={"a/1": NOW})
    kit.replays(conditions.leave(kit.keys, "a/1"))
