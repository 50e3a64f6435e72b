"""The second half of what scripts begin: results of jobs that ended inside one, and follow-ups on their way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import msgspec

from taskq.broker import jobs, queues, work
from taskq.broker.call import Call, Command
from taskq.broker.keys import QueueKeys
from taskq.broker.work import EndedJob, Finish
from taskq.model.job import FLAG_IGNORE_RESULT, Body, Job, decode_body, decode_state, split_data
from taskq.model.outcome import RECORD_VERSION, Ending, ErrorInfo, Record, add_error, encode_record

T = TypeVar("T")
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


class Runner(Protocol):
    """What runs calls: a Broker or a Session."""

    def run(self, call: Call[T], deadline: float | None = None) -> T:
        """Run a script."""

    def read(self, command: Command[T], deadline: float | None = None) -> T:
        """Run a plain command."""


def finish_of(job: EndedJob, now_us: int, queue: str) -> Finish:
    """Make the record and follow-ups of a job that ended inside a script; damaged parts count as empty."""
    ending, name, text, dead = _REASONS.get(job.reason, (Ending.FAILED, "Unknown", job.reason, True))
    try:
        state = decode_state(job.state)
    except ValueError:
        state = decode_state(None)
    try:
        header, encoded = split_data(job.data)
        body, reply, enqueued_us = decode_body(encoded), header.reply, header.enqueued_ms * 1000
        ignored = FLAG_IGNORE_RESULT in header.flags
    except (ValueError, msgspec.MsgspecError):
        body, reply, enqueued_us, ignored = Body("", b""), "", 0, False
    told = text.format(crashes=state.crashes, losses=state.losses, defers=state.defers, task=body.task)
    error = ErrorInfo(name, f"job {queue}/{job.unique}: {told}")
    record = Record(
        RECORD_VERSION, ending, error=error, task=body.task, attempt=state.attempts + state.crashes + state.losses,
        enqueued_us=enqueued_us, finished_us=now_us,
    )  # fmt: skip
    keep = dead or not ignored
    return Finish(
        job.unique, job.reason, encode_record(record) if keep else b"", ttl_ms(body), reply, dead,
        add_error(state.errors, error) if dead else b"",
        [] if ending is Ending.CANCELLED else follow_ups(body.meta.get("link_error", ())),
    )  # fmt: skip


def ttl_ms(body: Body) -> int:
    """Return how long the job's record is kept where the task is not known."""
    seconds = body.meta.get("result_ttl")
    return round(seconds * 1000) if isinstance(seconds, int | float) and seconds > 0 else DEFAULT_TTL_MS


def finish_ended(runner: Runner, queue: QueueKeys, only: str = "") -> int:
    """Finish jobs that ended inside a script: all of them, or ``only`` that one; idempotent.

    Returns:
        How many this call finished.
    """
    finished = 0
    while True:
        now, found = runner.run(work.ended(queue, only))
        if not found:
            return finished
        letters = runner.run(work.end(queue, [finish_of(job, now, queue.queue) for job in found]))
        finished += letters.count("A")
        if only:
            return finished


def follow_ups(links: Sequence[tuple[str, str, int, bytes]]) -> list[tuple[str, bytes]]:
    """Return the outbox fields and messages of (queue, unique, delay_ms, data) follow-ups."""
    return [(f"{queue}/{unique}", b"%d\n%b" % (delay_ms, data)) for queue, unique, delay_ms, data in links]


def relay_outbox(runner: Runner, keys_of: Callable[[str], QueueKeys], queue: str) -> int:
    """Send the follow-ups that wait in a queue's outbox to their queues; safe to repeat and to run in parallel.

    Returns:
        How many were sent.
    """
    sent = 0
    while messages := runner.read(jobs.outbox(keys_of(queue))):
        by_queue: defaultdict[str, list[tuple[str, Job]]] = defaultdict(list)
        for name, message in messages:
            target, _, unique = name.partition("/")
            delay, _, data = message.partition(b"\n")
            by_queue[target].append((name, Job(unique, data, int(delay))))
        for target, batch in by_queue.items():
            _relay(runner, keys_of(target), [job for _, job in batch])
            runner.run(jobs.relayed(keys_of(queue), [name for name, _ in batch]))
        sent += len(messages)
    return sent


def _relay(runner: Runner, queue: QueueKeys, batch: Sequence[Job]) -> None:
    if runner.run(jobs.relay(queue, batch)) == jobs.Accept.UNDECLARED:
        runner.run(queues.declare(queue, None, None, "a follow-up"))
        runner.read(jobs.register_queue(queue.namespace, queue.queue))
        runner.run(jobs.relay(queue, batch))
