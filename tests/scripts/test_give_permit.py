"""give_permit.lua: a permit goes back, or straight on to the next in line."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from broker_kit import NOW, SECOND, Kit

from taskq.broker import permits
from taskq.broker.line import LAST_PLACE, NO_PLACE
from taskq.broker.permits import Given, Refused, TooMany
from taskq.broker.queues import META_TTL_MS
from taskq.broker.results import channel

LEASE = 1.0  # seconds
BEAT = LEASE / 5


def take(kit: Kit, address: str, turn: str = NO_PLACE, *, limit: int = 1) -> Any:
    return kit.run(permits.take(kit.keys, address, limit=limit, lease=LEASE, turn=turn, who="me"))


def give(kit: Kit, *addresses: str, limit: int = 1, count: int = 0, bounded: bool = False, dead: bool = False) -> Any:
    options = {"limit": limit, "count": count, "bounded": bounded, "dead": dead}
    return kit.run(permits.give(kit.keys, addresses, lease=LEASE, **options))


def let_lapse(kit: Kit, *kept: str) -> None:
    """Let every lease run out but those of ``kept``, on a steady clock."""
    for _ in range(6):
        kit.advance(BEAT)
        kit.run(permits.keep(kit.keys, kept, LEASE))


def free(kit: Kit, limit: int) -> int:
    return kit.run(permits.count(kit.keys, limit)).free


def table(kit: Kit, **changed: int) -> dict[str, str]:
    numbers = {
        "limit": 1,
        "tick": kit.now,
        "grace": NOW + SECOND,
        "since": NOW,
        "fence": NOW,
        "lease": SECOND,
    } | changed
    return {"by": "me"} | {name: str(number) for name, number in numbers.items()}


def test_a_permit_given_back_is_free(kit: Kit):
    take(kit, "a/1")
    assert give(kit, "a/1") == 1
    assert kit.snapshot() == {"permits": table(kit)}
    assert take(kit, "b/1") == Given(NOW + 1)


def test_the_next_in_line_has_it_at_once_and_is_told_its_fence(kit: Kit, listen):
    take(kit, "a/1")
    with listen(kit, channel(kit.keys.namespace, "here")) as messages:
        take(kit, "here/1", LAST_PLACE)
        take(kit, "here/2", LAST_PLACE)
        kit.advance(BEAT)
        give(kit, "a/1")
        assert messages(1) == [f"~1\n{kit.now}".encode()]
    assert kit.snapshot() == {
        "permits": table(kit, turn=2, fence=kit.now), "holders": {"here/1": kit.now + SECOND},
        "fences": {"here/1": str(kit.now)}, "line": {"here/2": 2},
    }  # fmt: skip


def test_dead_waiters_are_passed_over(kit: Kit, listen):
    take(kit, "a/1")
    with listen(kit, channel(kit.keys.namespace, "here")) as messages:
        for address in ("gone/1", "damaged", "here/9"):
            take(kit, address, LAST_PLACE)
        give(kit, "a/1")
        assert messages(1) == [f"~9\n{NOW + 3}".encode()]
    assert kit.read("holders").keys() == kit.read("fences").keys() == {"here/9"}
    assert kit.read("line") is None


def test_with_only_dead_waiters_it_is_free(kit: Kit):
    take(kit, "a/1")
    take(kit, "gone/1", LAST_PLACE)
    give(kit, "a/1")
    assert kit.snapshot() == {"permits": table(kit, turn=1, fence=NOW + 1)}


def test_a_waiter_leaves_the_line_without_a_permit(kit: Kit):
    take(kit, "a/1")
    take(kit, "b/1", LAST_PLACE)
    assert give(kit, "b/1") == 0
    assert kit.snapshot() == {
        "permits": table(kit, turn=1), "holders": {"a/1": NOW + SECOND}, "fences": {"a/1": str(NOW)},
    }  # fmt: skip


def test_who_holds_nothing_gives_nothing(kit: Kit):
    take(kit, "a/1")
    before = kit.snapshot()
    assert give(kit, "b/1") == 0
    assert kit.snapshot() == before


def test_a_holder_whose_lease_is_over_gives_nothing(kit: Kit):
    take(kit, "a/1")
    let_lapse(kit)
    assert give(kit, "a/1") == 0
    assert "holders" not in kit.snapshot()


def test_the_next_holders_permit_is_not_touched_by_a_stale_one(kit: Kit):
    take(kit, "a/1")
    let_lapse(kit)
    assert take(kit, "b/1") == Given(kit.now)
    assert give(kit, "a/1") == 0
    assert kit.read("fences") == {"b/1": str(kit.now)}


def test_several_are_given_back_at_once(kit: Kit):
    for number in (1, 2, 3):
        take(kit, f"a/{number}", limit=3)
    assert give(kit, "a/1", "a/3", "nobody/1", limit=3) == 2
    assert kit.read("holders").keys() == {"a/2"}


def test_an_added_permit_can_be_taken(kit: Kit, listen):
    with listen(kit, channel(kit.keys.namespace, "here")) as messages:
        take(kit, "here/1", LAST_PLACE, limit=0)
        assert give(kit, limit=0, count=2) == 0
        assert messages(1) == [f"~1\n{NOW}".encode()]
    assert take(kit, "b/1", limit=0) == Given(NOW + 1)
    assert take(kit, "c/1", limit=0) == Refused()


def test_a_release_before_the_first_use_counts(kit: Kit):
    give(kit, limit=1, count=1)
    assert [take(kit, f"a/{number}") for number in (1, 2, 3)] == [Given(NOW), Given(NOW + 1), Refused()]


# -- bounded


@pytest.mark.parametrize("held", [0, 1, 2])
def test_a_bounded_one_never_gets_more_than_its_limit(kit: Kit, held):
    for number in range(held):
        take(kit, f"a/{number}", limit=2)
    before = kit.snapshot()
    assert give(kit, limit=2, count=held + 1, bounded=True) == TooMany(0)
    after = kit.snapshot()
    after.pop("permits"), before.pop("permits", None)
    assert after == before
    assert free(kit, 2) == 2 - held


def test_a_bounded_one_takes_what_it_misses(kit: Kit):
    take(kit, "a/1", limit=2)
    assert give(kit, limit=2, count=1, bounded=True) == 0
    assert free(kit, 2) == 2


def test_a_holder_whose_permit_was_given_back_by_another_gives_one_too_many(kit: Kit):
    take(kit, "a/1", limit=2)
    give(kit, limit=2, count=1, bounded=True)
    assert give(kit, "a/1", limit=2, bounded=True) == TooMany(1), "and it holds no more, or its death would free one"
    assert free(kit, 2) == 2
    assert "holders" not in kit.snapshot()


def test_of_too_many_those_are_kept_that_nobody_gave_back(kit: Kit):
    for number in (1, 2):
        take(kit, f"a/{number}", limit=3)
    give(kit, limit=3, count=1, bounded=True)
    assert give(kit, "a/1", "a/2", limit=3, bounded=True) == TooMany(1)
    assert kit.read("holders").keys() == {"a/2"}
    assert free(kit, 3) == 2
    assert give(kit, "a/2", limit=3, bounded=True) == 1
    assert free(kit, 3) == 3


# -- permits that were added, and leases


def test_a_consumed_signal_does_not_come_back_when_its_consumer_is_gone(kit: Kit):
    give(kit, limit=0, count=1)
    assert take(kit, "a/1", limit=0) == Given(NOW)
    let_lapse(kit)
    assert take(kit, "b/1", limit=0) == Refused()
    assert free(kit, 0) == 0


def test_a_permit_that_another_gave_back_does_not_come_back_twice(kit: Kit):
    take(kit, "a/1", limit=1)
    give(kit, limit=1, count=1, bounded=True)
    let_lapse(kit)
    assert take(kit, "b/1", limit=1) == Given(kit.now)
    assert take(kit, "c/1", limit=1) == Refused()


def test_the_permits_of_the_dead_are_free_but_for_those_that_others_added(kit: Kit):
    for number in range(3):
        take(kit, f"dead/{number}", limit=3)
    give(kit, limit=3, count=1)
    assert give(kit, "dead/0", "dead/1", "dead/2", "nobody/1", limit=3, dead=True) == 3
    assert free(kit, 3) == 3
    assert kit.read("holders") is None
    assert kit.read("permits")["extra"] == "0"


def test_a_signal_that_a_dead_one_consumed_wakes_nobody(kit: Kit, listen):
    give(kit, limit=0, count=1)
    take(kit, "dead/1", limit=0)
    with listen(kit, channel(kit.keys.namespace, "here")) as messages:
        take(kit, "here/1", LAST_PLACE, limit=0)
        give(kit, "dead/1", limit=0, dead=True)
        assert messages(0) == []


# -- the rest


def test_every_key_lives_long_after_its_last_use(kit: Kit, listen):
    with listen(kit, channel(kit.keys.namespace, "here")):
        take(kit, "a/1")
        take(kit, "here/1", LAST_PLACE)
        take(kit, "here/2", LAST_PLACE)
        for name in ("permits", "holders", "fences", "line"):
            kit.command("PEXPIRE", kit.keys.key(name), 1_000_000)
        give(kit, "a/1")
    for name in ("permits", "holders", "fences", "line"):
        assert META_TTL_MS - 60_000 < kit.ttl(name) <= META_TTL_MS


@pytest.mark.parametrize(("addresses", "count"), [(["a/1"], 0), ([], 1), (["a/1"], 2)])
def test_a_late_duplicate_gives_nothing(kit: Kit, addresses, count):
    take(kit, "a/1")
    kit.replays(permits.give(kit.keys, addresses, limit=1, lease=LEASE, count=count))


def test_a_late_duplicate_of_a_refusal_drops_no_other_permit(kit: Kit):
    for number in (1, 2):
        take(kit, f"a/{number}", limit=3)
    give(kit, limit=3, count=1, bounded=True)
    kit.replays(permits.give(kit.keys, ["a/1", "a/2"], limit=3, lease=LEASE, bounded=True))


def test_a_clock_that_is_set_back_makes_no_lease_longer(kit: Kit):
    take(kit, "a/1", limit=2)
    take(kit, "b/1", limit=2)
    kit.advance(-3600)
    give(kit, "a/1", limit=2)
    assert kit.read("holders") == {"b/1": kit.now + SECOND}


def test_a_step_of_the_clock_takes_nothing_from_who_gives_back(kit: Kit):
    take(kit, "a/1")
    kit.advance(3600)
    assert give(kit, "a/1") == 1


@pytest.mark.parametrize(
    ("index", "value"),
    [*((index, value) for index in (1, 2, 4, 5) for value in ("", "nan", "-1", " 5", "1.5")), (1, "0")],
)
def test_arguments_that_cannot_be_used_are_refused(kit: Kit, index, value):
    take(kit, "a/1")
    call = permits.give(kit.keys, ["a/1"], limit=1, lease=LEASE)
    arguments = list(call.arguments)
    arguments[index] = value
    kit.refused(dataclasses.replace(call, arguments=arguments), "TASKQ_ARGS")
