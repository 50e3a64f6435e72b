"""keep_permits.lua: holders renew their leases, and learn which are lost."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import NOW, SECOND, Kit

from taskq.broker import permits
from taskq.broker.line import NO_PLACE
from taskq.broker.permits import USED, Refused
from taskq.broker.queues import META_TTL_MS

LEASE = 1.0  # seconds
BEAT = SECOND // 5


def keep(kit: Kit, *addresses: str) -> list[str]:
    return kit.run(permits.keep(kit.keys, addresses, LEASE))


def guard(tick: int, grace: int, **more: int) -> dict[str, str]:
    return {name: str(value) for name, value in ({"tick": tick, "grace": grace, "lease": SECOND} | more).items()}


def test_a_lease_is_renewed_from_now(kit: Kit):
    kit.seed(holders={"a/1": NOW + 10, "b/1": NOW + 20}, permits=guard(NOW, 5))
    assert keep(kit, "a/1") == []
    assert kit.snapshot() == {"holders": {"a/1": NOW + SECOND, "b/1": NOW + 20}, "permits": guard(NOW, 5)}


def test_many_are_renewed_at_once_and_the_lost_ones_named(kit: Kit):
    kit.seed(holders={"a/1": NOW + 10, "c/1": NOW + 20}, permits=guard(NOW, 5))
    assert keep(kit, "b/1", "a/1", "d/1", "c/1") == ["b/1", "d/1"]
    assert kit.read("holders") == {"a/1": NOW + SECOND, "c/1": NOW + SECOND}


def test_a_lease_that_is_over_is_renewed_while_nobody_else_has_it(kit: Kit):
    kit.seed(holders={"a/1": NOW - 5 * SECOND}, permits=guard(NOW, 5))
    assert keep(kit, "a/1") == []
    assert kit.read("holders") == {"a/1": NOW + SECOND}


@pytest.mark.parametrize(
    ("tick", "after", "other"),
    [
        (NOW - 3 * BEAT, guard(NOW, 7), NOW + 50 * SECOND),  # steady
        (NOW + SECOND, guard(NOW + SECOND, 7), NOW + 50 * SECOND),  # slewed back: time stands still
        (NOW + SECOND + 1, guard(NOW, NOW + SECOND, jumps=1), NOW + SECOND),  # set back: no lease grows
        (NOW - 3 * BEAT - 1, guard(NOW, NOW + SECOND), NOW + 50 * SECOND),  # a step forward, or an outage
    ],
)
def test_the_clock_is_guarded(kit: Kit, tick, after, other):
    kit.seed(holders={"a/1": NOW, "far": NOW + 50 * SECOND}, permits=guard(tick, 7))
    keep(kit, "a/1")
    assert kit.snapshot() == {"holders": {"a/1": int(after["tick"]) + SECOND, "far": other}, "permits": after}


def test_a_clock_that_is_set_back_and_then_right_again_takes_nothing_from_who_renews(kit: Kit):
    kit.run(permits.take(kit.keys, "a/1", limit=1, lease=LEASE, turn=NO_PLACE, who="me"))
    kit.advance(-3600)
    keep(kit, "a/1")
    kit.advance(3600 + 2 * LEASE)
    assert kit.run(permits.take(kit.keys, "b/1", limit=1, lease=LEASE, turn=NO_PLACE, who="me")) == Refused()
    assert keep(kit, "a/1") == []


def test_a_repeated_call_only_renews(kit: Kit):
    kit.seed(holders={"a/1": NOW + 10}, permits=guard(NOW, 5))
    call = permits.keep(kit.keys, ["a/1", "b/1"], LEASE)
    first = kit.run(call), kit.snapshot()
    assert (kit.run(call), kit.snapshot()) == first


# -- permits that others have added in place of those that are held


def test_a_signal_that_was_consumed_is_held_no_more_and_not_called_lost(kit: Kit):
    kit.seed(holders={"a/1": NOW, "a/2": NOW}, fences={"a/1": "1", "a/2": "2"}, permits=guard(NOW, 5, limit=0, extra=2))
    assert keep(kit, "a/1", "gone/1", "a/2") == ["gone/1", USED + "a/1", USED + "a/2"]
    assert kit.snapshot() == {"permits": guard(NOW, 5, limit=0, extra=0)}


def test_no_more_are_used_up_than_were_added(kit: Kit):
    kit.seed(holders={"a/1": NOW, "a/2": NOW, "b/1": NOW}, permits=guard(NOW, 5, limit=2, extra=1))
    assert keep(kit, "a/1", "a/2") == [USED + "a/1"]
    assert kit.read("holders") == {"a/2": NOW + SECOND, "b/1": NOW}
    assert kit.read("permits")["extra"] == "0"


def test_as_many_are_free_as_before(kit: Kit):
    kit.seed(holders={"a/1": NOW + SECOND, "a/2": NOW + SECOND}, permits=guard(NOW, 5, limit=2, extra=1))
    keep(kit, "a/1", "a/2")
    assert kit.run(permits.count(kit.keys, 2)).free == 1


def test_a_late_duplicate_uses_up_no_more(kit: Kit):
    kit.seed(holders={"a/1": NOW, "a/2": NOW}, permits=guard(NOW, 5, limit=0, extra=1))
    call = permits.keep(kit.keys, ["a/1", "a/2", "gone/1"], LEASE)
    kit.replays(call)
    assert kit.read("holders").keys() == {"a/2"}


def test_every_key_lives_on_while_something_is_held(kit: Kit):
    kit.seed(holders={"a/1": NOW}, permits=guard(NOW, 5), fences={"a/1": "1"}, line={"b/1": 1})
    keep(kit, "a/1")
    for name in ("permits", "holders", "fences", "line"):
        assert META_TTL_MS - 60_000 < kit.ttl(name) <= META_TTL_MS


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("value", ["", "nan", "-1", " 5", "1.5"])
def test_arguments_that_cannot_be_used_are_refused(kit: Kit, index, value):
    kit.seed(holders={"a/1": NOW + 10}, permits=guard(NOW, 5))
    call = permits.keep(kit.keys, ["a/1"], LEASE)
    arguments = list(call.arguments)
    arguments[index] = value
    kit.refused(dataclasses.replace(call, arguments=arguments), "TASKQ_ARGS")


def test_a_lease_of_nothing_is_refused(kit: Kit):
    kit.refused(permits.keep(kit.keys, ["a/1"], 0), "TASKQ_ARGS")


@pytest.mark.parametrize("name", ["permits", "holders"])
def test_a_key_of_a_wrong_type_is_refused(kit: Kit, name):
    kit.seed(**{name: "text"})
    with pytest.raises(Exception, match="WRONGTYPE"):
        keep(kit, "a/1")
