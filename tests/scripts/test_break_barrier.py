"""break_barrier.lua: abort leaves the barrier broken, reset usable; who waits is told in both cases."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from broker_kit import NOW, SECOND, Kit

from taskq.broker import barriers
from taskq.broker.barriers import Conflict
from taskq.broker.queues import META_TTL_MS
from taskq.broker.results import channel


def table(**more: Any) -> dict[str, str]:
    return {"by": "me"} | {name: str(value) for name, value in ({"parties": 2, "born": NOW} | more).items()}


def call(kit: Kit, *, anew: bool, parties: int = 2):
    return barriers.end_waits(kit.keys, parties=parties, anew=anew, who="me")


def seeded(kit: Kit) -> Kit:
    kit.seed(barrier=table(next=3, actor="b/1"), arrived={"here/1": 0, "b/1": 1, "here/2": 2}, deadlines={"b/1": NOW})
    return kit


def broken(*, anew: bool) -> dict[str, str]:
    return {} if anew else {"broken": "1"}


@pytest.mark.parametrize("anew", [True, False])
def test_who_waits_is_told_and_its_generation_remembered(kit: Kit, listen, anew):
    seeded(kit)
    with listen(kit, channel(kit.keys.namespace, "here")) as messages:
        assert kit.run(call(kit, anew=anew)) is None
        assert messages(2) == [b"~1\nB", b"~2\nB"]
    assert kit.snapshot() == {"barrier": table(next=4, **broken(anew=anew)), "failed": {"0": 0, "1": 1}}


@pytest.mark.parametrize("anew", [True, False])
def test_a_barrier_that_nobody_used_is_made(kit: Kit, anew):
    kit.run(call(kit, anew=anew))
    assert kit.snapshot() == {"barrier": table(next=0, **broken(anew=anew))}


def test_where_nobody_waits_no_generation_breaks(kit: Kit):
    kit.seed(barrier=table(next=6))
    kit.run(call(kit, anew=True))
    assert kit.snapshot() == {"barrier": table(next=6)}


def test_a_reset_ends_an_abort(kit: Kit):
    kit.run(call(kit, anew=False))
    kit.run(call(kit, anew=True))
    assert kit.snapshot() == {"barrier": table(next=0)}


def test_another_number_of_parties_is_a_conflict_and_changes_nothing(kit: Kit):
    before = seeded(kit).snapshot()
    assert kit.run(call(kit, anew=True, parties=3)) == Conflict(2, "me")
    assert kit.snapshot() == before


@pytest.mark.parametrize("anew", [True, False])
def test_a_repeated_call_has_no_second_effect(kit: Kit, anew):
    kit.replays(call(seeded(kit), anew=anew))


def test_a_repeated_reset_does_not_disturb_who_came_in_between(kit: Kit):
    kit.run(call(kit, anew=True), seq=7)
    kit.run(barriers.enter(kit.keys, "a/1", None, parties=2, acts=False, lease=1, who="me"), session="other", seq=1)
    kit.run(call(kit, anew=True), seq=7)
    assert kit.read("arrived") == {"a/1": 0}


def test_every_key_has_a_time_to_live(kit: Kit):
    kit.run(call(seeded(kit), anew=True))
    for name in ("barrier", "failed"):
        assert META_TTL_MS - 60_000 < kit.ttl(name) <= META_TTL_MS


@pytest.mark.parametrize(("at", "value"), [(1, "0"), (1, "x"), (2, "2"), (3, "x")])
def test_arguments_are_checked(kit: Kit, at, value):
    arguments = list(call(kit, anew=True).arguments)
    arguments[at] = value
    kit.refused(dataclasses.replace(call(kit, anew=True), arguments=tuple(arguments)), "TASKQ_ARGS")


def test_it_reads_the_clock_only_to_make_a_barrier(kit: Kit):
    kit.seed(barrier=table(next=0))
    kit.advance(SECOND)
    kit.run(call(kit, anew=True))
    assert kit.read("barrier")["born"] == str(NOW)
