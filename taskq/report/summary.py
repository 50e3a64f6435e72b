"""The figures of a report: of all jobs, of each task, the slowest jobs, and the failures by error."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from taskq.client.runs import Run
from taskq.model.outcome import Ending

SLOWEST = 20  # jobs in the list: a page's worth
MAX_FAILURES = 100  # kinds of failures in the list, the most frequent first


@dataclass(frozen=True, slots=True)
class TaskFigures:
    """Of one task; times are seconds, None where no job has kept them.

    Attributes:
        task: its name.
        jobs: how many ended.
        failed: how many of them failed.
        wait_p50: half of them had waited no longer.
        wait_p95: 95 % of them had waited no longer.
        run_p50: half of them ran no longer.
        run_p95: 95 % of them ran no longer.
        run_max: the longest.
        run_total: of all together.
    """

    task: str
    jobs: int
    failed: int
    wait_p50: float | None
    wait_p95: float | None
    run_p50: float | None
    run_p95: float | None
    run_max: float | None
    run_total: float


@dataclass(frozen=True, slots=True)
class FailureFigures:
    """Jobs of one task that ended with the same kind of error.

    Attributes:
        task: its name.
        ending: how they ended.
        error: name of the error's class.
        jobs: how many.
        last: the one that ended last.
    """

    task: str
    ending: str
    error: str
    jobs: int
    last: Run


@dataclass(frozen=True, slots=True)
class Summary:
    """All figures.

    Attributes:
        jobs: how many ended.
        failed: how many failed, crashed or expired.
        cancelled: how many were cancelled.
        workers: how many workers ran them.
        seconds: from the first start, or what is known of the first job, to the last end.
        tasks: by the time that they ran in all.
        slowest: by the time that they ran.
        failures: the most frequent first.
    """

    jobs: int
    failed: int
    cancelled: int
    workers: int
    seconds: float
    tasks: list[TaskFigures]
    slowest: list[Run]
    failures: list[FailureFigures]

    @property
    def rate(self) -> float:
        """Jobs that ended per second; 0.0 where no time passed."""
        return self.jobs / self.seconds if self.seconds else 0.0


def summarize(runs: Sequence[Run]) -> Summary:
    """Count and order ``runs``."""
    by_task: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_task[run.task].append(run)
    tasks = [_task(task, group) for task, group in by_task.items()]
    tasks.sort(key=lambda one: (-one.run_total, one.task))
    timed = [run for run in runs if run.took is not None]
    return Summary(
        len(runs),
        sum(run.failed for run in runs),
        sum(run.ending == Ending.CANCELLED for run in runs),
        len({run.worker for run in runs if run.worker}),
        _span(runs),
        tasks,
        heapq.nlargest(SLOWEST, timed, key=lambda run: run.took or 0.0),
        _failures(runs),
    )


def _task(task: str, runs: list[Run]) -> TaskFigures:
    waits = sorted(run.waited for run in runs if run.waited is not None)
    times = sorted(run.took for run in runs if run.took is not None)
    return TaskFigures(
        task,
        len(runs),
        sum(run.failed for run in runs),
        percentile(waits, 0.5),
        percentile(waits, 0.95),
        percentile(times, 0.5),
        percentile(times, 0.95),
        times[-1] if times else None,
        sum(times),
    )


def percentile(ordered: Sequence[float], part: float) -> float | None:
    """Return the least of ``ordered`` values that ``part`` of them do not exceed; None without any."""
    return ordered[max(0, math.ceil(len(ordered) * part) - 1)] if ordered else None


def _failures(runs: Iterable[Run]) -> list[FailureFigures]:
    groups: dict[tuple[str, str, str], list[Run]] = defaultdict(list)
    for run in runs:
        if run.failed:
            groups[run.task, run.ending, run.error].append(run)
    found = [
        FailureFigures(*kind, len(group), max(group, key=lambda run: run.finished or 0.0))
        for kind, group in groups.items()
    ]
    return heapq.nlargest(MAX_FAILURES, found, key=lambda one: one.jobs)


def _span(runs: Iterable[Run]) -> float:
    first, last = math.inf, -math.inf
    for run in runs:
        known = [moment for moment in (run.started, run.finished) if moment is not None]
        first, last = min([first, *known]), max([last, *known])
    return max(0.0, last - first) if first < math.inf else 0.0
