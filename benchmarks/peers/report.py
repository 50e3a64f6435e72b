"""Figures as tables: plain for a terminal, Markdown for docs/benchmarks.md."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from benchmarks.peers.figures import Figure, from_json, ranked
from benchmarks.peers.spec import OURS

HEADS = ("system", "median", "spread", "/ floor", "/ best peer", "others' CPU", "")
PLACE = re.compile(r"<!-- generated: peers -->\n.*?<!-- end -->", re.DOTALL)
BUSY = 0.15  # cores: what others used above it is told beside the figure
GROUPS = {
    "enqueue": "a. Enqueue",
    "drain": "b. Drain",
    "roundtrip": "c. Round trip",
    "halfload": "c. Round trip at half load",
    "sleep": "d. Jobs that sleep",
    "crowd": "d. Many jobs that sleep",
    "cpu": "e. Jobs that use the CPU",
    "mixed": "f. Short jobs among long ones",
    "memory": "g. A worker that waits",
    "children": "g. A worker with one child, and with eight",
    "cost": "h. What a job costs",
    "fleet": "h. Many workers that wait",
    "growth": "i. Growth",
    "network": "j. A server that is far away",
    "payload": "j. Large arguments",
    "senders": "j. Many senders at once",
    "startup": "j. Start",
    "restart": "j. A server that was away",
}


def number(value: float) -> str:
    """Return a value with as many digits as are worth reading."""
    if math.isnan(value):
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def title(figure: Figure) -> str:
    """Return what the table of a figure is called."""
    results = {True: "results on", False: "results off", None: ""}[figure.results]
    if figure.group not in {"drain", "cost", "network"}:
        results = ""  # they always are on, or off, with this workload
    about = ", ".join(each for each in (figure.pool, results) if each)
    return f"{figure.measure} ({figure.unit})" + (f": {about}" if about else "")


def tables(figures: Iterable[Figure]) -> Iterator[tuple[str, str, list[Figure]]]:
    """Yield group, title and rows, best first."""
    order = list(GROUPS)
    known = sorted(figures, key=lambda figure: order.index(figure.group))  # stable: in order of appearance otherwise
    found: dict[tuple[Any, ...], list[Figure]] = {}
    for figure in known:
        found.setdefault(figure.table, []).append(figure)
    for key, rows in found.items():
        told = next((row for row in rows if row.values), rows[0])
        yield key[0], title(told), ranked(rows)


def cells(row: Figure) -> tuple[str, ...]:
    low, high = row.spread
    spread = f"{number(low)} to {number(high)}" if len(row.values) > 1 else ""
    shares = (number(share) if share is not None else "" for share in (row.to_floor, row.to_best))
    busy = f"{row.neighbours:.2f}" if row.neighbours > BUSY else ""
    failed = "FAILED: " if row.failures else ""
    return (row.name, number(row.median), spread, *shares, busy, failed + "; ".join(row.notes))


def plain(figures: Iterable[Figure]) -> Iterator[str]:
    """Yield the lines of all tables for a terminal."""
    for _, name, rows in tables(figures):
        lines = [HEADS, *(cells(row) for row in rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
        yield f"\n{name}"
        for line in lines:
            left = line[0].ljust(widths[0])
            middle = "  ".join(cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:-1], strict=True))
            yield f"  {left}  {middle}  {line[-1]}".rstrip()


def markdown(report: dict[str, Any], drawn: Iterable[str]) -> Iterator[str]:
    """Yield the lines that stand between the markers of the docs."""
    figures = [from_json(each) for each in report["figures"]]
    figures = [each for each in figures if each.group != "cost" or not each.results]  # which the JSON has besides
    yield f"{report['date']}, {report['machine']}. {report['server']}. {report['scale']}"
    yield ""
    yield "Versions: " + "; ".join(
        f"{name}: " + ", ".join(f"{package} {version}" for package, version in sorted(installed.items()))
        for name, installed in report["versions"].items()
    )
    for name in drawn:
        yield from ("", f"![{name}](benchmarks/{name})")
    for group, members in itertools.groupby(tables(figures), key=lambda table: table[0]):
        yield from ("", f"### {GROUPS[group]}")
        for _, name, rows in members:
            yield from ("", f"**{name}**", "", "| " + " | ".join(HEADS) + " |", "|---|--:|--:|--:|--:|--:|---|")
            for row in rows:
                first, *others = cells(row)
                shown = [f"**{first}**" if row.system == OURS else first, *others]
                yield "| " + " | ".join(cell.replace("|", "\\|") for cell in shown) + " |"
    yield from ("", "### Settings")
    for system, (about, sending) in report["settings"].items():
        yield from ("", f"**{system}**: {about.strip()}", "", f"- producer: {sending}")
        for pool, settings in sorted({(row.pool, row.settings) for row in figures if row.system == system}):
            if pool:
                yield f"- {pool}: `{settings}`"


def fill(page: str, report: dict[str, Any], drawn: Iterable[str] = ()) -> str:
    """Return the page with the report between its markers; ``drawn`` are names of pictures beside it.

    Raises:
        ValueError: it has no markers.
    """
    if not PLACE.search(page):
        raise ValueError("the page has no <!-- generated: peers --> ... <!-- end -->")
    text = "\n".join(markdown(report, drawn))
    return PLACE.sub(lambda _: f"<!-- generated: peers -->\n{text}\n<!-- end -->", page)
