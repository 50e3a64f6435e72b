"""Classes whose instances travel as data, and how: enums, named tuples, dataclasses, structs, pydantic models."""

from __future__ import annotations

import dataclasses
import enum
import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec


@dataclasses.dataclass(frozen=True, slots=True)
class Form:
    """How the instances of one class travel.

    Attributes:
        cls: the exact class, a subclass needs a form of its own; or its ``module:qualname``, for a class that is not
            imported until there is an instance.
        name: under which it is stored.
        dump: instance -> the plain data, and optionally one more value for ``load``.
        load: what ``dump`` returned -> an equal instance.
    """

    cls: type | str
    name: str
    dump: Callable[[Any], tuple[Any, ...]]
    load: Callable[..., Any]


def is_namedtuple(cls: type) -> bool:
    """Tell whether ``cls`` was made by ``namedtuple`` or ``typing.NamedTuple``."""
    return issubclass(cls, tuple) and hasattr(cls, "_fields") and hasattr(cls, "_make")


def is_model(cls: type) -> bool:
    """Tell whether ``cls`` is a pydantic model, without importing pydantic."""
    return isinstance(getattr(cls, "model_fields", None), dict) and hasattr(cls, "model_validate")


def form_of(cls: type) -> Form | None:
    """Return how instances of ``cls`` travel, or None if it is no class of data.

    Classes of data are enums, named tuples, dataclasses, msgspec structs and pydantic models.
    """
    name = f"{cls.__module__}:{cls.__qualname__}"
    if issubclass(cls, enum.Enum):
        return Form(cls, name, lambda member: (member._value_,), cls)
    if is_namedtuple(cls):
        return Form(cls, name, lambda value: (tuple(value),), partial(_load_namedtuple, cls))
    if issubclass(cls, msgspec.Struct):
        names = cls.__struct_fields__
        return Form(cls, name, partial(_dump_fields, names), partial(_load_struct, cls, names))
    if dataclasses.is_dataclass(cls):
        fields = dataclasses.fields(cls)
        names = tuple(field.name for field in fields)
        arguments = _constructor_arguments(cls, {field.name for field in fields if field.init})
        return Form(cls, name, partial(_dump_fields, names), partial(_load_dataclass, cls, names, arguments))
    if is_model(cls):
        return _model_form(cls, name)
    return None


def _dump_fields(names: tuple[str, ...], value: Any) -> tuple[Any, ...]:
    return ({name: getattr(value, name) for name in names},)


def _load_namedtuple(cls: Any, data: tuple[Any, ...]) -> Any:
    # _make passes by a __new__ of the class's own; only an older sender's shorter tuple needs the defaults.
    return cls._make(data) if len(data) == len(cls._fields) else cls(*data)


def _load_struct(cls: type[msgspec.Struct], names: tuple[str, ...], data: dict[str, Any]) -> Any:
    stored = {name: data[name] for name in names if name in data}
    instance = cls(**stored)
    if hasattr(cls, "__post_init__"):
        for name, value in stored.items():
            msgspec.structs.force_setattr(instance, name, value)
    return instance


def _constructor_arguments(cls: type, init: set[str]) -> set[str] | None:
    """Return the fields that the constructor takes; None if it cannot be called with fields alone."""
    try:
        parameters = inspect.signature(cls).parameters
    except (TypeError, ValueError):
        return None
    required = {name for name, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
    return init if init <= parameters.keys() and required <= init else None


def _load_dataclass(cls: Any, names: tuple[str, ...], arguments: set[str] | None, data: dict[str, Any]) -> Any:
    """Build an instance; unknown fields are a newer sender's and are dropped.

    The constructor runs, so that ``__post_init__`` makes what is no field; then the fields are set as they were,
    because a ``__post_init__`` that changes them has done so already.
    """
    stored = {name: data[name] for name in names if name in data}
    if arguments is not None:
        instance = cls(**{name: value for name, value in stored.items() if name in arguments})
        if arguments == stored.keys() and not hasattr(cls, "__post_init__"):
            return instance
    elif len(stored) == len(names):
        instance = object.__new__(cls)
    else:
        raise TypeError(f"field {min(set(names).difference(stored))!r} is missing")
    for name, value in stored.items():
        object.__setattr__(instance, name, value)  # frozen ones too
    return instance


def _model_form(cls: Any, name: str) -> Form | None:
    """Return the form of a pydantic model: its fields and extras; private attributes are made anew by the model."""
    keys: dict[str, str] = {}
    for field, info in cls.model_fields.items():
        key = info.validation_alias or info.alias or field
        choices = getattr(key, "choices", None)
        key = choices[0] if choices else key
        if not isinstance(key, str):  # an AliasPath: there is no single key to give the value by
            return None
        keys[field] = key
    return Form(cls, name, partial(_dump_model, tuple(keys)), partial(_load_model, cls, keys))


def _dump_model(names: tuple[str, ...], value: Any) -> tuple[Any, ...]:
    if getattr(type(value), "__pydantic_root_model__", False):
        return (value.root,)
    held = value.__dict__
    data = {name: held[name] for name in names if name in held}
    data.update(value.__pydantic_extra__ or {})
    unset = [name for name in data if name not in value.__pydantic_fields_set__]
    return (data, unset) if unset else (data,)


def _load_model(cls: Any, keys: dict[str, str], data: Any, unset: Iterable[str] = ()) -> Any:
    """Build a model by its own validation, then undo what a validator did to a value for the second time."""
    if getattr(cls, "__pydantic_root_model__", False):
        return cls.model_validate(data)
    model = cls.model_validate({keys.get(name, name): value for name, value in data.items()})
    held = model.__dict__
    for name, value in data.items():
        if name in held and type(held[name]) is type(value):
            held[name] = value
    object.__setattr__(model, "__pydantic_fields_set__", set(data).difference(unset))
    return model
