"""Arguments and results as bytes and back: what goes in comes out, and what would not is refused by its path.

The default codec is msgpack with one extension per type that msgpack lacks (``scalars.py``) and one for the classes
of the annotations (``classmap.py``). Plain values cost one call of ``ormsgpack``; only what that cannot write is walked
in Python. Known bounds: ``bytearray`` and ``memoryview`` arrive as ``bytes`` unless annotated otherwise, sets in any
order, and MAX_DEPTH levels of nesting always pass while deeper ones may be refused.
"""

from __future__ import annotations

import json
import logging
import math
import pickle
from typing import Any, Final, Protocol

import ormsgpack

from taskq.errors import InvalidOption, SerializationError, shorten
from taskq.model.classmap import ClassMap
from taskq.model.scalars import MAX_DEPTH, PACK_OPTIONS
from taskq.model.walk import KEY_OPTIONS, Refusal, Walk, check_text

logger = logging.getLogger(__name__)

CODECS: Final = ("", "json", "pickle")

MAX_JSON_INT: Final = 14_000  # bits; Python reads and writes at most 4300 digits


class Codec(Protocol):
    """One way to write values. Stateless, safe to share between threads and apps."""

    @property
    def name(self) -> str:
        """The name that a job carries; empty for the default."""

    def encode(self, value: Any, types: ClassMap, root: str) -> bytes:
        """Return the bytes of ``value``.

        Args:
            value: any data, and instances of the classes in ``types``.
            types: the classes that the task's annotations mention.
            root: what messages call the value, such as ``result``; empty for a dict whose keys are the roots.

        Raises:
            SerializationError: for anything else; the message names the path.
        """

    def decode(self, data: bytes, types: ClassMap) -> Any:
        """Return the value of ``data``; instances of classes that are not in ``types`` come as plain data.

        Raises:
            SerializationError: if the bytes are damaged, nested too deeply, or refused by a class.
        """


class MsgpackCodec:
    """The default codec: data only, faithful."""

    name: Final = ""

    def encode(self, value: Any, types: ClassMap, root: str) -> bytes:
        """See ``Codec.encode``."""
        try:
            return ormsgpack.packb(value, types.pack, PACK_OPTIONS)
        except Exception:  # whatever it was, the walk finds it again with its path, or writes it
            return self._encode_by_walk(value, types, root)

    def _encode_by_walk(self, value: Any, types: ClassMap, root: str) -> bytes:
        try:
            return ormsgpack.packb(Walk(types.form).plain(value), None, KEY_OPTIONS)
        except Refusal as refusal:
            raise refusal.error(root) from refusal.__cause__
        except RecursionError:
            raise SerializationError(f"{root or 'the call'} is nested too deeply for this stack") from None

    def decode(self, data: bytes, types: ClassMap) -> Any:
        """See ``Codec.decode``."""
        try:
            return types.unpack(data)
        except Exception as error:  # a class of the map may raise anything
            raise _unreadable("msgpack", data, error) from None


def _unreadable(name: str, data: bytes, error: Exception) -> SerializationError:
    if isinstance(error, SerializationError):
        return error
    if isinstance(error, RecursionError):
        reason = "nested too deeply"
    else:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
    return SerializationError(f"{name} data {shorten(data[:40])} cannot be read: {reason}")


class JsonCodec:
    """JSON for readers in other languages: refuses everything that JSON would change, tuples included."""

    name: Final = "json"

    def encode(self, value: Any, types: ClassMap, root: str) -> bytes:  # noqa: ARG002 (the protocol's shape)
        """See ``Codec.encode``; ``types`` have no place in JSON."""
        try:
            self._check(value, 0)
            return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        except Refusal as refusal:
            raise refusal.error(root) from None
        except (RecursionError, ValueError) as error:
            raise SerializationError(f"{root or 'the call'} cannot be written as JSON: {error}") from None

    def _check(self, value: Any, depth: int) -> None:
        kind = type(value)
        if kind is str:
            check_text(value)
        elif kind is float:
            if not math.isfinite(value):
                raise Refusal(value, "JSON has no such number; use the default serializer")
        elif kind is list or kind is dict:
            if depth >= MAX_DEPTH:
                raise Refusal(value, f"nested deeper than {MAX_DEPTH} levels, or contains itself")
            self._check_parts(value, depth)
        elif kind is int:
            if value.bit_length() > MAX_JSON_INT:
                raise Refusal(value, "too long a number for JSON; use the default serializer")
        elif value is not None and kind is not bool:
            raise Refusal(value, f"JSON cannot carry a {kind.__name__}; use the default serializer")

    def _check_parts(self, parts: Any, depth: int) -> None:
        for key, value in parts.items() if type(parts) is dict else enumerate(parts):
            try:
                if type(parts) is dict:
                    _check_key(key)
                self._check(value, depth + 1)
            except Refusal as refusal:
                refusal.steps.append(f"[{shorten(key)}]")
                raise

    def decode(self, data: bytes, types: ClassMap) -> Any:  # noqa: ARG002
        """See ``Codec.decode``."""
        try:
            return json.loads(str(data, "utf-8"), parse_constant=_no_constant)
        except Exception as error:
            raise _unreadable("JSON", data, error) from None


