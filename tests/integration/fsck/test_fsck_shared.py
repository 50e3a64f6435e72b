"""fsck finds locks, barriers, conditions and data queues that somebody damaged by hand."""

from __future__ import annotations

from typing import Any

import pytest
from fsck_kit import Hand, mended, only, told

pytestmark = pytest.mark.corrupts


def shared(hand: Hand, tag: str, **keys: dict[str, Any]) -> None:
    for name, content in keys.items():
        key = hand.key(name, tag)
        if any(isinstance(value, str) for value in content.values()):
            hand.client.hset(key, mapping=content)
        else:
            hand.client.zadd(key, content)
        hand.client.expire(key, 100)


def test_more_holders_than_permits_are_told(hand):
    shared(hand, "lock:a", permits={"limit": "1"}, holders={"p/1": 1, "p/2": 2}, fences={"p/1": "1", "p/2": "2"})
    told(hand, only(hand, "coordination 19", "lock:a", "holders"))


def test_a_holder_without_a_number_is_told(hand):
    shared(hand, "semaphore:a", permits={"limit": "1"}, holders={"p/1": 1})
    told(hand, only(hand, "coordination 19", "semaphore:a", "p/1"))


def test_a_number_without_a_holder_is_removed(hand):
    shared(hand, "rlock:a", permits={"limit": "1"}, fences={"p/1": "1"})
    mended(hand, only(hand, "coordination 19", "rlock:a", "p/1"))


def test_a_holder_that_waits_is_taken_out_of_the_line(hand):
    shared(hand, "lock:a", permits={"limit": "1"}, holders={"p/1": 1}, fences={"p/1": "1"}, line={"p/1": 1})
    mended(hand, only(hand, "coordination 19", "lock:a", "p/1"))


def test_a_lease_of_a_party_that_does_not_wait_is_removed(hand):
    shared(hand, "barrier:a", barrier={"parties": "2", "next": "1"}, deadlines={"p/1": 1})
    mended(hand, only(hand, "coordination 19", "barrier:a", "p/1"))


@pytest.mark.parametrize(
    ("barrier", "id_"), [({"parties": "2", "next": "1"}, "next"), ({"parties": "two", "next": "9"}, "parties")]
)
def test_a_barrier_whose_numbers_do_not_fit_is_told(hand, barrier, id_):
    shared(hand, "barrier:a", barrier=barrier, arrived={"p/1": 1})
    told(hand, only(hand, "coordination 19", "barrier:a", id_))


@pytest.mark.parametrize("name", ["waiting", "seen"])
def test_a_waiter_of_a_condition_that_is_half_there_is_put_right(hand, name):
    shared(hand, "condition:a", condition={"lock": "x"}, **{name: {"p/1": 1}})
    mended(hand, only(hand, "coordination 19", "condition:a", "p/1"))


def test_a_claim_without_an_item_is_removed(hand, app):
    app.Queue("items").put("x")
    shared(hand, "items", claims={"7": 10**17})
    hand.client.persist(hand.key("claims", "items"))
    mended(hand, only(hand, "coordination 19", "items", "7"))


def test_a_claimed_item_without_a_lease_comes_back(hand, app):
    items = app.Queue("items")
    items.put("x")
    claim = items.claim(lease=0.5)
    claim.__enter__()
    hand.client.delete(hand.key("claims", "items"))
    name = hand.client.hkeys(hand.key("claimed", "items"))[0].decode()
    mended(hand, only(hand, "coordination 19", "items", name))
    assert items.get(timeout=20) == "x"


def test_a_tally_that_is_to_be_forgotten_is_told(hand, app):
    app.Queue("items").put("x")
    hand.client.expire(hand.key("tally", "items"), 100)
    told(hand, only(hand, "coordination 19", "items", "tally"))


def test_a_primitive_without_a_time_to_live_gets_one(hand, app):
    app.Event("go").set()
    key = hand.key("event", "event:go")
    hand.client.persist(key)
    mended(hand, only(hand, "leftover 18", "event:go", key))


def test_what_is_held_at_rest_is_told_by_strict_alone(hand, app):
    with app.Lock("a"):
        assert hand.findings() == []
        told(hand, only(hand, "rest 3", "lock:a", "holders", strict=True))
