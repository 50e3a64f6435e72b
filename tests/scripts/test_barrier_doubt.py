"""A barrier whose last party comes while nobody knows whether the others are alive: it opens for no dead one."""

from __future__ import annotations

from typing import Any

from broker_kit import SECOND, Kit

from taskq.broker import barriers
from taskq.broker.barriers import Entered, Place, Standing
from taskq.broker.results import channel

LEASE = 1.0  # seconds
BEAT = LEASE / 5
OUTAGE = 60.0  # seconds


def enter(kit: Kit, address: str, place: Place | None = None, *, parties: int = 2, acts: bool = False) -> Entered:
    call = barriers.enter(kit.keys, address, place, parties=parties, acts=acts, lease=LEASE, who="me")
    answer = kit.run(call)
    assert isinstance(answer, Entered)
    return answer


def keep(kit: Kit, *addresses: str, beats: int = 0) -> None:
    for _ in range(beats):
        kit.advance(BEAT)
        kit.run(barriers.keep(kit.keys, addresses, LEASE))
    if not beats:
        kit.run(barriers.keep(kit.keys, addresses, LEASE))


def leave(kit: Kit, address: str, place: Place | None) -> Any:
    return kit.run(barriers.leave(kit.keys, address, place, stays=True, idle=True))


def test_the_last_party_waits_where_another_may_have_died_meanwhile(kit: Kit):
    enter(kit, "dead/1")
    kit.advance(OUTAGE)
    assert enter(kit, "b/1").standing is Standing.WAITING
    assert kit.read("arrived").keys() == {"dead/1", "b/1"}


def test_it_runs_no_action_either(kit: Kit):
    enter(kit, "dead/1", acts=True)
    kit.advance(OUTAGE)
    assert enter(kit, "b/1", acts=True).standing is Standing.WAITING
    assert "actor" not in kit.read("barrier")


def test_the_barrier_breaks_when_the_dead_party_has_had_its_lease_once_more(kit: Kit):
    enter(kit, "dead/1")
    kit.advance(OUTAGE)
    last = enter(kit, "b/1")
    keep(kit, "b/1", beats=4)
    assert enter(kit, "b/1", last.place).standing is Standing.WAITING
    keep(kit, "b/1", beats=2)
    assert enter(kit, "b/1", last.place).standing is Standing.BROKEN


def test_it_opens_when_the_other_party_turns_out_to_be_alive(kit: Kit, listen):
    first = enter(kit, "a/1")
    kit.advance(OUTAGE)
    last = enter(kit, "b/1")
    with listen(kit, channel(kit.keys.namespace, "a")) as messages:
        keep(kit, "a/1")
        assert messages(1) == [b"~1\nL"], "somebody is told to look, as nobody else comes"
    assert enter(kit, "a/1", first.place).standing is Standing.RELEASED
    assert enter(kit, "b/1", last.place).standing is Standing.RELEASED


def test_one_party_alone_that_is_in_doubt_keeps_it_closed(kit: Kit):
    enter(kit, "a/1", parties=3)
    enter(kit, "dead/1", parties=3)
    kit.advance(OUTAGE)
    keep(kit, "a/1")
    assert enter(kit, "b/1", parties=3).standing is Standing.WAITING
    keep(kit, "a/1", "b/1", beats=1)
    assert kit.read("arrived").keys() == {"a/1", "dead/1", "b/1"}


def test_who_looks_is_alive(kit: Kit):
    first = enter(kit, "a/1")
    kit.advance(OUTAGE)
    assert enter(kit, "b/1").standing is Standing.WAITING
    assert enter(kit, "a/1", first.place).standing is Standing.RELEASED


def test_a_party_of_a_later_generation_that_may_have_died_keeps_none_closed(kit: Kit):
    places = [enter(kit, f"a/{n}", acts=True).place for n in range(2)]
    enter(kit, "dead/1", acts=True)
    kit.command("HDEL", kit.keys.key("barrier"), "actor")
    kit.advance(OUTAGE)
    keep(kit, "a/0", "a/1")
    assert enter(kit, "a/0", places[0], acts=True).standing is Standing.ACTING


def test_who_gives_up_while_another_may_have_died_waits_for_the_end_of_the_doubt(kit: Kit):
    enter(kit, "dead/1")
    kit.advance(OUTAGE)
    last = enter(kit, "b/1")
    assert leave(kit, "b/1", last.place) is Standing.WAITING
    keep(kit, "b/1", beats=6)
    assert leave(kit, "b/1", last.place) is Standing.BROKEN


def test_the_last_look_at_the_end_of_a_lease_is_in_time(kit: Kit):
    enter(kit, "a/1")
    keep(kit, beats=5)
    assert kit.read("deadlines") == {"a/1": kit.now}
    assert enter(kit, "b/1").standing is Standing.RELEASED, "at its very end a lease holds"
    assert kit.now % SECOND == 0
