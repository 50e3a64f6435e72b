"""The second half of what scripts begin: results of jobs that ended inside one, and follow-ups on their way."""

from __future__ import annotations

import logging
import math
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import msgspec

from taskq.broker import jobs, queues, work
from taskq.broker.call import Call, Command
from taskq.broker.keys import QueueKeys
from taskq.broker.work import EndedJob, Finish
from taskq.config import MAX_SECONDS
from taskq.errors import SignatureError, UnknownSigningKey, shorten
from taskq.model.discipline import check_queue_name
from taskq.model.following import after_failure
from taskq.model.job import (
    FLAG_IGNORE_RESULT,
    Body,
    Job,
    check_job_id,
    decode_body,
    decode_state,
    newer_version,
    split_data,
)
from taskq.model.outcome import RECORD_VERSION, Ending, ErrorInfo, Record, add_error, clean, encode_record
from taskq.model.signing import Signer, is_signed, without_signature

logger = logging.getLogger("taskq.broker")
T = TypeVar("T")
VAIN_LOOKS = 20  # of about 50 jobs, at endings of newer jobs that hide others, before the next chore has its turn
EXPIRES = 3  # the header's field, counted without the one that the server writes
DEFAULT_TTL_MS = 3_600_000  # of a record whose job does not say: an hour, as for results

# reason written by a script -> how the job ended, the error's name and text, and whether it stays in the dead set
_REASONS: dict[str, tuple[Ending, str, str, bool]] = {
    "cancelled": (Ending.CANCELLED, "CancelledError", "cancelled before it started", False),
    "purged": (Ending.CANCELLED, "CancelledError", "its queue was purged", False),
    "expired": (Ending.EXPIRED, "JobExpired", "its time to start had passed", False),
    "crashed": (Ending.CRASHED, "JobCrashed", "the process that ran it died {crashes} times", True),
    "lost": (Ending.CRASHED, "JobCrashed", "the workers that ran it vanished {losses} times", True),
    "unknown": (Ending.FAILED, "UnknownTask", "no worker knows task {task!r} after {defers} tries", True),
}

FINAL = {"cancelled", "purged"}  # reasons after which no follow-up runs

# Target, id there, when it is due or 'dead', and of a signed job what its header says then: written by move.lua.
_MOVED = re.compile(r"moved (\S+) (\S+) (\S+)(?: (\S+))?")
_TOLD = re.compile(r"job \S+: moved, it is job (\S+) now")  # as waiters of such a job are told


class Runner(Protocol):
    """What runs calls: a Broker or a Session."""

    def run(self, call: Call[T], deadline: float | None = None) -> T:
        """Run a script."""

    def read(self, command: Command[T], deadline: float | None = None) -> T:
        """Run a plain command."""


def finish_of(job: EndedJob, now_us: int, queue: str, signer: Signer | None = None) -> Finish:
    """Make the record and follow-ups of a job that ended inside a script; damaged or forged parts count as empty.

    Never raises, or one job would stop the endings of its whole queue.
    """
    finish = _unsigned_finish(job, now_us, queue, signer)
    if signer is None or not finish.record:
        return finish
    return replace(finish, record=signer.sign_result(queue, clean(job.unique), finish.record))


def _unsigned_finish(job: EndedJob, now_us: int, queue: str, signer: Signer | None) -> Finish:
    try:
        return _finish(job, now_us, queue, signer)
    except Exception as error:  # whatever forged bytes provoke
        logger.error(
            "job %s/%s is damaged, and ends without follow-ups: %s", queue, shorten(job.unique), error,
            extra={"action": "ending_damaged"},
        )  # fmt: skip
        return _bare_finish(job, now_us, queue)


def finishes(found: Sequence[EndedJob], now_us: int, queue: str, signer: Signer | None = None) -> list[Finish]:
    """Make what ``finish_of`` does, of the jobs that can be finished here.

    Some have a newer envelope, which says what follows their end: they wait for workers that can read it. But nothing
    follows one that was cancelled, and who cancelled it waits for the answer. Others are signed: without a key their
    record would not be believed, nor what follows them, so they wait for workers that have one.
    """
    return [finish_of(job, now_us, queue, signer) for job in found if _is_ours(job, signer)]


def _is_ours(job: EndedJob, signer: Signer | None) -> bool:
    if signer is None and is_signed(job.data):
        return False
    return job.reason in FINAL or newer_version(job.data) is None


