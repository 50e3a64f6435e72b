"""One Redis operation as a value: which script, which keys and arguments, how its reply is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import hiredis

from taskq.broker.keys import QueueKeys
from taskq.broker.scripts import Script

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Argument = str | bytes | int | float


class ScriptCall(Protocol[T_co]):
    """What a session runs: a ``Call``, or one that packs itself in a quicker way."""

    @property
    def script(self) -> Script:
        """Which script."""

    @property
    def parse(self) -> Callable[[list[Any]], T_co]:
        """Turns the reply into the answer."""

    @property
    def deadline(self) -> float | None:
        """Seconds for which it is repeated; the session's where None."""

    def pack(self, session: str, seq: int, *, by_source: bool = False) -> bytes:
        """Return the command's bytes."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A script call that has not been sent.

    Attributes:
        script: which one.
        queue: the keys of the queue that it touches.
        keys: all keys but the session's, in the script's order.
        arguments: all arguments but the session's two.
        parse: turns the reply into the answer; raises what the reply means.
        first: tells the call from another one with the same number after a fork; the first job's id.
        deadline: seconds for which it is repeated; the session's where None.
    """

    script: Script
    queue: QueueKeys
    keys: Sequence[str]
    arguments: Sequence[Argument]
    parse: Callable[[list[Any]], T]
    first: str = ""
    deadline: float | None = None

    def pack(self, session: str, seq: int, *, by_source: bool = False) -> bytes:
        """Return the command's bytes, by the script's hash or with its whole source."""
        command, body = (b"EVAL", self.script.source) if by_source else (b"EVALSHA", self.script.sha)
        if self.script.read_only:  # so that the right to read its keys is enough
            command += b"_RO"
        if self.script.has_session:
            keys = (self.queue.session(session), *self.keys)
            parts: tuple[Any, ...] = (command, body, len(keys), *keys, seq, self.first, *self.arguments)
        else:
            parts = (command, body, len(self.keys), *self.keys, *self.arguments)
        packed: bytes = hiredis.pack_command(parts)
        return packed


def make_call(
    script: Script,
    queue: QueueKeys,
    arguments: Sequence[Argument],
    parse: Callable[[list[Any]], T],
    *,
    worker: str = "",
    extra_keys: Sequence[str] = (),
    first: str = "",
) -> Call[T]:
    """Build a call with the keys that the script's header names, and ``extra_keys`` after them."""
    keys = queue.fixed(script.keys, worker)
    return Call(script, queue, (*keys, *extra_keys) if extra_keys else keys, arguments, parse, first)


@dataclass(frozen=True, slots=True)
class Command(Generic[T]):
    """A plain command: reading, or writing what may be written twice; ``deadline`` as of a ``Call``."""

    parts: tuple[Argument, ...]
    parse: Callable[[Any], T]
    deadline: float | None = None

    def pack(self) -> bytes:
        """Return the command's bytes."""
        packed: bytes = hiredis.pack_command(self.parts)  # type: ignore[arg-type]  # its stub knows tuples of one
        return packed
