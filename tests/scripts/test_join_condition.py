"""join_condition.lua: a waiter stands in line for a notification."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import NOW, SECOND, Kit

from taskq.broker import conditions
from taskq.broker.conditions import STALE_US, Conflict
from taskq.broker.queues import META_TTL_MS
from taskq.broker.results import channel


def call(kit: Kit, address: str = "a/1", lock: str = "lock:l"):
    return conditions.join(kit.keys, address, lock=lock, who="me")


def table(turn: int) -> dict[str, str]:
    return {"lock": "lock:l", "by": "me", "turn": str(turn)}


def test_waiters_stand_in_the_order_in_which_they_came(kit: Kit):
    assert kit.run(call(kit, "b/1")) is None
    kit.advance(1)
    assert kit.run(call(kit, "a/1")) is None
    assert kit.snapshot() == {
        "condition": table(2),
        "waiting": {"b/1": 1, "a/1": 2},
        "seen": {"b/1": NOW, "a/1": NOW + SECOND},
    }


def test_another_lock_is_a_conflict_and_changes_nothing(kit: Kit):
    kit.run(call(kit))
    before = kit.snapshot()
    assert kit.run(call(kit, "b/1", "rlock:l")) == Conflict("lock:l", "me")
    assert kit.snapshot() == before


def test_who_was_not_heard_of_for_long_is_taken_off_and_told(kit: Kit, listen):
    kit.seed(waiting={"here/1": 1, "dead/1": 2, "here/2": 3})
    kit.seed(seen={"here/1": NOW - STALE_US, "dead/1": NOW - STALE_US - 1, "here/2": NOW - STALE_US + 1})
    with listen(kit, channel(kit.keys.namespace, "here")) as messages:
        kit.run(call(kit))
        assert messages(1) == [b"~1\nN"]
    assert kit.read("seen") == {"here/2": NOW - STALE_US + 1, "a/1": NOW}
    assert set(kit.read("waiting")) == {"here/2", "a/1"}


def test_a_repeated_call_has_no_second_effect(kit: Kit):
    kit.replays(call(kit))


def test_a_repeated_call_does_not_put_one_that_was_notified_in_line_again(kit: Kit, listen):
    with listen(kit, channel(kit.keys.namespace, "here")):
        kit.run(call(kit, "here/1"), seq=5)
        kit.run(conditions.notify(kit.keys, 1, lock="lock:l"), session="other", seq=1)
        kit.run(call(kit, "here/1"), seq=5)
    assert kit.read("waiting") is None


def test_every_key_has_a_time_to_live(kit: Kit):
    kit.run(call(kit))
    for name in ("condition", "waiting", "seen"):
        assert META_TTL_MS - 60_000 < kit.ttl(name) <= META_TTL_MS


@pytest.mark.parametrize(("at", "value"), [(1, ""), (3, "x"), (4, "x")])
def test_arguments_are_checked(kit: Kit, at, value):
    arguments = list(call(kit).arguments)
    arguments[at] = value
    kit.refused(dataclasses.replace(call(kit), arguments=tuple(arguments)), "TASKQ_ARGS")
