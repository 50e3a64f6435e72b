"""The slow way to write a value: part by part, so that what is no data can be named by its path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import ormsgpack

from taskq.errors import SerializationError, shorten
from taskq.model import scalars
from taskq.model.scalars import CONTAINERS, MAX_DEPTH, PACK_OPTIONS
from taskq.model.types import Form, form_of

MAX_PATH: Final = 120  # characters of a path in a message: enough to find the place by

KEY_OPTIONS: Final = PACK_OPTIONS | ormsgpack.OPT_NON_STR_KEYS  # only for dicts whose keys were looked at
_ATOMS = frozenset({type(None), bool, float, bytes})
_KEYS = _ATOMS | {str}  # with int of 64 bits: what msgpack carries as keys and gives back as it was
_PLAIN = frozenset({bool, int, float, str, bytes, bytearray, list, dict, *CONTAINERS, *scalars.WRITERS})


class Refusal(Exception):
    """A value is no data; it becomes a SerializationError once its path is whole.

    ``steps`` are the last parts of the path, innermost first.
    """

    def __init__(self, value: Any, reason: str) -> None:
        super().__init__(reason)
        self.value = value
        self.reason = reason
        self.steps: list[str] = []

    def error(self, root: str) -> SerializationError:
        """Return the error that names the whole path below ``root``; empty: the first step is the root."""
        steps = self.steps[::-1]
        if not root and steps:
            root = steps.pop(0)[2:-2]
        path = "".join([root or "the call", *steps])
        path = path if len(path) <= MAX_PATH else f"{path[: MAX_PATH - 1]}…"
        return SerializationError(f"{path} is {shorten(self.value)}: {self.reason}")


def _reason(value: Any) -> str:
    kind = type(value)
    if form_of(kind) is not None:
        return f"annotate the task's parameter or result with {kind.__name__}, resolvable at run time, to send one"
    base = next((base for base in kind.__mro__[1:] if base in _PLAIN), None)
    if base is not None:
        return f"type {kind.__name__} would come back as {base.__name__}; pass {base.__name__}(...) of it"
    return f"type {kind.__name__} is no data; pass plain data, or an instance of a class that the annotations mention"


def check_text(value: str) -> None:
    """Refuse a string that UTF-8 cannot carry.

    Raises:
        Refusal: if it holds a lone surrogate.
    """
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Refusal(value, "it has a lone surrogate and is no text; pass bytes") from None


class Walk:
    """Rebuilds one value of what ``ormsgpack`` can write at once, or finds what cannot be written.

    Args:
        form: tells how instances of a class travel; None if they may not.
    """

    def __init__(self, form: Callable[[type], Form | None]) -> None:
        self._form = form
        self._open: set[int] = set()  # ids of the containers around the present value

    def plain(self, value: Any) -> Any:
        """Return ``value`` with every part that msgpack lacks as an ``Ext``.

        Raises:
            Refusal: at the first part that is no data.
        """
        kind = type(value)
        if kind in _ATOMS:
            return value
        if kind is str:
            check_text(value)
            return value
        if kind is int and -(1 << 63) <= value < 1 << 64:
            return value
        if kind in scalars.WRITERS:
            return _scalar(value)
        if kind is bytearray or kind is memoryview:
            return _octets(value)
        if id(value) in self._open:
            raise Refusal(value, "it contains itself")
        if len(self._open) >= MAX_DEPTH:
            raise Refusal(value, f"nested deeper than {MAX_DEPTH} levels")
        self._open.add(id(value))
        try:
            return self._container(value)
        finally:
            self._open.remove(id(value))

    def _container(self, value: Any) -> Any:
        kind = type(value)
        if kind is list:
            return self._items(value)
        if kind is dict:
            return self._mapping(value)
        code = CONTAINERS.get(kind)
        if code is not None:
            return _extension(code, self._items(value))
        form = self._form(kind)
        if form is None:
            raise Refusal(value, _reason(value))
        try:
            data, *more = form.dump(value)
        except SerializationError as error:  # a form of our own says what is wrong
            raise Refusal(value, str(error)) from None
        except Exception as error:  # properties of a foreign class may raise anything
            raise Refusal(value, f"reading its fields raised {type(error).__name__}") from error
        return _extension(scalars.CLASS, [form.name, self._fields(data), *more])

    def _items(self, values: Any) -> list[Any]:
        items: list[Any] = []
        ordered = isinstance(values, list | tuple)
        for item in values:
            try:
                items.append(self.plain(item))
            except Refusal as refusal:
                refusal.steps.append(f"[{len(items)}]" if ordered else f"{{{shorten(item)}}}")
                raise
        return items

    def _fields(self, data: Any) -> Any:
        """Like ``plain`` for what a form dumped; the fields are attributes in the path."""
        if type(data) is not dict:
            return self.plain(data)
        fields: dict[str, Any] = {}
        for name, value in data.items():
            try:
                fields[name] = self.plain(value)
            except Refusal as refusal:
                refusal.steps.append(f".{name}")
                raise
        return fields

    def _mapping(self, mapping: dict[Any, Any]) -> Any:
        keys: list[Any] = []
        values: list[Any] = []
        native = True
        for key, value in mapping.items():
            try:
                keys.append(self.plain(key))
            except Refusal as refusal:
                refusal.steps.append(f"{{{shorten(key)}}}")
                raise
            try:
                values.append(self.plain(value))
            except Refusal as refusal:
                refusal.steps.append(f"[{shorten(key)}]")
                raise
            native = native and (type(key) in _KEYS or (type(key) is int and type(keys[-1]) is int))
        if native:
            return dict(zip(keys, values, strict=True))
        return _extension(scalars.MAP, [part for pair in zip(keys, values, strict=True) for part in pair])


def _scalar(value: Any) -> ormsgpack.Ext:
    code, write = scalars.WRITERS[type(value)]
    try:
        return ormsgpack.Ext(code, write(value))
    except (TypeError, ValueError) as error:
        raise Refusal(value, str(error)) from None


def _octets(value: bytearray | memoryview) -> bytes:
    try:
        return bytes(value)
    except ValueError as error:  # a memoryview whose owner took its memory back
        raise Refusal(value, str(error)) from None


def _extension(code: int, form: list[Any]) -> ormsgpack.Ext:
    return ormsgpack.Ext(code, ormsgpack.packb(form, None, KEY_OPTIONS))
