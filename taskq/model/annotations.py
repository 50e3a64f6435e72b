"""From annotations to the rules that values are checked by and the classes that may travel.

Everything here runs once per task. An annotation that cannot be resolved or is not understood is not checked: a task
must not fail to register because of a type that exists only for the type checker.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime as dt
import decimal
import enum
import inspect
import pathlib
import sys
import types
import typing
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec

from taskq.model.classmap import ClassMap
from taskq.model.fitting import (
    ANYTHING,
    Bounded,
    Choice,
    Fit,
    Instance,
    Items,
    Member,
    Model,
    OneOf,
    Record,
    Row,
    Scalar,
    Shape,
    Table,
)
from taskq.model.types import Form, form_of, is_model, is_namedtuple


def _decimal(value: object) -> decimal.Decimal:
    return decimal.Decimal(str(value))  # of a float: what it shows, not its binary expansion


_NONE: Final = Fit("None", (type(None),))
_SCALARS: Final[Mapping[Any, Fit]] = types.MappingProxyType(
    {
        type(None): _NONE,
        bool: Scalar(bool),
        int: Scalar(int, apart=(bool,)),
        float: Scalar(float, also=(int,)),
        complex: Scalar(complex, also=(float, int)),
        str: Scalar(str),
        bytes: Scalar(bytes, written=(bytearray, memoryview)),
        bytearray: Scalar(bytearray, written=(bytes,)),
        memoryview: Scalar(memoryview, written=(bytes,)),
        dt.datetime: Scalar(dt.datetime, written=(str,), parse=dt.datetime.fromisoformat),
        dt.date: Scalar(dt.date, apart=(dt.datetime,), written=(str,), parse=dt.date.fromisoformat),
        dt.time: Scalar(dt.time, written=(str,), parse=dt.time.fromisoformat),
        dt.timedelta: Scalar(dt.timedelta, written=(str,), parse=partial(msgspec.convert, type=dt.timedelta)),
        decimal.Decimal: Scalar(decimal.Decimal, written=(str, int, float), parse=_decimal),
        uuid.UUID: Scalar(uuid.UUID, written=(str,)),
    }
)
_CONCRETE: Final = frozenset({list, tuple, set, frozenset})
# What isinstance() asks of these is less than their type argument says, so the items are looked at one by one.
_ABSTRACT: Final = frozenset(
    {
        collections.abc.Sequence,
        collections.abc.MutableSequence,
        collections.abc.Set,
        collections.abc.MutableSet,
        collections.abc.Collection,
        collections.abc.Iterable,
    }
)
_MAPPINGS: Final = frozenset({dict, collections.abc.Mapping, collections.abc.MutableMapping})
_WRAPPERS: Final = frozenset({typing.Required, typing.NotRequired, typing.Final, typing.ClassVar})


def hints_of(owner: Any) -> dict[str, Any]:
    """Return the resolved annotations of a function or class; those that cannot be resolved are ``Any``."""
    try:
        return typing.get_type_hints(owner, include_extras=True)
    except Exception:  # evaluating foreign text may raise anything; each one is then tried on its own
        holders = reversed(owner.__mro__) if isinstance(owner, type) else (owner,)
        return {name: hint for holder in holders for name, hint in _hints_one_by_one(holder).items()}


def _hints_one_by_one(holder: Any) -> dict[str, Any]:
    try:
        annotations = inspect.get_annotations(holder)
    except Exception:  # evaluated on access since Python 3.14
        return {}
    module = sys.modules.get(holder.__module__)
    scope = getattr(holder, "__globals__", None) or (vars(module) if module else {})
    hints: dict[str, Any] = {}
    for name, annotation in annotations.items():
        one = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hints[name] = typing.get_type_hints(one, scope, include_extras=True)[name]
        except Exception:
            hints[name] = Any
    return hints


class Compiler:
    """Makes the rules of one task's annotations and collects the classes that they mention."""

    def __init__(self) -> None:
        self._rules: dict[Any, Fit] = {}
        self._forms: dict[type, Form | None] = {}

    def rule(self, annotation: Any) -> Fit:
        """Return the rule of one annotation; never raises."""
        try:
            known = self._rules.get(annotation)
        except TypeError:  # metadata that cannot be hashed
            return self._build(annotation)
        if known is None:
            self._rules[annotation] = ANYTHING  # where an alias mentions itself
            known = self._rules[annotation] = self._build(annotation)
        return known

    def classes(self, forms: tuple[Form, ...] = ()) -> ClassMap:
        """Return the classes mentioned so far, and ``forms``, which need no mention."""
        return ClassMap([*(form for form in self._forms.values() if form is not None), *forms])

    def _build(self, annotation: Any) -> Fit:
        try:
            return self._special(annotation) or self._generic(annotation)
        except Exception:  # annotations of any library come here; what is not understood is not checked
            return ANYTHING

    def _special(self, annotation: Any) -> Fit | None:
        if annotation is Any or annotation is object:
            return ANYTHING
        if isinstance(annotation, type) and typing.get_origin(annotation) is None:
            return self._class(annotation)
        if annotation is None:
            return _NONE
        if isinstance(annotation, typing.NewType):
            return self.rule(annotation.__supertype__)
        if isinstance(annotation, typing.TypeVar):
            if annotation.__constraints__:
                return OneOf(tuple(map(self.rule, annotation.__constraints__)))
            return ANYTHING if annotation.__bound__ is None else self.rule(annotation.__bound__)
        if annotation is typing.LiteralString:
            return _SCALARS[str]
        if type(annotation).__name__ == "TypeAliasType":  # "type X = ...", since Python 3.12
            return self.rule(annotation.__value__)
        return None

    def _generic(self, annotation: Any) -> Fit:
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            return self._annotated(annotation, arguments)
        if origin is typing.Literal:
            for value in arguments:
                if isinstance(value, enum.Enum):
                    self.rule(type(value))
            return Choice(arguments)
        if origin is typing.Union or origin is types.UnionType:
            return OneOf(tuple(map(self.rule, arguments)))
        if origin in _WRAPPERS:
            return self.rule(arguments[0])
        if isinstance(origin, type):
            if not hasattr(annotation, "__args__"):  # a bare typing.List
                return self._class(origin)
            return self._parametrized(origin, arguments)
        return ANYTHING

    def _annotated(self, annotation: Any, arguments: tuple[Any, ...]) -> Fit:
        rule = self.rule(arguments[0])
        if not any(isinstance(extra, msgspec.Meta) for extra in arguments[1:]):
            return rule
        msgspec.json.schema(annotation)  # raises for what msgspec cannot check
        return Bounded(rule, annotation)

    def _parametrized(self, origin: type, arguments: tuple[Any, ...]) -> Fit:
        if origin is tuple:
            if len(arguments) == 2 and arguments[1] is ...:
                return Items(tuple, self.rule(arguments[0]))
            return Row(tuple(map(self.rule, arguments)))
        rules = tuple(self.rule(argument) for argument in arguments)
        if origin in _MAPPINGS:
            return Table(origin, *rules)
        if origin in _CONCRETE or origin in _ABSTRACT:
            return Items(origin, rules[0], abstract=origin in _ABSTRACT)
        return self._class(origin)  # a generic class of the user's: its arguments were collected above

    def _class(self, cls: type) -> Fit:
        if cls in _SCALARS:
            return _SCALARS[cls]
        if cls in _CONCRETE or cls in _ABSTRACT:
            return Items(cls, ANYTHING, abstract=cls in _ABSTRACT)
        if cls in _MAPPINGS:
            return Table(cls, ANYTHING, ANYTHING)
        if issubclass(cls, pathlib.PurePath):
            return Scalar(cls, also=(type(cls()),), written=(str,))
        if typing.is_typeddict(cls):
            return self._shape(cls)
        self._forms[cls] = form_of(cls)
        if issubclass(cls, enum.Enum):
            return Member(cls, (cls,))
        if is_namedtuple(cls) or issubclass(cls, msgspec.Struct) or dataclasses.is_dataclass(cls):
            return self._record(cls)
        if is_model(cls):
            return self._model(cls)
        return Instance(cls)

    def _shape(self, cls: Any) -> Fit:
        shape = self._rules[cls] = Shape(cls.__name__)
        hints = hints_of(cls)
        shape.fields = {name: self.rule(hint) for name, hint in hints.items()}
        # __required_keys__ alone is wrong where annotations are strings: it was made before they were resolved.
        origins = {name: typing.get_origin(hint) for name, hint in hints.items()}
        shape.required = frozenset(
            name
            for name, origin in origins.items()
            if origin is typing.Required or (origin is not typing.NotRequired and name in cls.__required_keys__)
        )
        return shape

    def _model(self, cls: Any) -> Fit:
        model = self._rules[cls] = Model(cls, (cls,))
        for info in cls.model_fields.values():
            self.rule(info.annotation)
        return model

    def _record(self, cls: Any) -> Fit:
        record = self._rules[cls] = Record(cls, sequence=is_namedtuple(cls))
        hints = hints_of(cls)
        if record.sequence:
            names, required = cls._fields, set(cls._fields).difference(cls._field_defaults)
        elif issubclass(cls, msgspec.Struct):
            names = cls.__struct_fields__
            fields = msgspec.structs.fields(cls)
            required = {field.name for field in fields if field.required}
            record.names = {field.encode_name: field.name for field in fields}
            config = cls.__struct_config__
            record.tag = None if config.tag is None else (config.tag_field, config.tag)
        else:
            for field in dataclasses.fields(cls):
                self.rule(hints.get(field.name, Any))  # those that the constructor does not take may hold classes too
            init = [field for field in dataclasses.fields(cls) if field.init]
            names = tuple(field.name for field in init)
            required = {field.name for field in init if field.default is field.default_factory is dataclasses.MISSING}
        record.fields = {name: self.rule(hints.get(name, Any)) for name in names}
        record.required = frozenset(required)
        return record
