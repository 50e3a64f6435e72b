"""Results: what waiters ask who were not told, and how to read what the others are told."""

from __future__ import annotations

from collections.abc import Sequence

from taskq.broker import keys
from taskq.broker.call import Command
from taskq.broker.keys import QueueKeys
from taskq.errors import ProtocolError, shorten

MAX_DIGITS = 20  # of a signal's number: no process counts further


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


def parse_announcement(message: bytes) -> list[tuple[str, bytes]]:
    r"""Read ``queue\n`` and then ``unique length\nrecord`` for each job; see lua/include/publish.lua.

    Raises:
        ProtocolError: if it is damaged.
    """
    try:
        at = message.index(b"\n")
        queue = message[:at].decode("ascii")
        at += 1
        found = []
        while at < len(message):
            end = message.index(b"\n", at)
            unique, length = message[at:end].decode("ascii").split(" ")
            at = end + 1 + int(length)
            if not end < at <= len(message):
                break
            found.append((f"{queue}/{unique}", message[end + 1 : at]))
        else:
            return found
    except ValueError:
        pass
    raise ProtocolError(f"announcement {shorten(message)} is damaged")


def parse_signal(message: bytes) -> tuple[int, bytes] | None:
    r"""Read ``~number\nnews``, see lua/include/line.lua; None for an announcement of results.

    Raises:
        ProtocolError: if it is damaged.
    """
    if not message.startswith(b"~"):
        return None
    number, newline, news = message[1:].partition(b"\n")
    if not newline or not number.isdigit() or len(number) > MAX_DIGITS:
        raise ProtocolError(f"signal {shorten(message)} is damaged")
    return int(number), news
