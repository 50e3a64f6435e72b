"""Puts jobs on queues: declares what it uses, waits for room, tells a repeated id from a taken one."""

from __future__ import annotations

import os
import platform
import queue as standard
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from taskq.broker import jobs, queues
from taskq.broker.line import LAST_PLACE, Wait
from taskq.client.context import current_job
from taskq.client.keeper import Keeper
from taskq.client.line import deadline_of, is_over, next_look, subscribed
from taskq.client.listener import Listener
from taskq.client.operation import Enqueue, Hear, MakeBell, Need, Operation, perform
from taskq.errors import BrokerError, BrokerUnavailable, Indeterminate, JobConflict, QueueConflict
from taskq.model.discipline import QueueSpec
from taskq.model.job import Job, decode_body, split_data

if TYPE_CHECKING:
    from taskq.broker.broker import Broker
    from taskq.broker.queues import Declared
    from taskq.client.result import AsyncResult

DECLARATIONS: Final = 3  # of one queue within one sending; something removes it each time


class Sender:
    """What one process has of an app at the broker; a forked child needs its own.

    Args:
        broker: where to.
        app: the app's name, for who asks who declared a queue.
        spec_of: tells how this app declared a queue, None if it only knows the name.
        keeper: renews what this process holds.
    """

    def __init__(self, broker: Broker, app: str, spec_of: Callable[[str], QueueSpec | None], keeper: Keeper) -> None:
        self.pid = os.getpid()
        self.broker = broker
        self.listener = Listener(broker)
        self.keeper = keeper
        self.declared: dict[str, Declared] = {}  # those that hold jobs
        self.item_queues: dict[str, Declared] = {}  # those that hold items
        self.who = f"{app[:60]}, {platform.node()[:40]} {self.pid}"
        self._spec_of = spec_of

    def declare(self, queue: str, content: str = queues.JOBS) -> Operation[Declared]:
        """Fix a queue at its first use in this process, and return how it is.

        Raises:
            QueueConflict: it is there with another discipline, or holds something else than ``content``.
        """
        known = self.declared.get(queue) if content != queues.ITEMS else None
        if known is None and content != queues.JOBS:
            known = self.item_queues.get(queue)
        if known is not None:
            return known
        spec, keys = self._spec_of(queue), self.broker.keys(queue)
        wanted = spec.discipline if spec is not None else None
        found: Declared = yield queues.declare(
            keys, wanted, spec.maxsize if spec is not None else None, self.who, content
        )
        if wanted is not None and found.discipline != wanted:
            raise QueueConflict(
                f"queue {queue!r} is {wanted} here, but {found.discipline} since {found.by!r} declared it: "
                "use the same class everywhere, or another name"
            )
        if content not in {found.content, queues.EITHER}:
            raise QueueConflict(
                f"queue {queue!r} holds {found.content} since {found.by!r} declared it, so it takes no {content}: "
                "use another name"
            )
        yield jobs.register_queue(self.broker.namespace, queue)
        if found.content == queues.ITEMS:
            self.item_queues[queue] = found
        elif found.content == queues.JOBS:
            self.declared[queue] = found
        return found

    def put(self, queue: str, job: Job, result: AsyncResult[Any]) -> None:
        """Send one job with an id of its own and no options; the fast way.

        Raises:
            JobConflict: see ``check_new``.
            BrokerError, QueueConflict: as ``offer``.
        """
        listener = self.listener
        epoch = listener.epoch
        if epoch is not None and result._reply:
            # Before it is sent, or its end might be announced to nobody.
            result._known = listener.know(result.id, result)
            result._covered(epoch)
        letters = None
        if queue in self.declared:
            letters = self.broker.enqueue(queue, (job,))
            if letters == "A":
                return
        letters = perform(self.offer(queue, lambda _: Enqueue(queue, (job,)), letters=letters), self.broker)
        check_new(queue, [job.unique], letters)

    def put_chosen(self, queue: str, job: Job, timeout: float | None, *, chosen: bool) -> Operation[bool]:
        """Send one job.

        Args:
            queue: where to.
            job: which.
            timeout: seconds to wait for room; None for as long as it takes.
            chosen: its id was chosen by the caller, so that it may be taken.

        Returns:
            Whether this very job is there; False if its like is, made by another process.

        Raises:
            queue.Full: there is no room.
            JobConflict: the id is taken by a job with other content.
            BrokerError, QueueConflict: as ``offer``.
        """
        forced = self.is_forced(queue)
        while True:
            letters = yield from self.offer(queue, lambda _: Enqueue(queue, (job,), forced), timeout=timeout)
            if letters != jobs.Accept.CONFLICT:
                return True
            place = yield jobs.find(self.broker.keys(queue), job.unique)
            if place is None and chosen:
                continue  # it ended in between, and the id is free again
            if place is not None and _same_call(place.data, job.data):
                return False
            raise JobConflict(
                f"job {queue}/{job.unique} is there with another task or other arguments; choose another job_id"
            )

    def is_forced(self, queue: str) -> bool:
        """Tell whether the bound does not hold: a worker that waits for room in its own queue waits for itself."""
        context = current_job.get()
        return context is not None and queue in context.served_queues

    def offer(
        self, queue: str, need: Callable[[int], Need], *, timeout: float | None = None, letters: str | None = None
    ) -> Operation[str]:
        """Send jobs until all are accepted or refused.

        Args:
            queue: where to.
            need: returns what sends all but the first so many jobs.
            timeout: seconds to wait for room; None for as long as it takes.
            letters: the answer to ``need(0)``, if that was sent already.

        Returns:
            One ``Accept`` letter a job.

        Raises:
            queue.Full: there is no room for all; how many were accepted is in its attribute ``accepted``.
            BrokerError: as ``Session.run``; or the queue vanishes as often as it is declared.
            QueueConflict: see ``declare``.
        """
        deadline, done, declarations, turn = deadline_of(timeout), "", 0, LAST_PLACE
        if letters is None:
            yield from self.declare(queue)
        while True:
            if letters is None:
                letters = yield need(len(done))
            if letters == jobs.Accept.UNDECLARED:
                if declarations == DECLARATIONS:
                    raise BrokerError(f"queue {queue!r} vanishes as often as it is declared; who flushes the server?")
                declarations += 1
                self.declared.pop(queue, None)
                yield from self.declare(queue)
            else:
                full = letters.find(jobs.Accept.FULL)
                if full < 0:
                    return done + letters
                done += letters[:full]
                if is_over(deadline):
                    raise self._full(queue, len(done))
                turn = yield from self._wait_for_room(queue, deadline, turn)
                if not turn:
                    raise self._full(queue, len(done))
            letters = None

    def _wait_for_room(self, queue: str, deadline: float | None, turn: str) -> Operation[str]:
        """Stand in line until there is room; return the turn, or an empty text after ``deadline``."""
        keys, listener = self.broker.keys(queue), self.listener
        bell = yield MakeBell()
        signal, gone = listener.signals.open(bell.ring), False  # from the line, or as good as
        try:
            yield from subscribed(listener, bell, deadline)
            while True:
                place: Wait | None = yield queues.wait_room(keys, signal.address, turn)
                if place is None:
                    gone = True
                    return turn
                turn = place.turn
                yield Hear(bell, next_look(listener, deadline, place.again))
                if signal.news:
                    gone = True
                    return turn
                if is_over(deadline):
                    return ""
        except (BrokerUnavailable, Indeterminate):
            gone = True  # to leave would mean to wait as long again
            raise
        finally:
            listener.signals.close(signal)
            if not gone:
                yield queues.leave_room(keys, signal.address)

    def _full(self, queue: str, accepted: int) -> standard.Full:
        declared = self.declared.get(queue)
        size = f" (maxsize {declared.maxsize})" if declared is not None else ""
        error = standard.Full(f"queue {queue!r} is full{size}: wait with timeout=, or add workers")
        error.accepted = accepted  # type: ignore[attr-defined]
        return error


def check_new(queue: str, uniques: Sequence[str], letters: str) -> None:
    """Check that no job was refused because its own new id is taken.

    Raises:
        JobConflict: two processes drew the same 40 bits and used them in the same millisecond.
    """
    at = letters.find(jobs.Accept.CONFLICT)
    if at >= 0:
        raise JobConflict(f"job {queue}/{uniques[at]} was not sent: another process drew the same id; send it again")


def _same_call(stored: bytes, sent: bytes) -> bool:
    """Tell whether two jobs call the same task with the same arguments, whoever is told of their end."""
    try:
        old, new = decode_body(split_data(stored)[1]), decode_body(sent.partition(b"\n")[2])
    except (ValueError, msgspec.MsgspecError):
        return False
    return (old.task, old.codec, old.payload) == (new.task, new.codec, new.payload)
