"""Values of the state machine's model: jobs as they are sent, held and settled."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

DEAD_REASONS = {"crashed", "lost", "unknown"}
FINAL = ("done", "failed", "cancelled", "expired", "crashed", "lost", "purged", "unknown", "moved")


class FencedError(Exception):
    """The model's answer to a worker without a lease."""


@dataclass(slots=True)
class Sent:
    """A job as a producer sends it."""

    unique: str
    header: str
    delay_ms: int = 0
    rank: float = 0.0
    expires_ms: float = math.inf


@dataclass(slots=True)
class Settled:
    """One settlement of a step; ``verdict`` '' is a plain success."""

    unique: str
    delivery: int
    verdict: str
    record: str = ""
    ms: int = 60_000
    errors: str = ""
    follow: list[Sent] = field(default_factory=list)


@dataclass(slots=True)
class Held:
    """A job somewhere in the queue; ``score`` is its place there, or for a lease the place it came from."""

    sent: Sent
    data: str
    expires_at: float
    place: str = "ready"
    score: float = 0
    worker: str = ""
    delivery: int = 0  # of the last claim
    started: bool = False
    apart: bool = False
    reason: str = ""
    stored: int | None = None  # the delivery in the state, once there is one
    attempts: int = 0
    crashes: int = 0
    losses: int = 0
    defers: int = 0
    lives: int = 0
    errors: str = ""

    @property
    def suspect(self) -> bool:
        return self.crashes > 0 or self.losses > 1

    def state(self, delivery: int | None) -> str:
        text = f"{delivery or 0};{self.attempts};{self.crashes};{self.losses};{self.defers}"
        text += f";{self.lives}" if self.lives else ""
        return f"{text}\n{self.errors}" if self.errors else text


def number(value: float) -> str:
    """Return a score as the server writes it."""
    return str(int(value)) if value == int(value) else repr(value)
