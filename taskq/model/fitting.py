"""Whether a value fits an annotation, and what plain data becomes where the annotation asks for more.

One ``Fit`` per annotation, compiled by ``annotations.py``. A value that fits comes back as the same object; plain data
as JSON or a command line gives it becomes the annotated type (a dict the dataclass, an ISO string the date, a list the
tuple); anything else is a ``Mismatch``. Instances of classes are not looked into: they were built by their own rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from taskq.errors import shorten


class Mismatch(Exception):
    """A value does not fit.

    ``steps`` lead to the part that does not, innermost first. ``plain``: the text says only what was expected.
    """

    def __init__(self, text: str, *, plain: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.plain = plain
        self.steps: list[str] = []


class Fit:
    """A rule of exact types alone; by default it fits everything.

    That is so where an annotation is missing, ``Any``, or cannot be resolved.

    Attributes:
        accepts: exact types that fit without a look inside; None where everything does.
        text: the annotation as messages name it.
    """

    __slots__ = ("accepts", "text")

    def __init__(self, text: str = "anything", accepts: Iterable[type] | None = None) -> None:
        self.accepts = None if accepts is None else frozenset(accepts)
        self.text = text

    def fit(self, value: Any) -> Any:
        """Return ``value`` itself if it fits, else what it becomes.

        Raises:
            Mismatch: if it can become nothing that fits.
        """
        if self.takes(value):
            return value
        raise self.mismatch(value)

    def takes(self, value: Any) -> bool:
        """Tell whether ``value`` fits by its type alone: the check that costs next to nothing."""
        return self.accepts is None or type(value) in self.accepts

    def takes_all(self, values: Iterable[Any]) -> bool:
        """Tell whether every one of ``values`` fits by its type alone."""
        return self.accepts is None or self.accepts.issuperset(map(type, values))

    def mismatch(self, value: Any) -> Mismatch:
        """Return the error that says what was expected."""
        return Mismatch(f"expects {self.text}, got {shorten(value)}", plain=True)


ANYTHING = Fit()


def fit_part(rule: Fit, value: Any, key: Any, frame: str = "[]") -> Any:
    """Fit the part of a value that ``key`` leads to; ``frame`` is how a path shows the key: ``[]``, ``{}`` or ``.``."""
    if rule.takes(value):
        return value
    try:
        return rule.fit(value)
    except Mismatch as mismatch:
        mismatch.steps.append(f".{key}" if frame == "." else f"{frame[0]}{shorten(key)}{frame[1]}")
        raise


class Scalar(Fit):
    """One value: a builtin or standard type, with the plain types it may be written as."""

    __slots__ = ("_apart", "_kind", "_parse", "_written")

    def __init__(
        self,
        kind: type,
        *,
        also: tuple[type, ...] = (),
        apart: tuple[type, ...] = (),
        written: tuple[type, ...] = (),
        parse: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(kind.__name__, (kind, *also))
        self._kind = kind
        self._apart = apart
        self._written = written
        self._parse = parse or kind

    def fit(self, value: Any) -> Any:
        """Return an instance of the type or of a subclass; bool is no int, a datetime no date."""
        if isinstance(value, self._kind) and not isinstance(value, self._apart):
            return value
        if type(value) in self._written:
            try:
                return self._parse(value)
            except Exception:  # parsers fail by whatever they like: ValueError, InvalidOperation, NotImplementedError
                raise self.mismatch(value) from None
        raise self.mismatch(value)


class Instance(Fit):
    """Any other class: its instances fit."""

    __slots__ = ("_cls",)

    def __init__(self, cls: type, accepts: Iterable[type] = ()) -> None:
        super().__init__(cls.__name__, accepts)
        self._cls = cls

    def fit(self, value: Any) -> Any:
        """Return an instance of the class."""
        try:
            fits = isinstance(value, self._cls)
        except TypeError:  # a protocol that cannot be checked at run time
            return value
        if fits:
            return value
        return self.build(value)

    def build(self, value: Any) -> Any:
        """Make an instance of plain data, where the kind of class allows it."""
        raise self.mismatch(value)


class Member(Instance):
    """An enum: its members fit, and their values become them."""

    __slots__ = ()

    def build(self, value: Any) -> Any:
        """Return the member with this value."""
        try:
            return self._cls(value)
        except Exception:  # a _missing_ of the class's own may raise anything
            raise self.mismatch(value) from None


class Model(Instance):
    """A pydantic model: its instances fit, anything else is validated by the model."""

    __slots__ = ()

    def build(self, value: Any) -> Any:
        """Return what the model makes of the value."""
        validate: Callable[[Any], Any] = getattr(self._cls, "model_validate")  # noqa: B009 (not on type)
        try:
            return validate(value)
        except Exception as error:  # ValidationError, or what a validator raises
            reason = " ".join(str(error).split())[:200]
            raise Mismatch(f"expects {self.text}, got {shorten(value)}: {reason}") from None


class Record(Instance):
    """A dataclass, struct or named tuple: its instances fit, a dict of its fields becomes one.

    ``fields`` is filled after the record is known, because the fields may mention the class itself.
    """

    __slots__ = ("fields", "names", "required", "sequence", "tag")

    def __init__(self, cls: type, *, sequence: bool = False) -> None:
        super().__init__(cls, (cls,))
        self.fields: dict[str, Fit] = {}
        self.names: dict[str, str] = {}  # other names that plain data may use -> the field's
        self.required: frozenset[str] = frozenset()
        self.sequence = sequence
        self.tag: tuple[str, Any] | None = None  # of a tagged struct: the key and what it must say, if it is there

    def build(self, value: Any) -> Any:
        """Return an instance made by the class's own constructor."""
        if self.sequence and isinstance(value, list | tuple) and len(value) <= len(self.fields):
            value = dict(zip(self.fields, value, strict=False))
        if not isinstance(value, dict):
            raise self.mismatch(value)
        arguments: dict[str, Any] = {}
        for key, part in value.items():
            if (key, part) == self.tag:
                continue
            name = self.names.get(key, key)
            if name not in self.fields:
                raise Mismatch(f"has a field {shorten(key)} that {self.text} does not know")
            arguments[name] = fit_part(self.fields[name], part, name, ".")
        missing = sorted(self.required.difference(arguments))
        if missing:
            raise Mismatch(f"lacks the field {missing[0]!r} of {self.text}: {shorten(value)}")
        try:
            return self._cls(**arguments)
        except Exception as error:  # __post_init__ may refuse in whatever way
            reason = str(error).partition("\n")[0][:200]
            raise Mismatch(f"expects {self.text}, got {shorten(value)}: {reason}") from None


