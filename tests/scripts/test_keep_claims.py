"""keep_claims.lua: leases of claimed items begin anew; it says which are lost."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import NOW, SECOND, Kit

from taskq.broker import items

LEASE = 1.0  # seconds


def claim(kit: Kit, count: int = 1, lease: float = LEASE) -> list[str]:
    """Put and claim items; returns addresses."""
    kit.declare()
    kit.run(items.put(kit.keys, "p/1", [("", b"a")] * count, ""))
    got = kit.run(items.get(kit.keys, "c/1", most=count, turn="", lease=lease, claim=True))
    return [items.address_of(kit.keys, name) for name in got.claims]


def keep(kit: Kit, *addresses: str, lease: float = LEASE) -> list[str]:
    return kit.run(items.keep(kit.keys, addresses, lease))


def test_a_lease_begins_anew(kit: Kit):
    addresses = claim(kit, 2)
    kit.advance(0.3)
    assert keep(kit, addresses[0]) == []
    assert kit.read("claims") == {"1": NOW + 1.3 * SECOND, "2": NOW + SECOND}


def test_claims_that_are_gone_are_told_and_not_made_again(kit: Kit):
    [held] = claim(kit)
    lost = items.address_of(kit.keys, "7")
    assert keep(kit, lost, held) == [lost]
    assert list(kit.read("claims")) == ["1"]


def test_a_claim_that_ran_out_is_kept_as_long_as_nobody_else_has_it(kit: Kit):
    [held] = claim(kit)
    kit.advance(30)
    assert keep(kit, held) == []
    assert kit.read("claims") == {"1": NOW + 31 * SECOND}


def test_who_lost_an_item_does_not_renew_the_claim_of_who_has_it_now(kit: Kit):
    [first] = claim(kit)
    kit.run(items.end_claims(kit.keys, ["1"], back=True))
    kit.run(items.get(kit.keys, "c/2", most=1, turn="", lease=LEASE, claim=True))
    before = kit.read("claims")
    kit.advance(0.3)
    assert keep(kit, first) == [first]
    assert kit.read("claims") == before


def test_without_any_claim_nothing_is_written(kit: Kit):
    lost = items.address_of(kit.keys, "1")
    assert keep(kit, lost) == [lost]
    assert kit.snapshot() == {}


def test_it_does_not_read_the_clock_backward(kit: Kit):
    [held] = claim(kit)
    kit.advance(-0.5)
    keep(kit, held)
    assert kit.read("claims") == {"1": NOW + SECOND}


def test_after_a_gap_all_claims_have_one_more_lease(kit: Kit):
    held, _ = claim(kit, 2)
    kit.advance(30)
    keep(kit, held)
    kit.advance(0.5)
    assert kit.run(items.get(kit.keys, "g/1", most=1, turn="", lease=LEASE, claim=False)).members == ()


def test_repeated_it_does_the_same(kit: Kit):
    [held] = claim(kit)
    keep(kit, held)
    before = kit.snapshot()
    assert keep(kit, held) == []
    assert kit.snapshot() == before


@pytest.mark.parametrize("value", ["", "0", "4", "-1", "nan", " 5"])
def test_a_lease_that_cannot_be_used_is_refused(kit: Kit, value):
    [held] = claim(kit)
    call = items.keep(kit.keys, [held], LEASE)
    kit.refused(dataclasses.replace(call, arguments=(value, *call.arguments[1:])), "TASKQ_ARGS")
