"""What comes back to a data queue after it was shut down at once is dropped, as what waited in it was."""

from __future__ import annotations

import pytest
from broker_kit import Kit

from taskq.broker import items
from taskq.broker.results import channel

LEASE = 1.0  # seconds


@pytest.fixture
def declared(kit: Kit) -> Kit:
    kit.declare()
    return kit


def close(kit: Kit, shutdown: bool | None = True, drop: bool = True) -> int:
    return kit.run(items.close(kit.keys, shutdown=shutdown, drop=drop))


def put(kit: Kit, *values: str) -> items.Put:
    return kit.run(items.put(kit.keys, "p/1", [("", value.encode()) for value in values], ""))


def get(kit: Kit, most: int = 1, *, claim: bool = False) -> items.Got:
    return kit.run(items.get(kit.keys, "g/1", most=most, turn="", lease=LEASE, claim=claim))


def back(kit: Kit, *claims: str) -> int:
    return kit.run(items.end_claims(kit.keys, claims, back=True))


def tally(kit: Kit) -> tuple[str, str | None]:
    found = kit.read("tally")
    return found["unfinished"], found.get("immediate")


def test_a_claim_that_is_given_back_is_finished(declared: Kit):
    put(declared, "a", "b", "c")
    claims = get(declared, 2, claim=True).claims
    close(declared)
    assert tally(declared) == ("2", "1")
    assert back(declared, *claims) == 0
    assert (tally(declared), set(declared.snapshot())) == (("0", "1"), {"meta", "tally"})
    assert declared.ttl("tally") > 0


def test_who_waits_for_the_end_is_told_of_the_last_one_that_comes_back(declared: Kit, listen):
    put(declared, "a", "b")
    claims = get(declared, 2, claim=True).claims
    close(declared)
    declared.run(items.join(declared.keys, "here/7"))
    with listen(declared, channel(declared.keys.namespace, "here")) as heard:
        back(declared, claims[0])
        assert heard(0) == []
    with listen(declared, channel(declared.keys.namespace, "here")) as heard:
        back(declared, claims[1])
        assert heard(1) == [b"~7\n"]


def test_a_claim_whose_lease_ran_out_is_finished_when_somebody_looks(declared: Kit):
    put(declared, "a")
    get(declared, claim=True)
    close(declared)
    declared.run(items.join(declared.keys, "here/7"))
    for _ in range(40):  # often enough that no look is taken for the first one after an outage
        declared.advance(LEASE / 10)
        assert get(declared).shut
    assert (tally(declared), set(declared.snapshot())) == (("0", "1"), {"meta", "tally"})
    assert declared.ttl("tally") > 0


def test_items_that_nobody_used_after_all_are_finished(declared: Kit):
    put(declared, "a", "b", "c")
    members = get(declared, 2).members
    close(declared)
    call = items.put_back(declared.keys, [(float(number), member) for number, member in enumerate(members)])
    assert declared.run(call) == 0
    assert (tally(declared), set(declared.snapshot())) == (("0", "1"), {"meta", "tally"})
    assert declared.ttl("tally") > 0, "as before"


def test_no_more_are_finished_than_were_put(declared: Kit):
    put(declared, "a", "b")
    members = get(declared, 2).members
    close(declared)
    declared.run(items.done(declared.keys, 1))
    declared.run(items.put_back(declared.keys, [(1.0, members[0]), (2.0, members[1])]))
    assert tally(declared) == ("0", "1")


@pytest.mark.parametrize(("shutdown", "drop"), [(True, False), (None, True)], ids=["shutdown", "purge"])
def test_after_another_end_what_comes_back_waits_again(declared: Kit, shutdown, drop):
    put(declared, "a")
    claims = get(declared, claim=True).claims
    close(declared, shutdown, drop)
    back(declared, *claims)
    assert (tally(declared), len(declared.read("items"))) == (("1", None), 1)


def test_a_queue_that_was_opened_again_takes_back_what_was_claimed(declared: Kit):
    put(declared, "a")
    claims = get(declared, claim=True).claims
    close(declared)
    close(declared, False, False)
    back(declared, *claims)
    assert (tally(declared), len(declared.read("items"))) == (("1", None), 1)


@pytest.mark.parametrize(("shutdown", "drop"), [(True, False), (None, True)], ids=["shutdown", "purge"])
def test_a_shutdown_at_once_stays_one(declared: Kit, shutdown, drop):
    put(declared, "a")
    claims = get(declared, claim=True).claims
    close(declared)
    close(declared, shutdown, drop)
    back(declared, *claims)
    assert tally(declared) == ("0", "1")
