"""put_items.lua: items go behind those that are there, as far as the bound allows; whoever waits for them is told."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import Kit

from taskq.broker import items
from taskq.broker.items import Put
from taskq.broker.line import Wait
from taskq.broker.queues import META_TTL_MS
from taskq.broker.results import channel
from taskq.model.discipline import Discipline

AT_ONCE, WAITING = "", "0"  # turns


def put(kit: Kit, *values: str, address: str = "p/1", turn: str = AT_ONCE, places: tuple[str, ...] = (), **numbers):
    stored = [(place, value.encode()) for place, value in zip(places or [""] * len(values), values, strict=True)]
    return kit.run(items.put(kit.keys, address, stored, turn), **numbers)


def members(kit: Kit) -> list[str]:
    """The items in the order in which they leave, without their arrival."""
    return [member[items.ARRIVAL :] for member in kit.read("items") or ()]


def listening(kit: Kit, listen, token: str = "here"):
    return listen(kit, channel(kit.keys.namespace, token))


def test_an_item_is_stored_behind_its_arrival(kit: Kit):
    kit.declare()
    assert put(kit, "a") == Put(1)
    assert kit.snapshot() == {
        "meta": {"discipline": "fifo", "maxsize": "0"},
        "items": {"0000000000000001a": 1},
        "tally": {"seq": "1", "unfinished": "1"},
    }


@pytest.mark.parametrize(
    ("discipline", "order"), [(Discipline.FIFO, ["a", "b", "c", "d"]), (Discipline.LIFO, ["d", "c", "b", "a"])]
)
def test_items_leave_in_the_order_of_the_discipline(kit: Kit, discipline, order):
    kit.declare(discipline)
    put(kit, "a", "b")
    put(kit, "c", "d")
    assert members(kit) == order


def test_priorities_may_be_negative_and_fractions_and_equals_keep_their_order(kit: Kit):
    kit.declare(Discipline.PRIORITY)
    put(kit, "two", "minus", "half", "two again", places=("2", "-3", "0.5", "2.0"))
    put(kit, "large", "minus again", "two at last", places=("1e+300", "-3.0", "2"))
    assert members(kit) == ["minus", "minus again", "half", "two", "two again", "two at last", "large"]


def test_a_batch_is_accepted_as_a_prefix(kit: Kit):
    kit.declare(maxsize=3)
    assert put(kit, "a", "b") == Put(2)
    assert put(kit, "c", "d", "e") == Put(1, full=True)
    assert members(kit) == ["a", "b", "c"]
    assert kit.read("tally") == {"seq": "3", "unfinished": "3"}


def test_who_does_not_wait_for_room_leaves_nothing(kit: Kit):
    kit.declare(maxsize=1)
    put(kit, "a")
    before = kit.snapshot()
    assert put(kit, "b") == Put(0, full=True)
    assert kit.snapshot() == before


def test_claimed_items_take_no_room(kit: Kit):
    kit.declare(maxsize=1)
    put(kit, "a")
    kit.run(items.get(kit.keys, "g/1", most=1, turn="", lease=10, claim=True))
    assert put(kit, "b") == Put(1)


def test_a_bound_that_was_lowered_below_what_is_there_refuses(kit: Kit):
    kit.declare()
    put(kit, "a", "b", "c")
    kit.declare(maxsize=1)
    assert put(kit, "d") == Put(0, full=True)


def test_putters_stand_in_line_in_the_order_in_which_they_came(kit: Kit):
    kit.declare(maxsize=1)
    put(kit, "a")
    answers = [put(kit, "x", address=f"p/{number}", turn=WAITING) for number in (7, 3, 5)]
    assert [answer.wait for answer in answers] == [Wait("1", 2.0), Wait("2", 2.0), Wait("3", 2.02)]
    assert list(kit.read("putters")) == ["p/7", "p/3", "p/5"]


def test_a_putter_that_asks_again_keeps_its_place_and_what_was_accepted(kit: Kit):
    kit.declare(maxsize=2)
    assert put(kit, "a", "b", "c", address="p/1", turn=WAITING) == Put(2, wait=Wait("1", 2.0))
    put(kit, "x", address="p/2", turn=WAITING)
    kit.run(items.leave(kit.keys, "p/1", items.PUTTERS))
    assert put(kit, "c", address="p/1", turn="1") == Put(0, wait=Wait("1", 2.0))
    assert kit.read("putters") == {"p/1": 1, "p/2": 2}


def test_a_putter_that_was_served_leaves_the_line(kit: Kit):
    kit.declare(maxsize=1)
    put(kit, "a")
    put(kit, "b", address="p/1", turn=WAITING)
    kit.declare(maxsize=2)
    assert put(kit, "b", address="p/1", turn="1") == Put(1)
    assert "putters" not in kit.snapshot()


@pytest.mark.parametrize("maxsize", [0, 9])
def test_a_putter_passes_the_room_that_is_left_on(kit: Kit, listen, maxsize):
    kit.declare(maxsize=1)
    put(kit, "a")
    for number in (1, 2, 3):
        put(kit, "x", address=f"here/{number}", turn=WAITING)
    kit.declare(maxsize=maxsize)  # nobody is told of a new bound; the first in line finds it
    with listening(kit, listen) as heard:
        assert put(kit, "x", address="here/1", turn="1") == Put(1)
        assert heard(2) == [b"~3\n2000000", b"~2\n"]


def test_a_getter_is_told_per_item_first_come_first_served(kit: Kit, listen):
    kit.declare()
    for number in (9, 4, 6):
        kit.run(items.get(kit.keys, f"here/{number}", most=1, turn=WAITING, lease=10, claim=False))
    with listening(kit, listen) as heard:
        put(kit, "a", "b")
        assert heard(3) == [b"~9\n", b"~4\n", b"~6\n2000000"]
    assert list(kit.read("getters")) == ["here/6"]


def test_who_comes_to_the_head_of_the_line_is_told_to_look_soon(kit: Kit, listen):
    kit.declare()
    for number in (1, 2, 3, 4):
        kit.run(items.get(kit.keys, f"here/{number}", most=1, turn=WAITING, lease=10, claim=False))
    with listening(kit, listen) as heard:
        put(kit, "a")
        assert heard(2) == [b"~1\n", b"~3\n2000000"]


def test_a_getter_that_nobody_hears_for_is_passed_over(kit: Kit, listen):
    kit.declare()
    for address in ("gone/1", "damaged", "gone/2", "here/5"):
        kit.command("ZADD", kit.keys.key("getters"), 1, address)
    with listening(kit, listen) as heard:
        put(kit, "a")
        assert heard(1) == [b"~5\n"]
    assert "getters" not in kit.snapshot()


def test_a_queue_that_is_shut_down_takes_nothing(kit: Kit):
    kit.declare()
    kit.seed(tally={"shutdown": "1"})
    before = kit.snapshot()
    assert put(kit, "a", turn=WAITING) == Put(shut=True)
    assert kit.snapshot() == before


def test_a_queue_that_nobody_declared_takes_nothing(kit: Kit):
    assert put(kit, "a", turn=WAITING) == Put(undeclared=True)
    assert kit.snapshot() == {}


def test_items_and_tally_stay_for_ever_and_lines_do_not(kit: Kit):
    kit.declare(maxsize=1)
    kit.seed(tally={"seq": "5"})
    kit.command("PEXPIRE", kit.keys.key("tally"), 1000)
    put(kit, "a", "b", turn=WAITING)
    assert (kit.ttl("items"), kit.ttl("tally")) == (-1, -1)
    assert META_TTL_MS - 60_000 < kit.ttl("putters") <= META_TTL_MS


def test_more_items_than_a_lua_call_carries_keep_their_order(kit: Kit):
    kit.declare()
    values = [f"v{number}" for number in range(10_000)]
    assert put(kit, *values) == Put(10_000)
    assert members(kit) == values


def test_a_late_duplicate_puts_nothing_again(kit: Kit):
    kit.declare(maxsize=3)
    kit.replays(items.put(kit.keys, "p/1", [("", b"a"), ("", b"b;\n\x00\xff")], AT_ONCE))
    assert members(kit) == ["a", "b;\n\x00\\xff"]


def test_a_late_duplicate_of_a_wait_has_its_old_place(kit: Kit):
    kit.declare(maxsize=1)
    kit.replays(items.put(kit.keys, "p/1", [("", b"a"), ("", b"b")], WAITING))


def test_a_duplicate_of_a_refusal_is_judged_anew(kit: Kit):
    assert put(kit, "a", seq=1) == Put(undeclared=True)
    kit.declare()
    assert put(kit, "a", seq=1) == Put(1)


@pytest.mark.parametrize("place", ["", "nan", "inf", "-inf", "1e999", "x", "1,5"])
def test_a_priority_that_is_no_finite_number_puts_nothing_of_the_batch(kit: Kit, place):
    kit.declare(Discipline.PRIORITY)
    kit.refused(items.put(kit.keys, "p/1", [("1", b"a"), (place, b"b")], AT_ONCE), "TASKQ_PRIORITY")


@pytest.mark.parametrize(
    ("at", "value"), [(2, "x"), (2, "-1"), (2, "1.5"), (3, ""), (3, "nan"), (3, "-5"), (1, "")]
)  # turn, ttl, address
def test_arguments_that_cannot_be_used_are_refused(kit: Kit, at, value):
    kit.declare(maxsize=1)
    call = items.put(kit.keys, "p/1", [("", b"a"), ("", b"b")], WAITING)
    arguments = list(call.arguments)
    arguments[at] = value
    kit.refused(dataclasses.replace(call, arguments=arguments), "TASKQ_ARGS")


def test_a_place_without_an_item_is_refused(kit: Kit):
    kit.declare()
    call = items.put(kit.keys, "p/1", [("", b"a")], AT_ONCE)
    kit.refused(dataclasses.replace(call, arguments=(*call.arguments, "")), "TASKQ_ARGS")


@pytest.mark.parametrize("name", ["meta", "tally", "items"])
def test_a_key_of_a_wrong_type_is_refused_before_any_write(kit: Kit, name):
    if name != "meta":
        kit.declare()
    kit.seed(**{name: "text"})
    kit.refused(items.put(kit.keys, "p/1", [("", b"a")], AT_ONCE), "WRONGTYPE")
