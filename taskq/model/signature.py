"""What a task may be called with: checked when the job is made, and again when a worker reads it.

The arguments travel as a list where all of them are positional, else as ``{"args": [...], "kwargs": {...}}``.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from taskq.errors import BadArguments, InvalidTask, SerializationError, shorten
from taskq.model.annotations import Compiler, hints_of
from taskq.model.classmap import ClassMap
from taskq.model.fitting import ANYTHING, Fit, Mismatch
from taskq.model.serializer import Codec
from taskq.model.types import Form

Forms: TypeAlias = Callable[[], Iterable[Form]]
_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_STARRED: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
MAX_TEXT: Final = 200  # characters of a signature in a message
_NEVER: Final = sys.maxsize  # more positional arguments than any call has


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a task, as a command line shows it.

    Attributes:
        name: without stars.
        kind: as ``inspect.Parameter.kind``.
        required: there is no default.
        text: the parameter as it is written in Python, such as ``depth: int = 0``.
    """

    name: str
    kind: Any
    required: bool
    text: str


@dataclass(frozen=True, slots=True)
class _Rules:
    """The compiled annotations: by place, by keyword, for ``*args`` and for ``**kwargs``."""

    places: tuple[Fit, ...]
    named: Mapping[str, Fit]
    rest: Fit
    extra: Fit
    classes: ClassMap


