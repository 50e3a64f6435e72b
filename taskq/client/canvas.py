"""Calls of tasks that are not made yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskq.client.task import Task


@dataclass(frozen=True, slots=True)
class Signature:
    """A call to be made after another job, for ``link=`` and ``link_error=``; made by ``task.s()`` and ``task.si()``.

    Attributes:
        task: what to call.
        args: its arguments; before them comes what the other job gives, unless ``immutable``.
        kwargs: its arguments by name.
        immutable: it is called with exactly these arguments.
    """

    task: Task[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    immutable: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "kwargs", MappingProxyType(dict(self.kwargs)))

    def __repr__(self) -> str:
        shown = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.kwargs.items())]
        return f"{self.task.name}.{'si' if self.immutable else 's'}({', '.join(shown)})"
