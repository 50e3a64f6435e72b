"""JSON and pickle, and which codec may be used."""

from __future__ import annotations

import datetime as dt
import json
import math
import pickle
from collections import OrderedDict
from decimal import Decimal

import pytest
from serializer_kit import ALL, Level, Mode, Point, Sub, nested, refusal, trip, wrap_dict, wrap_list

from taskq.errors import InvalidOption, SerializationError
from taskq.model.classmap import NO_CLASSES
from taskq.model.scalars import MAX_DEPTH
from taskq.model.serializer import CODECS, Serializers

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
