"""The trace: JSON of the documented Trace Event Format, which ui.perfetto.dev and chrome://tracing open.

A process for each worker with a thread for each lane, on which the jobs are complete events; a process for the queues
with a counter of waiting jobs for each; times are microseconds from the first.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from taskq.client.runs import Run
from taskq.report.lanes import Layout, lay_out, place_of, slot_of
from taskq.report.report import Report

Event = dict[str, Any]
QUEUES = 1  # process id of the queues; the workers follow
WHERE = {"pid": QUEUES, "tid": 0}


def render_trace(report: Report) -> Iterator[str]:
    """Yield the parts of the trace, an event a line, in ASCII."""
    layout = lay_out(report.runs)
    base = min((_earliest(run) for run in layout.runs), default=report.found.now)
    about = {"app": report.app, "namespace": report.namespace, "base_seconds": base, "clock": "the server's"}
    yield f'{{"displayTimeUnit":"ms","otherData":{json.dumps(about)},"traceEvents":[\n'
    before = ""
    for event in _events(layout, base):
        yield before + json.dumps(event, separators=(",", ":"))
        before = ",\n"
    yield "\n]}\n"


def _events(layout: Layout, base: float) -> Iterator[Event]:
    workers: dict[str, int] = {}
    threads: list[dict[str, int]] = []
    yield _name("process_name", "queues", WHERE)
    yield _name("thread_name", "waiting jobs", WHERE)
    for number, lane in enumerate(layout.lanes):
        if lane.worker not in workers:
            workers[lane.worker] = QUEUES + 1 + len(workers)
            yield _name("process_name", layout.name_of(lane.worker), {"pid": workers[lane.worker], "tid": 0})
        threads.append({"pid": workers[lane.worker], "tid": number + 1})
        yield _name("thread_name", lane.name or "ended", threads[-1])
        yield {"ph": "M", "name": "thread_sort_index", **threads[-1], "args": {"sort_index": number}}
    yield from _waiting(layout, base)
    free = [0] * len(threads)  # since when each thread is free
    for run, lane_number in zip(layout.runs, layout.lane_of, strict=True):
        yield _job(run, threads[lane_number], base, free[lane_number])
        free[lane_number] = max(free[lane_number], _us(run.finished, base))


def _job(run: Run, where: dict[str, int], base: float, free: int) -> Event:
    facts: dict[str, Any] = {"id": run.id, "ending": run.ending, "attempt": run.attempt}
    if run.waited is not None:
        facts["waited_ms"] = round(run.waited * 1e3, 3)
    if run.error:
        facts["error"] = f"{run.error}: {run.message}" if run.message else run.error
    event: Event = {"name": run.task or "(unknown task)", "cat": f"{run.queue},{run.ending}", **where}
    end = _us(run.finished, base)
    if run.took is None:
        return event | {"ph": "i", "s": "t", "ts": end, "args": facts}
    # The clocks of two claims differ by microseconds, and events of a thread may not overlap.
    begin = min(max(_us(run.started, base), free), end)
    facts["slot"] = place_of(slot_of(run))
    return event | {"ph": "X", "ts": begin, "dur": end - begin, "args": facts}


def _waiting(layout: Layout, base: float) -> Iterator[Event]:
    """Yield how many jobs of each queue waited, at each change."""
    changes: dict[str, Counter[int]] = defaultdict(Counter)
    for run in layout.runs:
        if run.enqueued is not None:
            changes[run.queue][_us(run.enqueued, base)] += 1
            changes[run.queue][max(_us(run.enqueued, base), _us(run.started or run.finished, base))] -= 1
    for queue, steps in sorted(changes.items()):
        waiting = 0
        for at, change in sorted(steps.items()):
            waiting += change
            if change:
                yield {"ph": "C", "name": f"waiting in {queue}", **WHERE, "ts": at, "args": {"jobs": waiting}}


def _name(kind: str, name: str, where: dict[str, int]) -> Event:
    return {"ph": "M", "name": kind, **where, "args": {"name": name}}


def _earliest(run: Run) -> float:
    return min(moment for moment in (run.enqueued, run.started, run.finished) if moment is not None)


def _us(moment: float | None, base: float) -> int:
    return round(((moment or base) - base) * 1e6)
