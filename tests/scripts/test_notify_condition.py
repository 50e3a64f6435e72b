"""notify_condition.lua: the first in line that live are woken."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import NOW, Kit

from taskq.broker import conditions
from taskq.broker.conditions import ALL, STALE_US, Conflict
from taskq.broker.results import channel

LOCK = {"lock": "lock:l", "by": "me"}


def call(kit: Kit, count: int = 1, lock: str = "lock:l"):
    return conditions.notify(kit.keys, count, lock=lock)


def seed(kit: Kit, *addresses: str) -> None:
    kit.seed(condition=LOCK, waiting={address: turn for turn, address in enumerate(addresses)})
    kit.seed(seen=dict.fromkeys(addresses, NOW))


def test_the_first_in_line_are_told_and_leave_it(kit: Kit, listen):
    seed(kit, "here/3", "here/1", "here/2")
    with listen(kit, channel(kit.keys.namespace, "here")) as messages:
        assert kit.run(call(kit, 2)) is None
        assert messages(2) == [b"~3\nN", b"~1\nN"]
    assert kit.snapshot() == {"condition": LOCK, "waiting": {"here/2": 2}, "seen": {"here/2": NOW}}


def test_all_are_told(kit: Kit, listen):
    seed(kit, *[f"here/{n}" for n in range(50)])
    with listen(kit, channel(kit.keys.namespace, "here")) as messages:
        kit.run(call(kit, ALL))
        assert messages(50) == [b"~%d\nN" % n for n in range(50)]
    assert kit.snapshot() == {"condition": LOCK}


def test_nobody_waits(kit: Kit):
    assert kit.run(call(kit, 3)) is None
    assert kit.snapshot() == {}


def test_one_that_died_is_passed_over_and_taken_off(kit: Kit, listen):
    seed(kit, "dead/1", "here/1", "here/2")
    with listen(kit, channel(kit.keys.namespace, "here")) as messages:
        kit.run(call(kit))
        assert messages(1) == [b"~1\nN"]
    assert kit.read("waiting") == {"here/2": 2}


def test_one_that_was_not_heard_of_for_long_is_told_but_does_not_count(kit: Kit, listen):
    seed(kit, "here/1", "here/2", "here/3")
    kit.seed(seen={"here/1": NOW - STALE_US, "here/2": NOW - STALE_US + 1})
    with listen(kit, channel(kit.keys.namespace, "here")) as messages:
        kit.run(call(kit))
        assert messages(2) == [b"~1\nN", b"~2\nN"]
    assert kit.read("waiting") == {"here/3": 2}


def test_another_lock_is_a_conflict_and_changes_nothing(kit: Kit):
    seed(kit, "a/1")
    before = kit.snapshot()
    assert kit.run(call(kit, lock="lock:other")) == Conflict("lock:l", "me")
    assert kit.snapshot() == before


def test_a_repeated_call_wakes_nobody_else(kit: Kit, listen):
    seed(kit, "here/1", "here/2")
    with listen(kit, channel(kit.keys.namespace, "here")) as messages:
        kit.replays(call(kit))
        assert messages(1) == [b"~1\nN"]


@pytest.mark.parametrize(("at", "value"), [(1, "-1"), (1, "x"), (3, "x")])
def test_arguments_are_checked(kit: Kit, at, value):
    arguments = list(call(kit).arguments)
    arguments[at] = value
    kit.refused(dataclasses.replace(call(kit), arguments=tuple(arguments)), "TASKQ_ARGS")
