"""All that is known of one job, from where it is, its result record and the workers' cards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from taskq.broker import browsing, jobs
from taskq.client.operation import Operation
from taskq.client.records import gone, read_record
from taskq.client.runs import LAST_MOMENT
from taskq.client.workers import read_workers
from taskq.errors import SignatureError, TaskqError, shorten
from taskq.model.job import (
    VERSION,
    Body,
    Header,
    State,
    decode_body,
    decode_state,
    newer_version,
    peek,
    split_data,
)
from taskq.model.outcome import Ending, ErrorInfo, Record, decode_errors
from taskq.model.signature import plain_signature

if TYPE_CHECKING:
    from taskq.app import TaskQ

MAX_ARGUMENT: Final = 200  # characters of each that are shown


@dataclass(slots=True)
class JobDetail:
    """One job. Times are seconds since 1970 by the server's clock, None where unknown.

    Attributes:
        id: ``queue/unique``.
        queue: its queue.
        state: where it is, or how it ended; ``dead`` is one that failed for good and can be retried.
        task: its task's name.
        call: the call as Python would write it, each argument shortened; empty where it is gone with the job.
        enqueued: accepted by the server.
        due: when a delayed or suspect job may start.
        expires: when it may not start any more.
        claimed: taken by the worker that ran it last.
        started: begun there.
        finished: ended.
        priority: on a priority queue.
        worker: who has it, or had it last.
        child: process id of that worker's child.
        slot: the child's slot.
        attempt: how often it came to an end, or which attempt it was that ended it.
        crashes: how often a process died while running it.
        losses: how often its worker vanished while running it.
        defers: how often a worker gave it back that does not know its task; up to six times one that is older than it.
        delivery: how often it was handed out.
        size: bytes of header and body.
        parent: id of the job that enqueued it, or whose end did.
        root: id of the job from which all this came.
        headers: what the producer sent along.
        links: ids of the jobs that will follow its success.
        error_links: ids of the jobs that will follow its failure.
        result: the returned value, shortened; empty where there is none.
        errors: of its last attempts, the last one last.
        problem: what of it cannot be read, and why.
    """

    id: str
    queue: str
    state: str = "unknown"
    task: str = ""
    call: str = ""
    enqueued: float | None = None
    due: float | None = None
    expires: float | None = None
    claimed: float | None = None
    started: float | None = None
    finished: float | None = None
    priority: float | None = None
    worker: str = ""
    child: int | None = None
    slot: int | None = None
    attempt: int = 0
    crashes: int = 0
    losses: int = 0
    defers: int = 0
    delivery: int = 0
    size: int | None = None
    parent: str = ""
    root: str = ""
    headers: dict[str, Any] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    error_links: list[str] = field(default_factory=list)
    result: str = ""
    errors: list[ErrorInfo] = field(default_factory=list)
    problem: str = ""


def describe(app: TaskQ, queue: str, unique: str) -> Operation[JobDetail]:
    """Read all that is known of a job; raises as ``Inspect.job``."""
    keys = app.broker.keys(queue)
    found = JobDetail(f"{queue}/{unique}", queue)
    place: jobs.Place | None = yield jobs.find(keys, unique)
    data: bytes | None = yield jobs.result(keys, unique)
    if place is None and data is None:
        raise gone(found.id)
    if place is not None:
        _take_place(app, found, place)
        if found.state in {"running", "revoked"}:
            yield from _find_worker(app, found, unique)
    # The record of a job that waits once more tells of its life before.
    if data is not None and found.state in {"unknown", "dead", "ending"}:
        _take_record(app, found, read_record(data, found.id, app._signer))
    return found


def _find_worker(app: TaskQ, found: JobDetail, unique: str) -> Operation[None]:
    keys = app.broker.keys(found.queue)
    for worker in (yield browsing.lease_holders(keys)):
        if (yield browsing.holds(keys, worker, unique)):
            found.worker = worker
            for card in (yield from read_workers(app.broker)):
                for job in card.running if card.id == worker else ():
                    if job.id == found.id:
                        found.child, found.slot, found.started = job.child, job.slot, job.started
            return


def _take_place(app: TaskQ, found: JobDetail, place: jobs.Place) -> None:
    known = {"running", "revoked", *browsing.PLACES}
    found.state = place.place if place.place in known else "ending"
    if place.score is not None and place.place in {"delayed", "suspect"}:
        found.due = moment(place.score)
    found.size = len(place.data)
    try:
        _take_history(found, decode_state(place.state))
        if (newer := newer_version(place.data)) is not None:
            enqueued_ms, _ = peek(place.data)
            found.enqueued = moment(enqueued_ms * 1000) if enqueued_ms is not None else None
            found.problem = f"its envelope has version {newer}, this taskq reads {VERSION}: look with the newer one"
            return
        header, encoded = split_data(place.data)
        _take_header(found, header)
        if app._signer is not None:
            app._signer.check(found.queue, found.id.rpartition("/")[2], place.data)
        _take_body(app, found, decode_body(encoded))
    except SignatureError as error:
        found.problem = str(error)
    except (ValueError, msgspec.MsgspecError) as error:
        found.problem = f"the job is damaged: {error}; {shorten(place.data[:40])}"


def _take_history(found: JobDetail, state: State) -> None:
    found.crashes, found.losses, found.delivery = state.crashes, state.losses, state.delivery
    found.defers = state.defers
    found.attempt = state.attempts + state.crashes + state.losses
    found.errors = decode_errors(state.errors)


def _take_header(found: JobDetail, header: Header) -> None:
    found.enqueued = moment(header.enqueued_ms * 1000)
    found.priority = header.priority
    if header.expires_ms is not None:
        found.expires = moment((header.enqueued_ms + header.expires_ms) * 1000)


def _take_body(app: TaskQ, found: JobDetail, body: Body) -> None:
    found.task = body.task
    meta = body.meta
    found.parent, found.root = str(meta.get("parent", "")), str(meta.get("root", ""))
    headers = meta.get("headers")
    found.headers = dict(headers) if isinstance(headers, dict) else {}
    found.links, found.error_links = _ids(meta.get("link")), _ids(meta.get("link_error"))
    task = app.tasks.get(body.task)
    signature = task.signature if task is not None else plain_signature(body.task, app._forms)
    try:
        args, kwargs = signature.decode_arguments(app._serializers.codec(body.codec), body.payload)
    except TaskqError as error:
        found.problem = f"its arguments cannot be read here: {error}"
        return
    named = [f"{name}={shorten(value, MAX_ARGUMENT)}" for name, value in kwargs.items()]
    found.call = f"{body.task}({', '.join([*(shorten(value, MAX_ARGUMENT) for value in args), *named])})"


def _ids(links: Any) -> list[str]:
    """Return the ids of follow-ups; what is damaged is left out."""
    pairs = [link[:2] for link in links if isinstance(link, list | tuple)] if isinstance(links, list) else []
    return [f"{pair[0]}/{pair[1]}" for pair in pairs if len(pair) == 2]


def _take_record(app: TaskQ, found: JobDetail, record: Record) -> None:
    if found.state != "dead":
        found.state = record.ending
    found.task = found.task or record.task
    found.worker, found.attempt = record.worker, max(found.attempt, record.attempt)
    if record.worker:
        found.child, found.slot = record.child, record.slot
    found.enqueued = found.enqueued or _seconds(record.enqueued_us)
    found.claimed, found.started = _seconds(record.claimed_us), _seconds(record.started_us)
    found.finished = _seconds(record.finished_us)
    if record.error is not None and record.error not in found.errors:
        found.errors.append(record.error)
    if record.ending == Ending.SUCCEEDED:
        task = app.tasks.get(record.task)
        signature = task.signature if task is not None else plain_signature(record.task, app._forms)
        try:
            value = signature.decode_result(app._serializers.codec(record.codec), record.payload)
        except TaskqError as error:
            found.problem = f"its result cannot be read here: {error}"
        else:
            found.result = shorten(value, MAX_ARGUMENT)


def _seconds(us: int) -> float | None:
    return moment(us) if us else None


def moment(us: float) -> float | None:
    """Return microseconds of the server's clock in seconds; None for what is no time, as only hands can write it."""
    seconds = us / 1e6
    return seconds if 0 <= seconds < LAST_MOMENT else None
