"""The three orders in which a queue hands out its jobs, as scores of one sorted set."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum

from taskq.errors import InvalidName, InvalidOption, InvalidPriority, InvalidQueueName, shorten

QUEUE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MAX_QUEUE_SIZE = 2**53  # the largest whole number that a Lua script can compare exactly


class Discipline(StrEnum):
    """Which job leaves first."""

    FIFO = "fifo"
    LIFO = "lifo"
    PRIORITY = "priority"


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """What fixes a queue: its name, its discipline, and its bound on ready and delayed jobs (0: none)."""

    name: str
    discipline: Discipline = Discipline.FIFO
    maxsize: int = 0


def check_queue_name(name: object) -> str:
    """Return ``name`` if it can be a queue's name.

    Raises:
        InvalidQueueName: if it is no text, or has other characters or more than 100.
    """
    if not isinstance(name, str) or QUEUE_NAME.fullmatch(name) is None:
        raise InvalidQueueName(
            f"queue name {shorten(name)} cannot be used: 1 to 100 letters, digits, '.', '_' or '-', "
            "the first a letter or digit"
        )
    return name


def check_name(name: object, kind: str) -> str:
    """Return ``name`` if a primitive of ``kind`` can have it; the rule is that of queues.

    Raises:
        InvalidName: if it is no text, or has other characters or more than 100.
    """
    if not isinstance(name, str) or QUEUE_NAME.fullmatch(name) is None:
        raise InvalidName(
            f"{kind} name {shorten(name)} cannot be used: 1 to 100 letters, digits, '.', '_' or '-', "
            "the first a letter or digit"
        )
    return name


def check_maxsize(maxsize: object) -> int:
    """Return ``maxsize``; 0 or less means no bound, as in ``queue.Queue``.

    Raises:
        InvalidOption: if it is no whole number.
    """
    if not isinstance(maxsize, int) or isinstance(maxsize, bool) or maxsize > MAX_QUEUE_SIZE:
        raise InvalidOption(f"maxsize {shorten(maxsize)} is no whole number of jobs (0 for no bound)")
    return max(0, maxsize)


def check_priority(priority: object) -> float:
    """Return ``priority`` as a float; lower leaves first.

    Raises:
        InvalidPriority: if it is no finite number.
    """
    if isinstance(priority, bool) or not isinstance(priority, int | float):
        raise InvalidPriority(f"priority {shorten(priority)} is no number; give a finite one, lower leaves first")
    try:
        number = float(priority)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidPriority(f"priority {shorten(priority)} is not finite; give a finite number, lower leaves first")
    return number
