"""Does what replies and beats tell of, and keeps what a worker holds equal to what the server says that it holds."""

from __future__ import annotations

import logging
from collections.abc import Callable

from taskq.broker.workers import Beat
from taskq.model.job import random_token
from taskq.worker.claims import Claims
from taskq.worker.dispatch import Dispatcher
from taskq.worker.leases import ServedQueue
from taskq.worker.reaper import Reaper

logger = logging.getLogger("taskq.worker")


class Upkeep:
    """Used by the supervisor's loop; ``beaten`` and ``lost`` by the heartbeat's thread.

    Args:
        worker: the worker's id.
        claims: settles, releases, compares.
        dispatcher: has the jobs.
        reaper: does what takes calls of its own.
        post: runs a function in the loop, from any thread.
    """

    def __init__(
        self,
        worker: str,
        claims: Claims,
        dispatcher: Dispatcher,
        reaper: Reaper,
        post: Callable[[Callable[[], None]], None],
    ) -> None:
        self._id = worker
        self._claims = claims
        self._dispatcher = dispatcher
        self._reaper = reaper
        self._post = post

    def beaten(self, queue: ServedQueue, beat: Beat) -> None:
        """Take a heartbeat's answer."""
        for worker in beat.over:
            if worker != queue.worker:
                self._reaper.reap(queue.name, worker)
        worker = queue.worker
        self._post(lambda: self._compare(queue, worker, beat.held))
        if beat.ended or beat.outbox or beat.revoked:
            self._post(lambda: self.do_chores(queue, beat.ended, beat.outbox, beat.revoked))

    def lost(self, queue: ServedQueue, worker: str) -> None:
        """Hear from a beat that the lease of ``worker`` on a queue is gone."""
        self._post(lambda: self.fenced(queue, worker))

    def _compare(self, queue: ServedQueue, worker: str, held: int) -> None:
        """Look for jobs that the server leased to this worker in a reply that never came, or came too late.

        Under load the counts differ by what is on its way; that costs one call in two beats and gives nothing back.
        """
        if queue.fenced or queue.worker != worker:
            return
        equal = held == len(self._dispatcher.ids(queue)) + len(queue.unsaid())
        queue.mismatches = 0 if equal else queue.mismatches + 1
        if queue.mismatches >= 2:
            queue.mismatches = 0
            self._claims.reconcile(queue, lambda: self._dispatcher.ids(queue))

    def reconciled(self, queue: ServedQueue, given_back: int, lost: list[str]) -> None:
        """Hear what a comparison with the server has found."""
        if given_back:
            logger.warning(
                "queue %s: %d jobs were leased to this worker without its knowledge, and are given back",
                queue.name, given_back, extra={"action": "reconciled", "queue": queue.name, "jobs": given_back},
            )  # fmt: skip
            self._claims.look()
        if lost:
            self._dispatcher.drop_waiting(queue, set(lost))

    def do_chores(self, queue: ServedQueue, ended: int, outbox: int, revoked: int) -> None:
        """See to jobs that ended inside a script, follow-ups that wait, jobs that were revoked: so many of each."""
        if ended:
            self._reaper.finish(queue.name)
        if outbox:
            self._reaper.relay(queue.name)
        if revoked:
            self._reaper.read_revoked(
                queue.name, lambda modes: self._post(lambda: self._dispatcher.drop_revoked(queue.name, modes))
            )

    def fenced(self, queue: ServedQueue, worker: str) -> None:
        """Take a new id for a queue whose lease is gone; what has not started is forgotten, it has other owners."""
        if queue.fenced or queue.worker != worker:  # the beat and the step both hear of one end, maybe seconds apart
            return
        queue.fenced = True
        fresh = f"{self._id}.{random_token(4)}"
        logger.error(
            "the lease on queue %s was taken away; going on as %s", queue.name, fresh,
            extra={"action": "fenced", "queue": queue.name, "worker": queue.worker},
        )  # fmt: skip
        self._dispatcher.forget(queue)
        self._reaper.register(queue, fresh, lambda: self._post(lambda: self._rejoin(queue, fresh)))

    def _rejoin(self, queue: ServedQueue, worker: str) -> None:
        queue.start_over(worker)
        self._claims.look()
