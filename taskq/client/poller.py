"""Reads the results that waiters were not told of: the safety net below the listener, and all there is for others."""

from __future__ import annotations

import heapq
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from taskq.broker import jobs, results, work
from taskq.broker.finishing import finishes
from taskq.client.watching import Registry, Watch
from taskq.errors import TaskqError
from taskq.model.job import decode_state, split_id
from taskq.model.outcome import RECORD_VERSION, Ending, ErrorInfo, Record, decode_errors, encode_record

if TYPE_CHECKING:
    from taskq.broker.broker import Broker

FIRST_INTERVAL: Final = 0.005  # seconds between the first two reads of a job that nobody announces here; doubles
LONGEST_INTERVAL: Final = 1.0  # seconds
GRID: Final = 0.25  # seconds: reads of announced jobs are due together, so that short waits cost no wake-up each
READS_PER_SECOND: Final = 5_000  # records; a hundred thousand waiting jobs are read over 20 s
PROBES: Final = 50  # jobs of a round that are looked for; one missing leads to the next 50
DEEP_LOOK: Final = 16  # rounds between two looks at where a job is: one in the dead set gets no record any more
MOST_AT_ONCE: Final = 512  # records a read
HEAVY: Final = 4 * 1024 * 1024  # bytes of one read, after which the next ones ask for fewer
UNDER_WAY: Final = frozenset({"ready", "delayed", "running", "suspect", "revoked"})
FOR_GOOD: Final = frozenset({"dead", "quarantine"})  # places that a job leaves by hand alone
FIRST_SUBSCRIPTION: Final = 1.0  # seconds to wait for it before the first read, which would else have to be repeated

logger = logging.getLogger(__name__)


