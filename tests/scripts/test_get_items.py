"""get_items.lua: the first items leave, or the caller stands in line; claims have files of their own."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import Kit

from taskq.broker import items
from taskq.broker.items import Got
from taskq.broker.line import Wait
from taskq.broker.queues import META_TTL_MS
from taskq.broker.results import channel
from taskq.model.discipline import Discipline

AT_ONCE, WAITING = "", "0"  # turns


def put(kit: Kit, *values: str, places: tuple[str, ...] = ()):
    stored = [(place, value.encode()) for place, value in zip(places or [""] * len(values), values, strict=True)]
    return kit.run(items.put(kit.keys, "p/1", stored, AT_ONCE))


def get(kit: Kit, most: int = 1, address: str = "g/1", turn: str = AT_ONCE, **options) -> Got:
    return kit.run(items.get(kit.keys, address, most=most, turn=turn, lease=10.0, claim=False, **options))


def values(got: Got) -> list[str]:
    return [member[items.ARRIVAL :].decode() for member in got.members]


def listening(kit: Kit, listen, token: str = "here"):
    return listen(kit, channel(kit.keys.namespace, token))


def test_an_item_that_was_taken_is_gone(kit: Kit):
    kit.declare()
    put(kit, "a")
    assert get(kit) == Got([b"0000000000000001a"])
    assert kit.snapshot() == {
        "meta": {"discipline": "fifo", "maxsize": "0"},
        "tally": {"seq": "1", "unfinished": "1"},
    }


@pytest.mark.parametrize(
    ("discipline", "places", "order"),
    [
        (Discipline.FIFO, (), "abcd"),
        (Discipline.LIFO, (), "dcba"),
        (Discipline.PRIORITY, ("0.5", "-1", "0.5", "-1.5"), "dbac"),
    ],
)
def test_items_are_taken_in_the_order_of_the_discipline(kit: Kit, discipline, places, order):
    kit.declare(discipline)
    put(kit, *"abcd", places=places)
    assert values(get(kit)) + values(get(kit, most=2)) + values(get(kit, most=9)) == list(order)


def test_no_more_are_taken_than_there_are(kit: Kit):
    kit.declare()
    put(kit, *(f"v{number}" for number in range(40)))
    assert values(get(kit, most=1000)) == [f"v{number}" for number in range(40)]


def test_many_small_items_are_taken_at_once(kit: Kit):
    kit.declare()
    put(kit, *(f"v{number}" for number in range(1500)))
    assert values(get(kit, most=1000)) == [f"v{number}" for number in range(1000)]
    assert len(kit.read("items")) == 500


@pytest.mark.parametrize(("max_bytes", "taken"), [(0, 1), (25, 1), (52, 2), (60, 2), (26 * 30, 30)])
def test_as_many_are_taken_as_the_bound_in_bytes_allows_but_one_at_least(kit: Kit, max_bytes, taken):
    kit.declare()
    put(kit, *("x" * 10 for _ in range(50)))
    assert len(get(kit, most=1000, max_bytes=max_bytes).members) == taken


def test_a_large_item_among_small_ones_ends_the_batch(kit: Kit):
    kit.declare()
    put(kit, *("s" for _ in range(20)), "l" * 5000, "s")
    assert len(get(kit, most=1000, max_bytes=4000).members) == 20
    assert [len(value) for value in values(get(kit, most=1000, max_bytes=4000))] == [5000]


def test_who_does_not_wait_at_an_empty_queue_leaves_nothing(kit: Kit):
    kit.declare()
    assert get(kit) == Got()
    assert kit.snapshot() == {"meta": {"discipline": "fifo", "maxsize": "0"}}


def test_getters_stand_in_line_in_the_order_in_which_they_came(kit: Kit):
    kit.declare()
    answers = [get(kit, address=f"g/{number}", turn=WAITING) for number in (7, 3, 5)]
    assert answers == [Got(wait=Wait("1", 2.0)), Got(wait=Wait("2", 2.0)), Got(wait=Wait("3", 2.02))]
    assert list(kit.read("getters")) == ["g/7", "g/3", "g/5"]


def test_no_getter_looks_later_than_after_half_a_minute(kit: Kit):
    kit.declare()
    places = [part for number in range(3000) for part in (number + 1, f"g/{number}")]
    kit.command("ZADD", kit.keys.key("getters"), *places)
    assert get(kit, address="g/last", turn="4000") == Got(wait=Wait("4000", 30.0))


def test_a_getter_that_was_told_and_came_too_late_is_first_again(kit: Kit):
    kit.declare()
    for address in ("g/1", "g/2"):
        get(kit, address=address, turn=WAITING)
    kit.command("ZREM", kit.keys.key("getters"), "g/1")
    assert get(kit, address="g/1", turn="1") == Got(wait=Wait("1", 2.0))
    assert list(kit.read("getters")) == ["g/1", "g/2"]


def test_a_getter_that_looks_by_itself_and_finds_an_item_leaves_the_line(kit: Kit, listen):
    kit.declare()
    for number in (1, 2, 3):
        get(kit, address=f"here/{number}", turn=WAITING)
    kit.seed(items={"0000000000000001a": 1})  # one that nobody was told of, as who was told died
    with listening(kit, listen) as heard:
        assert values(get(kit, address="here/1", turn="1")) == ["a"]
        assert heard(1) == [b"~3\n2000000"]
    assert list(kit.read("getters")) == ["here/2", "here/3"]


def test_who_takes_one_of_several_calls_up_the_next(kit: Kit, listen):
    kit.declare()
    for number in (1, 2):
        get(kit, address=f"here/{number}", turn=WAITING)
    kit.seed(items={"0000000000000001a": 1, "0000000000000002b": 2})
    with listening(kit, listen) as heard:
        get(kit, address="other/1")
        assert heard(1) == [b"~1\n"]


def test_who_takes_the_last_one_calls_nobody_up(kit: Kit, listen):
    kit.declare()
    get(kit, address="here/1", turn=WAITING)
    kit.seed(items={"0000000000000001a": 1})
    with listening(kit, listen) as heard:
        get(kit, address="other/1")
        assert heard(0) == []


def test_room_is_offered_to_as_many_putters_as_items_were_taken(kit: Kit, listen):
    kit.declare(maxsize=3)
    put(kit, "a", "b", "c")
    for number in (4, 2, 9):
        kit.run(items.put(kit.keys, f"here/{number}", [("", b"x")], WAITING))
    with listening(kit, listen) as heard:
        get(kit, most=2)
        assert heard(3) == [b"~4\n", b"~2\n", b"~9\n2000000"]
    assert list(kit.read("putters")) == ["here/9"]


def test_no_room_is_offered_while_there_are_more_items_than_the_bound(kit: Kit, listen):
    kit.declare(maxsize=3)
    put(kit, "a", "b", "c")
    kit.run(items.put(kit.keys, "here/1", [("", b"x")], WAITING))
    kit.declare(maxsize=2)
    with listening(kit, listen) as heard:
        get(kit)
        assert heard(0) == []
        get(kit)
        assert heard(1) == [b"~1\n"]


def test_a_putter_that_nobody_hears_for_is_passed_over(kit: Kit, listen):
    kit.declare(maxsize=1)
    put(kit, "a")
    for address in ("gone/1", "gone/2", "here/3"):
        kit.run(items.put(kit.keys, address, [("", b"x")], WAITING))
    with listening(kit, listen) as heard:
        get(kit)
        assert heard(1) == [b"~3\n"]


def test_a_queue_that_is_shut_down_gives_what_it_has_and_then_says_so(kit: Kit):
    kit.declare()
    put(kit, "a")
    kit.run(items.close(kit.keys, shutdown=True, drop=False))
    assert values(get(kit, turn=WAITING)) == ["a"]
    assert get(kit, turn=WAITING) == Got(shut=True)
    assert "getters" not in kit.snapshot()


def test_a_queue_that_nobody_declared_has_nothing(kit: Kit):
    assert get(kit, turn=WAITING) == Got(undeclared=True)
    assert kit.snapshot() == {}


def test_the_tally_stays_as_long_as_there_are_items(kit: Kit):
    kit.declare()
    put(kit, "a", "b")
    get(kit)
    assert kit.ttl("tally") == -1
    get(kit)
    assert META_TTL_MS - 60_000 < kit.ttl("tally") <= META_TTL_MS


def test_a_wait_at_a_queue_that_nothing_was_put_on_leaves_nothing_for_ever(kit: Kit):
    kit.declare()
    get(kit, turn=WAITING)
    for name in ("tally", "getters"):
        assert META_TTL_MS - 60_000 < kit.ttl(name) <= META_TTL_MS


def test_a_late_duplicate_gets_the_same_items_and_takes_nothing_twice(kit: Kit):
    kit.declare()
    put(kit, "a", ";", "3;b\n", "", "I1;x", "\x00\x01", "rest")
    kit.replays(items.get(kit.keys, "g/1", most=6, turn=AT_ONCE, lease=10.0, claim=False))
    assert list(kit.read("items").values()) == [7]


def test_a_late_duplicate_gets_binary_items_byte_for_byte(kit: Kit):
    kit.declare()
    binary = [bytes(range(256)), b"\r\n;;\n", b"\xff\xfe", b"7;"]
    kit.run(items.put(kit.keys, "p/1", [("", value) for value in binary], AT_ONCE))
    call = items.get(kit.keys, "g/1", most=9, turn=AT_ONCE, lease=10.0, claim=False)
    for got in (kit.run(call), kit.run(call, seq=kit.seq)):
        assert [member[items.ARRIVAL :] for member in got.members] == binary


@pytest.mark.parametrize("turn", [AT_ONCE, WAITING])
def test_a_late_duplicate_of_finding_nothing_finds_nothing(kit: Kit, turn):
    kit.declare()
    call = items.get(kit.keys, "g/1", most=9, turn=turn, lease=10.0, claim=False)
    kit.replays(call)
    put_by_another = items.put(kit.keys, "p/1", [("", b"a")], AT_ONCE)
    kit.run(put_by_another, session="other", seq=1)
    assert kit.run(call, seq=kit.seq).members == ()
    assert len(kit.read("items")) == 1


@pytest.mark.parametrize(
    ("at", "value"),
    [(1, ""), (2, "x"), (2, "-1"), (3, "0"), (3, "-1"), (3, "x"), (4, ""), (6, "0"), (6, "4"), (6, "nan"), (7, "")],
)  # address, turn, most, max_bytes, lease, ttl
def test_arguments_that_cannot_be_used_are_refused(kit: Kit, at, value):
    kit.declare()
    put(kit, "a")
    call = items.get(kit.keys, "g/1", most=1, turn=WAITING, lease=10.0, claim=False)
    arguments = list(call.arguments)
    arguments[at] = value
    kit.refused(dataclasses.replace(call, arguments=arguments), "TASKQ_ARGS")


@pytest.mark.parametrize("name", ["meta", "tally", "items"])
def test_a_key_of_a_wrong_type_is_refused_before_any_write(kit: Kit, name):
    if name != "meta":
        kit.declare()
    kit.seed(**{name: "text"})
    kit.refused(items.get(kit.keys, "g/1", most=1, turn=WAITING, lease=10.0, claim=False), "WRONGTYPE")
