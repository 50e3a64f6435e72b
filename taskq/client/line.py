"""Standing in line for something that is told by signal: the parts that all waits of this kind share."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from taskq.client.operation import Hear, Operation

if TYPE_CHECKING:
    from taskq.client.listener import Listener
    from taskq.client.signals import Bell

FIRST_SUBSCRIPTION: Final = 1.0  # seconds to wait for the listener; a server that denies it is asked again and again
BLIND: Final = 1.0  # seconds between two looks without a subscription
LONGEST_LOOK: Final = 30.0  # seconds between two looks with one: a safety net, should a message be lost


def deadline_of(seconds: float | None) -> float | None:
    """Return the end of a wait of ``seconds`` in monotonic seconds; None for one without a limit."""
    return None if seconds is None else time.monotonic() + seconds


def subscribed(listener: Listener, bell: Bell, deadline: float | None) -> Operation[None]:
    """See that this process is told of signals before the server is asked to tell it."""
    listener.start()
    if listener.epoch is None:
        yield Hear(bell, soonest(deadline, FIRST_SUBSCRIPTION))


def next_look(listener: Listener, deadline: float | None, seconds: float = LONGEST_LOOK) -> float:
    """Return when to look again, should nothing be told: after ``seconds``, or soon where nothing can be told."""
    return soonest(deadline, seconds if listener.epoch is not None else min(seconds, BLIND))


def soonest(deadline: float | None, seconds: float) -> float:
    """Return the earlier of ``deadline`` and ``seconds`` from now."""
    at = time.monotonic() + seconds
    return at if deadline is None else min(at, deadline)


def is_over(deadline: float | None) -> bool:
    """Tell whether ``deadline`` has passed."""
    return deadline is not None and time.monotonic() >= deadline