def _bare_finish(job: EndedJob, now_us: int, queue: str) -> Finish:
    """Make a record of what the script said alone; a job that cannot go on elsewhere stays in the dead set."""
    moved = job.reason.startswith("moved ")
    known = _REASONS["cancelled" if moved else job.reason] if moved or job.reason in _REASONS else None
    ending, name, _, dead = known or (Ending.FAILED, "Unknown", "", True)
    error = ErrorInfo(name, f"job {queue}/{clean(job.unique)}: {clean(job.reason)}; its stored data is damaged")
    record = Record(RECORD_VERSION, ending, error=error, finished_us=now_us)
    errors = add_error(b"", error)
    return Finish(job.unique, job.reason, encode_record(record), DEFAULT_TTL_MS, "", dead or moved, errors)


def _finish(job: EndedJob, now_us: int, queue: str, signer: Signer | None) -> Finish:
    moved = _MOVED.fullmatch(job.reason)
    ending, name, text, dead = _REASONS.get(job.reason, (Ending.FAILED, "Unknown", clean(job.reason), True))
    if moved is not None:
        ending, name, text, dead = *_REASONS["cancelled"][:2], f"moved, it is job {moved[1]}/{moved[2]} now", False
    try:
        state = decode_state(job.state)
    except ValueError:
        state = decode_state(None)
    try:
        header, encoded = split_data(job.data)
        if signer is not None:
            signer.check(queue, job.unique, job.data)
        body, reply, enqueued_us = decode_body(encoded), header.reply, header.enqueued_ms * 1000
        ignored = FLAG_IGNORE_RESULT in header.flags
    except (ValueError, msgspec.MsgspecError):
        body, reply, enqueued_us, ignored = Body("", b""), "", 0, False
    except SignatureError as forged:
        body, reply, enqueued_us, ignored = Body("", b""), header.reply, header.enqueued_ms * 1000, False
        if job.reason == "unknown" and isinstance(forged, UnknownSigningKey):  # what nobody knew was the key
            name, text = type(forged).__name__, f"no worker knows the key that it was signed with: {forged}"
    if job.reason in _REASONS and text == _REASONS[job.reason][2]:
        text = text.format(crashes=state.crashes, losses=state.losses, defers=state.defers, task=body.task)
    job_id, root = f"{queue}/{clean(job.unique)}", body.meta.get("root")
    error = ErrorInfo(name, f"job {job_id}: {text}")
    record = Record(
        RECORD_VERSION, ending, error=error, task=body.task, attempt=state.attempts + state.crashes + state.losses,
        enqueued_us=enqueued_us, finished_us=now_us, root=root if isinstance(root, str) else "",
    )  # fmt: skip
    keep = dead or not ignored
    if ending is Ending.CANCELLED:
        after = _moved(moved, job.data, now_us) if moved is not None else []
    else:
        # Anybody can write a reason; only what is said here is signed.
        signs = job.reason in _REASONS and is_signed(job.data)
        seals = signer if signs else None
        after = follow_ups(after_failure(body.meta, job_id, body.task, ending, error, seals, state.lives))
    return Finish(
        job.unique, job.reason, encode_record(record) if keep else b"", ttl_ms(body), reply, dead,
        add_error(state.errors, error) if dead else b"",
        after,
    )  # fmt: skip


def _moved(reason: re.Match[str], data: bytes, now_us: int) -> list[tuple[str, bytes]]:
    """Return the job itself as what goes on in another queue: due when it was, and not to start later than it was.

    One that comes from the dead is as new, as if it were put back in line. Of a signed one whoever moved it has made
    the header, since that takes the key.
    """
    target, unique, due, sealed = reason.groups()
    dead = due == "dead"
    delay_ms = 0 if dead else max(0, math.ceil((float(due) - now_us) / 1000))
    line, newline, body = data.partition(b"\n")
    head = sealed.encode() if sealed is not None else _moved_line(line, now_us, dead=dead)
    return follow_ups([(target, unique, delay_ms, head + newline + body)])


