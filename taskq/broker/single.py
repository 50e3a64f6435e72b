"""Enqueueing one job, the call that is made most often: its constant part is packed once."""

from __future__ import annotations

from typing import Any, Final

import hiredis

from taskq.broker.jobs import enqueue
from taskq.broker.keys import QueueKeys
from taskq.broker.scripts import load
from taskq.model.job import Job

_VARIABLE: Final = 6  # parts of the command after its keys: seq, first, forced, id, delay, data


class SingleEnqueue:
    """``jobs.enqueue`` of one job that is due at once, over and over; for one thread at a time.

    Building and packing a call anew is half of what Python does for it, and most of its bytes never change.
    """

    __slots__ = ("_constant", "_forced", "_job", "_queue", "_session", "script")

    deadline: Final = None  # the session's

    def __init__(self, queue: QueueKeys, *, forced: bool) -> None:
        self.script = load()["enqueue_one"]
        self._queue = queue
        self._forced = b"1" if forced else b"0"
        self._session = ""
        self._constant = b""
        self._job: Job  # set by ``of``

    def of(self, job: Job) -> SingleEnqueue:
        """Return this call, for ``job`` from now on."""
        self._job = job
        return self

    def pack(self, session: str, seq: int, *, by_source: bool = False) -> bytes:
        """Return the command's bytes; see ``Call.pack``."""
        job = self._job
        if by_source:
            return enqueue(self._queue, (job,), forced=self._forced == b"1").pack(session, seq, by_source=True)
        if session is not self._session:
            self._constant = self._pack_constant(session)
            self._session = session
        number, unique, data = b"%d" % seq, job.unique.encode(), job.data
        return b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n$1\r\n%b\r\n$%d\r\n%b\r\n$1\r\n0\r\n$%d\r\n%b\r\n" % (
            self._constant, len(number), number, len(unique), unique, self._forced, len(unique), unique,
            len(data), data,
        )  # fmt: skip

    def parse(self, reply: list[Any]) -> str:
        """Return the ``Accept`` letter."""
        letter: str = reply[0].decode()
        return letter

    def _pack_constant(self, session: str) -> bytes:
        keys = (self._queue.session(session), *self._queue.fixed(self.script.keys))
        packed: bytes = hiredis.pack_command((b"EVALSHA", self.script.sha, len(keys), *keys))  # type: ignore[arg-type]
        count, _, parts = packed.partition(b"\r\n")
        return b"*%d\r\n%b" % (int(count[1:]) + _VARIABLE, parts)
