"""Places in a line, as scripts give them to whoever waits for a permit, an item or room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

NO_PLACE: Final = ""  # the turn of who does not wait
LAST_PLACE: Final = "0"  # of who comes new, at the end


@dataclass(frozen=True, slots=True)
class Wait:
    """A place in a line.

    Attributes:
        turn: keeps the place when asking again.
        again: seconds after which to ask again, should nothing be told before.
    """

    turn: str
    again: float


def parse_wait(parts: list[Any]) -> Wait:
    """Read a turn and microseconds."""
    return Wait(parts[0].decode(), int(parts[1]) / 1e6)


def microseconds(seconds: float) -> int:
    """Return seconds as scripts take them."""
    return round(seconds * 1e6)
