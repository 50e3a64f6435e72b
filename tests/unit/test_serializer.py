"""What goes in comes out, and what would not is refused by its path."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import math
import pathlib
import pickle
import re
import socket
import sys
import threading
import typing
from collections import OrderedDict, namedtuple
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import ormsgpack
import pydantic
import pytest

from taskq.errors import InvalidOption, SerializationError
from taskq.model import scalars
from taskq.model.classmap import NO_CLASSES, ClassMap
from taskq.model.scalars import MAX_DEPTH
from taskq.model.serializer import CODECS, Codec, Serializers
from taskq.model.types import Form, form_of


@pytest.fixture
def codec() -> Codec:
    return Serializers().codec("")


@pytest.fixture
def json_codec() -> Codec:
    return Serializers().codec("json")


def classes(*kinds: type) -> ClassMap:
    return ClassMap([form for form in map(form_of, kinds) if form is not None])


def trip(codec: Codec, value: object, types: ClassMap = NO_CLASSES, reader: ClassMap | None = None) -> object:
    return codec.decode(codec.encode(value, types, "value"), types if reader is None else reader)


def refusal(codec: Codec, value: object, types: ClassMap = NO_CLASSES, root: str = "args") -> str:
    with pytest.raises(SerializationError) as caught:
        codec.encode(value, types, root)
    message = str(caught.value)
    assert "\n" not in message
    return message


def nested(levels: int, wrap: typing.Callable[[object], object]) -> object:
    value: object = 0
    for _ in range(levels):
        value = wrap(value)
    return value


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


# Classes ------------------------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


class Level(enum.IntEnum):
    LOW = 1


class Mode(enum.StrEnum):
    FAST = "fast"


class Right(enum.Flag):
    READ = 1
    WRITE = 2


Pair = namedtuple("Pair", "left right")  # noqa: PYI024 (the untyped form is what is tested)


class Place(typing.NamedTuple):
    name: str
    at: tuple[int, int] = (0, 0)


@dataclasses.dataclass
class Point:
    x: int
    y: typing.Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    point: Point
    tags: frozenset[str] = frozenset()


class Item(msgspec.Struct, frozen=True, rename="camel", tag=True):
    item_name: str
    at: dt.datetime | None = None


class User(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", frozen=True)
    user_name: str = pydantic.Field(alias="userName")
    age: int = 7
    point: typing.Any = None


class Names(pydantic.RootModel[list[str]]):
    pass


ALL = classes(Colour, Level, Mode, Right, Pair, Place, Point, Frozen, Item, User, Names)

INSTANCES = [
    (Colour.RED, "red"), (Colour.PAIR, (1, 2)), (Level.LOW, 1), (Mode.FAST, "fast"), (Right.READ | Right.WRITE, 3),
    (Pair(1, [2]), (1, [2])), (Place("a"), ("a", (0, 0))), (Point(1, (2,)), {"x": 1, "y": (2,)}),
    (Frozen(Point(1), frozenset("a")), {"point": {"x": 1, "y": None}, "tags": frozenset("a")}),
    (Item("a"), {"item_name": "a", "at": None}),
    (User(userName="a", more=(1,)), {"user_name": "a", "age": 7, "point": None, "more": (1,)}),
    (Names(["a"]), ["a"]),
]  # fmt: skip


@pytest.mark.parametrize(("value", "plain"), INSTANCES, ids=lambda value: type(value).__name__)
def test_an_instance_of_a_known_class_comes_back_as_one(codec, value, plain):
    back = trip(codec, [value, {1: value}], ALL)
    assert back == [value, {1: value}]
    assert type(back[0]) is type(back[1][1]) is type(value)


@pytest.mark.parametrize(("value", "plain"), INSTANCES, ids=lambda value: type(value).__name__)
def test_a_reader_without_the_class_gets_plain_data(codec, value, plain):
    back = trip(codec, value, ALL, reader=NO_CLASSES)
    assert back == plain
    assert type(back) is type(plain)


@pytest.mark.parametrize(("value", "plain"), INSTANCES, ids=lambda value: type(value).__name__)
def test_an_instance_of_a_class_that_no_annotation_mentions_is_refused(codec, value, plain):
    message = refusal(codec, [{"a": value}])
    assert message.startswith("args[0]['a'] is ")
    assert f"annotate the task's parameter or result with {type(value).__name__}" in message


class Sub(Point):
    pass


def test_an_instance_of_a_subclass_is_refused(codec):
    assert refusal(codec, [Sub(1)], ALL).startswith("args[0] is ")


@pytest.mark.parametrize("key", [Colour.RED, Frozen(Point(1)).tags, Place("a"), Level.LOW, Mode.FAST])
def test_an_instance_is_a_key_and_a_member_of_a_set(codec, key):
    back = trip(codec, [{key: 1}, {key}], ALL)
    assert back == [{key: 1}, {key}]
    assert type(next(iter(back[0]))) is type(next(iter(back[1]))) is type(key)


def test_a_stored_name_is_never_imported(codec):
    name = "taskq_no_such_module:Point"
    data = ormsgpack.packb(ormsgpack.Ext(scalars.CLASS, ormsgpack.packb([name, {"x": 1}])))
    assert codec.decode(data, NO_CLASSES) == {"x": 1}
    data = ormsgpack.packb(ormsgpack.Ext(scalars.CLASS, ormsgpack.packb(["wave:Error", {"x": 1}])))
    assert codec.decode(data, NO_CLASSES) == {"x": 1}
    assert "wave" not in sys.modules


def test_a_class_of_the_main_script_is_found_by_its_short_name(codec):
    form = form_of(Point)
    assert form is not None
    sender = ClassMap([dataclasses.replace(form, name="__main__:Point")])
    assert trip(codec, Point(1), sender, reader=ALL) == Point(1)


def test_two_classes_of_one_short_name_are_not_mixed_up(codec):
    other = dataclasses.make_dataclass("Point", ["x", "y"])
    other.__module__ = "another"
    both = classes(Point, other)
    assert type(trip(codec, [Point(1)], both)[0]) is Point
    assert type(trip(codec, [other(1, 2)], both)[0]) is other
    stranger = ClassMap([dataclasses.replace(typing.cast("Form", form_of(Point)), name="__main__:Point")])
    assert trip(codec, Point(1), stranger, reader=both) == {"x": 1, "y": None}


def test_a_newer_senders_field_is_dropped_and_an_older_ones_gets_its_default(codec):
    def sent(data: object) -> object:
        name = f"{Point.__module__}:Point"
        return codec.decode(ormsgpack.packb(ormsgpack.Ext(scalars.CLASS, ormsgpack.packb([name, data]))), ALL)

    assert sent({"x": 1, "y": 2, "z": 3}) == Point(1, 2)
    assert sent({"x": 1}) == Point(1)
    with pytest.raises(SerializationError, match=r"^Point cannot be built from its data: TypeError: .*'x'"):
        sent({"y": 1})


@dataclasses.dataclass
class Derived:
    width: int
    area: int = dataclasses.field(init=False, default=0)
    scale: dataclasses.InitVar[int] = 2

    def __post_init__(self, scale):
        self.width *= scale
        self.area = self.width**2
        self.cache = {"width": self.width}


def test_a_post_init_runs_and_does_not_change_the_fields_again(codec):
    value = Derived(3)
    back = trip(codec, value, classes(Derived))
    assert (back.width, back.area) == (value.width, value.area) == (6, 36)
    assert isinstance(back.cache, dict)


@dataclasses.dataclass(init=False)
class OwnInit:
    total: int

    def __init__(self, *numbers):
        self.total = sum(numbers)


def test_a_dataclass_with_its_own_constructor_keeps_its_fields(codec):
    assert trip(codec, OwnInit(1, 2, 3), classes(OwnInit)) == OwnInit(6)


class Doubling(msgspec.Struct):
    x: int

    def __post_init__(self):
        self.x *= 2


def test_a_struct_with_a_post_init_keeps_its_fields(codec):
    assert trip(codec, Doubling(2), classes(Doubling)).x == 4


class Stamped(pydantic.BaseModel):
    word: str
    made: int = pydantic.Field(default_factory=iter(range(100)).__next__)
    _hidden: int = pydantic.PrivateAttr(default=5)

    @pydantic.field_validator("word")
    @classmethod
    def mark(cls, value):
        return value + "!"


def test_a_model_keeps_its_values_and_which_fields_were_set(codec):
    value = Stamped(word="a")
    back = trip(codec, value, classes(Stamped))
    assert (back.word, back.made, back.model_fields_set, back._hidden) == ("a!", value.made, {"word"}, 5)


def test_a_model_whose_stored_data_is_invalid_is_refused_in_one_line(codec):
    data = codec.encode(User(userName="a"), ALL, "value").replace(b"age\x07", b"age\xc3")
    assert codec.decode(data, NO_CLASSES)["age"] is True
    bad = ormsgpack.packb([f"{User.__module__}:User", {"user_name": [1]}])
    with pytest.raises(SerializationError, match=r"^User cannot be built from its data: ValidationError: .*") as caught:
        codec.decode(ormsgpack.packb(ormsgpack.Ext(scalars.CLASS, bad)), ALL)
    assert "\n" not in str(caught.value)


def test_an_object_of_the_apps_own_travels_by_its_form(codec):
    lock = threading.Lock()
    form = Form(type(lock), "taskq:Lock", lambda _: ("name",), lambda name: f"the lock {name}")
    assert trip(codec, [lock], NO_CLASSES.including([form])) == ["the lock name"]


class Broken:
    pass


def test_a_form_that_raises_names_the_path(codec):
    def dump(value):
        raise LookupError("no fields")

    types = NO_CLASSES.including([Form(Broken, "Broken", dump, Broken)])
    assert re.match(
        r"args\[1\] is <.*Broken object.*reading its fields raised LookupError", refusal(codec, [1, Broken()], types)
    )


# Refusals -----------------------------------------------------------------------------------------------------------


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


def test_a_subclass_of_a_plain_type_is_refused_with_the_way_out(codec):
    assert refusal(codec, [Text("a")]).endswith("type Text would come back as str; pass str(...) of it")


@pytest.mark.parametrize("value", ["\ud800", ["a\udfff"], {"\ud800": 1}, {1: "\ud800"}, ("\ud800",)])
def test_a_lone_surrogate_is_refused(codec, json_codec, value):
    assert "lone surrogate" in refusal(codec, [value])
    if not isinstance(value, tuple) and value != {1: "\ud800"}:
        assert "lone surrogate" in refusal(json_codec, [value])


def wrap_list(value):
    return [value]


def wrap_tuple(value):
    return (value,)


def wrap_dict(value):
    return {"a": value}


def wrap_table(value):
    return {1: value}


def wrap_set(value):
    return frozenset([value])


def wrap_point(value):
    return Point(1, value)


WRAPS = [wrap_list, wrap_tuple, wrap_dict, wrap_table, wrap_set, wrap_point]


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


# Other codecs -------------------------------------------------------------------------------------------------------

JSON_VALUES = [None, True, 1, -(10**300), 1.5, "ä", [], [1, [2]], {}, {"a": {"b": [None]}}]


@pytest.mark.parametrize("value", JSON_VALUES, ids=repr)
def test_json_data_comes_back_and_any_reader_can_read_it(json_codec, value):
    data = json_codec.encode(value, NO_CLASSES, "args")
    assert json_codec.decode(data, NO_CLASSES) == json.loads(data) == value


@pytest.mark.parametrize(
    "value",
    [(1,), {1}, b"a", {1: 2}, {None: 1}, math.nan, math.inf, Decimal(1), dt.date(2024, 1, 1), Level.LOW, Mode.FAST,
     Point(1), 10**5000, 1j, OrderedDict()],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_json_refuses_what_it_would_change(json_codec, value):
    message = refusal(json_codec, [0, {"a": value}], ALL)
    assert message.startswith("args[1]['a']")
    assert "use the default serializer" in message


@pytest.mark.parametrize("wrap", [wrap_list, wrap_dict])
def test_json_has_the_same_bound_of_depth(json_codec, wrap):
    assert trip(json_codec, nested(MAX_DEPTH, wrap)) == nested(MAX_DEPTH, wrap)
    assert "nested deeper than 100 levels" in refusal(json_codec, nested(MAX_DEPTH + 1, wrap))


def test_json_refuses_a_cycle(json_codec):
    loop: list[object] = []
    loop.append(loop)
    assert "contains itself" in refusal(json_codec, loop)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[1] 2", b"NaN", b"[Infinity]", b"\xff", b"[" * 100_000, b"1" * 5000, b'"\\x"']
)
def test_damaged_json_is_one_line_of_error(json_codec, data):
    with pytest.raises(SerializationError, match=r"^JSON data .* cannot be read: .+$"):
        json_codec.decode(data, NO_CLASSES)


def test_pickle_is_refused_where_the_receiver_does_not_allow_it():
    with pytest.raises(SerializationError, match="pickle is refused: the receiver does not allow it"):
        Serializers().codec("pickle")


class Gadget:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def test_a_pickle_under_another_codecs_name_is_not_run(codec, json_codec):
    data = pickle.dumps(Gadget())
    for reader in (codec, json_codec):
        with pytest.raises(SerializationError):
            reader.decode(data, ALL)


def test_pickle_warns_once_where_it_is_allowed(caplog):
    serializers = Serializers(allow_pickle=True)
    for _ in range(3):
        serializers.codec("pickle")
    assert [(record.levelname, record.action) for record in caplog.records] == [("WARNING", "pickle_allowed")]


def test_pickle_carries_any_object_where_it_is_allowed():
    assert trip(Serializers(allow_pickle=True).codec("pickle"), [Sub(1), {range(3)}]) == [Sub(1), {range(3)}]


def test_pickle_names_the_path_of_what_it_cannot_carry():
    pickler = Serializers(allow_pickle=True).codec("pickle")
    call = {"args": [], "kwargs": {"x": [0, Point(1, lambda: 0)]}}
    assert refusal(pickler, call, root="").startswith("kwargs['x'][1].y is <function ")


def test_a_damaged_pickle_is_one_line_of_error():
    pickler = Serializers(allow_pickle=True).codec("pickle")
    with pytest.raises(SerializationError, match=r"^pickle data .* cannot be read: .+$"):
        pickler.decode(b"nonsense", NO_CLASSES)


def test_an_unknown_codec_is_refused():
    with pytest.raises(SerializationError, match=r"^serializer 'yaml\\n' is unknown"):
        Serializers().codec("yaml\n")


@pytest.mark.parametrize("name", ["yaml", "pickle", None, 1])
def test_a_serializer_that_cannot_be_used_is_refused_when_it_is_declared(name):
    with pytest.raises(InvalidOption, match=r"^serializer .* cannot be used: choose one of '', 'json'"):
        Serializers().check(name)


@pytest.mark.parametrize("name", CODECS)
def test_every_codec_knows_its_own_name(name):
    serializers = Serializers(allow_pickle=True)
    assert serializers.codec(serializers.check(name)).name == name
