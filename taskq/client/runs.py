"""Reading finished jobs back from their result records: who ran what, when, and how it ended."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from sys import intern
from typing import TYPE_CHECKING, Final

import msgspec

from taskq.broker import finished, results
from taskq.broker.doctor import server_time
from taskq.client.operation import Operation, perform
from taskq.errors import InvalidOption, SignatureError, clean
from taskq.model.discipline import check_queue_name
from taskq.model.outcome import Ending, Record, decode_record

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.broker.broker import Broker
    from taskq.model.signing import Signer

MAX_RUNS: Final = 200_000  # kept in memory, about half a KiB each; of more the newest are of use
PAGE_BYTES: Final = 4 * 1024 * 1024  # of records in one reply, as far as the sizes of those before tell
FIRST_PAGE: Final = 100  # records in the first reply, when no size is known yet
MAX_MESSAGE: Final = 200  # characters of an error that are kept: enough to tell it from others
LAST_MOMENT: Final = 4_102_444_800.0  # seconds; the year 2100: a time beyond is damage


@dataclass(frozen=True, slots=True)
class Run:
    """A finished job. Times are seconds since 1970 by the server's clock, None where unknown.

    Attributes:
        id: ``queue/unique``.
        queue: its queue.
        task: its task's name; may be empty where the job was damaged.
        worker: id of the worker that ran it; empty where none did.
        child: process id of that worker's child.
        slot: number of the child's slot.
        attempt: which attempt this was; the times but ``enqueued`` are this attempt's.
        ending: ``succeeded``, ``failed``, ``crashed``, ``expired`` or ``cancelled``.
        enqueued: accepted by the server.
        claimed: taken by the worker.
        started: begun by the child.
        finished: ended.
        root: id of the job from which it came, over however many; empty for a call from outside.
        error: name of the error's class; empty without one.
        message: its text in one line, shortened.
    """

    id: str
    queue: str
    task: str
    worker: str
    child: int
    slot: int
    attempt: int
    ending: str
    enqueued: float | None
    claimed: float | None
    started: float | None
    finished: float | None
    error: str = ""
    message: str = ""
    root: str = ""

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than by returning or by being cancelled."""
        return self.ending not in (Ending.SUCCEEDED, Ending.CANCELLED)

    @property
    def waited(self) -> float | None:
        """Seconds from being enqueued to its last start: delay, earlier attempts and their pauses included."""
        if self.enqueued is None or self.started is None:
            return None
        return max(0.0, self.started - self.enqueued)  # it was accepted in whole milliseconds

    @property
    def took(self) -> float | None:
        """Seconds that its last attempt ran."""
        return None if self.started is None or self.finished is None else self.finished - self.started