def _check_key(key: Any) -> None:
    if type(key) is not str:
        raise Refusal(key, "JSON keys are strings; use the default serializer")
    check_text(key)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


class PickleCodec:
    """Pickle, for receivers who trust everybody that can write to their server: reading a pickle runs its code."""

    name: Final = "pickle"

    def encode(self, value: Any, types: ClassMap, root: str) -> bytes:  # noqa: ARG002
        """See ``Codec.encode``."""
        try:
            return pickle.dumps(value, protocol=5)
        except Exception as error:
            refusal = _find_unpicklable(value, str(error).partition("\n")[0][:200] or type(error).__name__)
            raise refusal.error(root) from None

    def decode(self, data: bytes, types: ClassMap) -> Any:  # noqa: ARG002
        """See ``Codec.decode``."""
        try:
            return pickle.loads(data)  # noqa: S301 (Serializers gives this codec only to who allowed it)
        except Exception as error:
            raise _unreadable("pickle", data, error) from None


def _find_unpicklable(value: Any, reason: str) -> Refusal:
    """Follow the first part that cannot be pickled down to where it is the part itself."""
    steps: list[str] = []
    while len(steps) < MAX_DEPTH:
        for step, part in _parts(value):
            if not _can_pickle(part):
                steps.append(step)
                value = part
                break
        else:
            break
    refusal = Refusal(value, reason)
    refusal.steps = steps[::-1]
    return refusal


def _parts(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"[{shorten(key)}]", part) for key, part in value.items()]
    if isinstance(value, list | tuple):
        return [(f"[{index}]", part) for index, part in enumerate(value)]
    return [(f".{name}", part) for name, part in getattr(value, "__dict__", {}).items()]


def _can_pickle(value: Any) -> bool:
    try:
        pickle.dumps(value, protocol=5)
    except Exception:
        return False
    return True


class Serializers:
    """The codecs that one app may use.

    Args:
        allow_pickle: read and write pickles. Whoever can write to the server can then run code in every worker and
            client that allows it; a job's own word is never enough.
    """

    def __init__(self, *, allow_pickle: bool = False) -> None:
        self._codecs: dict[str, Codec] = {"": MsgpackCodec(), "json": JsonCodec()}
        if allow_pickle:
            self._codecs["pickle"] = PickleCodec()
            logger.warning(
                "pickle is allowed: whoever can write to the broker can run code here",
                extra={"action": "pickle_allowed"},
            )

    def codec(self, name: str) -> Codec:
        """Return the codec of a name that came with a job.

        Raises:
            SerializationError: if it is unknown, or pickle without ``allow_pickle``.
        """
        codec = self._codecs.get(name)
        if codec is not None:
            return codec
        if name == "pickle":
            raise SerializationError("pickle is refused: the receiver does not allow it (allow_pickle=True)")
        raise SerializationError(
            f"serializer {shorten(name)} is unknown; there are 'json', 'pickle' and the default ''"
        )

    def check(self, name: object) -> str:
        """Return ``name`` if a task may declare it as its serializer.

        Raises:
            InvalidOption: if it is unknown, or pickle without ``allow_pickle``.
        """
        if isinstance(name, str) and name in self._codecs:
            return name
        allowed = ", ".join(repr(known) for known in sorted(self._codecs))
        hint = "; pickle needs allow_pickle=True" if name == "pickle" else ""
        raise InvalidOption(f"serializer {shorten(name)} cannot be used: choose one of {allowed}{hint}")
