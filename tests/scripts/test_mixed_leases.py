"""Permits and barriers that some use with a long lease and others with a short one: nobody is judged by another's."""

from __future__ import annotations

from typing import Any

import pytest
from broker_kit import NOW, SECOND, Kit

from taskq.broker import barriers, permits
from taskq.broker.barriers import Entered, Place, Standing
from taskq.broker.line import LAST_PLACE, NO_PLACE
from taskq.broker.permits import Given, Refused
from taskq.broker.results import channel

LONG, SHORT = 10.0, 0.2  # seconds
BEAT = LONG / 5


def take(kit: Kit, address: str, lease: float, turn: str = NO_PLACE, *, limit: int = 1) -> Any:
    return kit.run(permits.take(kit.keys, address, limit=limit, lease=lease, turn=turn, who="me"))


def give(kit: Kit, address: str, lease: float) -> Any:
    return kit.run(permits.give(kit.keys, [address], limit=1, lease=lease))


def keep(kit: Kit, address: str, lease: float) -> list[str]:
    return kit.run(permits.keep(kit.keys, [address], lease))


def look_often(kit: Kit, seconds: float, address: str, lease: float) -> list[Any]:
    """Ask again and again, so that to the script no clock jumps; return the answers."""
    answers = []
    for _ in range(round(seconds / 0.1)):
        kit.advance(0.1)
        answers.append(take(kit, address, lease))
    return answers


# -- a permit that is handed over


@pytest.fixture
def waiting(kit: Kit, listen):
    """A holder with a short lease, and one in line with a long one."""
    take(kit, "short/1", SHORT)
    with listen(kit, channel(kit.keys.namespace, "here")):
        take(kit, "here/1", LONG, LAST_PLACE)
        yield


@pytest.mark.usefixtures("waiting")
def test_who_is_given_a_permit_by_one_of_a_short_lease_has_time_to_renew_it(kit: Kit):
    give(kit, "short/1", SHORT)
    assert kit.read("holders") == {"here/1": NOW + LONG * SECOND}
    assert set(look_often(kit, BEAT, "other/1", SHORT)) == {Refused()}
    assert keep(kit, "here/1", LONG) == []


@pytest.mark.usefixtures("waiting")
def test_who_is_given_a_permit_when_another_of_a_short_lease_looks_has_time_to_renew_it(kit: Kit):
    kit.command("ZREM", kit.keys.key("holders"), "short/1")
    assert take(kit, "other/1", SHORT) == Refused()
    assert kit.read("holders") == {"here/1": NOW + LONG * SECOND}


@pytest.mark.usefixtures("waiting")
def test_the_first_renewal_of_what_was_handed_over_sets_the_takers_own_lease(kit: Kit):
    give(kit, "short/1", SHORT)
    keep(kit, "here/1", 1.0)
    assert kit.read("holders") == {"here/1": NOW + SECOND}


def test_what_is_free_is_taken_with_the_takers_own_lease(kit: Kit):
    take(kit, "long/1", LONG)
    give(kit, "long/1", LONG)
    take(kit, "short/1", SHORT)
    assert kit.read("holders") == {"short/1": NOW + SHORT * SECOND}


def test_the_longest_lease_is_remembered_whoever_asked_for_it(kit: Kit):
    take(kit, "a/1", 1.0)
    longest = [kit.read("permits")["lease"]]
    for call in (lambda: take(kit, "b/1", 2.0), lambda: keep(kit, "a/1", 3.0), lambda: give(kit, "a/1", 4.0)):
        call()
        longest.append(kit.read("permits")["lease"])
    take(kit, "c/1", 1.0)
    longest.append(kit.read("permits")["lease"])
    assert longest == [str(seconds * SECOND) for seconds in (1, 2, 3, 4, 4)]


# -- an outage


def test_after_an_outage_who_has_a_short_lease_leaves_those_with_a_long_one_time_to_renew(kit: Kit):
    take(kit, "long/1", LONG)
    kit.advance(LONG + 1)
    assert set(look_often(kit, BEAT, "short/1", SHORT)) == {Refused()}
    assert keep(kit, "long/1", LONG) == []


def test_a_renewal_of_a_short_lease_begins_a_grace_for_the_long_ones_too(kit: Kit):
    take(kit, "long/1", LONG, limit=2)
    take(kit, "short/1", SHORT, limit=2)
    kit.advance(LONG + 1)
    keep(kit, "short/1", SHORT)
    assert kit.read("permits")["grace"] == str(kit.now + int(LONG * SECOND))


def test_a_dead_holder_of_a_long_lease_loses_it_all_the_same(kit: Kit):
    take(kit, "long/1", LONG)
    kit.advance(LONG + 1)
    answers = look_often(kit, LONG + 1, "short/1", SHORT)
    assert isinstance(next(answer for answer in answers if answer != Refused()), Given)


def test_a_dead_holder_of_a_long_lease_loses_it_also_to_who_looks_now_and_then(kit: Kit):
    take(kit, "long/1", LONG)
    answers = []
    for _ in range(3):
        kit.advance(LONG + 1)
        answers.append(take(kit, "short/1", SHORT))
    assert any(isinstance(answer, Given) for answer in answers)


def test_a_clock_that_is_set_back_leaves_a_long_lease_its_length(kit: Kit):
    take(kit, "long/1", LONG)
    kit.advance(-3600)
    take(kit, "short/1", SHORT)
    assert kit.read("holders") == {"long/1": kit.now + LONG * SECOND}


# -- barriers


def enter(kit: Kit, address: str, lease: float, place: Place | None = None) -> Entered:
    call = barriers.enter(kit.keys, address, place, parties=3, acts=False, lease=lease, who="me")
    answer = kit.run(call)
    assert isinstance(answer, Entered)
    return answer


def keep_place(kit: Kit, address: str, lease: float, seconds: float) -> None:
    """Renew it at each of its beats."""
    for _ in range(round(seconds / (lease / 5))):
        kit.advance(lease / 5)
        kit.run(barriers.keep(kit.keys, [address], lease))


def test_after_an_outage_a_party_of_a_short_lease_does_not_break_the_barrier_for_one_of_a_long_one(kit: Kit):
    long = enter(kit, "long/1", LONG)
    enter(kit, "short/1", SHORT)
    kit.advance(LONG + 1)
    keep_place(kit, "short/1", SHORT, BEAT)
    kit.run(barriers.keep(kit.keys, ["long/1"], LONG))
    assert enter(kit, "long/1", LONG, long.place).standing is Standing.WAITING


def test_a_dead_party_of_a_long_lease_breaks_the_barrier_all_the_same(kit: Kit):
    enter(kit, "long/1", LONG)
    short = enter(kit, "short/1", SHORT)
    kit.advance(LONG + 1)
    keep_place(kit, "short/1", SHORT, LONG + 1)
    assert enter(kit, "short/1", SHORT, short.place).standing is Standing.BROKEN


def test_a_dead_party_breaks_the_barrier_also_where_others_come_only_now_and_then(kit: Kit):
    enter(kit, "long/1", LONG)
    standings = []
    for number in range(3):
        kit.advance(LONG + 1)
        standings.append(enter(kit, f"short/{number}", SHORT).standing)
    assert Standing.BROKEN in standings
