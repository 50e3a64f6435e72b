"""The classes that may travel with one task, and the hooks of msgpack that know them.

A stored class name is only ever looked up in the ``ClassMap`` that the reader made of its own annotations; nothing is
imported. A reader that does not know the class gets the plain data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import msgspec
import ormsgpack

from taskq.errors import SerializationError
from taskq.model import scalars
from taskq.model.scalars import CONTAINERS, MAX_DEPTH, PACK_OPTIONS
from taskq.model.types import Form
from taskq.model.walk import Walk

# Tuples, sets and instances inside each other that are packed at once. What nests deeper is walked, because the packer
# has no bound over all of them together, and the reader's stack has.
FAST_LEVELS: Final = 2
_GATHER: Final[Mapping[int, Callable[[Any], Any]]] = MappingProxyType({code: kind for kind, code in CONTAINERS.items()})


class ClassMap:
    """The classes that one task's annotations mention. Immutable; made once per task.

    Attributes:
        pack: the hook for ``ormsgpack.packb``.
        unpack: reads a whole message of msgpack.
    """

    __slots__ = ("_by_class", "_by_name", "pack", "unpack")

    def __init__(self, forms: Iterable[Form] = ()) -> None:
        self._by_class = {form.cls: form for form in forms}
        self._by_name: dict[str, Form | None] = {}
        for form in self._by_class.values():
            if isinstance(form.cls, str):  # without a short name: a class of the user's may be called so, too
                self._by_name[form.name] = form
                continue
            # Full names, and short ones for a script's "__main__:Point". One that two classes share names neither.
            for name in (form.name, form.cls.__qualname__):
                self._by_name[name] = None if name in self._by_name else form
        hook: Callable[[Any], ormsgpack.Ext] = self._pack_by_walk
        for _ in range(FAST_LEVELS):
            hook = partial(self._pack, hook)
        self.pack = hook
        self.unpack = _Reader(self, 0).decode

    def form(self, cls: type) -> Form | None:
        """Return the form of ``cls`` itself, or None if no annotation mentions it."""
        return self._by_class.get(cls) or self._by_class.get(f"{cls.__module__}:{cls.__qualname__}")

    def named(self, name: str) -> Form | None:
        """Return the form stored as ``module:qualname``, or the only one of this qualname, or None."""
        return self._by_name.get(name) or self._by_name.get(name.partition(":")[2])

    def including(self, forms: Iterable[Form]) -> ClassMap:
        """Return a map that knows ``forms`` too."""
        return ClassMap([*self._by_class.values(), *forms])

    def _pack(self, inner: Callable[[Any], ormsgpack.Ext], value: Any) -> ormsgpack.Ext:
        """Pack what msgpack lacks; any exception sends the codec to the walk, which names the path."""
        kind = type(value)
        writer = scalars.WRITERS.get(kind)
        if writer is not None:
            return ormsgpack.Ext(writer[0], writer[1](value))
        code = CONTAINERS.get(kind)
        if code is not None:
            return ormsgpack.Ext(code, ormsgpack.packb([*value], inner, PACK_OPTIONS))
        form = self._by_class[kind]
        return ormsgpack.Ext(scalars.CLASS, ormsgpack.packb([form.name, *form.dump(value)], inner, PACK_OPTIONS))

    def _pack_by_walk(self, value: Any) -> ormsgpack.Ext:
        packed: ormsgpack.Ext = Walk(self.form).plain(value)
        return packed


class _Reader:
    """Reads msgpack at one level of extensions inside each other; the next level is made when data needs it.

    The levels bound the C stack: Python's own limit counts differently in every version, and hostile data would fill
    the stack of a small thread before it is reached.
    """

    __slots__ = ("_classes", "_inner", "_level", "decode")

    def __init__(self, classes: ClassMap, level: int) -> None:
        self._classes = classes
        self._level = level
        self._inner: Callable[[memoryview], Any] | None = None
        self.decode: Callable[[Any], Any] = msgspec.msgpack.Decoder(ext_hook=self._extension).decode

    def _extension(self, code: int, data: memoryview) -> Any:
        read = scalars.READERS.get(code)
        if read is not None:
            return read(data)
        inside = (self._inner or self._deeper())(data)
        gather = _GATHER.get(code)
        if gather is not None:
            return gather(inside)
        if code == scalars.CLASS:
            return self._instance(*inside)
        if code == scalars.MAP:
            flat = iter(inside)
            return dict(zip(flat, flat, strict=True))
        raise SerializationError(f"extension {code} is unknown; it was written by another program or a newer taskq")

    def _deeper(self) -> Callable[[memoryview], Any]:
        if self._level > MAX_DEPTH + FAST_LEVELS:
            raise SerializationError(f"data is nested deeper than {MAX_DEPTH} levels")
        self._inner = _Reader(self._classes, self._level + 1).decode
        return self._inner

    def _instance(self, name: str, *parts: Any) -> Any:
        form = self._classes.named(name)
        if form is None:
            return parts[0]
        try:
            return form.load(*parts)
        except Exception as error:  # a class may refuse its data in whatever way it likes
            reason = str(error).partition("\n")[0][:200]
            raise SerializationError(
                f"{form.name.rpartition(':')[2]} cannot be built from its data: {type(error).__name__}: {reason}"
            ) from error


NO_CLASSES: Final = ClassMap()
