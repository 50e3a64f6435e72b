"""Looking at queues and jobs: what ``app.inspect`` offers. Reads pages, never a queue as a whole."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from taskq.broker import browsing, jobs, queues
from taskq.broker import items as stored
from taskq.broker.queues import ITEMS, QueueInfo
from taskq.client.detail import JobDetail, describe, moment
from taskq.client.operation import Need, Operation, perform
from taskq.client.runs import read_runs
from taskq.client.workers import WorkerInfo, read_workers
from taskq.errors import InvalidOption, UnknownQueue, near, shorten
from taskq.model.discipline import check_queue_name
from taskq.model.job import State, decode_state, peek
from taskq.model.outcome import Ending, ErrorInfo, decode_errors

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.broker.browsing import Glance, Page
    from taskq.broker.findings import Finding
    from taskq.broker.keys import QueueKeys
    from taskq.client.aio_operating import AioInspect

LIVE: Final = ("running", *browsing.PLACES, "ending")
STATES: Final = (*LIVE, *map(str, Ending))


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job as a list shows it. Times are seconds since 1970 by the server's clock, None where unknown.

    Attributes:
        id: ``queue/unique``.
        queue: its queue.
        task: its task's name; empty where the job is damaged.
        state: one of STATES.
        enqueued: accepted by the server.
        due: when a delayed or suspect job may start.
        since: when it started to run, for one that runs; when it ended, for one that has.
        worker: who has it, or had it last; empty where nobody.
        attempts: how often it was handed out and came to an end.
        size: bytes of its header and body; None for one that has ended.
        error: its last error; None without one.
    """

    id: str
    queue: str
    task: str
    state: str
    enqueued: float | None = None
    due: float | None = None
    since: float | None = None
    worker: str = ""
    attempts: int = 0
    size: int | None = None
    error: ErrorInfo | None = None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a list is about; ``since`` in seconds by the server's clock."""

    task: str = ""
    since: float = 0.0

    def fits(self, job: JobInfo) -> bool:
        """Tell whether a job is asked for: by its task's name, or its ending from a dot on, and its time."""
        if self.task and job.task != self.task and not job.task.endswith(f".{self.task}"):
            return False
        at = job.since if job.state == "dead" else job.enqueued
        return not self.since or (at is not None and at >= self.since)


