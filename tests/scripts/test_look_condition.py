"""look_condition.lua: a waiter asks whether it was notified."""

from __future__ import annotations

import dataclasses

from broker_kit import NOW, SECOND, Kit

from taskq.broker import conditions
from taskq.broker.queues import META_TTL_MS


def test_who_is_in_line_was_not_notified_and_is_heard_of(kit: Kit):
    kit.seed(condition={"turn": "1"}, waiting={"a/1": 1}, seen={"a/1": NOW - SECOND})
    assert kit.run(conditions.look(kit.keys, "a/1")) is True
    assert kit.snapshot() == {"condition": {"turn": "1"}, "waiting": {"a/1": 1}, "seen": {"a/1": NOW}}


def test_who_is_not_in_line_was_notified_and_does_not_come_back(kit: Kit):
    kit.seed(condition={"turn": "2"}, waiting={"b/1": 2}, seen={"b/1": NOW})
    before = kit.snapshot()
    assert kit.run(conditions.look(kit.keys, "a/1")) is False
    assert kit.snapshot() == before


def test_looking_keeps_the_line_alive(kit: Kit):
    kit.seed(condition={"turn": "1"}, waiting={"a/1": 1}, seen={"a/1": NOW})
    kit.run(conditions.look(kit.keys, "a/1"))
    for name in ("condition", "waiting", "seen"):
        assert META_TTL_MS - 60_000 < kit.ttl(name) <= META_TTL_MS


def test_the_time_to_live_is_checked(kit: Kit):
    call = conditions.look(kit.keys, "a/1")
    kit.refused(dataclasses.replace(call, arguments=("a/1", "x")), "TASKQ_ARGS")
