"""Pictures: horizontal bars as plain SVG, readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.peers.figures import Figure, ranked
from benchmarks.peers.report import number
from benchmarks.peers.spec import FLOOR, OURS

WIDTH = 760  # pixels, as wide as a README shows
LABELS = 170
VALUES = 90
BAR = 16
STEP = 22
DECADE_LEFT = 0.08  # of the width, where the first decade of a logarithmic picture begins
STYLE = """
text{font:12px system-ui,sans-serif;fill:#333}.title{font-size:15px;font-weight:600}.panel{font-weight:600}
.small{font-size:11px;fill:#777}.peer{fill:#b8c4ce}.ours{fill:#e2762b}.floor{fill:#7c8a97}
@media(prefers-color-scheme:dark){text{fill:#ddd}.small{fill:#999}.peer{fill:#4f5d69}.floor{fill:#8d9aa6}}
"""


@dataclass(frozen=True)
class Panel:
    """Bars that may be compared."""

    title: str
    rows: Sequence[Figure]


def picture(title: str, note: str, panels: Iterable[Panel], *, log: bool = False) -> str:
    """Return an SVG with a group of bars for each panel, best first; by the logarithm where values differ too much."""
    parts, top = [f'<text x="8" y="22" class="title">{escape(title)}</text>'], 42
    for panel in panels:
        rows = [row for row in ranked(panel.rows) if row.values]
        if not rows:
            continue
        parts.append(f'<text x="8" y="{top + 12}" class="panel">{escape(panel.title)}</text>')
        top += STEP
        for row in rows:
            parts += _bar(row, share(row.median, [each.median for each in rows], log=log), top)
            top += STEP
        top += 8
    parts.append(f'<text x="8" y="{top + 12}" class="small">{escape(note)}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top + 24}" role="img"'
    return "\n".join(
        [f'{head} aria-label="{escape(title, quote=True)}">', f"<style>{STYLE}</style>", *parts, "</svg>\n"]
    )


def share(value: float, values: Sequence[float], *, log: bool) -> float:
    """Return how long a bar is, of the longest one."""
    most = max(values)
    if most <= 0 or value <= 0:
        return 0.0
    least = min(each for each in values if each > 0)
    if not log or least == most:
        return value / most
    start = 10.0 ** (math.ceil(math.log10(least)) - 1)  # a whole decade, so that small differences stay small
    return DECADE_LEFT + (1 - DECADE_LEFT) * math.log(value / start) / math.log(most / start)


def _bar(row: Figure, length: float, top: int) -> list[str]:
    kind = {OURS: "ours", FLOOR: "floor"}.get(row.system, "peer")
    width = max(1.0, length * (WIDTH - LABELS - VALUES))
    mark = "" if row.sure else " (not each job once)"
    return [
        f'<text x="{LABELS - 8}" y="{top + 12}" text-anchor="end">{escape(row.name + mark)}</text>',
        f'<rect x="{LABELS}" y="{top}" width="{width:.1f}" height="{BAR}" rx="2" class="{kind}"/>',
        f'<text x="{LABELS + width + 6:.1f}" y="{top + 12}">{number(row.median)}</text>',
    ]


def pictures(figures: Sequence[Figure], note: str) -> dict[str, str]:
    """Return the pictures that the figures are enough for, by file name."""
    drawn = {
        "enqueue": ("Jobs enqueued a second", ("enqueue one by one", "enqueue in bulk"), False),
        "roundtrip": ("From a call to its result, ms, logarithmic", ("round trip p50", "round trip p99"), True),
        "memory": ("Memory of a worker that waits, MB (PSS)", ("PSS, idle",), False),
        "queued": ("Bytes in the server for a queued job", ("memory of a queued job",), False),
    }
    made = {}
    for name, (title, measures, log) in drawn.items():
        panels = [panel for measure in measures for panel in _panels(figures, measure, None)]
        if panels:
            made[f"{name}.svg"] = picture(title, note, panels, log=log)
    for results, name in ((False, "drain"), (True, "drain-results")):
        drains = sorted({f.measure for f in figures if f.group == "drain"}, key=len)[:1]  # the one that all systems ran
        panels = [panel for measure in drains for panel in _panels(figures, measure, results)]
        if panels:
            made[f"{name}.svg"] = picture(f"Jobs run a second, results {'on' if results else 'off'}", note, panels)
    return made


def _panels(figures: Iterable[Figure], measure: str, results: bool | None) -> list[Panel]:
    found: dict[str, list[Figure]] = {}
    for figure in figures:
        if figure.measure == measure and (results is None or figure.results == results):
            found.setdefault(figure.pool, []).append(figure)
    return [Panel(f"{measure}: {pool}" if pool else measure, rows) for pool, rows in found.items()]
