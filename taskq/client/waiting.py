"""What all waits have in common: their timeout, and where they would never end."""

from __future__ import annotations

import math
import threading
from typing import Final

from taskq.client.context import current_job
from taskq.errors import DeadlockRisk, InvalidTimeout, shorten

LONGEST: Final = threading.TIMEOUT_MAX / 2  # seconds; a longer wait is one without a limit


def check_wait(timeout: object) -> float | None:
    """Return the seconds of a wait, as ``concurrent.futures`` takes them: None without a limit, below 0 as 0.

    Raises:
        InvalidTimeout: if it is no number.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or math.isnan(timeout):
        raise InvalidTimeout(f"timeout {shorten(timeout)} is no number of seconds (None waits without a limit)")
    return max(0.0, float(timeout)) if timeout < LONGEST else None


def check_deadlock(queue: str, what: str, allowed: bool) -> None:
    """Refuse to wait inside a job for one that only this job's own worker may run.

    Raises:
        DeadlockRisk: with the way out.
    """
    context = current_job.get()
    if context is not None and queue in context.served_queues and not allowed:
        raise DeadlockRisk(
            f"job {context.id} would wait for {what} of queue {queue!r}, which its own worker serves: with all slots "
            "waiting like this none ever ends; use link=, another queue, or allow_deadlock=True"
        )