def _moved_line(line: bytes, now_us: int, *, dead: bool) -> bytes:
    stamp, _, rest = line.partition(b";")
    fields = rest.split(b";")
    if not dead and len(fields) > EXPIRES and fields[EXPIRES].isdigit() and stamp.isdigit():
        passed = max(0, now_us // 1000 - int(stamp))  # the stamp is not signed: it may say a later time than now
        fields[EXPIRES] = b"%d" % max(0, int(fields[EXPIRES]) - passed)
    return b";".join(fields)


def seal_moved(signer: Signer, data: bytes, target: str, unique: str, now_us: int, *, dead: bool) -> str:
    """Return the header line of a signed job in the queue to which it is moved; the caller has checked the job."""
    line, _, body = data.partition(b"\n")
    head = without_signature(_moved_line(line, now_us, dead=dead))
    return (head + b";" + signer.seal(target, unique, head, body)).decode("ascii")


def moved_to(reason_or_message: str) -> str:
    """Return the id of the job that a moved one is now, from the reason of its end or from its error; else nothing."""
    if found := _MOVED.fullmatch(reason_or_message):
        return f"{found[1]}/{found[2]}"
    told = _TOLD.fullmatch(reason_or_message)
    return told[1] if told is not None else ""


def ttl_ms(body: Body) -> int:
    """Return how long the job's record is kept where the task is not known."""
    seconds = body.meta.get("result_ttl")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:  # a nan is not
        return DEFAULT_TTL_MS
    return round(min(seconds, MAX_SECONDS) * 1000)


def finish_ended(
    runner: Runner,
    queue: QueueKeys,
    only: str = "",
    left: Callable[[str], object] = lambda _: None,
    signer: Signer | None = None,
    after: str = "0",
) -> int:
    """Finish jobs that ended inside a script: all of them, or ``only`` that one; idempotent.

    Those that wait for workers of a newer taskq, or for some with a key, stay. Where there are such, the others are
    looked for behind them, at some thousand at a time.

    Args:
        runner: runs the calls.
        queue: theirs.
        only: the unique part of one job's id.
        left: is called if some stay, with the place where to go on: ``0`` if all were looked at.
        signer: of their results; None where there is no key.
        after: the place where to look first, as ``left`` was told.

    Returns:
        How many this call finished.
    """
    finished = 0
    while True:
        now, found = runner.run(work.ended(queue, only))
        made = finishes(found, now, queue.queue, signer)
        finished += _end(runner, queue, made)
        if only or not found:
            return finished
        if len(made) < len(found):
            behind, place = _finish_behind(runner, queue, signer, after)
            left(place)
            return finished + behind


def _end(runner: Runner, queue: QueueKeys, made: list[Finish]) -> int:
    return runner.run(work.end(queue, made)).count("A") if made else 0


def _finish_behind(runner: Runner, queue: QueueKeys, signer: Signer | None, place: str) -> tuple[int, str]:
    """Walk by the endings that stay; return how many others were finished, and where to go on."""
    finished = vain = 0
    while vain < VAIN_LOOKS:
        now, place, found, large = runner.run(work.ended_after(queue, place))
        some = _end(runner, queue, finishes(found, now, queue.queue, signer))
        some += sum(finish_ended(runner, queue, unique, signer=signer) for unique in large)
        finished += some
        vain += not some
        if place == "0":
            break
    return finished, place


def follow_ups(links: Sequence[tuple[str, str, int, bytes]]) -> list[tuple[str, bytes]]:
    """Return the outbox fields and messages of (queue, unique, delay_ms, data) follow-ups, but of damaged ones."""
    found = []
    for link in links:
        try:
            queue, unique, delay_ms, data = link
            found.append((f"{check_queue_name(queue)}/{check_job_id(unique)}", b"%d\n%b" % (delay_ms, data)))
        except Exception as error:  # whatever forged bytes provoke; the others follow
            logger.error("a follow-up is damaged: %s", error, extra={"action": "follow_up_damaged"})
    return found


def read_message(name: str, message: bytes) -> tuple[str, Job]:
    """Read an outbox entry: the queue that it is for, and the job.

    Raises:
        ValueError: if it is damaged.
    """
    target, _, unique = name.partition("/")
    delay, _, data = message.partition(b"\n")
    return check_queue_name(target), Job(check_job_id(unique), data, int(delay))


def relay_outbox(runner: Runner, keys_of: Callable[[str], QueueKeys], queue: str) -> int:
    """Send the follow-ups that wait in a queue's outbox to their queues; safe to repeat and to run in parallel.

    Returns:
        How many were sent.
    """
    sent = 0
    while messages := runner.read(jobs.outbox(keys_of(queue))):
        by_queue: defaultdict[str, list[Job]] = defaultdict(list)
        for name, message in messages:
            try:
                target, job = read_message(name, message)
            except ValueError as error:
                _complain(name, str(error))
            else:
                by_queue[target].append(job)
        for target, batch in by_queue.items():
            for job, letter in zip(batch, _relay(runner, keys_of(target), batch), strict=False):
                if letter == jobs.Accept.MALFORMED:
                    _complain(f"{target}/{job.unique}", "its envelope is damaged")
        runner.run(jobs.relayed(keys_of(queue), [name for name, _ in messages]))
        sent += sum(map(len, by_queue.values()))
    return sent


def _complain(name: str, reason: str) -> None:
    logger.error("follow-up %s is dropped: %s", shorten(name), reason, extra={"action": "follow_up_damaged"})


def _relay(runner: Runner, queue: QueueKeys, batch: Sequence[Job]) -> str:
    letters = runner.run(jobs.relay(queue, batch))
    if letters == jobs.Accept.UNDECLARED:
        runner.run(queues.declare(queue, None, None, "a follow-up"))
        runner.read(jobs.register_queue(queue.namespace, queue.queue))
        letters = runner.run(jobs.relay(queue, batch))
    return letters
