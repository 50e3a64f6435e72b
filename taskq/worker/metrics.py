"""What a worker has counted, and what its queues hold: the figures that ``--metrics-port`` shows.

The loop counts, any thread may ask; who asks waits for the server, the loop never does.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from taskq.broker import browsing, queues
from taskq.broker.broker import Broker
from taskq.errors import BrokerUnavailable, Indeterminate, TaskqError
from taskq.model.job import peek
from taskq.version import VERSION
from taskq.worker.tally import BOUNDS, OUTCOMES, UNKNOWN, Buckets, Sums

if TYPE_CHECKING:
    from taskq.broker.keys import QueueKeys
    from taskq.broker.queues import QueueInfo
    from taskq.worker.dispatch import Hand
    from taskq.worker.leases import Lease
    from taskq.worker.protocol import JobTally

logger = logging.getLogger("taskq.worker")
MAX_SERIES: Final = 1_000  # queues times tasks times outcomes; each is some 40 lines of what is shown
OTHER: Final = "other"  # the task of what is beyond
SLICE: Final = 20  # series copied while the loop may wait for it: some 10 us
FRESH: Final = 1.0  # seconds for which what was read of the queues is shown again: several may ask
PATIENCE: Final = 2.0  # seconds for one call; who asks gives up after 10 s by default
AGES: Final = ("delayed", "suspect", "dead", "quarantine")  # places whose first job is looked at; ready has its own


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """A queue: jobs by state, age in seconds of the job that stands first in each, whether it is paused, counters."""

    name: str
    jobs: dict[str, int]
    ages: dict[str, float]
    paused: bool
    counters: dict[str, int]


@dataclass(frozen=True, slots=True)
class Figures:
    """All that is shown.

    Attributes:
        about: what the worker tells of its health; see ``Supervisor._report``.
        version: of taskq.
        slots: jobs that it runs at once.
        busy: jobs that run.
        oldest: for each queue the seconds that its longest job runs here.
        bounds: upper ends of all buckets but the last, in seconds.
        jobs: by queue, task and outcome; those that may come are there with 0, up to MAX_SERIES.
        dropped: outcomes that the server does not take any more, by queue.
        calls: how long the server took to answer.
        errors: calls that it did not answer well, by kind.
        up: whether the server answered just now; None where it was not asked.
        queues: those that the worker serves and the server tells of.
    """

    about: dict[str, Any]
    version: str
    slots: int
    busy: int
    oldest: dict[str, float]
    bounds: Sequence[float]
    jobs: dict[tuple[str, str, str], Sums]
    dropped: dict[str, int]
    calls: Buckets
    errors: dict[str, int]
    up: bool | None = None
    queues: Sequence[QueueFigures] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """What ``Counters`` have counted; the fields as in ``Figures``."""

    jobs: dict[tuple[str, str, str], Sums]
    dropped: dict[str, int]
    calls: Buckets
    errors: dict[str, int]


class Counters:
    """What the loop counts; the threads that connect again count failures."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[tuple[str, str, str], Sums] = {}
        self._dropped: dict[str, int] = {}
        self._calls = Buckets.empty()
        self._errors = dict.fromkeys(("lost", "busy", "refused", "unreachable"), 0)

    def merge(self, tallies: Iterable[JobTally]) -> None:
        """Add what a child tells."""
        with self._lock:
            for one in tallies:
                sums = self._sums(one.queue, one.task, one.outcome)
                sums.jobs += one.jobs
                sums.waits.merge(one.waits, one.waited)
                sums.runs.merge(one.runs, one.ran)

    def count(self, lease: Lease, outcome: str, known: Iterable[str]) -> None:
        """Count a job that its child could not answer for, of one of the ``known`` tasks."""
        _, task = peek(lease.data)
        with self._lock:
            self._sums(lease.queue.name, task if task in known else UNKNOWN, outcome).jobs += 1

    def _sums(self, queue: str, task: str, outcome: str) -> Sums:
        found = self._jobs.get((queue, task, outcome))
        if found is None:
            if len(self._jobs) >= MAX_SERIES:
                task = OTHER
            found = self._jobs.setdefault((queue, task, outcome), Sums())
        return found

    def drop(self, queue: str) -> None:
        """Count a job that ended here while its lease was gone; it was counted by its outcome, too."""
        with self._lock:
            self._dropped[queue] = self._dropped.get(queue, 0) + 1

    def answered(self, seconds: float) -> None:
        """Count a call that the server answered."""
        with self._lock:
            self._calls.add(seconds)

    def failed(self, kind: str) -> None:
        """Count a call that it did not: the connection was ``lost``, the server ``busy``, or it ``refused``.

        A server to which nobody can connect is ``unreachable``.
        """
        with self._lock:
            self._errors[kind] += 1

    def copy(self) -> Counted:
        """Return all of it as it is now; the loop goes on between slices."""
        with self._lock:
            keys = list(self._jobs)
        jobs = {}
        for start in range(0, len(keys), SLICE):
            with self._lock:
                for key in keys[start : start + SLICE]:
                    one = self._jobs[key]
                    jobs[key] = Sums(one.jobs, one.waits.copy(), one.runs.copy())
        with self._lock:
            return Counted(jobs, dict(self._dropped), self._calls.copy(), dict(self._errors))


