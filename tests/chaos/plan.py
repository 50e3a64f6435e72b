"""What the nemesis does and when, drawn from a seed, so that a run can be repeated."""

from __future__ import annotations

import random
from dataclasses import dataclass

# How often each kind is drawn; see nemesis.py for what it does.
WEIGHTS = {
    "kill child": 4,
    "kill worker": 3,
    "stop worker short": 2,
    "stop worker long": 2,
    "kill producer": 1,
    "cut connections": 4,
    "silence connections": 2,
    "refuse connections": 1,
    "slow connections": 1,
    "restart server": 3,
    "lose server": 1,
    "stop server": 1,
    "flush scripts": 3,
    "pause queue": 2,
}
PRODUCERS = 3
QUEUES = ("fifo", "stack", "ranked")


@dataclass(frozen=True)
class Strike:
    """One fault.

    Attributes:
        at: seconds after the begin.
        kind: of WEIGHTS.
        victim: number of the worker, producer, queue or child that it hits, modulo how many there are.
        dose: 0 to 1: how long, within the bounds of the kind.
    """

    at: float
    kind: str
    victim: int
    dose: float

    def __str__(self) -> str:
        return f"{self.at:6.1f} s  {self.kind} (victim {self.victim}, dose {self.dose:.2f})"


def draw(seed: int, seconds: float) -> list[Strike]:
    """Draw strikes for a run of so many seconds: each kind once at first, where there is time, then by weight."""
    dice = random.Random(seed)
    pause = (0.4, 1.2) if seconds < 30 else (0.8, 3.5)
    first = list(WEIGHTS)
    dice.shuffle(first)
    strikes, at = [], 1.0
    while at < seconds - 1:
        kind = first.pop() if first else dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        strikes.append(Strike(round(at, 2), kind, dice.randrange(1000), dice.random()))
        at += dice.uniform(*pause)
    return strikes
