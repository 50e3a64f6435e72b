"""Plain values come out of the serializer as they went in."""

from __future__ import annotations

import datetime as dt
import math
import pathlib
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import ormsgpack
import pytest
from serializer_kit import refusal, trip

from taskq.model import scalars
from taskq.model.classmap import NO_CLASSES

BERLIN = ZoneInfo("Europe/Berlin")
INDIA = dt.timezone(dt.timedelta(hours=5, minutes=30))
NAIVE = dt.datetime(2024, 10, 27, 2, 30)  # noqa: DTZ001 (naive on purpose: it stays so)

VALUES = [
    None, True, False, 0, -1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**5000, -(10**5000),
    0.0, 1.5, math.inf, -math.inf, 1 + 2j, "", "ä€😀", "a\0b", b"", b"\xff", (), (1,), (1, (2, (3, (4, (5,))))),
    [], [()], set(), {1, "a", (2, 3)}, frozenset({1}), {frozenset({1})}, {}, {"a": [1, {"b": (2,)}]},
    {1: "a"}, {True: 1, 2: 3, "x": 4, None: 5, 1.5: 6, b"k": 7}, {(1, "a"): 2, "x": 3}, {2**70: 1},
    {frozenset({1}): {(): ()}}, {dt.date(2024, 2, 29): 1}, [{1: {2: ({3: 4},)}}],
    NAIVE.min, NAIVE.max, NAIVE, NAIVE.replace(fold=1),
    dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.datetime(2024, 1, 1, tzinfo=INDIA),
    dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(seconds=-3661, microseconds=7))),
    dt.date(2024, 2, 29), dt.time(1, 2, 3, 4), dt.time(1, fold=1), dt.time(5, tzinfo=INDIA), dt.time(5, tzinfo=BERLIN),
    dt.timedelta(-1, 5, 7), dt.timedelta.max, dt.timedelta.min,
    Decimal("1.10"), Decimal("-0"), Decimal("1E+999999"), Decimal("Infinity"),
    UUID("12345678123456781234567812345678"),
    pathlib.Path("/a/ä"), pathlib.Path("a"), pathlib.PurePosixPath("/x"), pathlib.PureWindowsPath("C:/x"),
    pathlib.Path("undecodable\udcff"),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_equal_and_of_the_same_type(codec, value):
    back = trip(codec, value)
    assert back == value
    assert type(back) is type(value)


def test_the_types_inside_containers_stay(codec):
    value = [1, (1.0, True), {"t": ({2},)}, {1: "int", "1": "str"}]
    assert repr(trip(codec, value)) == repr(value)


def test_nan_and_minus_zero_stay(codec):
    back = trip(codec, [math.nan, -0.0])
    assert math.isnan(back[0])
    assert math.copysign(1, back[1]) == -1


def test_a_decimal_keeps_its_digits(codec):
    assert str(trip(codec, Decimal("1.10"))) == "1.10"
    assert trip(codec, Decimal("sNaN123")).is_snan()


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", "Etc/GMT+5", "America/Argentina/Buenos_Aires"])
def test_a_zone_of_the_database_keeps_its_key(codec, zone):
    moment = dt.datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo(zone))
    assert trip(codec, moment).tzinfo is moment.tzinfo


@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize("zone", [None, BERLIN, dt.UTC])
def test_an_ambiguous_hour_keeps_its_fold(codec, fold, zone):
    moment = dt.datetime(2024, 10, 27, 2, 30, tzinfo=zone, fold=fold)
    back = trip(codec, moment)
    assert back.fold == fold
    assert back.utcoffset() == moment.utcoffset()


@pytest.mark.parametrize("name", ["my own = zone", ""])
def test_a_fixed_offset_keeps_its_name(codec, name):
    zone = dt.timezone(dt.timedelta(hours=1), name)
    back = trip(codec, dt.datetime(2024, 1, 1, tzinfo=zone, fold=1))
    assert (back.tzname(), back.utcoffset(), back.fold) == (name, dt.timedelta(hours=1), 1)


@pytest.mark.parametrize("microseconds", [1, -1, 999_999, 3_600_000_001])
def test_an_offset_of_microseconds_stays(codec, microseconds):
    offset = dt.timedelta(microseconds=microseconds)
    moment = dt.datetime(2024, 1, 1, tzinfo=dt.timezone(offset))
    assert trip(codec, moment).utcoffset() == trip(codec, moment.timetz()).utcoffset() == offset


def test_a_naive_datetime_stays_naive(codec):
    assert trip(codec, NAIVE).tzinfo is None


class Offset(dt.tzinfo):
    def utcoffset(self, moment):
        return dt.timedelta(hours=1)


def test_a_zone_that_has_no_name_is_refused_with_the_way_out(codec):
    message = refusal(codec, [dt.datetime(2024, 1, 1, tzinfo=Offset())])
    assert message.startswith("args[0] is ")
    assert "use datetime.timezone or ZoneInfo(key)" in message


@pytest.mark.parametrize("value", [bytearray(b"ab"), memoryview(b"ab"), memoryview(b"a-b-")[::2]])
def test_buffers_arrive_as_bytes(codec, value):
    assert trip(codec, [value]) == [b"ab"]
    assert trip(codec, {1: value}) == {1: b"ab"}


def test_a_released_memoryview_is_refused(codec):
    view = memoryview(b"ab")
    view.release()
    assert refusal(codec, [view]).startswith("args[0] is ")


def test_a_plain_call_is_one_short_message(codec):
    assert codec.encode([], NO_CLASSES, "args") == b"\x90"
    assert codec.encode([1, "x"], NO_CLASSES, "args") == b"\x92\x01\xa1x"


def test_a_path_of_the_other_system_comes_as_its_pure_flavour(codec):
    data = ormsgpack.packb(ormsgpack.Ext(scalars.PATH, rb"wC:\x"))
    assert codec.decode(data, NO_CLASSES) == pathlib.PureWindowsPath("C:/x")


def test_a_windows_path_that_its_own_text_would_change_is_refused(codec):
    assert "name the whole share" in refusal(codec, [pathlib.PureWindowsPath("//server/")])
