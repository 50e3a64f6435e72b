"""Acting on queues and jobs: what ``app.control`` offers. Bulk methods work in chunks and can be interrupted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taskq.broker import browsing, jobs, queues
from taskq.broker.doctor import server_time
from taskq.broker.finishing import finish_ended, moved_to, relay_outbox, seal_moved
from taskq.client.inspection import check_queues
from taskq.client.operation import perform
from taskq.client.records import read_record
from taskq.errors import JobConflict, QueueConflict, UnknownOrExpired
from taskq.model.discipline import check_queue_name
from taskq.model.job import newer_version, split_id
from taskq.model.signing import is_signed

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.broker.findings import Finding
    from taskq.broker.keys import QueueKeys
    from taskq.client.aio_operating import AioControl

CHUNK: Final = browsing.CHUNK
Told = Callable[[int], None]  # is given how many more are done


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a job that was to be moved: its new id, or why it stays."""

    id: str
    now: str = ""
    problem: str = ""


class Control:
    """``app.control``: takes jobs out, runs them again, moves and forgets them; pauses queues.

    All methods raise BrokerError where the server refused or was not reached; what was done before stays done.
    """

    def __init__(self, app: TaskQ) -> None:
        self._app = app

    @property
    def aio(self) -> AioControl:
        """The same methods as coroutines; one that is cancelled goes on to the end of what it does in this moment."""
        from taskq.client.aio_operating import AioControl

        return AioControl(self)

    def pause(self, queue: str) -> None:
        """Let no worker take another job of a queue; what runs goes on, and jobs may still be sent.

        Raises:
            UnknownQueue, InvalidQueueName: there is no such queue.
            QueueConflict: it holds items.
        """
        self._set_paused(queue, True)

    def resume(self, queue: str) -> None:
        """Let workers take jobs of a queue again; raises as ``pause``."""
        self._set_paused(queue, False)

    def purge(self, queue: str, told: Told | None = None, most: int | None = None) -> int:
        """Cancel the jobs of a queue that no worker has, so that their waiters see it.

        Args:
            queue: which; its jobs or, of a data queue, its items.
            told: is given the number of each chunk when it is done.
            most: how many at most; as many as wait now where None, so that it ends however fast others send.

        Returns:
            How many there were.

        Raises:
            UnknownQueue, InvalidQueueName: there is no such queue.
        """
        self.check_queue(queue)
        info = self._app.broker.run(queues.inspect(self._app.broker.keys(queue)))
        if info.content == queues.ITEMS:
            return self._app.Queue(queue).purge()
        keys, purged, left = self._app.broker.keys(queue), 0, 1
        most = info.ready + info.delayed + info.suspect if most is None else most
        while left and purged < most:
            count, left = self._app.broker.run(queues.purge(keys, min(CHUNK, most - purged)))
            finish_ended(self._app.broker, keys, signer=self._app._signer)
            purged += count
            _tell(told, count)
        return purged

    def retry(self, job_ids: Iterable[str], told: Told | None = None) -> int:
        """Put dead jobs back in line, with a clean history; their old results are forgotten.

        Args:
            job_ids: ``queue/unique``; what is not dead is passed over.
            told: is given the number of each chunk when it is done.

        Returns:
            How many were dead.

        Raises:
            InvalidJobId: one is no such id; those before it are done.
        """
        return self._in_chunks(job_ids, lambda queue, uniques: self._app.broker.run(jobs.requeue(queue, uniques)), told)

    def drop(self, job_ids: Iterable[str], told: Told | None = None) -> int:
        """Forget dead and quarantined jobs for good; see ``retry``. Their results stay until they expire."""
        return self._in_chunks(job_ids, self._drop, told)

    def move(self, job_id: str, to: str) -> Moved:
        """Let a job that no worker has go on in another queue, where it gets another id and a clean history.

        Whoever waits for it is told that it was cancelled, and its new id. A delayed job stays due when it was. A move
        that is cut short, by the end of this process say, is brought to its end by a worker of the queue, or by
        calling this again.

        Args:
            job_id: ``queue/unique``.
            to: a queue, which must have been used or declared before.

        Raises:
            InvalidJobId: it is no such id.
            UnknownOrExpired: no queue knows it.
            JobConflict: it is there already.
            SignatureError: it is signed, but not as it is.
            UnknownQueue, InvalidQueueName, QueueConflict: there is no queue ``to``, or it holds items.
        """
        queue, unique = self._split(job_id)
        self.check_queue(to)
        if self._app.broker.run(queues.inspect(self._app.broker.keys(to))).content == queues.ITEMS:
            raise QueueConflict(f"queue {to!r} holds items, not jobs")
        if queue == to:
            raise JobConflict(f"job {job_id} is in queue {to!r} already")
        broker, fresh = self._app.broker, self._app._new_id()
        keys = broker.keys(queue)
        sealed = self._seal(queue, unique, to, fresh)
        if sealed is None:
            return Moved(job_id, problem="is signed, and this app has no signing_key to sign it for another queue")
        letter = broker.run(browsing.move(keys, unique, to, fresh, sealed))
        now = f"{to}/{fresh}" if letter == "M" else moved_to(letter)
        if now:
            finish_ended(broker, keys, unique, signer=self._app._signer)
        if now or letter in {"E", "N"}:  # a move before this one may have been cut short after that
            relay_outbox(broker, broker.keys, queue)
        if letter == "N":
            now = self._moved_before(job_id, queue, unique)
        return Moved(job_id, now) if now else Moved(job_id, problem=_STAYS[letter])

    def _seal(self, queue: str, unique: str, to: str, fresh: str) -> str | None:
        """Return the header line that a job has in another queue, empty if it is not signed; None without a key.

        Raises:
            SignatureError: it is not what was signed, so it is not signed anew.
        """
        broker, signer = self._app.broker, self._app._signer
        place = broker.run(jobs.find(broker.keys(queue), unique))
        if place is None or newer_version(place.data) is not None or not is_signed(place.data):
            return ""
        if signer is None:
            return None
        signer.check(queue, unique, place.data)
        now_us = round(broker.read(server_time()) * 1e6)
        return seal_moved(signer, place.data, to, fresh, now_us, dead=place.place == "dead")

    def repair(self, finding: Finding) -> bool:
        """Put right what ``app.inspect.fsck`` found, if it still is wrong and nothing has to be guessed.

        Returns:
            Whether it was, and is not any more.
        """
        from taskq.broker.fsck import mend

        return mend(self._app.broker, finding)

    def _moved_before(self, job_id: str, queue: str, unique: str) -> str:
        """Return the id that a job without a body got when it was moved; empty if it was not."""
        data = self._app.broker.read(jobs.result(self._app.broker.keys(queue), unique))
        if data is None:
            raise UnknownOrExpired(f"job {job_id} is in no queue: mistyped, or it has ended")
        error = read_record(data, job_id, self._app._signer).error
        return moved_to(error.message) if error is not None else ""

    def _set_paused(self, queue: str, paused: bool) -> None:
        self.check_queue(queue)
        perform(self._app._sender.declare(queue, queues.JOBS), self._app.broker)
        self._app.broker.run(queues.pause(self._app.broker.keys(queue), paused))

    def check_queue(self, queue: str) -> None:
        """Return if there is such a queue; raises as ``pause``."""
        perform(check_queues(self._app, (check_queue_name(queue),)), self._app.broker)

    def _split(self, job_id: str) -> tuple[str, str]:
        queue, unique = split_id(job_id)
        return (queue, unique) if queue else (self._app.AsyncResult(job_id).queue, unique)

    def _drop(self, queue: QueueKeys, uniques: Sequence[str]) -> int:
        holders = self._app.broker.read(browsing.lease_holders(queue))
        return self._app.broker.run(browsing.drop(queue, uniques, holders))

    def _known(self, job_ids: Iterable[str]) -> Iterator[tuple[str, str]]:
        for job_id in job_ids:
            with contextlib.suppress(UnknownOrExpired):  # a bare id that is in no queue
                yield self._split(job_id)

    def _in_chunks(
        self, job_ids: Iterable[str], run: Callable[[QueueKeys, Sequence[str]], int], told: Told | None
    ) -> int:
        done = 0
        for queue, uniques in _by_queue(self._known(job_ids)):
            count = run(self._app.broker.keys(queue), uniques)
            done += count
            _tell(told, count)
        return done


def _tell(told: Told | None, count: int) -> None:
    if told is not None:
        told(count)


_STAYS: Final = {
    "L": "is with a worker",
    "E": "has ended",
    "V": "is of a newer taskq",
    "X": "is damaged",
    "N": "has ended",
}


def _by_queue(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Gather jobs of one queue, CHUNK at most, in the order in which they come."""
    queue, gathered = "", list[str]()
    for name, unique in pairs:
        if gathered and (name != queue or len(gathered) == CHUNK):
            yield queue, gathered
            gathered = []
        queue = name
        gathered.append(unique)
    if gathered:
        yield queue, gathered