class Signature:
    """The parameters of one task and how its arguments and results travel.

    Made once at registration; the annotations are resolved at the first use, so that they may name classes that are
    defined after the task. Safe to share between threads.

    Attributes:
        name: the task's, for messages.
        parameters: without the job context of a bound task.
        has_varargs: the task takes any number of positional arguments.
        has_varkw: the task takes any keyword argument.
    """

    __slots__ = (
        "_accepts",
        "_annotations",
        "_classes",
        "_forms",
        "_function",
        "_least",
        "_most",
        "_named",
        "_places",
        "_required",
        "_rules",
        "_text",
        "has_varargs",
        "has_varkw",
        "name",
        "parameters",
    )

    def __init__(
        self, function: Callable[..., Any], parameters: Sequence[inspect.Parameter], name: str, forms: Forms
    ) -> None:
        self.name = name
        self.parameters = tuple(
            Parameter(p.name, p.kind, p.default is p.empty and p.kind not in _STARRED, str(p)) for p in parameters
        )
        self.has_varargs = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self.has_varkw = any(p.kind is p.VAR_KEYWORD for p in parameters)
        text = " ".join(str(inspect.Signature(parameters)).split())
        self._text = text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
        self._function = function
        self._forms = forms
        self._annotations = {p.name: p.annotation for p in parameters}
        self._places = tuple(p.name for p in parameters if p.kind in _POSITIONAL)
        self._named = frozenset(p.name for p in parameters if p.kind in {p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY})
        self._required = tuple(p.name for p in self.parameters if p.required)
        positional = [name for name in self._required if name in self._places]
        # A call of so many positional arguments and no others is checked without looking at names.
        self._least = len(positional) if len(positional) == len(self._required) else _NEVER
        self._most = len(self._places)
        self._accepts: tuple[frozenset[type] | None, ...] = ()
        self._classes: ClassMap | None = None
        self._rules: _Rules | None = None

    @classmethod
    def of(
        cls, function: Callable[..., Any], *, name: str = "", skip_first: bool = False, forms: Forms = tuple
    ) -> Signature:
        """Read the signature of a function.

        Args:
            function: the task's function, also a ``functools.partial`` or a wrapper made with ``functools.wraps``.
            name: the task's name, for messages.
            skip_first: the first parameter is the job context of a bound task and no argument.
            forms: returns how objects of the app's own travel, such as queues and events; they need no annotation.
                Called at the first use, too.

        Raises:
            InvalidTask: if the signature cannot be read, or ``skip_first`` finds no first parameter.
        """
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):
            raise InvalidTask(f"{shorten(function)} cannot be a task: it has no signature; wrap it in a def") from None
        name = name or getattr(function, "__qualname__", "") or shorten(function)
        if skip_first:
            if not parameters or parameters[0].kind not in {*_POSITIONAL, inspect.Parameter.VAR_POSITIONAL}:
                raise InvalidTask(f"task {name!r} is bound: it needs a first parameter for the job context")
            if parameters[0].kind in _POSITIONAL:
                del parameters[0]
        return cls(function, parameters, name, forms)

    def __str__(self) -> str:
        return self._text

    @property
    def classes(self) -> ClassMap:
        """The classes that may travel, because an annotation mentions them."""
        return self._classes or self._compile().classes

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Check that a call fits, without changing its values.

        Args:
            args: the positional arguments, without the job context.
            kwargs: the keyword arguments.

        Returns:
            The same arguments as a tuple and a dict, ready for ``encode_arguments``.

        Raises:
            BadArguments: if an argument is missing, unexpected, given twice, or does not fit its annotation.
        """
        args = tuple(args)
        if kwargs or not self._fits_by_type(args):
            kwargs = dict(kwargs)
            self._fit_call(args, kwargs)
            return args, kwargs
        return args, {}

    def bind_rest(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Check a call whose first argument comes later, and is checked then; else as ``bind``.

        Args:
            args: the positional arguments after the first.
            kwargs: the keyword arguments.

        Raises:
            BadArguments: as ``bind``, or nothing can come first.
        """
        args, kwargs = tuple(args), dict(kwargs)
        self._check_names((None, *args), kwargs)
        self._fit_call((None, *args), kwargs, first=ANYTHING)
        return args, kwargs

    def encode_arguments(self, codec: Codec, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """Return the payload of a job.

        Raises:
            SerializationError: if an argument is no data; the message names its path, such as ``args[1].f``.
        """
        classes = self._classes or self._compile().classes
        if not kwargs:
            return codec.encode([*args], classes, "args")
        call: dict[str, Any] = {"args": [*args]} if args else {}
        call["kwargs"] = dict(kwargs)
        return codec.encode(call, classes, "")

    def decode_arguments(self, codec: Codec, payload: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Read a payload, and make plain data what the annotations ask for.

        Raises:
            SerializationError: if the payload is damaged or no call.
            BadArguments: if the arguments do not fit the task.
        """
        call = codec.decode(payload, self._classes or self._compile().classes)
        kwargs: Any = {}
        if type(call) is dict and call and call.keys() <= {"args", "kwargs"}:
            call, kwargs = call.get("args", []), call.get("kwargs", {})
        if type(call) is not list or type(kwargs) is not dict:
            raise SerializationError(f"payload of task {self.name!r} holds no arguments: {shorten(call)}")
        args = tuple(call)
        if kwargs or not self._fits_by_type(args):
            return self._fit_call(args, kwargs)
        return args, {}

    def encode_result(self, codec: Codec, value: Any) -> bytes:
        """Return the bytes of what the task returned.

        Raises:
            SerializationError: if it is no data; the message names the path, such as ``result.items[0]``.
        """
        return codec.encode(value, self._classes or self._compile().classes, "result")

    def decode_result(self, codec: Codec, data: bytes) -> Any:
        """Return what the task returned; the classes of its annotations come back as such.

        Nothing is converted or checked: a function is free to return what it did not promise.

        Raises:
            SerializationError: if the bytes are damaged.
        """
        return codec.decode(data, self._classes or self._compile().classes)

    def _compile(self) -> _Rules:
        """Resolve the annotations. Two threads may do it at once; both come to the same."""
        if self._rules is not None:
            return self._rules
        hints = hints_of(_annotated(self._function))
        compiler = Compiler()
        rules = {}
        for name, annotation in self._annotations.items():
            if annotation is inspect.Parameter.empty:
                rules[name] = ANYTHING
            else:
                rules[name] = compiler.rule(hints.get(name, Any if isinstance(annotation, str) else annotation))
        compiler.rule(hints.get("return", Any))
        starred = {p.kind: rules[p.name] for p in self.parameters if p.kind in _STARRED}
        places = tuple(rules[name] for name in self._places)
        rest = starred.get(inspect.Parameter.VAR_POSITIONAL, ANYTHING)
        compiled = _Rules(
            places,
            {name: rules[name] for name in self._named},
            rest,
            starred.get(inspect.Parameter.VAR_KEYWORD, ANYTHING),
            compiler.classes(tuple(self._forms())),
        )
        self._accepts = tuple(rule.accepts for rule in places)
        if self.has_varargs and rest.accepts is None:
            self._most = _NEVER
        self._rules = compiled
        self._classes = compiled.classes
        return compiled

    def _fits_by_type(self, args: tuple[Any, ...]) -> bool:
        """Tell whether a call of positional arguments alone fits by their number and exact types."""
        if self._classes is None:
            self._compile()
        if not self._least <= len(args) <= self._most:
            return False
        for value, accepted in zip(args, self._accepts):  # noqa: B905 (an argument with a default may be left out)
            if accepted is not None and type(value) not in accepted:
                return False
        return True

    def _fit_call(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], first: Fit | None = None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        self._check_names(args, kwargs)
        rules = self._compile()
        count = len(self._places)
        fit = self._fit_argument
        places = rules.places if first is None else (first, *rules.places[1:])
        fitted = tuple(map(fit, places, args, self._places))
        if len(args) > count:
            fitted += tuple(fit(rules.rest, value, f"*{index}") for index, value in enumerate(args[count:], count))
        return fitted, {name: fit(rules.named.get(name, rules.extra), value, name) for name, value in kwargs.items()}

    def _check_names(self, args: tuple[Any, ...], kwargs: dict[Any, Any]) -> None:
        count = len(args)
        if count > len(self._places) and not self.has_varargs:
            raise BadArguments(
                f"task {self.name!r} takes at most {len(self._places)} positional arguments, got {count}: "
                f"{shorten(args[len(self._places)])} is too many; its signature is {self}"
            )
        given = self._places[:count]
        for name in kwargs:
            if name not in self._named:
                if not self.has_varkw or not isinstance(name, str):
                    raise self._unexpected(name)
            elif name in given:
                raise BadArguments(f"task {self.name!r} got argument {name!r} twice: by place and by name")
        for name in self._required:
            if name not in given and not (name in kwargs and name in self._named):
                raise BadArguments(f"task {self.name!r} lacks argument {name!r}; its signature is {self}")

    def _unexpected(self, name: object) -> BadArguments:
        import difflib

        near = difflib.get_close_matches(name, self._named, 1) if isinstance(name, str) else []
        hint = f"did you mean {near[0]!r}?" if near else f"its signature is {self}"
        return BadArguments(f"task {self.name!r} has no argument {shorten(name)}; {hint}")

    def _fit_argument(self, rule: Fit, value: Any, name: str) -> Any:
        if rule.takes(value):
            return value
        try:
            return rule.fit(value)
        except Mismatch as mismatch:
            path = name + "".join(reversed(mismatch.steps))
            raise BadArguments(f"argument {path!r} of task {self.name!r} {mismatch.text}") from None
        except RecursionError:
            raise BadArguments(f"argument {name!r} of task {self.name!r} is nested too deeply") from None


def plain_signature(name: str, forms: Forms = tuple) -> Signature:
    """Return the signature of a task that is unknown here: any arguments, plain data only, nothing checked."""
    return Signature.of(_anything, name=name, forms=forms)


def _anything(*args: Any, **kwargs: Any) -> Any:
    """Stand for the function of an unknown task."""


def _annotated(function: Any) -> Any:
    """Return the function that was written with the annotations, below partials and wrappers."""
    while True:
        inner = inspect.unwrap(function)
        if not isinstance(inner, functools.partial):
            return inner
        function = inner.func


def check_task(function: object) -> None:
    """Check that a function can be a task.

    Raises:
        InvalidTask: for classes, methods, lambdas, generators and what is no function at all.
    """
    reason = _objection(function)
    if reason:
        raise InvalidTask(f"{shorten(function)} cannot be a task: {reason}")


def _objection(function: Any) -> str:
    if isinstance(function, functools.partial):
        return _objection(function.func)
    if isinstance(function, type):
        return "it is a class; decorate a function that makes one"
    if isinstance(function, staticmethod | classmethod) or inspect.ismethod(function) or _is_method(function):
        return "it is a method, and its object would not travel; decorate a function of a module"
    if not callable(function) or not hasattr(inspect.unwrap(function), "__qualname__"):
        return f"a {type(function).__name__} is no function; decorate a def"
    if getattr(function, "__name__", "") == "<lambda>":
        return "a lambda has no name that a worker could find it by; use a def"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return "it is a generator, whose values would have no receiver; return a list, or enqueue a job per value"
    try:
        inspect.signature(function)
    except (TypeError, ValueError):
        return "it has no signature; wrap it in a def"
    return ""


def _is_method(function: Any) -> bool:
    """Tell whether a builtin is bound to an object, or a function stands in a class body and takes ``self``."""
    if inspect.isbuiltin(function):
        return not inspect.ismodule(function.__self__)
    path = getattr(function, "__qualname__", "").split(".")
    if len(path) < 2 or path[-2] == "<locals>" or not inspect.isfunction(function):
        return False
    return function.__code__.co_varnames[: function.__code__.co_argcount][:1] in {("self",), ("cls",)}
