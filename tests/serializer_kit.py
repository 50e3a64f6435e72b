"""What tests of the serializer share: the way there and back, refusals, and classes to send."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import typing
from collections import namedtuple

import msgspec
import pydantic
import pytest

from taskq.errors import SerializationError
from taskq.model.classmap import NO_CLASSES, ClassMap
from taskq.model.serializer import Codec
from taskq.model.types import form_of


def classes(*kinds: type) -> ClassMap:
    """The classes that annotations mention."""
    return ClassMap([form for form in map(form_of, kinds) if form is not None])


def trip(codec: Codec, value: object, types: ClassMap = NO_CLASSES, reader: ClassMap | None = None) -> object:
    """Encode and decode a value, with the same classes or the reader's own."""
    return codec.decode(codec.encode(value, types, "value"), types if reader is None else reader)


def refusal(codec: Codec, value: object, types: ClassMap = NO_CLASSES, root: str = "args") -> str:
    """The message with which a value is refused."""
    with pytest.raises(SerializationError) as caught:
        codec.encode(value, types, root)
    message = str(caught.value)
    assert "\n" not in message
    return message


def nested(levels: int, wrap: typing.Callable[[object], object]) -> object:
    """A value inside so many others."""
    value: object = 0
    for _ in range(levels):
        value = wrap(value)
    return value


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


class Sub(Point):
    pass


def wrap_list(value: typing.Any) -> object:
    return [value]


def wrap_tuple(value: typing.Any) -> object:
    return (value,)


def wrap_dict(value: typing.Any) -> object:
    return {"a": value}


def wrap_table(value: typing.Any) -> object:
    return {1: value}


def wrap_set(value: typing.Any) -> object:
    return frozenset([value])


def wrap_point(value: typing.Any) -> object:
    return Point(1, value)


WRAPS = [wrap_list, wrap_tuple, wrap_dict, wrap_table, wrap_set, wrap_point]
