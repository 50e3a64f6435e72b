"""What a report says about itself in words."""

from __future__ import annotations

import time

from taskq.report.report import Report
from taskq.report.summary import Summary


def about(report: Report) -> str:
    """Return which jobs these are, and when they were read, in this machine's time zone."""
    found = report.found
    said = [f"finished jobs of namespace {report.namespace}"]
    if found.since is not None:
        said.append(f"from {clock(found.since)}")
    if found.until is not None:
        said.append(f"to {clock(found.until)}")
    for what, names in (("queue", report.queues), ("task", report.tasks)):
        if names:
            said.append(f"{what}{'s' if len(names) > 1 else ''} {', '.join(names)}")
    if report.group:
        said.append(f"{report.group} and what came from it")
    return f"{'; '.join(said)}; read at {clock(found.now)} of the server's clock"


def notes(report: Report, drawn: int) -> list[str]:
    """Return what the reader must know about what is missing."""
    found, said = report.found, []
    if found.left_out:
        said.append(f"{found.left_out:,} older jobs are left out: ask for a shorter time with --since.")
    if found.damaged:
        said.append(f"{found.damaged:,} {'records' if found.damaged > 1 else 'record'} could not be read.")
    if untimed := len(found.runs) - drawn:
        said.append(f"{untimed:,} {'jobs have' if untimed > 1 else 'job has'} no times, and no place in the timeline.")
    return said


def figures(summary: Summary, slots: int) -> list[tuple[str, str]]:
    """Return the figures at the head of the page, as texts."""
    return [
        ("jobs", f"{summary.jobs:,}"),
        ("tasks", f"{len(summary.tasks):,}"),
        ("failed", f"{summary.failed:,}"),
        ("cancelled", f"{summary.cancelled:,}"),
        (
            "first start to last end",
            f"{summary.seconds:,.1f} s" if summary.seconds >= 10 else f"{summary.seconds:.3g} s",
        ),
        ("jobs per s", f"{summary.rate:,.0f}" if summary.rate >= 100 else f"{summary.rate:.3g}"),
        ("workers", f"{summary.workers:,}"),
        ("slots used", f"{slots:,}"),
    ]


def clock(seconds: float) -> str:
    """Return a moment as date and time with its zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(seconds))
