"""Whatever data goes in comes out, of the same types at every level, through every way that a value travels."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import pathlib
import typing
import zoneinfo
from typing import Any

import msgspec
import pydantic
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskq.errors import SerializationError
from taskq.model.classmap import NO_CLASSES
from taskq.model.serializer import Serializers
from taskq.model.signature import Signature, plain_signature

CODEC = Serializers().codec("")
JSON = Serializers().codec("json")
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Strategies ---------------------------------------------------------------------------------------------------------

ZONES = [zoneinfo.ZoneInfo(key) for key in ("UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe")]
offsets = st.timedeltas(dt.timedelta(hours=-23, minutes=-59), dt.timedelta(hours=23, minutes=59)).map(dt.timezone)
named_offsets = st.builds(dt.timezone, st.just(dt.timedelta(hours=1)), st.text(max_size=5))
zones = st.none() | st.sampled_from(ZONES) | st.just(dt.UTC) | offsets | named_offsets
folds = st.sampled_from([0, 1])


def folded(value: Any, fold: int) -> Any:
    return value.replace(fold=fold)


def in_zone(value: Any, zone: dt.tzinfo | None) -> Any:
    return value.replace(tzinfo=zone)


datetimes = st.builds(folded, st.builds(in_zone, st.datetimes(), zones), folds)
times = st.builds(folded, st.builds(in_zone, st.times(), zones), folds)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
integers = st.integers() | st.integers(-(2**64) - 2, 2**64 + 2) | st.integers(2**2000, 2**2001)
words = st.text("abc/._ä", min_size=1, max_size=8)
kinds = st.sampled_from([pathlib.Path, pathlib.PurePosixPath, pathlib.PureWindowsPath])
paths = st.builds(lambda kind, word: kind(word), kinds, words).filter(lambda path: type(path)(str(path)) == path)
hashables = st.recursive(
    st.one_of(
        st.none(), st.booleans(), integers, st.floats(allow_nan=False), st.complex_numbers(allow_nan=False), texts,
        st.binary(max_size=8), datetimes, st.dates(), times, st.timedeltas(), st.decimals(allow_nan=False), st.uuids(),
        paths,
    ),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
nans = st.floats() | st.decimals(allow_nan=True).filter(lambda value: not value.is_snan())
data = st.recursive(
    hashables | nans,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.sets(hashables, max_size=3),
        st.dictionaries(texts, inner, max_size=3),
        st.dictionaries(hashables, inner, max_size=3),
    ),
    max_leaves=20,
)
json_data = st.recursive(
    st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


class Colour(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Right(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


class Place(typing.NamedTuple):
    name: str
    extra: Any = None


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: float
    extra: Any = None


class Item(msgspec.Struct):
    name: str
    places: list[Place]
    extra: Any = None


class Movie(typing.TypedDict):
    title: str
    colours: typing.NotRequired[set[Colour]]
    extra: typing.NotRequired[Any]


class User(pydantic.BaseModel):
    name: str
    level: Level = Level.LOW
    points: tuple[Point, ...] = ()
    extra: Any = None


@dataclasses.dataclass
class Tree:
    value: Point | Place | Right | User | None
    branches: list[Tree] = dataclasses.field(default_factory=list)


colours, levels, rights = st.sampled_from(Colour), st.sampled_from(Level), st.sampled_from([*Right, Right(0), Right(7)])
places = st.builds(Place, texts, data)
points = st.builds(Point, st.integers(), st.floats(), data)
items = st.builds(Item, texts, st.lists(places, max_size=2), data)
movies: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"title": texts}, optional={"colours": st.sets(colours), "extra": data}
)
users = st.builds(User, name=texts, level=levels, points=st.lists(points, max_size=2).map(tuple), extra=data)
trees = st.recursive(
    st.builds(Tree, st.none() | points | places | rights | users),
    lambda inner: st.builds(Tree, st.none() | points, st.lists(inner, max_size=2)),
    max_leaves=4,
)
one_of_them = colours | levels | rights | places | points | items | users | trees


def task(
    movie: Movie,
    user: User,
    *trees: Tree,
    item: Item,
    choice: Colour | Level | Right | Place | Point | Item | User | Tree,
    free: dict[str, Any] | None = None,
) -> list[Tree | Item | Movie | Colour]:
    return []


TASK = Signature.of(task)


# Comparison ---------------------------------------------------------------------------------------------------------


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal and of the same types at every level; nan is the same as nan."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dt.datetime | dt.time):
        return (one.isoformat(), one.fold, zone_of(one)) == (other.isoformat(), other.fold, zone_of(other))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, set | frozenset):
        return one == other and same(sorted(one, key=ordered), sorted(other, key=ordered))
    if isinstance(one, dict):
        return same(list(one), list(other)) and same(list(one.values()), list(other.values()))
    if isinstance(one, msgspec.Struct):
        return same(msgspec.structs.asdict(one), msgspec.structs.asdict(other))
    if isinstance(one, pydantic.BaseModel):
        return one.model_fields_set == other.model_fields_set and same(one.__dict__, other.__dict__)
    if dataclasses.is_dataclass(one):
        return same(vars(one), vars(other))
    return repr(one) == repr(other)  # tells 0.0 from -0.0, Decimal("1.0") from Decimal("1"), and lets nan be nan


def zone_of(value: Any) -> object:
    zone = value.tzinfo
    return repr(zone) if type(zone) is dt.timezone else zone  # only their repr tells the names of fixed offsets


def ordered(value: Any) -> tuple[int, str]:
    return hash(value), repr(type(value))


# Properties ---------------------------------------------------------------------------------------------------------


@relaxed
@given(data)
def test_data_comes_back_as_it_was(value):
    assert same(CODEC.decode(CODEC.encode(value, NO_CLASSES, "value"), NO_CLASSES), value)


@relaxed
@given(json_data)
def test_json_data_comes_back_as_it_was(value):
    assert same(JSON.decode(JSON.encode(value, NO_CLASSES, "value"), NO_CLASSES), value)


@relaxed
@given(data)
def test_json_carries_a_value_as_it_was_or_refuses_it(value):
    try:
        encoded = JSON.encode(value, NO_CLASSES, "value")
    except SerializationError:
        return
    assert same(JSON.decode(encoded, NO_CLASSES), value)


@relaxed
@given(st.lists(data, max_size=3).map(tuple), st.dictionaries(texts, data, max_size=3))
def test_arguments_of_an_unknown_task_arrive_as_they_were(args, kwargs):
    signature = plain_signature("t")
    payload = signature.encode_arguments(CODEC, *signature.bind(args, kwargs))
    assert same(signature.decode_arguments(CODEC, payload), (args, kwargs))


@relaxed
@given(movies, users, st.lists(trees, max_size=2), items, one_of_them, st.dictionaries(texts, data, max_size=2))
def test_arguments_of_annotated_classes_arrive_as_they_were(movie, user, trees, item, choice, free):
    args, kwargs = (movie, user, *trees), {"item": item, "choice": choice, "free": free}
    payload = TASK.encode_arguments(CODEC, *TASK.bind(args, kwargs))
    assert same(TASK.decode_arguments(CODEC, payload), (args, kwargs))


@relaxed
@given(st.lists(trees | items | movies | colours, max_size=3) | data)
def test_a_result_comes_back_as_it_was(value):
    assert same(TASK.decode_result(CODEC, TASK.encode_result(CODEC, value)), value)


@relaxed
@given(st.binary(max_size=60) | data.map(lambda value: CODEC.encode(value, NO_CLASSES, "value")), st.data())
def test_damaged_bytes_are_data_or_one_line_of_error(encoded, draw):
    damaged = bytearray(encoded)
    for _ in range(draw.draw(st.integers(0, 3))):
        if damaged:
            damaged[draw.draw(st.integers(0, len(damaged) - 1))] = draw.draw(st.integers(0, 255))
    try:
        TASK.decode_result(CODEC, bytes(damaged))
    except SerializationError as error:
        assert "\n" not in str(error)  # noqa: PT017 (damaged bytes may well be data)
