"""count_permits.lua: how many permits are free, held and waited for; it changes nothing."""

from __future__ import annotations

import pytest
from broker_kit import NOW, SECOND, Kit

from taskq.broker import permits
from taskq.broker.permits import Count


def count(kit: Kit, limit: int = 3) -> Count:
    return kit.run(permits.count(kit.keys, limit))


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_what_nobody_used_is_free(kit: Kit, limit):
    assert count(kit, limit) == Count(limit, 0, 0)
    assert kit.snapshot() == {}


def test_the_stored_limit_counts(kit: Kit):
    kit.seed(permits={"limit": "5"})
    assert count(kit, 3) == Count(5, 0, 0)


def test_holders_waiters_and_added_permits_are_counted(kit: Kit):
    kit.seed(
        permits={"limit": "3", "extra": "2"},
        holders={"a/1": NOW + SECOND, "b/1": NOW + SECOND},
        line={"c/1": 1, "d/1": 2, "e/1": 3},
    )
    before = kit.snapshot()
    assert count(kit) == Count(3, 2, 3)
    assert kit.snapshot() == before


def test_a_holder_whose_lease_is_over_is_none(kit: Kit):
    kit.seed(permits={"limit": "3", "grace": str(NOW)}, holders={"a/1": NOW - 1, "b/1": NOW, "c/1": NOW + 1})
    assert count(kit) == Count(1, 2, 0)


def test_during_a_grace_it_is_one(kit: Kit):
    kit.seed(permits={"limit": "3", "grace": str(NOW + 1)}, holders={"a/1": NOW - 1})
    assert count(kit) == Count(2, 1, 0)


def test_a_permit_that_another_gave_back_is_not_free_twice(kit: Kit):
    kit.seed(permits={"limit": "1", "extra": "1"}, holders={"a/1": NOW - 1})
    assert count(kit, 1) == Count(1, 0, 0)


@pytest.mark.parametrize("name", ["permits", "holders", "line"])
def test_a_key_of_a_wrong_type_is_refused(kit: Kit, name):
    kit.seed(**{name: "text"})
    with pytest.raises(Exception, match="WRONGTYPE"):
        count(kit)
