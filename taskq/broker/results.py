"""Calls about results: what waiters ask who were not told."""

from __future__ import annotations

from collections.abc import Sequence

from taskq.broker import keys
from taskq.broker.call import Command
from taskq.broker.keys import QueueKeys


def records(queue: QueueKeys, uniques: Sequence[str]) -> Command[list[bytes | None]]:
    """Read the result records of jobs of one queue, None where there is none."""
    return Command(("MGET", *(queue.result(unique) for unique in uniques)), list)


def exists(queue: QueueKeys, unique: str) -> Command[bool]:
    """Tell whether the queue still has a job, without reading its body."""
    return Command(("HSTRLEN", queue.key("jobs"), unique), bool)


def forget(queue: QueueKeys, unique: str) -> Command[bool]:
    """Remove a result record; answers whether there was one."""
    return Command(("DEL", queue.result(unique)), bool)


def channel(namespace: str, token: str) -> str:
    """Return the channel on which the results of one process's jobs are announced."""
    return keys.channels(namespace) + token
