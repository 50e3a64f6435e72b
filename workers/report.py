"""The report of a run as tables for people. ``python -m workers.report`` prints that of the newest run."""

from __future__ import annotations

import argparse
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from workers.store import DEFAULT, Store
from workers.summary import Summary, read_summary

if TYPE_CHECKING:
    from workers.baseline import Baseline

WIDTH = 110  # columns where no terminal tells: a function, its file and three numbers fit
UNREAD_SHOWN = 5  # pages that could not be read, of what may be hundreds on a live site


def printable(text: str) -> Text:
    """Text of a foreign page as it may go to a terminal: no markup, no control characters."""
    return Text("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))


def render(summary: Summary, baseline: Baseline | None = None) -> Group:
    """The report: what was measured, the most complex functions, who did the jobs, how long it took."""
    tables = (_measured(summary), _complex(summary), _jobs(summary))
    return Group(*tables, *_times(summary, baseline), *_unread(summary))


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)


def _measured(summary: Summary) -> Table:
    table = _table(f"crawl of {summary.url}")
    rows = {
        "pages" if summary.html else "files": summary.records,
        "do not parse": summary.unparsed,
        "lines": summary.lines,
        "code lines": summary.code_lines,
        "functions": summary.functions,
        "classes": summary.classes,
    }
    for name in rows:
        table.add_column(name, justify="right")
    table.add_column("mean complexity", justify="right")
    mean = f"{summary.complexity / summary.functions:.1f}" if summary.functions else "-"
    table.add_row(*(f"{value:,}" for value in rows.values()), mean)
    return table


def _complex(summary: Summary) -> Table:
    table = _table("most complex functions")
    table.add_column("complexity", justify="right")
    table.add_column("function", overflow="fold")
    table.add_column("where", overflow="fold")
    for entry in summary.top:
        where = unquote(urlsplit(entry.url).path).lstrip("/")
        table.add_row(str(entry.complexity), printable(entry.name), printable(f"{where}:{entry.line}"))
    return table


def _jobs(summary: Summary) -> Table:
    table = _table("jobs per pool and worker")
    for name in ("pool", "work"):
        table.add_column(name)
    for name in ("process id", "jobs"):
        table.add_column(name, justify="right")
    for share in summary.jobs:
        table.add_row(share.pool, share.work, str(share.worker), f"{share.jobs:,}")
    return table


def _times(summary: Summary, baseline: Baseline | None) -> list[Text]:
    rate = summary.fetched / summary.seconds if summary.seconds else 0.0
    lines = [
        f"{summary.fetched:,} pages ({summary.size / 1e6:,.1f} MB) in {summary.seconds:.1f} s: {rate:,.0f} pages/s",
    ]
    if summary.assets:
        size = f"{summary.assets_size / 1e6:,.1f} MB"
        lines.append(
            f"{summary.assets_found:,} of {summary.assets:,} other files are there ({size}, asked by HEAD, not fetched)"
        )
    if baseline is not None and summary.seconds:
        lines.append(
            f"one after another: {baseline.seconds:.1f} s, estimated from {baseline.sampled} of {baseline.total:,} urls"
            f" ({baseline.seconds / summary.seconds:.1f} times as long)"
        )
    if summary.repeats:
        lines.append(f"{summary.repeats:,} findings arrived again and were not accepted twice")
    return [Text(line) for line in lines]


def _unread(summary: Summary) -> list[Text]:
    if not summary.unread:
        return []
    shown = [printable(f"  {url}: {reason}") for url, reason in summary.unread[:UNREAD_SHOWN]]
    return [Text(f"{len(summary.unread):,} pages gave nothing to measure, such as"), *shown]


def console(*, stderr: bool = False) -> Console:
    """A console as wide as its terminal, or ``WIDTH`` columns into a pipe or file."""
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=WIDTH)


def main(argv: list[str] | None = None) -> int:
    """Print the newest run's report; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workers.report", description="Print the newest crawl's report.")
    parser.add_argument("--db", type=Path, default=DEFAULT, help=f"the crawl's SQLite file (default: {DEFAULT})")
    options = parser.parse_args(argv)
    try:
        with Store(options.db) as store:
            run = store.latest_run()
            summary = read_summary(store, run) if run else None
    except (OSError, sqlite3.Error) as error:
        print(error, file=sys.stderr)
        return 1
    if summary is None:
        print(f"{options.db}: no run in it yet", file=sys.stderr)
        return 1
    console().print(render(summary))
    return 0


if __name__ == "__main__":
    sys.exit(main())
