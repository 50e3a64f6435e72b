"""What would not come out as it went in is refused by its path, and damaged data by its reason."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
from collections import OrderedDict

import pytest
from serializer_kit import (
    ALL,
    WRAPS,
    Pair,
    Point,
    nested,
    refusal,
    trip,
    wrap_dict,
    wrap_list,
    wrap_point,
    wrap_table,
    wrap_tuple,
)

from taskq.errors import SerializationError
from taskq.model import scalars
from taskq.model.classmap import NO_CLASSES
from taskq.model.scalars import MAX_DEPTH
from taskq.model.types import Form

# What is no data -----------------------------------------------------------------------------------------------------


class Text(str):
    __slots__ = ()


def test_the_path_leads_through_attributes_items_and_keys(codec):
    assert refusal(codec, [0, Point(1, len)], ALL).startswith("args[1].y is <built-in function len>: ")
    assert refusal(codec, {"args": [1], "kwargs": {"x": [0, 1, 2, len]}}, root="").startswith("kwargs['x'][3] is ")
    assert refusal(codec, Point(1, [len]), ALL, "result").startswith("result.y[0] is ")
    assert refusal(codec, Point(1, {"k": ({1: len},)}), ALL, "result").startswith("result.y['k'][0][1] is ")
    assert refusal(codec, [{(1, len): 2}]).startswith("args[0]{(1, <built-in function len>)}[1] is ")
    assert refusal(codec, [{len}]).startswith("args[0]{<built-in function len>} is ")
    assert refusal(codec, [Pair(1, len)], ALL).startswith("args[0][1] is ")


@pytest.mark.parametrize(
    "make",
    [
        lambda: lambda: 0,
        socket.socket,
        lambda: (i for i in ()),
        object,
        lambda: open("/dev/null"),  # noqa: PTH123, SIM115 (closed below)
        threading.Lock,
        lambda: int,
        lambda: json,
        lambda: range(3),
        lambda: OrderedDict(a=1),
        lambda: Text("a"),
        lambda: ValueError("a"),
    ],
)
def test_what_is_no_data_is_refused(codec, make):
    value = make()
    try:
        assert refusal(codec, [1, {"f": [value]}]).startswith("args[1]['f'][0] is ")
    finally:
        if hasattr(value, "close"):
            value.close()


class Broken:
    pass


def test_a_form_that_raises_names_the_path(codec):
    def dump(value):
        raise LookupError("no fields")

    types = NO_CLASSES.including([Form(Broken, "Broken", dump, Broken)])
    assert re.match(
        r"args\[1\] is <.*Broken object.*reading its fields raised LookupError", refusal(codec, [1, Broken()], types)
    )


def test_a_subclass_of_a_plain_type_is_refused_with_the_way_out(codec):
    assert refusal(codec, [Text("a")]).endswith("type Text would come back as str; pass str(...) of it")


@pytest.mark.parametrize("value", ["\ud800", ["a\udfff"], {"\ud800": 1}, {1: "\ud800"}, ("\ud800",)])
def test_a_lone_surrogate_is_refused(codec, json_codec, value):
    assert "lone surrogate" in refusal(codec, [value])
    if not isinstance(value, tuple) and value != {1: "\ud800"}:
        assert "lone surrogate" in refusal(json_codec, [value])


# Depth and cycles ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_hundred_levels_pass(codec, wrap):
    value = nested(MAX_DEPTH, wrap)
    assert trip(codec, value, ALL) == value


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("levels", [300, 10_000])
def test_too_deep_a_structure_is_refused_and_never_exhausts_the_stack(codec, wrap, levels):
    assert "nested deeper than 100 levels" in refusal(codec, nested(levels, wrap), ALL)


@pytest.mark.parametrize("wrap", [wrap_list, wrap_tuple, wrap_dict, wrap_table, wrap_point])
def test_a_cycle_is_refused_as_such(codec, wrap):
    inner: list[object] = []
    inner.append(wrap(inner))
    assert "it contains itself" in refusal(codec, [inner], ALL)


def test_the_same_object_twice_is_no_cycle(codec):
    part = (1, {2: 3})
    assert trip(codec, [part, part, {1: part}]) == [part, part, {1: part}]


def test_a_call_near_the_end_of_the_stack_is_refused_and_raises_nothing_else(codec):
    def deep(levels: int) -> bytes:
        return deep(levels - 1) if levels else codec.encode(nested(90, wrap_table), NO_CLASSES, "args")

    frame, used = sys._getframe(), 0
    while frame is not None:
        frame, used = frame.f_back, used + 1
    with pytest.raises(SerializationError, match="nested too deeply for this stack"):
        deep(sys.getrecursionlimit() - used - 60)


# Damaged data -------------------------------------------------------------------------------------------------------


def extension(code: int, data: bytes) -> bytes:
    return b"\xc9" + len(data).to_bytes(4, "big") + bytes([code]) + data


def inside(levels: int, between: bytes = b"\x91") -> bytes:
    data = b"\x90"
    for _ in range(levels):
        data = extension(scalars.TUPLE, between + data)
    return data


DAMAGED = {
    "empty": b"",
    "reserved": b"\xc1",
    "truncated": b"\x92\x01",
    "trailing": b"\x01\x01",
    "huge list": b"\xdd\xff\xff\xff\xff",
    "huge map": b"\xdf\xff\xff\xff\xff",
    "huge bytes": b"\xc6\xff\xff\xff\xff",
    "no utf-8": b"\xa1\xff",
    "map as key": b"\x81\x80\x01",
    "unknown extension": b"\xd4\x7fx",
    "set of lists": extension(scalars.SET, b"\x91\x90"),
    "odd map": extension(scalars.MAP, b"\x91\x01"),
    "list as key": extension(scalars.MAP, b"\x92\x90\x01"),
    "class without data": extension(scalars.CLASS, b"\x91\xa1a"),
    "class name is a list": extension(scalars.CLASS, b"\x92\x90\x01"),
    "date": extension(scalars.DATE, b"2024-13-01"),
    "datetime": extension(scalars.DATETIME, b"2024-01-01T00:00:00 2"),
    "zone unknown": extension(scalars.DATETIME, b"2024-01-01T00:00:00 0 No/Where"),
    "zone is a path": extension(scalars.DATETIME, b"2024-01-01T00:00:00 0 ../../etc/passwd"),
    "zone is a folder": extension(scalars.DATETIME, b"2024-01-01T00:00:00 0 Europe"),
    "timedelta": extension(scalars.TIMEDELTA, b"9999999999 0 0"),
    "decimal": extension(scalars.DECIMAL, b"abc"),
    "uuid": extension(scalars.UUID_, b"abc"),
    "complex": extension(scalars.COMPLEX, b"abc"),
    "deep lists": b"\x91" * 100_000 + b"\x90",
    "deep extensions": inside(5_000),
    "deep both": inside(110, b"\x91" * 900),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_bytes_are_one_line_of_error(codec, data):
    with pytest.raises(SerializationError) as caught:
        codec.decode(data, ALL)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("deep extensions", "nested deeper than 100 levels"),
        ("deep lists", "nested too deeply"),
        ("trailing", "trailing characters"),
        ("zone is a path", "no key of the tz database"),
        ("unknown extension", "extension 127 is unknown; it was written by another program or a newer taskq"),
    ],
)
def test_damaged_bytes_are_refused_for_their_own_reason(codec, name, reason):
    with pytest.raises(SerializationError, match=reason):
        codec.decode(DAMAGED[name], NO_CLASSES)


def test_a_claimed_length_is_not_allocated(codec):
    import tracemalloc

    tracemalloc.start()
    try:
        for data in (DAMAGED["huge list"], DAMAGED["huge map"], DAMAGED["huge bytes"], b"\xc9\xff\xff\xff\xff\x01"):
            with pytest.raises(SerializationError):
                codec.decode(data, NO_CLASSES)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_hostile_nesting_leaves_a_small_stack_alone(codec):
    caught: list[SerializationError] = []

    def read() -> None:
        for data in (DAMAGED["deep extensions"], DAMAGED["deep both"]):
            try:
                codec.decode(data, NO_CLASSES)
            except SerializationError as error:
                caught.append(error)

    before = threading.stack_size(1 << 20)
    try:
        thread = threading.Thread(target=read)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert len(caught) == 2
