"""open_barrier.lua: after its action a generation is released as a whole, or broken as a whole."""

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
    return {"by": "me"} | {name: str(value) for name, value in ({"parties": 2, "born": NOW, "next": 2} | more).items()}


def call(kit: Kit, address: str = "act/1", ticket: int = 1, *, done: bool = True, born: str = BORN):
    return barriers.finish(kit.keys, address, Place(ticket, born), done=done)


def finish(kit: Kit, *args: Any, **options: Any) -> Standing:
    return kit.run(call(kit, *args, **options))


@pytest.fixture
def full(kit: Kit) -> Kit:
    kit.seed(barrier=table(actor="act/1"), arrived={"here/1": 0, "act/1": 1}, deadlines={"act/1": NOW + SECOND})
    return kit


def test_the_others_are_told_and_nothing_is_left(full: Kit, listen):
    with listen(full, channel(full.keys.namespace, "here")) as messages:
        assert finish(full) is Standing.RELEASED
        assert messages(1) == [b"~1\nR"]
    assert full.snapshot() == {"barrier": table()}


def test_after_a_failure_all_are_told_that_the_barrier_broke(full: Kit, listen):
    with listen(full, channel(full.keys.namespace, "here")) as messages:
        assert finish(full, done=False) is Standing.BROKEN
        assert messages(1) == [b"~1\nB"]
    assert full.snapshot() == {"barrier": table(broken=1), "failed": {"0": 0}}


def test_those_beyond_break_with_it(full: Kit):
    full.seed(arrived={"c/1": 2})
    full.command("HSET", full.keys.key("barrier"), "next", 3)
    finish(full, done=False)
    assert full.snapshot() == {"barrier": table(next=4, broken=1), "failed": {"0": 0, "1": 1}}


def test_those_beyond_stay_when_it_is_released(full: Kit):
    full.seed(arrived={"c/1": 2}, deadlines={"c/1": NOW})
    full.command("HSET", full.keys.key("barrier"), "next", 3)
    finish(full)
    assert full.snapshot() == {"barrier": table(next=3), "arrived": {"c/1": 2}, "deadlines": {"c/1": NOW}}


def test_of_a_next_generation_that_is_full_the_first_that_listens_is_told_to_look(full: Kit, listen):
    full.command("HSET", full.keys.key("barrier"), "parties", 3, "next", 7)
    full.seed(arrived={"act/1": 2, "x/1": 1, "dead/1": 3, "here/2": 4, "here/3": 5, "here/4": 6})
    with listen(full, channel(full.keys.namespace, "here")) as messages:
        finish(full)
        assert messages(2) == [b"~1\nR", b"~2\nL"]


def test_of_a_next_generation_that_is_not_full_nobody_is_told(full: Kit, listen):
    full.seed(arrived={"here/2": 2})
    full.command("HSET", full.keys.key("barrier"), "next", 3)
    with listen(full, channel(full.keys.namespace, "here")) as messages:
        finish(full)
        assert messages(1) == [b"~1\nR"]


@pytest.mark.parametrize("done", [True, False])
def test_run_twice_it_has_the_same_answer_and_no_second_effect(full: Kit, done):
    first = finish(full, done=done)
    before = full.snapshot()
    assert finish(full, done=done) is first
    assert full.snapshot() == before


def test_who_acted_for_a_barrier_that_broke_meanwhile_learns_it(full: Kit):
    full.run(barriers.end_waits(full.keys, parties=2, anew=True, who="me"))
    before = full.snapshot()
    assert finish(full) is Standing.BROKEN
    assert full.snapshot() == before


def test_who_was_not_appointed_breaks_the_barrier(full: Kit):
    assert finish(full, "here/1", 0) is Standing.BROKEN
    assert full.read("barrier")["broken"] == "1"


def test_a_barrier_that_was_made_anew_is_not_touched(full: Kit):
    before = full.snapshot()
    assert finish(full, born="1") is Standing.BROKEN
    assert full.snapshot() == before


def test_a_barrier_that_the_server_lost_is_broken(kit: Kit):
    assert finish(kit) is Standing.BROKEN
    assert kit.snapshot() == {}


def test_every_key_has_a_time_to_live(full: Kit):
    full.seed(arrived={"c/1": 2}, deadlines={"c/1": NOW}, failed={"7": 7})
    full.command("HSET", full.keys.key("barrier"), "next", 3)
    finish(full)
    for name in ("barrier", "arrived", "deadlines", "failed"):
        assert META_TTL_MS - 60_000 < full.ttl(name) <= META_TTL_MS


@pytest.mark.parametrize(("at", "value"), [(3, "x"), (4, "2"), (5, "x")])
def test_arguments_are_checked(full: Kit, at, value):
    arguments = list(call(full).arguments)
    arguments[at] = value
    full.refused(dataclasses.replace(call(full), arguments=tuple(arguments)), "TASKQ_ARGS")
