"""The data of the page: a column for each fact, whole microseconds, every text once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from taskq.model.outcome import Ending
from taskq.report.lanes import Layout, begin, lay_out, place_of, slot_of
from taskq.report.report import Report
from taskq.report.summary import Summary, summarize
from taskq.report.wording import about, figures, notes

LETTERS = {
    Ending.SUCCEEDED: "s", Ending.FAILED: "f", Ending.CRASHED: "c", Ending.EXPIRED: "e", Ending.CANCELLED: "x",
}  # fmt: skip
MAX_TEXTS = 2000  # different messages of errors that are kept, 200 characters each; of more only the classes
NEVER = -1  # in a column: the time is unknown


class Names:
    """Texts by number, in the order in which they came."""

    def __init__(self, first: Iterable[str] = ()) -> None:
        self.numbers: dict[Any, int] = {name: number for number, name in enumerate(first)}

    def __getitem__(self, name: object) -> int:
        return self.numbers.setdefault(name, len(self.numbers))

    def listed(self) -> list[Any]:
        """Return all of them."""
        return list(self.numbers)


def page_data(report: Report) -> dict[str, Any]:
    """Return what the page's script reads."""
    layout, summary = lay_out(report.runs), summarize(report.runs)
    base = min((_microseconds(begin(run)) for run in layout.runs), default=_microseconds(report.found.now))
    tasks, workers = Names(one.task for one in summary.tasks), Names()
    lanes = [(workers[lane.worker], lane.name, lane.leads) for lane in layout.lanes]
    index = {id(run): number for number, run in enumerate(layout.runs)}
    data = {
        "app": report.app,
        "about": about(report),
        "notes": notes(report, len(layout.runs)),
        "figures": figures(summary, layout.slots),
        "base_us": base,
        "lanes": lanes,
        "workers": workers.listed(),
        "worker_names": [layout.name_of(worker) for worker in workers.listed()],
        **_tables(summary, tasks, index),
        **_columns(layout, tasks, base),
    }
    return data | {"tasks": tasks.listed()}


def _columns(layout: Layout, tasks: Names, base: int) -> dict[str, Any]:
    queues, errors, places = Names(), Names(), Names()
    start, run, wait, claim = [], [], [], []
    attempts, failures = {}, {}
    before = base
    for number, one in enumerate(layout.runs):
        at = _microseconds(begin(one))
        start.append(at - before)
        before = at
        run.append(_microseconds(one.finished) - at if one.took is not None else NEVER)
        wait.append(_since(one.enqueued, at))
        claim.append(_since(one.claimed, at))
        if one.attempt != 1:
            attempts[number] = one.attempt
        if one.error:
            text = (one.error, one.message)
            full = len(errors.numbers) >= MAX_TEXTS and text not in errors.numbers
            failures[number] = errors[(one.error, "") if full else text]
    jobs = {
        "start": start,
        "run": run,
        "wait": wait,
        "claim": claim,
        "lane": layout.lane_of,
        "task": [tasks[one.task] for one in layout.runs],
        "queue": [queues[one.queue] for one in layout.runs],
        "ending": "".join(LETTERS[Ending(one.ending)] for one in layout.runs),
        "attempt": attempts,
        "error": failures,
        "id": [one.id.partition("/")[2] for one in layout.runs],
    }
    if layout.shared:
        jobs["place"] = [places[place_of(slot_of(one))] for one in layout.runs]
    found = {"jobs": jobs, "queues": queues.listed(), "errors": errors.listed()}
    return found | {"places": places.listed()} if layout.shared else found


def _tables(summary: Summary, tasks: Names, index: dict[int, int]) -> dict[str, Any]:
    def us(seconds: float | None) -> int | None:
        return None if seconds is None else round(seconds * 1e6)

    rows = [
        (tasks[one.task], one.jobs, one.failed, us(one.wait_p50), us(one.wait_p95), us(one.run_p50), us(one.run_p95),
         us(one.run_max), us(one.run_total))
        for one in summary.tasks
    ]  # fmt: skip
    failures = [
        (
            tasks[one.task],
            one.ending,
            one.error or "-",
            one.jobs,
            one.last.message,
            one.last.id,
            index.get(id(one.last)),
        )
        for one in summary.failures
    ]
    return {"task_rows": rows, "slowest": [index[id(run)] for run in summary.slowest], "failures": failures}


def _microseconds(seconds: float | None) -> int:
    return round((seconds or 0.0) * 1e6)


def _since(moment: float | None, at: int) -> int:
    return NEVER if moment is None else max(0, at - _microseconds(moment))
