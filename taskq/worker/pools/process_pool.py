"""One slot in the main thread, where signals arrive and most libraries expect to run."""

from __future__ import annotations

import threading

from taskq.worker.pools.base import Parts
from taskq.worker.pools.crew import Crew


class ProcessPool(Crew):
    """Runs one job at a time. What must be interrupted is killed by the supervisor, with the process."""

    def __init__(self, parts: Parts, slots: int) -> None:  # noqa: ARG002 (a pool's shape)
        super().__init__(parts, 1)
        self._gate = threading.Lock()
        self._gate.acquire()
        self._mates[0].gate = self._gate

    def serve(self) -> None:
        """See ``Pool.serve``; a second thread reads, so that a recall is answered while a job runs."""
        threading.Thread(target=self._read, name="taskq-reader", daemon=True).start()
        while not self.finished:
            self._gate.acquire()
            self._shift(self._mates[0])