class Inspect:
    """``app.inspect``: what waits, what runs and since when, why it failed, who has it. Reads only.

    All methods raise BrokerError where the server refused or was not reached.
    """

    def __init__(self, app: TaskQ) -> None:
        self._app = app

    @property
    def aio(self) -> AioInspect:
        """The same methods as coroutines; ``jobs`` is iterated over with ``async for``."""
        from taskq.client.aio_operating import AioInspect

        return AioInspect(self)

    def queues(self) -> list[QueueInfo]:
        """Return all queues with their lengths, in the order of their names."""
        return perform(read_queues(self._app), self._app.broker)

    def workers(self) -> list[WorkerInfo]:
        """Return all workers that beat, or vanished lately, in the order of their names."""
        return perform(read_workers(self._app.broker), self._app.broker)

    def job(self, job_id: str) -> JobDetail:
        """Return all that is known of a job.

        Raises:
            InvalidJobId: it is no id, or a bare one that several queues have.
            UnknownOrExpired: there is neither a job nor a result.
        """
        handle = self._app.AsyncResult(job_id)
        return perform(describe(self._app, handle.queue, handle.unique), self._app.broker)

    def jobs(
        self,
        *,
        queue: str | Collection[str] = (),
        state: str | Collection[str] = (),
        task: str = "",
        since: float | None = None,
        limit: int | None = None,
        newest: bool = False,
    ) -> Iterator[JobInfo]:
        """Yield jobs, read a page at a time as they are asked for; what moves meanwhile may be missing.

        Those that have ended come newest first, the others in the order in which they will run.

        Args:
            queue: of these queues; of all where none is named.
            state: in these states (STATES), in this order; all of the living where none is named.
            task: of this task: its full name, or its ending from a dot on.
            since: seconds since 1970; enqueued since then, or for those that have ended or are dead, ended since then.
            limit: yield at most so many.
            newest: begin at the other end of the line.

        Raises:
            InvalidOption: there is no such state.
            UnknownQueue, InvalidQueueName: there is no such queue.
        """
        states = check_states((state,) if isinstance(state, str) and state else state or LIVE)
        names = perform(
            check_queues(self._app, (queue,) if isinstance(queue, str) and queue else queue), self._app.broker
        )
        wanted = _Wanted(task, since or 0.0)
        found = itertools.chain.from_iterable(self._in_state(names, one, wanted, limit, newest) for one in states)
        return itertools.islice(found, limit)

    def fsck(self, *, queue: str | Collection[str] = (), strict: bool = False) -> Iterator[Finding]:
        """Yield what is not as it must be in Redis, as it is found; jobs may come, run and go meanwhile.

        ``app.control.repair`` puts right what can be without guessing.

        Args:
            queue: look at these queues; at everything in the namespace where none is named.
            strict: also find what is allowed for a moment while jobs run or somebody waits; for a system at rest.

        Raises:
            UnknownQueue, InvalidQueueName: there is no such queue.
        """
        from taskq.broker.fsck import examine

        chosen = (queue,) if isinstance(queue, str) and queue else queue
        names = perform(check_queues(self._app, chosen), self._app.broker) if chosen else ()
        return examine(self._app.broker, strict=strict, queues=names)

    def _in_state(
        self, names: list[str], state: str, wanted: _Wanted, limit: int | None, newest: bool
    ) -> Iterator[JobInfo]:
        if state in browsing.PLACES:
            for name in names:
                yield from self._perform_each(in_place(self._app.broker.keys(name), state, wanted, limit, newest))
        elif state == "running":
            workers = {one.id: one for one in self.workers()}
            for name in names:
                yield from self._perform_each(running(self._app.broker.keys(name), wanted, workers))
        elif state == "ending":
            for name in names:
                yield from self._perform_each(ending(self._app.broker.keys(name), wanted))
        else:
            yield from finished(self._app, names, state, wanted, limit)

    def _perform_each(self, pages: Pages) -> Iterator[JobInfo]:
        """Run needs one after another, and yield what each page gives before the next one is asked for."""
        answer: Any = None
        while True:
            try:
                step = pages.send(answer)
            except StopIteration:
                return
            if isinstance(step, list):
                yield from step
                answer = None
            else:
                answer = perform(_one(step), self._app.broker)


Pages = Generator["Need | list[JobInfo]", Any, None]


def _one(need: Need) -> Operation[Any]:
    return (yield need)


def check_states(states: Collection[str]) -> tuple[str, ...]:
    """Return the states without repetition.

    Raises:
        InvalidOption: one is none.
    """
    for state in states:
        if state not in STATES:
            raise InvalidOption(f"state {shorten(state)} is unknown{near(state, STATES)}")
    return tuple(dict.fromkeys(states))


def check_queues(app: TaskQ, names: Collection[str]) -> Operation[list[str]]:
    """Return the named queues, or all of them.

    Raises:
        UnknownQueue: the server has none of that name.
        InvalidQueueName: no queue can have it.
    """
    known = yield jobs.queue_names(app.settings.namespace)
    for name in names:
        if check_queue_name(name) not in known:
            raise UnknownQueue(
                f"queue {shorten(name)} is unknown in namespace {app.settings.namespace!r}{near(name, known)}"
            )
    return list(dict.fromkeys(names)) or known


def read_queues(app: TaskQ) -> Operation[list[QueueInfo]]:
    """Read all queues of an app's namespace."""
    found = []
    for name in (yield jobs.queue_names(app.settings.namespace)):
        keys = app.broker.keys(name)
        info: QueueInfo = yield queues.inspect(keys)
        if info.content == ITEMS:
            standing = yield stored.stand(keys)
            info = dataclasses.replace(info, ready=standing.items, running=standing.claimed)
        found.append(info)
    return found


