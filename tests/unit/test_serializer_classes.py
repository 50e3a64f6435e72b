"""Instances of the classes that annotations mention come back as such, elsewhere as plain data."""

from __future__ import annotations

import dataclasses
import sys
import threading
import typing

import msgspec
import ormsgpack
import pydantic
import pytest
from serializer_kit import (
    ALL,
    Colour,
    Frozen,
    Item,
    Level,
    Mode,
    Names,
    Pair,
    Place,
    Point,
    Right,
    Sub,
    User,
    classes,
    refusal,
    trip,
)

from taskq.errors import SerializationError
from taskq.model import scalars
from taskq.model.classmap import NO_CLASSES, ClassMap
from taskq.model.types import Form, form_of

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
