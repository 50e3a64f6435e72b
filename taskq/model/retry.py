"""When a failed attempt is followed by another one."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from taskq.errors import InvalidOption, shorten

MAX_RETRIES = 1_000_000  # more is meant as "for ever", which a job that nobody watches must not be
MAX_DELAY = 24 * 3600.0  # seconds; 2 ** attempts passes any date soon


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and after how long a task is tried again.

    Attributes:
        max_retries: attempts after the first one.
        retry_on: names of the exception classes, as ``type.__name__`` of any class in the raised one's MRO.
        backoff: seconds before the first retry; each later one waits twice as long, at most a day.
        jitter: share of the delay that is left to chance, 0 to 1.
    """

    max_retries: int = 0
    retry_on: tuple[str, ...] = ("Exception",)
    backoff: float = 1.0
    jitter: float = 0.5

    def allows(self, attempts: int) -> bool:
        """Tell whether another attempt may follow after ``attempts`` failed ones (the present one not counted)."""
        return attempts < self.max_retries

    def delay(self, attempts: int) -> float:
        """Return the seconds to wait before the attempt after ``attempts + 1`` failed ones."""
        try:
            delay = min(MAX_DELAY, self.backoff * 2.0**attempts)
        except OverflowError:
            delay = MAX_DELAY
        return delay * (1 - self.jitter * random.random())


def check_max_retries(value: object) -> int:
    """Return ``value`` if it is a number of retries.

    Raises:
        InvalidOption: outside 0 to 1,000,000.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_RETRIES:
        raise InvalidOption(f"max_retries {shorten(value)} is no whole number from 0 to {MAX_RETRIES}")
    return value


def check_backoff(value: object) -> float:
    """Return ``value`` if it is a number of seconds from 0 to a day.

    Raises:
        InvalidOption: otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_DELAY:
        raise InvalidOption(f"backoff {shorten(value)} is no number of seconds from 0 to {MAX_DELAY:.0f}")
    return float(value)


def check_jitter(value: object) -> float:
    """Return ``value`` if it is a share from 0 to 1.

    Raises:
        InvalidOption: otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1 or math.isnan(value):
        raise InvalidOption(f"jitter {shorten(value)} is no share from 0 to 1")
    return float(value)