class Shape(Fit):
    """A TypedDict: stays a dict; keys that it does not know stay too."""

    __slots__ = ("fields", "required")

    def __init__(self, name: str) -> None:
        super().__init__(name, ())
        self.fields: dict[str, Fit] = {}
        self.required: frozenset[str] = frozenset()

    def fit(self, value: Any) -> Any:
        """Return the dict, or a new one if a part had to be converted."""
        if not isinstance(value, dict):
            raise self.mismatch(value)
        missing = sorted(self.required.difference(value))
        if missing:
            raise Mismatch(f"lacks the key {missing[0]!r} of {self.text}: {shorten(value)}")
        changed: dict[str, Any] = {}
        for key, rule in self.fields.items():
            if key in value:
                part = fit_part(rule, value[key], key)
                if part is not value[key]:
                    changed[key] = part
        return {**value, **changed} if changed else value


_SEQUENCES = (list, tuple, set, frozenset)


class Items(Fit):
    """A list, tuple, set or frozenset of one kind of item, or an abstract collection of them.

    Args:
        kind: the class that the value must be of.
        item: what every item must fit.
        abstract: nothing is converted to ``kind``, because it cannot be made.
    """

    __slots__ = ("_abstract", "_item", "_kind")

    def __init__(self, kind: type, item: Fit, *, abstract: bool = False) -> None:
        inside = "" if item is ANYTHING else f"[{item.text}{', ...' if kind is tuple else ''}]"
        accepts = (kind,) if item is ANYTHING and not abstract else ()
        super().__init__(f"{kind.__name__}{inside}", accepts)
        self._kind = kind
        self._item = item
        self._abstract = abstract

    def fit(self, value: Any) -> Any:
        """Return the collection, or a new one if it or an item had to be converted."""
        fits = isinstance(value, self._kind)
        if not isinstance(value, _SEQUENCES):
            if fits:
                return value
            raise self.mismatch(value)
        if not fits and self._abstract:
            raise self.mismatch(value)
        items = self._fit_items(value)
        if items is None:
            return value if fits else self._kind(value)
        return type(value)(items) if self._abstract else self._kind(items)

    def _fit_items(self, values: Any) -> list[Any] | None:
        """Return the items if one of them had to be converted, else None."""
        if self._item.takes_all(values):
            return None
        if isinstance(values, list | tuple):
            items = [fit_part(self._item, value, index) for index, value in enumerate(values)]
        else:
            items = [fit_part(self._item, value, value, "{}") for value in values]
        return None if all(map(_same, items, values)) else items


