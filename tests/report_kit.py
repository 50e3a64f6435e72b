"""Made-up finished jobs, and what a page made of them holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from taskq.client.runs import Found, Run
from taskq.report.page import render_page
from taskq.report.report import Report
from taskq.report.trace import render_trace

NOON = 1_800_000_000.0  # seconds since 1970: a moment in 2027


def make_run(number: int = 0, **changes: Any) -> Run:
    """A job that waited 0.5 s and ran for 0.25 s; each number is a second later than the one before."""
    at = NOON + number
    facts: dict[str, Any] = {
        "id": f"default/job{number:017d}", "queue": "default", "task": "proj.tasks.add", "worker": "host.17.abc",
        "child": 40, "slot": 0, "attempt": 1, "ending": "succeeded", "enqueued": at, "claimed": at + 0.375,
        "started": at + 0.5, "finished": at + 0.75,
    }  # fmt: skip
    return Run(**(facts | changes))


def make_report(runs: Iterable[Run], **changes: Any) -> Report:
    """A report of jobs, as if it was read just after the last one."""
    found = Found(NOON + 1e6, runs=sorted(runs, key=lambda run: run.finished or 0.0))
    for name in ("since", "until", "damaged", "left_out"):
        if name in changes:
            setattr(found, name, changes.pop(name))
    return Report(changes.pop("app", "demo"), changes.pop("namespace", "taskq"), found, **changes)


def page_of(*runs: Run, **changes: Any) -> str:
    return "".join(render_page(make_report(runs, **changes)))


def trace_of(*runs: Run, **changes: Any) -> Any:
    return json.loads("".join(render_trace(make_report(runs, **changes))))


def data_of(page: str) -> Any:
    """The data of a page, as a browser reads it: up to the first end of a script element."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script', page, re.DOTALL)
    assert found
    return json.loads(found[1])
