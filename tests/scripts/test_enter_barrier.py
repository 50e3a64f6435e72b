"""enter_barrier.lua: a party arrives, and the last one releases its whole generation."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from broker_kit import NOW, SECOND, Kit

from taskq.broker import barriers
from taskq.broker.barriers import Conflict, Entered, Place, Standing
from taskq.broker.queues import META_TTL_MS
from taskq.broker.results import channel

LEASE = 1.0  # seconds
BEAT = LEASE / 5
BORN = str(NOW)
BROKEN = Entered(Standing.BROKEN, None)


def call(kit: Kit, address: str, ticket: int | None = None, *, parties: int = 2, acts: bool = False, born: str = BORN):
    place = None if ticket is None else Place(ticket, born)
    return barriers.enter(kit.keys, address, place, parties=parties, acts=acts, lease=LEASE, who="me")


def enter(kit: Kit, address: str, ticket: int | None = None, **options: Any) -> Any:
    return kit.run(call(kit, address, ticket, **options))


def waits(ticket: int) -> Entered:
    return Entered(Standing.WAITING, Place(ticket, BORN))


def released(ticket: int) -> Entered:
    return Entered(Standing.RELEASED, Place(ticket, BORN))


def acting(ticket: int) -> Entered:
    return Entered(Standing.ACTING, Place(ticket, BORN))


def table(tick: int = NOW, grace: int = NOW + SECOND, **more: Any) -> dict[str, str]:
    numbers = {"parties": 2, "born": NOW, "tick": tick, "grace": grace, "since": NOW, "lease": SECOND} | more
    return {"by": "me"} | {name: str(value) for name, value in numbers.items()}


def keep(kit: Kit, *addresses: str, beats: int = 6) -> None:
    for _ in range(beats):
        kit.advance(BEAT)
        kit.run(barriers.keep(kit.keys, addresses, LEASE))


def test_the_first_to_come_waits_under_a_lease(kit: Kit):
    assert enter(kit, "a/1") == waits(0)
    assert kit.snapshot() == {
        "barrier": table(next=1),
        "arrived": {"a/1": 0},
        "deadlines": {"a/1": NOW + SECOND},
    }


def test_the_last_to_come_releases_all_and_leaves_nothing(kit: Kit, listen):
    with listen(kit, channel(kit.keys.namespace, "here")) as messages:
        enter(kit, "here/1")
        assert enter(kit, "here/2") == released(1)
        assert messages(1) == [b"~1\nR"]
    assert kit.snapshot() == {"barrier": table(next=2)}


def test_places_go_on_from_one_generation_to_the_next(kit: Kit):
    assert [enter(kit, f"a/{n}") for n in range(4)] == [waits(0), released(1), waits(2), released(3)]


def test_one_party_alone_never_waits(kit: Kit):
    assert [enter(kit, "a/1", parties=1), enter(kit, "a/2", parties=1)] == [released(0), released(1)]


def test_who_looks_again_keeps_its_place(kit: Kit):
    enter(kit, "a/1")
    before = kit.snapshot()
    assert enter(kit, "a/1", 0) == waits(0)
    assert kit.snapshot() == before


def test_who_looks_after_it_was_released_learns_it(kit: Kit):
    enter(kit, "a/1")
    enter(kit, "b/1")
    assert enter(kit, "a/1", 0) == released(0)


def test_who_looks_after_the_barrier_broke_learns_it_also_after_a_reset(kit: Kit):
    enter(kit, "a/1")
    kit.run(barriers.end_waits(kit.keys, parties=2, anew=True, who="me"))
    for n in range(4):
        enter(kit, f"b/{n}")
    assert enter(kit, "a/1", 0) == BROKEN


def test_nobody_enters_a_broken_barrier(kit: Kit):
    kit.run(barriers.end_waits(kit.keys, parties=2, anew=False, who="me"))
    assert enter(kit, "a/1") == BROKEN
    assert kit.read("arrived") is None


def test_with_an_action_the_last_acts_and_the_others_stay(kit: Kit, listen):
    with listen(kit, channel(kit.keys.namespace, "here")) as messages:
        enter(kit, "here/1", acts=True)
        assert enter(kit, "here/2", acts=True) == acting(1)
        assert messages(0) == []
    assert kit.snapshot() == {
        "barrier": table(next=2, actor="here/2"),
        "arrived": {"here/1": 0, "here/2": 1},
        "deadlines": {"here/2": NOW + SECOND},  # from now on nobody else's death matters
    }


def test_while_one_acts_the_others_go_on_waiting_and_it_goes_on_acting(kit: Kit):
    enter(kit, "a/1", acts=True)
    enter(kit, "b/1", acts=True)
    assert [enter(kit, "a/1", 0, acts=True), enter(kit, "b/1", 1, acts=True)] == [waits(0), acting(1)]


def test_who_comes_while_one_acts_belongs_to_the_next_generation(kit: Kit):
    enter(kit, "a/1", acts=True)
    enter(kit, "b/1", acts=True)
    assert [enter(kit, f"c/{n}", acts=True) for n in range(3)] == [waits(2), waits(3), waits(4)]
    assert kit.read("barrier")["actor"] == "b/1"


def test_who_looks_first_at_a_full_generation_that_nobody_tends_to_acts(kit: Kit):
    kit.seed(barrier=table(next=3), arrived={"a/1": 0, "b/1": 1, "c/1": 2}, deadlines={"a/1": NOW, "c/1": NOW})
    assert enter(kit, "a/1", 0, acts=True) == acting(0)
    assert kit.read("deadlines") == {"a/1": NOW + SECOND, "c/1": NOW}


def test_who_looks_first_at_such_a_generation_without_an_action_releases_it(kit: Kit):
    kit.seed(barrier=table(next=3), arrived={"a/1": 0, "b/1": 1, "c/1": 2}, deadlines={"a/1": NOW, "b/1": NOW})
    assert enter(kit, "a/1", 0) == released(0)
    assert (kit.read("arrived"), kit.read("deadlines")) == ({"c/1": 2}, None)


def test_a_party_of_a_later_generation_does_not_act_for_an_earlier_one(kit: Kit):
    kit.seed(barrier=table(next=4), arrived={"a/1": 0, "b/1": 1, "c/1": 2, "d/1": 3}, deadlines={"c/1": NOW})
    assert enter(kit, "d/1", 3) == waits(3)


def test_a_dead_party_breaks_the_barrier_and_the_one_that_comes_then_learns_it(kit: Kit, listen):
    enter(kit, "dead/1", parties=3)
    with listen(kit, channel(kit.keys.namespace, "here")) as messages:
        enter(kit, "here/1", parties=3)
        for _ in range(5):
            kit.advance(BEAT)
            kit.run(barriers.keep(kit.keys, ["here/1"], LEASE))
        kit.advance(0.000_001)
        assert enter(kit, "b/1", parties=3) == BROKEN
        assert messages(1) == [b"~1\nB"]
    assert kit.snapshot() == {
        "barrier": table(kit.now, parties=3, next=3, broken=1),
        "failed": {"0": 0},
    }


def test_nobody_is_taken_for_dead_after_an_outage(kit: Kit):
    enter(kit, "a/1", parties=3)
    kit.advance(100)
    assert enter(kit, "b/1", parties=3) == waits(1)
    assert enter(kit, "a/1", 0, parties=3) == waits(0)


def test_a_party_that_died_beyond_does_not_harm_those_whose_action_runs(kit: Kit):
    enter(kit, "a/1", acts=True)
    enter(kit, "b/1", acts=True)
    enter(kit, "dead/1", acts=True)
    keep(kit, "b/1")
    assert [enter(kit, "c/1", acts=True), enter(kit, "a/1", 0, acts=True)] == [BROKEN, waits(0)]
    assert kit.run(barriers.finish(kit.keys, "b/1", Place(1, BORN), done=True)) is Standing.RELEASED
    assert kit.snapshot() == {"barrier": table(kit.now, next=4, broken=1), "failed": {"1": 1}}


def test_an_actor_that_died_breaks_the_barrier_for_all(kit: Kit):
    enter(kit, "a/1", acts=True)
    enter(kit, "dead/1", acts=True)
    enter(kit, "c/1", acts=True)
    keep(kit, "a/1", "c/1")
    assert [enter(kit, "a/1", 0, acts=True), enter(kit, "c/1", 2, acts=True)] == [BROKEN, BROKEN]
    assert kit.snapshot() == {"barrier": table(kit.now, next=4, broken=1), "failed": {"0": 0, "1": 1}}


def test_another_number_of_parties_is_a_conflict_and_changes_nothing(kit: Kit):
    enter(kit, "a/1")
    before = kit.snapshot()
    assert enter(kit, "b/1", parties=3) == Conflict(2, "me")
    assert kit.snapshot() == before


def test_who_waited_when_the_server_lost_all_finds_the_barrier_broken(kit: Kit):
    assert enter(kit, "a/1", 57) == BROKEN
    assert kit.snapshot() == {}


def test_who_waited_at_a_barrier_that_was_made_anew_since_finds_it_broken(kit: Kit):
    enter(kit, "a/1")
    enter(kit, "b/1")
    assert enter(kit, "c/1", 0, born=str(NOW - 1)) == BROKEN


def test_a_place_that_the_server_lost_breaks_the_barrier(kit: Kit):
    enter(kit, "a/1")
    assert enter(kit, "b/1", 1) == BROKEN
    assert kit.snapshot() == {"barrier": table(next=2, broken=1), "failed": {"0": 0}}


def test_of_broken_generations_the_last_thousand_are_remembered(kit: Kit):
    kit.seed(barrier=table(next=4001), failed={str(n): n for n in range(1000, 2000)}, arrived={"dead/1": 4000})
    kit.seed(deadlines={"dead/1": NOW - 1})
    kit.command("HSET", kit.keys.key("barrier"), "grace", NOW)
    assert enter(kit, "a/1") == BROKEN
    failed = kit.read("failed")
    assert (len(failed), min(failed.values()), max(failed.values())) == (1000, 1001, 2000)


def test_every_key_has_a_time_to_live(kit: Kit):
    kit.run(barriers.end_waits(kit.keys, parties=2, anew=True, who="me"))
    enter(kit, "a/1")
    kit.run(barriers.end_waits(kit.keys, parties=2, anew=True, who="me"))
    enter(kit, "b/1")
    for name in ("barrier", "arrived", "deadlines", "failed"):
        assert META_TTL_MS - 60_000 < kit.ttl(name) <= META_TTL_MS


@pytest.mark.parametrize("acts", [False, True])
@pytest.mark.parametrize("before", [0, 1])
def test_a_repeated_arrival_has_its_old_answer(kit: Kit, before, acts):
    for n in range(before):
        enter(kit, f"b/{n}", acts=acts)
    kit.replays(call(kit, "a/1", acts=acts))


def test_a_repeated_arrival_at_a_broken_barrier_has_its_old_answer(kit: Kit):
    kit.run(barriers.end_waits(kit.keys, parties=2, anew=False, who="me"))
    kit.replays(call(kit, "a/1"))


@pytest.mark.parametrize(("at", "value"), [(2, "0"), (2, "x"), (4, "-1"), (6, "0"), (7, "x")])
def test_arguments_are_checked(kit: Kit, at, value):
    arguments = list(call(kit, "a/1").arguments)
    arguments[at] = value
    kit.refused(dataclasses.replace(call(kit, "a/1"), arguments=tuple(arguments)), "TASKQ_ARGS")


@pytest.mark.parametrize("name", ["barrier", "arrived", "deadlines"])
def test_a_key_of_a_wrong_type_is_noticed(kit: Kit, name):
    kit.seed(**{name: ["x"]})
    with pytest.raises(Exception, match="WRONGTYPE"):
        enter(kit, "a/1")