@dataclass(slots=True)
class Found:
    """What ``read_runs`` found.

    Attributes:
        now: the server's clock when the reading began.
        since: the earliest end asked for, None for any; by the server's clock.
        until: the latest.
        runs: in the order of their ends, those without one first.
        read: how many records there were, whether asked for or not.
        damaged: how many of them could not be read, or were not signed as they must be.
        left_out: how many of the oldest that were asked for are not in ``runs``, for the sake of memory.
        tasks: names of all tasks that were read of, whether asked for or not.
    """

    now: float
    since: float | None = None
    until: float | None = None
    runs: list[Run] = field(default_factory=list)
    read: int = 0
    damaged: int = 0
    left_out: int = 0
    tasks: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked for, beside queue and time; empty for all."""

    tasks: frozenset[str]
    group: str

    def fits(self, run: Run) -> bool:
        """Tell whether a run is asked for."""
        if self.group and self.group not in (run.id, run.root):
            return False
        tasks = self.tasks
        return not tasks or run.task in tasks or any(run.task.endswith(f".{name}") for name in tasks)


def read_runs(
    app: TaskQ,
    *,
    since: float | timedelta | None = None,
    until: float | timedelta | None = None,
    queues: Collection[str] = (),
    tasks: Collection[str] = (),
    group: str = "",
    limit: int = MAX_RUNS,
) -> Found:
    """Read the jobs that have ended and whose results are still kept; jobs that end meanwhile may be missing.

    Args:
        app: whose server and namespace.
        since: only jobs that ended then or later: seconds since 1970, or how long before now, by the server's clock.
        until: only jobs that ended then or before.
        queues: only jobs of these queues.
        tasks: only jobs of these tasks: full names, or their endings from a dot on.
        group: only this job, by its whole id, and those that came from it, over however many.
        limit: most runs to keep in memory; the newest are kept.

    Raises:
        InvalidQueueName: a queue cannot have such a name.
        InvalidOption: ``since`` comes after ``until``.
        BrokerError: the server refused or was not reached.
    """
    wanted = {check_queue_name(queue) for queue in queues}
    return perform(_read(app.broker, (since, until), wanted, _Wanted(frozenset(tasks), group), limit), app.broker)


def _read(
    broker: Broker,
    span: tuple[float | timedelta | None, float | timedelta | None],
    queues: set[str],
    wanted: _Wanted,
    limit: int,
) -> Operation[Found]:
    now = yield server_time()
    since, until = (now - end.total_seconds() if isinstance(end, timedelta) else end for end in span)
    found = Found(now, since, until)
    if since is not None and until is not None and since > until:
        raise InvalidOption(f"since, {now - since:.0f} s ago, comes after until, {now - until:.0f} s ago")
    seen: set[str] = set()
    cursor, only, count = finished.FIRST, next(iter(queues)) if len(queues) == 1 else "", FIRST_PAGE
    while True:
        page = yield finished.scan(broker.namespace, cursor, only)
        for queue, uniques in page.jobs.items():
            # The server gives a key twice where its table grows or shrinks meanwhile.
            fresh = [unique for unique in dict.fromkeys(uniques) if f"{queue}/{unique}" not in seen]
            if not fresh or (queues and queue not in queues):
                continue
            seen.update(f"{queue}/{unique}" for unique in fresh)
            count = yield from _read_records(broker, found, queue, fresh, wanted, count)
            _bound(found, limit, slack=limit)
        cursor = page.cursor
        if cursor == finished.FIRST:
            _bound(found, limit, slack=0)
            return found


def _read_records(
    broker: Broker, found: Found, queue: str, uniques: list[str], wanted: _Wanted, count: int
) -> Operation[int]:
    """Read the records of jobs, ``count`` at first; returns how many fit into a reply by the sizes seen."""
    at = 0
    while at < len(uniques):
        part = uniques[at : at + count]
        at += len(part)
        records = yield results.records(broker.keys(queue), part)
        size = 0
        for unique, data in zip(part, records, strict=True):
            if data is not None:  # it may have expired meanwhile
                size += len(data)
                _take(found, queue, unique, data, wanted, broker.signer)
        count = max(1, min(finished.PAGE_KEYS, PAGE_BYTES * len(part) // max(size, 1)))
    return count


def _take(found: Found, queue: str, unique: str, data: bytes, wanted: _Wanted, signer: Signer | None = None) -> None:
    """Count a record, and keep what it tells if it was asked for."""
    found.read += 1
    try:
        record = data if signer is None else signer.open_result(f"{queue}/{unique}", data)
        run = _run_of(queue, unique, decode_record(record))
    except (msgspec.MsgspecError, ValueError, SignatureError):
        found.damaged += 1
        return
    found.tasks.add(run.task)
    if not wanted.fits(run):
        return
    if (found.since, found.until) != (None, None):
        if run.finished is None or run.finished < (found.since or 0.0):
            return
        if found.until is not None and run.finished > found.until:
            return
    found.runs.append(run)


def _run_of(queue: str, unique: str, record: Record) -> Run:
    ended, started = _seconds(record.finished_us), _seconds(record.started_us)
    if ended is None or (started is not None and started > ended):
        started = None
    message = record.error.message if record.error is not None else ""
    return Run(
        _plain(f"{queue}/{unique}"),
        _plain(queue),
        intern(_plain(record.task)),
        intern(_plain(record.worker)),
        record.child,
        record.slot,
        record.attempt,
        Ending(record.ending),
        _seconds(record.enqueued_us),
        _seconds(record.claimed_us),
        started,
        ended,
        intern(_plain(record.error.type)) if record.error is not None else "",
        intern(_plain(" ".join(message[:MAX_MESSAGE].split()))),
        intern(_plain(record.root)),
    )


def _plain(text: str) -> str:
    """Return a text in one line, without what could steer a terminal or turn the text around it on a page."""
    return text if text.isprintable() else clean(" ".join(text.split()))


def _seconds(us: int) -> float | None:
    return us / 1e6 if 0 < us < LAST_MOMENT * 1e6 else None


def _bound(found: Found, limit: int, slack: int) -> None:
    """Drop the oldest runs above ``limit`` once there are ``slack`` more, and bring the others in order."""
    if len(found.runs) > limit + slack or not slack:
        found.runs.sort(key=lambda run: run.finished or 0.0)
        too_many = max(0, len(found.runs) - limit)
        found.left_out += too_many
        del found.runs[:too_many]