def in_place(keys: QueueKeys, place: str, wanted: _Wanted, limit: int | None, newest: bool) -> Pages:
    """Read the jobs in one place of a queue; the dead newest first."""
    start, few = 0, not wanted.task and not wanted.since and limit is not None
    seen: set[str] = set()  # of the last page: the ranks shift where jobs leave and come meanwhile
    while True:
        count = min(browsing.PAGE, limit) if few and limit is not None else browsing.PAGE
        page: Page = yield browsing.browse(keys, place, start, count, newest=newest or place in {"dead", "quarantine"})
        if not page.looked:
            return
        found = [_job_of(keys, one, place) for one in page.jobs if one.unique not in seen]
        seen = {one.unique for one in page.jobs}
        yield [job for job in found if wanted.fits(job)]
        start += page.looked


def running(keys: QueueKeys, wanted: _Wanted, workers: Mapping[str, WorkerInfo]) -> Pages:
    """Read the jobs that workers of a queue have."""
    for worker in (yield browsing.lease_holders(keys)):
        info = workers.get(worker)
        started = {job.id: job.started for job in info.running} if info is not None else {}
        cursor = None
        while cursor != 0:
            cursor, uniques = yield browsing.leased(keys, worker, cursor or 0)
            yield from _by_id(keys, uniques, "running", wanted, worker, started)


def ending(keys: QueueKeys, wanted: _Wanted) -> Pages:
    """Read the jobs of a queue that ended inside a script and have no result yet."""
    cursor = None
    while cursor != 0:
        cursor, uniques = yield browsing.ending(keys, cursor or 0)
        yield from _by_id(keys, uniques, "ending", wanted)


def _by_id(
    keys: QueueKeys,
    uniques: list[str],
    state: str,
    wanted: _Wanted,
    worker: str = "",
    started: Mapping[str, float | None] | None = None,
) -> Pages:
    while uniques:
        page: Page = yield browsing.glance(keys, uniques)
        uniques = uniques[max(1, page.looked) :]
        found = [_job_of(keys, one, state, worker, started) for one in page.jobs if one.size >= 0]
        yield [job for job in found if wanted.fits(job)]


def finished(app: TaskQ, names: list[str], state: str, wanted: _Wanted, limit: int | None) -> Iterable[JobInfo]:
    """Read the newest jobs that have ended so, newest first."""
    found = read_runs(app, since=wanted.since or None, queues=names, tasks=[wanted.task] if wanted.task else [])
    fitting = (run for run in found.runs if run.ending == state)
    newest = heapq.nlargest(len(found.runs) if limit is None else limit, fitting, key=lambda run: run.finished or 0.0)
    for run in newest:
        yield JobInfo(
            run.id, run.queue, run.task, run.ending, run.enqueued, None, run.finished, run.worker, run.attempt, None,
            ErrorInfo(run.error, run.message) if run.error else None,
        )  # fmt: skip


def _job_of(
    keys: QueueKeys,
    one: Glance,
    state: str,
    worker: str = "",
    started: Mapping[str, float | None] | None = None,
) -> JobInfo:
    job_id = f"{keys.queue}/{one.unique}"
    enqueued_ms, task = peek(one.data)
    try:
        history = decode_state(one.state)
    except ValueError:
        history = State()
    at = moment(one.score) if one.score is not None else None
    since = started.get(job_id) if started else at if state in {"dead", "quarantine"} else None
    errors = decode_errors(history.errors)
    return JobInfo(
        job_id, keys.queue, task, state, moment(enqueued_ms * 1000) if enqueued_ms else None,
        at if state in {"delayed", "suspect"} else None, since, worker,
        history.attempts + history.crashes + history.losses, one.size, errors[-1] if errors else None,
    )  # fmt: skip
