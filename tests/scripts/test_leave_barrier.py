"""leave_barrier.lua: who gives up breaks the barrier, unless all have arrived."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from broker_kit import NOW, SECOND, Kit

from taskq.broker import barriers
from taskq.broker.barriers import Place, Standing
from taskq.broker.queues import META_TTL_MS
from taskq.broker.results import channel

BORN = str(NOW)


def table(**more: Any) -> dict[str, str]:
    return {"by": "me"} | {name: str(value) for name, value in ({"parties": 2, "born": NOW, "next": 1} | more).items()}


def call(
    kit: Kit,
    address: str = "a/1",
    ticket: int | None = 0,
    *,
    stays: bool = True,
    idle: bool = True,
    born: str = BORN,
):
    place = None if ticket is None else Place(ticket, born)
    return barriers.leave(kit.keys, address, place, stays=stays, idle=idle)


def leave(kit: Kit, *args: Any, **options: Any) -> Standing:
    return kit.run(call(kit, *args, **options))


@pytest.fixture
def filling(kit: Kit) -> Kit:
    kit.seed(barrier=table(parties=3, next=2), arrived={"a/1": 0, "here/1": 1}, deadlines={"a/1": NOW, "here/1": NOW})
    return kit


@pytest.fixture
def full(kit: Kit) -> Kit:
    kit.seed(barrier=table(next=2, actor="act/1"), arrived={"a/1": 0, "act/1": 1}, deadlines={"act/1": NOW + SECOND})
    return kit


@pytest.mark.parametrize("stays", [True, False])
@pytest.mark.parametrize("ticket", [0, None])
def test_the_barrier_breaks_and_the_others_are_told(filling: Kit, listen, ticket, stays):
    with listen(filling, channel(filling.keys.namespace, "here")) as messages:
        assert leave(filling, "a/1", ticket, stays=stays) is Standing.BROKEN
        assert messages(1) == [b"~1\nB"]
    assert filling.snapshot() == {"barrier": table(parties=3, next=3, broken=1), "failed": {"0": 0}}


def test_who_was_released_before_learns_it(kit: Kit):
    kit.seed(barrier=table(next=2))
    before = kit.snapshot()
    assert leave(kit) is Standing.RELEASED
    assert kit.snapshot() == before


def test_who_was_broken_before_learns_it(kit: Kit):
    kit.seed(barrier=table(next=4), failed={"0": 0})
    assert leave(kit) is Standing.BROKEN


def test_run_twice_it_has_the_same_answer_and_no_second_effect(filling: Kit):
    first = leave(filling)
    before = filling.snapshot()
    assert leave(filling) is first
    assert filling.snapshot() == before


def test_run_twice_it_does_not_break_what_began_anew_in_between(filling: Kit):
    leave(filling)
    filling.run(barriers.end_waits(filling.keys, parties=3, anew=True, who="me"))
    filling.run(barriers.enter(filling.keys, "b/1", None, parties=3, acts=False, lease=1, who="me"))
    before = filling.snapshot()
    assert leave(filling) is Standing.BROKEN
    assert filling.snapshot() == before


def test_who_runs_out_of_time_when_all_have_arrived_stays(full: Kit):
    before = full.snapshot()
    assert leave(full) is Standing.WAITING
    assert full.snapshot() == before


def test_who_is_cancelled_when_all_have_arrived_leaves_quietly(full: Kit):
    assert leave(full, stays=False) is Standing.WAITING
    assert full.snapshot() == {
        "barrier": table(next=2, actor="act/1"),
        "arrived": {"act/1": 1},
        "deadlines": {"act/1": NOW + SECOND},
    }


@pytest.mark.parametrize("stays", [True, False])
def test_run_twice_it_does_not_break_the_barrier_for_those_that_are_still_there(full: Kit, stays):
    assert leave(full, stays=False) is Standing.WAITING
    before = full.snapshot()
    assert leave(full, stays=stays) is Standing.WAITING, "its reply was lost, or an earlier packet came late"
    assert full.snapshot() == before


def test_run_twice_in_a_later_generation_it_does_not_break_the_present_one(full: Kit):
    full.seed(barrier={"next": "4"}, arrived={"b/1": 2, "b/2": 3}, deadlines={"b/1": NOW + SECOND, "b/2": NOW + SECOND})
    assert leave(full, "b/1", 2, stays=False) is Standing.WAITING
    before = full.snapshot()
    assert leave(full, "b/1", 2, stays=False) is Standing.WAITING
    assert full.snapshot() == before


def test_while_one_acts_nobody_is_told_of_another_that_leaves(full: Kit, listen):
    full.seed(arrived={"here/1": 0.5})
    with listen(full, channel(full.keys.namespace, "here")) as messages:
        leave(full, stays=False)
        assert messages(0) == []


def test_an_actor_that_is_cancelled_before_it_acts_has_another_one_look(full: Kit, listen):
    full.seed(arrived={"here/1": 0.5})
    with listen(full, channel(full.keys.namespace, "here")) as messages:
        assert leave(full, "act/1", None, stays=False) is Standing.WAITING
        assert messages(1) == [b"~1\nL"]
    assert full.snapshot() == {"barrier": table(next=2), "arrived": {"a/1": 0, "here/1": 0.5}}


def test_an_actor_that_may_have_begun_breaks_the_barrier_so_that_nobody_else_acts(full: Kit):
    assert leave(full, "act/1", None, stays=False, idle=False) is Standing.BROKEN
    assert full.snapshot() == {"barrier": table(next=2, broken=1), "failed": {"0": 0}}


def test_another_than_the_actor_leaves_quietly_whatever_it_has_begun(full: Kit):
    assert leave(full, "a/1", None, stays=False, idle=False) is Standing.WAITING
    assert full.read("barrier") == table(next=2, actor="act/1")


def test_the_one_that_was_to_look_and_is_cancelled_has_another_one_look(kit: Kit, listen):
    kit.seed(barrier=table(next=2), arrived={"a/1": 0, "here/1": 1}, deadlines={"a/1": NOW, "here/1": NOW})
    with listen(kit, channel(kit.keys.namespace, "here")) as messages:
        leave(kit, stays=False)
        assert messages(1) == [b"~1\nL"]
    assert kit.snapshot() == {"barrier": table(next=2), "arrived": {"here/1": 1}, "deadlines": {"here/1": NOW}}


def test_one_that_came_beyond_breaks_only_its_own_generation(full: Kit):
    full.seed(arrived={"c/1": 2}, deadlines={"c/1": NOW})
    full.command("HSET", full.keys.key("barrier"), "next", 3)
    assert leave(full, "c/1", 2) is Standing.BROKEN
    assert full.snapshot() == {
        "barrier": table(next=4, actor="act/1", broken=1),
        "arrived": {"a/1": 0, "act/1": 1},
        "deadlines": {"act/1": NOW + SECOND},
        "failed": {"1": 1},
    }


def test_one_that_never_arrived_changes_nothing(filling: Kit):
    before = filling.snapshot()
    assert leave(filling, "x/1", None, stays=False) is Standing.BROKEN
    assert filling.snapshot() == before


def test_a_barrier_that_was_made_anew_is_not_touched(filling: Kit):
    before = filling.snapshot()
    assert leave(filling, born="1") is Standing.BROKEN
    assert filling.snapshot() == before


def test_a_barrier_that_the_server_lost_is_broken(kit: Kit):
    assert leave(kit) is Standing.BROKEN
    assert kit.snapshot() == {}


def test_every_key_has_a_time_to_live(full: Kit):
    full.seed(arrived={"c/1": 2}, failed={"7": 7})
    leave(full)
    for name in ("barrier", "arrived", "deadlines", "failed"):
        assert META_TTL_MS - 60_000 < full.ttl(name) <= META_TTL_MS


@pytest.mark.parametrize(("at", "value"), [(3, "x"), (6, "x")])
def test_arguments_are_checked(filling: Kit, at, value):
    arguments = list(call(filling).arguments)
    arguments[at] = value
    filling.refused(dataclasses.replace(call(filling), arguments=tuple(arguments)), "TASKQ_ARGS")
