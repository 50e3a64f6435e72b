"""count_items.lua: how a data queue stands, without any effect."""

from __future__ import annotations

import pytest
from broker_kit import Kit

from taskq.broker import items
from taskq.broker.items import Standing
from taskq.model.discipline import Discipline


def stand(kit: Kit) -> Standing:
    before = kit.snapshot()
    found = kit.run(items.stand(kit.keys))
    assert kit.snapshot() == before
    return found


def test_a_queue_that_nobody_used_has_nothing(kit: Kit):
    assert stand(kit) == Standing("", 0, 0, 0, 0, False)


def test_items_claims_and_the_unfinished_are_counted_apart(kit: Kit):
    kit.declare(Discipline.LIFO, 5)
    kit.run(items.put(kit.keys, "p/1", [("", b"a")] * 5, ""))
    kit.run(items.get(kit.keys, "g/1", most=1, turn="", lease=1.0, claim=False))
    kit.run(items.get(kit.keys, "g/1", most=2, turn="", lease=1.0, claim=True))
    assert stand(kit) == Standing("lifo", 5, 2, 2, 5, False)


def test_a_shutdown_shows(kit: Kit):
    kit.declare()
    kit.run(items.close(kit.keys, shutdown=True, drop=False))
    assert stand(kit) == Standing("fifo", 0, 0, 0, 0, True)


@pytest.mark.parametrize("name", ["meta", "tally", "items", "claims"])
def test_a_key_of_a_wrong_type_is_refused(kit: Kit, name):
    kit.seed(**{name: "text"})
    kit.refused(items.stand(kit.keys), "WRONGTYPE")