def with_zeros(
    jobs: Mapping[tuple[str, str, str], Sums], queues_: Iterable[str], tasks: Iterable[str]
) -> dict[tuple[str, str, str], Sums]:
    """Return what was counted, and 0 for what may be: a counter that begins at 1 is no increase to who reads it.

    Where these would be more than MAX_SERIES, what goes wrong comes before what goes well.
    """
    found, none = dict(jobs), Sums()
    keys = itertools.product(reversed(OUTCOMES.values()), queues_, (UNKNOWN, *tasks))
    for outcome, queue, task in itertools.takewhile(lambda _: len(found) < MAX_SERIES, keys):
        found.setdefault((queue, task, outcome), none)
    return found


@dataclass(slots=True)
class QueueReader:
    """Reads what queues hold, over a connection of its own; any thread may ask, one at a time reads."""

    broker: Broker
    served: Sequence[QueueKeys]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _read: list[QueueFigures] = field(default_factory=list)
    _up: bool = False
    _until: float = 0.0  # monotonic seconds for which ``_read`` is fresh

    def read(self) -> tuple[bool, list[QueueFigures]]:
        """Return whether the server answered, and the queues that it tells of."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._up, self._read = self._ask()
                self._until = time.monotonic() + FRESH
            return self._up, self._read

    def _ask(self) -> tuple[bool, list[QueueFigures]]:
        found = []
        for keys in self.served:
            try:
                found.append(self._figures(keys))
            except (BrokerUnavailable, Indeterminate):
                logger.warning(
                    "metrics leave the queues out: server %s does not answer", self.broker.address,
                    extra={"action": "metrics_failed"},
                )  # fmt: skip
                return False, []
            except TaskqError as error:
                logger.warning("metrics leave queue %s out: %s", keys.queue, error, extra={"action": "metrics_failed"})
        return True, found

    def _figures(self, keys: QueueKeys) -> QueueFigures:
        info: QueueInfo = self.broker.run(queues.inspect(keys), PATIENCE)
        states = ("ready", "delayed", "running", "suspect", "dead", "ending", "quarantine")
        jobs = {state: int(getattr(info, state)) for state in states}
        ages = {} if info.oldest_ms is None else {"ready": info.oldest_ms / 1000}
        for place in AGES:
            if jobs[place]:
                page = self.broker.run(browsing.browse(keys, place, 0, 1), PATIENCE)
                for job in page.jobs:
                    accepted_ms, _ = peek(job.data)
                    if accepted_ms is not None:
                        ages[place] = max(0.0, page.now / 1e6 - accepted_ms / 1e3)
        return QueueFigures(info.name, jobs, ages, info.paused, dict.fromkeys(queues.COUNTERS, 0) | info.counters)

    def close(self) -> None:
        """Close the connection."""
        self.broker.close()


def running(hands: Iterable[Hand]) -> tuple[int, dict[str, float]]:
    """Return how many jobs run, and for each queue the seconds that its longest one does; any thread may ask."""
    now, busy, oldest = time.monotonic(), 0, dict[str, float]()
    for hand in tuple(hands):
        with suppress(ValueError):  # the loop may bury the child meanwhile, which closes its table
            for handle, started, _ in hand.child.table.running():
                busy += 1
                lease = hand.held.get(handle)
                if lease is not None:
                    oldest[lease.queue.name] = max(oldest.get(lease.queue.name, 0.0), now - started)
    return busy, oldest


Show = Callable[[Callable[[], Figures]], Callable[[], None]]
"""Begins to show figures that it asks for, and returns what ends that."""


class Meter:
    """What a worker shows of itself, from its start to its end.

    Args:
        show: begins to show it; raises what prevents that.
        about: returns what the worker tells of its health; any thread may ask.
        hands: returns its children.
        tasks: returns the names of the tasks that its app has.
        slots: jobs that all of them run at once.
    """

    def __init__(
        self,
        show: Show,
        about: Callable[[], dict[str, Any]],
        hands: Callable[[], list[Hand]],
        tasks: Callable[[], Iterable[str]],
        slots: int,
    ) -> None:
        self.counters = Counters()
        self._show = show
        self._about = about
        self._hands = hands
        self._tasks = tasks
        self._slots = slots
        self._reader: QueueReader | None = None
        self._end: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to show figures; those of the queues come later."""
        self._end = self._show(self.figures)

    def open(self, broker: Broker, served: Sequence[QueueKeys]) -> None:
        """Read queues too: those of ``served``, where ``broker`` has its."""
        self._reader = QueueReader(Broker(broker.address, broker.namespace), served)

    def figures(self) -> Figures:
        """Return all figures; waits for the server, a few seconds at most."""
        busy, oldest = running(self._hands())
        up, found = self._reader.read() if self._reader is not None else (None, [])
        names = [keys.queue for keys in self._reader.served] if self._reader is not None else []
        counted = self.counters.copy()  # after the server's answer: it is the newer the later it is taken
        return Figures(
            self._about(), VERSION, self._slots, busy, oldest, BOUNDS, with_zeros(counted.jobs, names, self._tasks()),
            dict.fromkeys(names, 0) | counted.dropped, counted.calls, counted.errors, up, found,
        )  # fmt: skip

    def close(self) -> None:
        """Show nothing more."""
        if self._end is not None:
            self._end()
        if self._reader is not None:
            self._reader.close()