class Poller:
    """One thread that reads for all watches of a registry, started at the first one.

    Args:
        broker: where to read.
        registry: who waits.
        epoch: waits up to so many seconds for the listener's subscription, and returns it or None.
    """

    def __init__(self, broker: Broker, registry: Registry, epoch: Callable[[float], object | None]) -> None:
        self._broker = broker
        self._registry = registry
        self._epoch = epoch
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Watch]] = []
        self._serial = itertools.count()
        self._at_once = MOST_AT_ONCE // 8
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, watch: Watch, *, now: bool) -> None:
        """Read for ``watch``, at once or, where it is told anyway, after the longest interval.

        Raises:
            RuntimeError: no thread could be started.
        """
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="taskq-poller", daemon=True)
                thread.start()
                self._thread = thread
            self._schedule(watch, 0.0 if now else self._steady())

    def hurry(self, watches: Sequence[Watch]) -> None:
        """Read for ``watches`` at once."""
        with self._changed:
            for watch in watches:
                self._schedule(watch, 0.0)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(LONGEST_INTERVAL)

    def _steady(self) -> float:
        return max(LONGEST_INTERVAL, self._registry.waiting() / READS_PER_SECOND)

    def _schedule(self, watch: Watch, delay: float) -> None:
        due = time.monotonic() + delay
        if delay >= LONGEST_INTERVAL:
            due = due // GRID * GRID + GRID
        watch.due = due
        sooner = not self._heap or due < self._heap[0][0]
        heapq.heappush(self._heap, (due, next(self._serial), watch))
        if sooner:
            self._changed.notify_all()

    def _run(self) -> None:
        while (due := self._wait()) is not None:
            self._serve(due)
            del due  # while this thread sleeps it must not keep results alive

    def _serve(self, due: list[Watch]) -> None:
        try:
            self._round(due)
        except TaskqError as error:  # after the whole deadline: whoever waits is told, and may wait again
            self._registry.give_up(error, due)
        except Exception:
            logger.exception("reading results failed", extra={"action": "poll_failed"})
        with self._changed:
            for watch in due:
                if self._registry.active(watch):
                    self._schedule(watch, self._next_interval(watch))

    def _wait(self) -> list[Watch] | None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                due: dict[Watch, None] = {}
                while self._heap and self._heap[0][0] <= now:
                    at, _, watch = heapq.heappop(self._heap)
                    if at == watch.due and self._registry.active(watch):
                        due[watch] = None
                if due:
                    return list(due)
                self._changed.wait(self._heap[0][0] - now if self._heap else None)
        return None

    def _next_interval(self, watch: Watch) -> float:
        longest = self._steady()
        watch.interval = longest if watch.pushed else min(longest, max(FIRST_INTERVAL, 2 * watch.interval))
        return watch.interval

    def _round(self, due: list[Watch]) -> None:
        # The subscription first: what ends between it and the read is then announced.
        epoch = self._epoch(FIRST_SUBSCRIPTION if any(watch.pushed and not watch.rounds for watch in due) else 0.0)
        deep: set[str] = set()
        ids: dict[str, list[str]] = {}
        for watch in due:
            left = self._registry.left(watch)
            if watch.rounds % DEEP_LOOK == 0:
                deep.update(left)
            watch.rounds += 1
            for job_id in left:
                queue, unique = split_id(job_id)
                ids.setdefault(queue, []).append(unique)
        missing = [job_id for queue, uniques in ids.items() for job_id in self._read(queue, uniques)]
        random.shuffle(missing)
        while missing:
            chunk, missing = missing[:PROBES], missing[PROBES:]
            if not sum(self._probe(job_id, deep=job_id in deep) for job_id in chunk):
                break
        if epoch is not None:
            for watch in due:
                if watch.pushed:
                    watch.sink._covered(epoch)

    def _read(self, queue: str, uniques: list[str]) -> Iterator[str]:
        """Settle the jobs that have a record; yield the ids of the others."""
        at = 0
        while at < len(uniques):
            chunk = uniques[at : at + self._at_once]
            at += len(chunk)
            found = self._broker.read(results.records(self._broker.keys(queue), chunk))
            size = sum(len(record) for record in found if record is not None)
            self._at_once = max(1, self._at_once // 4) if size > HEAVY else min(MOST_AT_ONCE, self._at_once * 2)
            for unique, record in zip(chunk, found, strict=True):
                if record is None:
                    yield f"{queue}/{unique}"
                else:
                    self._registry.settle(f"{queue}/{unique}", record)

    def _probe(self, job_id: str, *, deep: bool) -> bool:
        """Find out what a job without a record is up to; return True if waiting for it is over."""
        queue, unique = split_id(job_id)
        keys, broker = self._broker.keys(queue), self._broker
        place: jobs.Place | None = None
        if broker.read(results.exists(keys, unique)):
            if not deep:
                return False
            place = broker.run(jobs.find(keys, unique))
            if place is not None and place.place in UNDER_WAY:
                return False
        if place is None or place.place in FOR_GOOD:
            # It may have ended since its record was looked for; job and record change in one script.
            record = broker.read(jobs.result(keys, unique))
            if record is None and place is None:
                self._registry.vanish(job_id)
            else:
                self._registry.settle(job_id, record or self._obituary(place, job_id))
            return True
        # It ended inside a script, and who should have written its result may be gone.
        now, ended = broker.run(work.ended(keys, unique))
        if made := finishes(ended, now, queue, broker.signer):
            broker.run(work.end(keys, made))
        return False

    def _obituary(self, place: jobs.Place | None, job_id: str) -> bytes:
        """Make a record for a job that stays in the dead set or in quarantine after its own one expired."""
        signer = self._broker.signer
        queue, unique = split_id(job_id)
        # What stands beside the job is not signed, so it is not believed where all must be.
        record = encode_record(_obituary(place, job_id, believed=signer is None or not signer.required))
        return record if signer is None else signer.sign_result(queue, unique, record)


def _obituary(place: jobs.Place | None, job_id: str, *, believed: bool) -> Record:
    error = ErrorInfo("Quarantined", f"job {job_id} is damaged and was put aside; inspect it by hand")
    if place is not None and place.place == "dead":
        try:
            errors = decode_errors(decode_state(place.state).errors) if believed else []
        except ValueError:
            errors = []
        error = errors[-1] if errors else ErrorInfo("Unknown", f"job {job_id} is dead; its result has expired")
    return Record(RECORD_VERSION, Ending.FAILED, error=error)
