"""return_items.lua: items that came for a caller who had gone are back at their places."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import Kit

from taskq.broker import items
from taskq.broker.results import channel


def test_items_are_back_at_their_places_and_still_unfinished(kit: Kit):
    kit.declare()
    kit.run(items.put(kit.keys, "p/1", [("", b"a"), ("", b";\n\x00"), ("", b"c")], ""))
    before = kit.read("items")
    got = kit.run(items.get(kit.keys, "g/1", most=2, turn="", lease=1.0, claim=False))
    assert kit.run(items.put_back(kit.keys, [(1.0, got.members[0]), (2.0, got.members[1])])) == 2
    assert list(kit.read("items").items()) == list(before.items())
    assert kit.read("tally") == {"seq": "3", "unfinished": "3"}


@pytest.mark.parametrize("place", [-3.0, 0.1, 1e300, -1e-300, 2.0**53])
def test_a_place_is_exact(kit: Kit, place):
    kit.run(items.put_back(kit.keys, [(place, b"0000000000000001a")]))
    assert kit.read("items") == {"0000000000000001a": place}


def test_as_many_getters_are_told_as_items_came_back(kit: Kit, listen):
    kit.declare()
    for number in (1, 2, 3):
        kit.run(items.get(kit.keys, f"here/{number}", most=1, turn="0", lease=1.0, claim=False))
    with listen(kit, channel(kit.keys.namespace, "here")) as heard:
        kit.run(items.put_back(kit.keys, [(1.0, b"0000000000000001a"), (2.0, b"0000000000000002b")]))
        assert heard(3) == [b"~1\n", b"~2\n", b"~3\n2000000"]


def test_the_tally_stays_for_ever_again(kit: Kit):
    kit.seed(tally={"seq": "1"})
    kit.command("PEXPIRE", kit.keys.key("tally"), 1000)
    kit.run(items.put_back(kit.keys, [(1.0, b"0000000000000001a")]))
    assert (kit.ttl("tally"), kit.ttl("items")) == (-1, -1)


def test_a_late_duplicate_puts_nothing_back_again(kit: Kit):
    kit.declare()
    call = items.put_back(kit.keys, [(1.0, b"0000000000000001a")])
    kit.replays(call)
    kit.run(items.get(kit.keys, "g/1", most=1, turn="", lease=1.0, claim=False), session="other", seq=1)
    assert kit.run(call, seq=kit.seq) == 1
    assert "items" not in kit.snapshot()


@pytest.mark.parametrize("arguments", [("", "0000000000000001a"), ("nan", "0000000000000001a"), ("1", "short"), ("1",)])
def test_arguments_that_cannot_be_used_are_refused(kit: Kit, arguments):
    call = items.put_back(kit.keys, [])
    kit.refused(dataclasses.replace(call, arguments=(call.arguments[0], *arguments)), "TASKQ_ARGS")


def test_one_bad_place_puts_nothing_back(kit: Kit):
    call = items.put_back(kit.keys, [(1.0, b"0000000000000001a"), (float("nan"), b"0000000000000002b")])
    kit.refused(call, "TASKQ_ARGS")
