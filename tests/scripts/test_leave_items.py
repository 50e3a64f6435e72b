"""leave_items.lua: who leaves a line after it was told has not kept the item, or the room, from the others."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import Kit

from taskq.broker import items
from taskq.broker.results import channel


def wait_for_items(kit: Kit, *numbers: int) -> None:
    for number in numbers:
        kit.run(items.get(kit.keys, f"here/{number}", most=1, turn="0", lease=1.0, claim=False))


def wait_for_room(kit: Kit, *numbers: int) -> None:
    for number in numbers:
        kit.run(items.put(kit.keys, f"here/{number}", [("", b"x")], "0"))


def put(kit: Kit, *values: str):
    return kit.run(items.put(kit.keys, "p/1", [("", value.encode()) for value in values], ""))


def leave(kit: Kit, number: int, line: str) -> bool:
    return kit.run(items.leave(kit.keys, f"here/{number}", line))


def listening(kit: Kit, listen):
    return listen(kit, channel(kit.keys.namespace, "here"))


@pytest.mark.parametrize("line", [items.GETTERS, items.PUTTERS])
def test_who_still_waits_leaves_the_line(kit: Kit, line):
    kit.declare(maxsize=1)
    if line == items.PUTTERS:
        put(kit, "a")
    (wait_for_items if line == items.GETTERS else wait_for_room)(kit, 1, 2)
    assert leave(kit, 2, line)
    assert list(kit.read("getters" if line == items.GETTERS else "putters")) == ["here/1"]
    assert leave(kit, 1, line)
    assert {"getters", "putters"} & set(kit.snapshot()) == set()


def test_who_leaves_from_the_head_of_the_line_is_followed_by_one_that_looks_soon(kit: Kit, listen):
    kit.declare()
    wait_for_items(kit, 1, 2, 3, 4)
    with listening(kit, listen) as heard:
        leave(kit, 1, items.GETTERS)
        assert heard(1) == [b"~3\n2000000"]


def test_who_leaves_from_behind_disturbs_nobody(kit: Kit, listen):
    kit.declare()
    wait_for_items(kit, 1, 2, 3, 4)
    with listening(kit, listen) as heard:
        leave(kit, 3, items.GETTERS)
        assert heard(0) == []


def test_a_getter_that_was_told_passes_that_on(kit: Kit, listen):
    kit.declare()
    wait_for_items(kit, 1, 2)
    with listening(kit, listen) as heard:
        put(kit, "a")
        assert heard(1) == [b"~1\n"]
        assert not leave(kit, 1, items.GETTERS)
        assert heard(1) == [b"~2\n"]
    assert "getters" not in kit.snapshot()


def test_a_getter_that_was_told_of_what_another_took_wakes_nobody(kit: Kit, listen):
    kit.declare()
    wait_for_items(kit, 1, 2)
    with listening(kit, listen) as heard:
        put(kit, "a")
        kit.run(items.get(kit.keys, "other/1", most=1, turn="", lease=1.0, claim=False))
        leave(kit, 1, items.GETTERS)
        assert heard(1) == [b"~1\n"]


def test_a_putter_that_was_told_passes_that_on(kit: Kit, listen):
    kit.declare(maxsize=1)
    put(kit, "a")
    wait_for_room(kit, 1, 2)
    with listening(kit, listen) as heard:
        kit.run(items.get(kit.keys, "other/1", most=1, turn="", lease=1.0, claim=False))
        assert heard(1) == [b"~1\n"]
        assert not leave(kit, 1, items.PUTTERS)
        assert heard(1) == [b"~2\n"]


def test_a_putter_that_was_told_of_room_that_another_took_wakes_nobody(kit: Kit, listen):
    kit.declare(maxsize=1)
    put(kit, "a")
    wait_for_room(kit, 1, 2)
    with listening(kit, listen) as heard:
        kit.run(items.get(kit.keys, "other/1", most=1, turn="", lease=1.0, claim=False))
        kit.run(items.put(kit.keys, "other/2", [("", b"x")], ""))
        leave(kit, 1, items.PUTTERS)
        assert heard(1) == [b"~1\n"]


def test_who_passes_on_passes_over_whom_nobody_hears_for(kit: Kit, listen):
    kit.declare()
    wait_for_items(kit, 1)
    kit.run(items.get(kit.keys, "gone/1", most=1, turn="0", lease=1.0, claim=False))
    wait_for_items(kit, 2)
    with listening(kit, listen) as heard:
        put(kit, "a")
        leave(kit, 1, items.GETTERS)
        assert heard(3) == [b"~1\n", b"~2\n2000000", b"~2\n"]


def test_a_joiner_leaves(kit: Kit):
    kit.seed(tally={"unfinished": "1"})
    for number in (1, 2):
        kit.run(items.join(kit.keys, f"here/{number}"))
    assert leave(kit, 1, items.JOINERS)
    assert not leave(kit, 1, items.JOINERS)
    assert kit.command("SMEMBERS", kit.keys.key("joiners")) in ({b"here/2"}, [b"here/2"])


@pytest.mark.parametrize("line", items.GETTERS + items.PUTTERS + items.JOINERS)
def test_of_a_queue_that_nobody_used_nothing_is_left(kit: Kit, line):
    assert not leave(kit, 1, line)
    assert kit.snapshot() == {}


def test_an_unknown_line_is_refused(kit: Kit):
    call = items.leave(kit.keys, "here/1", items.GETTERS)
    kit.refused(dataclasses.replace(call, arguments=(*call.arguments[:2], "x")), "TASKQ_ARGS")
