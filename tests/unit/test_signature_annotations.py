"""Arguments are checked by their annotations, and plain data becomes what these ask for."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime as dt
import enum
import pathlib
import typing
from decimal import Decimal
from uuid import UUID

import msgspec
import pytest
from signature_kit import JSON, Colour, Point, User, misfit, received, sent

from taskq.errors import BadArguments, SerializationError
from taskq.model.signature import Signature, plain_signature
from taskq.model.types import Form


class Level(enum.IntEnum):
    LOW = 1


class Right(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True)
class Line:
    ends: tuple[Point, Point]
    colour: Colour = Colour.RED
    length: float = dataclasses.field(init=False, default=0)


@dataclasses.dataclass
class Tree:
    value: int
    children: list[Tree] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Strict:
    x: int

    def __post_init__(self):
        if self.x < 0:
            raise ValueError("x is negative")


class Item(msgspec.Struct, rename="camel"):
    item_name: str
    tags: set[str] = set()


class Cat(msgspec.Struct, tag=True):
    name: str


class Dog(msgspec.Struct, tag=True):
    name: str


class Place(typing.NamedTuple):
    name: str
    at: tuple[int, int] = (0, 0)


class Movie(typing.TypedDict):
    title: str
    year: typing.NotRequired[int]
    seen: typing.NotRequired[list[dt.date]]


T = typing.TypeVar("T")
Number = typing.TypeVar("Number", int, Decimal)
Bound = typing.TypeVar("Bound", bound=Point)
UserId = typing.NewType("UserId", int)


@dataclasses.dataclass
class Box(typing.Generic[T]):
    content: T


@dataclasses.dataclass
class Lamp:
    state: Bulb | None = dataclasses.field(init=False, default=None)


class Bulb(enum.Enum):
    LIT = 1


class Plain:
    pass


def of(annotation: typing.Any, **options: typing.Any) -> Signature:
    """The signature of a task ``t`` with one argument ``x`` of this annotation."""

    def task(x):
        pass

    task.__annotations__ = {"x": annotation}
    return Signature.of(task, name="t", **options)


FITS = [
    (int, 1), (int, 2**70), (float, 1.5), (float, 3), (str, "a"), (bool, True), (bytes, b"a"), (None, None),
    (complex, 1),
    (list, [1]), (list, []), (dict, {1: 2}), (tuple, (1, 2)), (set, {1}), (frozenset, frozenset({1})),
    (list[int], [1, 2]), (list[int], []), (dict[str, list[int]], {"a": [1]}), (tuple[int, ...], (1, 2, 3)),
    (tuple[int, str], (1, "a")), (tuple[()], ()), (set[int], {1}),
    (typing.List, [1]), (typing.Tuple, (1, 2)),  # noqa: UP006 (as older code writes it)
    (typing.Optional[int], None), (typing.Union[int, str], "a"),  # noqa: UP007, UP045
    (int | str, "a"), (int | None, 1), (list[int] | list[str], ["a"]), (tuple[int, ...] | list[int], [1]),
    (float | None, 1),
    (typing.Any, object), (object, 1), (typing.Literal["a", 1], 1), (typing.Literal[Colour.RED], Colour.RED),
    (dt.datetime, dt.datetime(2024, 1, 1, tzinfo=dt.UTC)), (dt.date, dt.date(2024, 1, 1)),
    (Decimal, Decimal("1.10")),
    (UUID, UUID(int=1)), (pathlib.Path, pathlib.Path("a")), (dt.timedelta, dt.timedelta(1)), (dt.time, dt.time(1)),
    (Colour, Colour.RED), (Level, Level.LOW), (Right, Right.READ | Right.WRITE),
    (list[Colour], [Colour.RED, Colour.BLUE]),
    (Point, Point(1)), (Line, Line((Point(1), Point(2)))), (Tree, Tree(1, [Tree(2), Tree(3, [Tree(4)])])),
    (Point | None, Point(1)), (Point | Tree | User, Tree(1)), (dict[str, Point], {"a": Point(1)}),
    (Box[Point], Box(Point(1))),
    (Item, Item("a", {"b"})), (Cat | Dog, Dog("a")), (Place, Place("a", (1, 2))), (list[Place], [Place("a")]),
    (Movie, {"title": "a", "year": 1, "seen": [dt.date(2024, 1, 1)]}), (Movie, {"title": "a", "unknown": (1,)}),
    (User, User(name="a", home=Point(1, 2.5))), (list[User], [User(name="a")]), (User | int, 1),
    (typing.Annotated[int, msgspec.Meta(gt=0)], 1), (typing.Annotated[Point, "note"], Point(1)), (UserId, 1),
    (T, Ellipsis), (Number, Decimal(1)), (Bound, Point(1)), (typing.LiteralString, "a"),
    (collections.abc.Sequence[int], (1, 2)), (collections.abc.Sequence[int], [1]),
    (collections.abc.Iterable[str], "ab"),
    (collections.abc.Mapping[str, int], {"a": 1}), (collections.abc.Sequence, [1]),
    (collections.abc.Collection, {1}),
    ("no_such_name", 1), ("list[no_such_name]", 1), ("1 +", 1), (1, 1), ([int], 1), (typing.Protocol, 1),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "value"), FITS)
def test_a_value_of_the_annotated_type_arrives_as_it_was(annotation, value):
    if value in (object, Ellipsis):  # anything goes there, but not every object is data
        value = 1
    ((back,), _) = sent(of(annotation), value)
    assert back == value
    assert type(back) is type(value)


MISFITS = [
    (int, "abc", "expects int, got 'abc'"),
    (int, True, "expects int, got True"),
    (int, 1.0, "expects int, got 1.0"),
    (float, True, "expects float, got True"),
    (str, b"a", "expects str, got b'a'"),
    (bytes, "aGk=", "expects bytes, got 'aGk='"),
    (bool, 1, "expects bool, got 1"),
    (None, 0, "expects None, got 0"),
    (list, "ab", "expects list, got 'ab'"),
    (list, {}, "expects list, got {}"),
    (dict, [], "expects dict, got []"),
    (list[int], [1, "a"], "[1]' of task 't' expects int, got 'a'"),
    (set[int], {"a"}, "expects int, got 'a'"),
    (tuple[int, str], (1,), "expects tuple[int, str], got (1,)"),
    (tuple[int, str], (1, 2), "[1]' of task 't' expects str, got 2"),
    (tuple[int, ...], (1, "a"), "[1]' of task 't' expects int, got 'a'"),
    (dict[str, list[int]], {"a": [1, None]}, "['a'][1]\" of task 't' expects int, got None"),
    (dict[str, int], {1: 1}, "{1}' of task 't' expects str, got 1"),
    (int | None, "a", "expects int | None, got 'a'"),
    (int | list[str], [1], "[0]' of task 't' expects str, got 1"),
    (list[int] | list[str], [None], "expects list[int] | list[str], got [None]"),
    (typing.Literal["a", 1], True, "expects 'a' | 1, got True"),
    (dt.date, "yesterday", "expects date, got 'yesterday'"),
    (dt.date, dt.datetime(2024, 1, 1, tzinfo=dt.UTC), "expects date, got datetime.datetime("),
    (dt.datetime, 1, "expects datetime, got 1"),
    (Decimal, "abc", "expects Decimal, got 'abc'"),
    (Decimal, True, "expects Decimal, got True"),
    (UUID, "abc", "expects UUID, got 'abc'"),
    (pathlib.Path, 1, "expects Path, got 1"),
    (Colour, "green", "expects Colour, got 'green'"),
    (Point, {"x": "a"}, ".x' of task 't' expects int, got 'a'"),
    (Point, {"y": 1.0}, "lacks the field 'x' of Point: {'y': 1.0}"),
    (Point, {"x": 1, "z": 2}, "has a field 'z' that Point does not know"),
    (Point, [1], "expects Point, got [1]"),
    (Point | None, {"x": "a"}, ".x' of task 't' expects int, got 'a'"),
    (Strict, {"x": -1}, "expects Strict, got {'x': -1}: x is negative"),
    (Line, {"ends": [{"x": 1}, {"x": "b"}]}, ".ends[1].x' of task 't' expects int, got 'b'"),
    (Item, {"itemName": 1}, ".item_name' of task 't' expects str, got 1"),
    (Cat, {"name": "a", "type": "Dog"}, "has a field 'type' that Cat does not know"),
    (Place, ["a", [1, 2], 3], "expects Place, got ['a', [1, 2], 3]"),
    (Movie, {"year": 1}, "lacks the key 'title' of Movie: {'year': 1}"),
    (Movie, {"title": 1}, "['title']\" of task 't' expects str, got 1"),
    (Movie, [], "expects Movie, got []"),
    (User, {"name": 1}, "expects User, got {'name': 1}: 1 validation error for User"),
    (User, {"name": "a", "age": -1}, "greater_than_equal"),
    (list[User], [{}], "[0]' of task 't' expects User, got {}"),
    (typing.Annotated[int, msgspec.Meta(gt=0)], 0, "expects int, got 0: Expected `int` >= 1"),
    (UserId, "a", "expects int, got 'a'"),
    (Number, "a", "expects int | Decimal, got 'a'"),
    (Bound, 1, "expects Point, got 1"),
    (collections.abc.Sequence[int], [1, "a"], "[1]' of task 't' expects int, got 'a'"),
    (collections.abc.Sequence[int], 1, "expects Sequence[int], got 1"),
    (Plain, 1, "expects Plain, got 1"),
    (Box[int], 1, "expects Box, got 1"),
]


@pytest.mark.parametrize(("annotation", "value", "text"), MISFITS)
def test_a_value_of_another_type_is_refused_where_it_is_made_and_where_it_is_read(annotation, value, text):
    message = misfit(of(annotation), value)
    assert message.startswith(("argument 'x", 'argument "x'))
    assert "of task 't' " in message
    assert text in message


BECOMES = [
    (dt.date, "2024-02-29", dt.date(2024, 2, 29)),
    (dt.datetime, "2024-02-29T01:02:03Z", dt.datetime(2024, 2, 29, 1, 2, 3, tzinfo=dt.UTC)),
    (dt.time, "01:02", dt.time(1, 2)), (dt.timedelta, "PT90S", dt.timedelta(seconds=90)),
    (Decimal, "1.10", Decimal("1.10")),
    (Decimal, 0.1, Decimal("0.1")), (Decimal, 1, Decimal(1)), (UUID, str(UUID(int=7)), UUID(int=7)),
    (pathlib.Path, "/a", pathlib.Path("/a")), (bytearray, b"a", bytearray(b"a")),
    (tuple, [1, 2], (1, 2)), (tuple[int, ...], [1, 2], (1, 2)),
    (tuple[int, dt.date], [1, "2024-01-01"], (1, dt.date(2024, 1, 1))),
    (set, [1, 1], {1}), (set[int], [1, 2], {1, 2}), (frozenset[str], ["a"], frozenset("a")), (list, (1,), [1]),
    (list[int], (1,), [1]),
    (list[dt.date], ["2024-01-01"], [dt.date(2024, 1, 1)]),
    (dict[str, tuple[int, int]], {"a": [1, 2]}, {"a": (1, 2)}),
    (dict[UUID, int], {str(UUID(int=1)): 1}, {UUID(int=1): 1}),
    (Colour, "blue", Colour.BLUE), (Level, 1, Level.LOW), (Right, 3, Right.READ | Right.WRITE),
    (list[Colour], ["red"], [Colour.RED]),
    (typing.Literal[Colour.RED], "red", Colour.RED),
    (Point, {"x": 1}, Point(1)), (Point | None, {"x": 1}, Point(1)),
    (list[Point], [{"x": 1}, {"x": 2, "y": 3}], [Point(1), Point(2, 3)]),
    (Point | Tree, {"value": 1}, Tree(1)), (Tree, {"value": 1, "children": [{"value": 2}]}, Tree(1, [Tree(2)])),
    (Line, {"ends": [{"x": 1}, {"x": 2}], "colour": "blue"}, Line((Point(1), Point(2)), Colour.BLUE)),
    (Item, {"itemName": "a", "tags": ["b"]}, Item("a", {"b"})), (Item, {"item_name": "a"}, Item("a")),
    (Cat | Dog, {"type": "Dog", "name": "a"}, Dog("a")), (Place, ["a", [1, 2]], Place("a", (1, 2))),
    (Place, {"name": "a"}, Place("a")),
    (Movie, {"title": "a", "seen": ["2024-01-01"]}, {"title": "a", "seen": [dt.date(2024, 1, 1)]}),
    (User, {"name": "a", "home": {"x": 1}}, User(name="a", home=Point(1))),
    (User | int, {"name": "a"}, User(name="a")),
    (str | dt.date, "2024-01-01", "2024-01-01"), (dt.date | None, "2024-01-01", dt.date(2024, 1, 1)),
    (typing.Annotated[dt.date, "note"], "2024-01-01", dt.date(2024, 1, 1)),
    (collections.abc.Sequence[dt.date], ["2024-01-01"], [dt.date(2024, 1, 1)]),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "value", "becomes"), BECOMES)
@pytest.mark.parametrize("made", [sent, received], ids=["known", "unknown"])
def test_plain_data_becomes_what_the_annotation_asks_for(made, annotation, value, becomes):
    signature = of(annotation)
    for (back,), _ in (made(signature, value), ((made(signature, x=value)[1]["x"],), {})):
        assert back == becomes
        assert type(back) is type(becomes)


def test_json_arguments_become_what_the_annotations_ask_for():
    signature = of(Line)
    payload = plain_signature("t").encode_arguments(JSON, ({"ends": [{"x": 1}, {"x": 2}]},), {})
    assert signature.decode_arguments(JSON, payload) == ((Line((Point(1), Point(2))),), {})


def test_binding_leaves_the_callers_values_alone():
    value = ["2024-01-01"]
    args, _ = of(list[dt.date]).bind((value,), {})
    assert args[0] is value
    assert value == ["2024-01-01"]


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (list[int], [1, 2]),
        (list[list[int]], [[1], [2]]),
        (dict[str, list[int]], {"a": [1]}),
        (tuple[list[int], ...], ([1],)),
        (tuple[list[int], int], ([1], 2)),
    ],
)
def test_a_collection_that_fits_is_not_copied(annotation, value):
    assert of(annotation)._fit_call((value,), {})[0][0] is value


def later(x: Later, y: NoSuchName = None):  # noqa: F821
    pass


LATER = Signature.of(later, name="t")


@dataclasses.dataclass
class Later:
    part: AnotherMissing | None  # noqa: F821
    point: Point


def test_annotations_may_name_classes_that_are_defined_after_the_task():
    assert sent(LATER, Later(1, Point(2)), "anything") == ((Later(1, Point(2)), "anything"), {})
    assert misfit(LATER, {"part": 1, "point": 5}) == "argument 'x.point' of task 't' expects Point, got 5"


def test_recursion_in_data_of_a_recursive_class_is_no_recursion_error():
    loop: dict[str, object] = {"value": 1}
    loop["children"] = [loop]
    with pytest.raises(BadArguments, match=r"^argument 'x' of task 't' is nested too deeply$"):
        of(Tree).bind((loop,), {})


def test_an_instance_that_no_annotation_mentions_is_refused():
    with pytest.raises(SerializationError, match=r"^args\[0\] is Point\(x=1, y=0\): annotate the task's parameter"):
        sent(of(typing.Any), Point(1))


def test_the_classes_of_one_annotation_travel_in_every_argument():
    def task(x, y: list[Point] | None = None) -> dict[str, Colour]:
        pass

    assert sent(Signature.of(task), {"a": (Point(1), Colour.RED)}) == (({"a": (Point(1), Colour.RED)},), {})


def test_a_class_that_only_a_computed_field_holds_travels():
    lamp = Lamp()
    lamp.state = Bulb.LIT
    assert sent(of(Lamp), lamp) == ((lamp,), {})


class Handle:
    def __init__(self, name):
        self.name = name


def test_an_object_of_the_apps_own_travels_without_annotation():
    form = Form(Handle, "taskq:Handle", lambda handle: (handle.name,), Handle)
    ((back,), _) = sent(of(typing.Any, forms=lambda: (form,)), Handle("a"))
    assert type(back) is Handle
    assert back.name == "a"
