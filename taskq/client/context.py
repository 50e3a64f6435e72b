"""What a running job may know of itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

import msgspec


class JobContext(msgspec.Struct, frozen=True):
    """One delivery of a job, as its own code sees it.

    Attributes:
        id: ``queue/unique``.
        task: the task's name.
        queue: where the job came from.
        attempt: 1 for the first run, one more after each failed one.
        delivery: how often the job was handed out, counting lost and given back ones.
        headers: what the producer and its hooks sent along.
        root: id of the job from which all this came; its own where nothing came before.
        parent: id of the job that enqueued this one, or whose end did; empty for a call from outside.
        served_queues: what this job's worker serves; enqueuing there never blocks, waiting there may never end.
        worker: the name of the worker that runs it.
    """

    id: str
    task: str
    queue: str
    attempt: int = 1
    delivery: int = 1
    headers: Mapping[str, Any] = {}
    root: str = ""
    parent: str = ""
    served_queues: frozenset[str] = frozenset()
    worker: str = ""
    _enqueued_ms: int = 0  # by the server's clock
    _clock_us: int = 0  # the server's clock minus this machine's monotonic clock

    @property
    def age(self) -> float:
        """Seconds since the server accepted the job, by the server's clock; 0 outside of a job."""
        if not self._enqueued_ms:
            return 0.0
        now_us = time.monotonic_ns() // 1000 + self._clock_us
        return max(0.0, now_us / 1e6 - self._enqueued_ms / 1e3)

    @classmethod
    def outside(cls, task: str) -> JobContext:
        """Return what a bound task is given where it is called as a plain function, outside a job."""
        return cls("", task, "")


current_job: Final[ContextVar[JobContext | None]] = ContextVar("taskq_current_job", default=None)