def _same(one: object, other: object) -> bool:
    return one is other


class Row(Fit):
    """A tuple with one rule per place."""

    __slots__ = ("_rules",)

    def __init__(self, rules: tuple[Fit, ...]) -> None:
        super().__init__(f"tuple[{', '.join(rule.text for rule in rules) or '()'}]", ())
        self._rules = rules

    def fit(self, value: Any) -> Any:
        """Return the tuple, or a new one if it was a list or an item had to be converted."""
        if not isinstance(value, list | tuple) or len(value) != len(self._rules):
            raise self.mismatch(value)
        items = tuple(
            fit_part(rule, part, index) for index, (rule, part) in enumerate(zip(self._rules, value, strict=True))
        )
        return value if isinstance(value, tuple) and all(map(_same, items, value)) else items


class Table(Fit):
    """A dict or an abstract mapping with one rule for keys and one for values."""

    __slots__ = ("_key", "_kind", "_value")

    def __init__(self, kind: type, key: Fit, value: Fit) -> None:
        plain = key is ANYTHING and value is ANYTHING
        inside = "" if plain else f"[{key.text}, {value.text}]"
        super().__init__(f"{kind.__name__}{inside}", (dict,) if plain and issubclass(dict, kind) else ())
        self._kind = kind
        self._key = key
        self._value = value

    def fit(self, value: Any) -> Any:
        """Return the mapping, or a new dict if a part had to be converted."""
        if not isinstance(value, self._kind):
            raise self.mismatch(value)
        if not isinstance(value, Mapping) or (self._key.takes_all(value) and self._value.takes_all(value.values())):
            return value
        changed = False
        table: dict[Any, Any] = {}
        for key, part in value.items():
            new_key = fit_part(self._key, key, key, "{}")
            new_part = fit_part(self._value, part, key)
            changed = changed or new_key is not key or new_part is not part
            table[new_key] = new_part
        return table if changed else value


class OneOf(Fit):
    """A union: the first alternative that takes the value as it is, else the first that it can become."""

    __slots__ = ("_rules",)

    def __init__(self, rules: tuple[Fit, ...]) -> None:
        accepts: frozenset[type] | None = frozenset()
        for rule in rules:
            accepts = None if accepts is None or rule.accepts is None else accepts | rule.accepts
        super().__init__(" | ".join(rule.text for rule in rules), accepts)
        self._rules = rules

    def fit(self, value: Any) -> Any:
        """Return the value, or what the first alternative that can makes of it."""
        found: list[Any] = []
        telling: list[Mismatch] = []
        for rule in self._rules:
            try:
                result = rule.fit(value)
            except Mismatch as mismatch:
                if mismatch.steps or not mismatch.plain:
                    telling.append(mismatch)
            else:
                if result is value:
                    return value
                found.append(result)
        if found:
            return found[0]
        if len(telling) == 1:  # of "Point | None", what is wrong inside the point says more than that it is neither
            raise telling[0]
        raise self.mismatch(value)


class Choice(Fit):
    """A Literal: its values fit, of exactly their types."""

    __slots__ = ("_values",)

    def __init__(self, values: tuple[Any, ...]) -> None:
        super().__init__(" | ".join(repr(value) for value in values), ())
        self._values = values

    def fit(self, value: Any) -> Any:
        """Return the value if it is one of the choices; the value of an enum's member becomes the member."""
        for choice in self._values:
            if type(value) is type(choice) and value == choice:
                return value
        for choice in self._values:
            if getattr(choice, "_value_", choice) == value and type(getattr(choice, "_value_", choice)) is type(value):
                return choice
        raise self.mismatch(value)


class Bounded(Fit):
    """An Annotated with msgspec's constraints, such as ``Annotated[int, Meta(gt=0)]``."""

    __slots__ = ("_annotation", "_rule")

    def __init__(self, rule: Fit, annotation: Any) -> None:
        super().__init__(rule.text, ())
        self._rule = rule
        self._annotation = annotation

    def fit(self, value: Any) -> Any:
        """Return what the inner rule makes of the value, if it keeps the constraints."""
        value = self._rule.fit(value)
        try:
            msgspec.convert(value, self._annotation)
        except msgspec.ValidationError as error:
            raise Mismatch(f"expects {self.text}, got {shorten(value)}: {error}") from None
        return value
