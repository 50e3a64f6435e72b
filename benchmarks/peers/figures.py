"""From samples to figures: the median of several runs, its spread, and what it is to the floor and to the best peer."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.peers.spec import FLOOR, OURS

MORE_IS_BETTER = {"jobs/s", "x loopback", "round trips/s"}


@dataclass(frozen=True)
class Sample:
    """One measurement of one system in one run; NaN if it failed."""

    group: str
    measure: str
    value: float
    unit: str
    pool: str = ""  # "" where it does not depend on one
    variant: str = ""
    results: bool | None = None
    settings: str = ""
    ok: bool = True  # whether every job ran once
    note: str = ""
    neighbours: float | None = None  # cores that others used meanwhile


@dataclass
class Figure:
    """The samples of one measurement of one system."""

    system: str
    group: str
    measure: str
    unit: str
    pool: str
    variant: str
    results: bool | None
    settings: str
    values: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: int = 0
    neighbours: float = 0.0  # cores, the most of all runs
    to_floor: float | None = None  # median / the floor's
    to_best: float | None = None  # median / the best peer's

    @property
    def median(self) -> float:
        return statistics.median(self.values) if self.values else math.nan

    @property
    def spread(self) -> tuple[float, float]:
        return (min(self.values), max(self.values)) if self.values else (math.nan, math.nan)

    @property
    def table(self) -> tuple[str, str, str, bool | None]:
        """What figures have in common that may be compared."""
        return self.group, self.measure, self.pool, self.results

    @property
    def name(self) -> str:
        return f"{self.system} ({self.variant})" if self.variant else self.system

    @property
    def sure(self) -> bool:
        return bool(self.values) and not self.failures


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least so many percent of the values do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)]


def gather(samples: Iterable[tuple[str, Sample]]) -> list[Figure]:
    """Put the samples of several runs, each with its system's name, together; in order of first appearance."""
    found: dict[tuple[Any, ...], Figure] = {}
    for system, one in samples:
        key = (system, one.group, one.measure, one.pool, one.variant, one.results)
        figure = found.setdefault(
            key,
            Figure(system, one.group, one.measure, one.unit, one.pool, one.variant, one.results, one.settings),
        )
        figure.unit = figure.unit or one.unit
        if not math.isnan(one.value):
            figure.values.append(one.value)
        if one.note and one.note not in figure.notes:
            figure.notes.append(one.note)
        figure.failures += not one.ok
        figure.neighbours = max(figure.neighbours, one.neighbours or 0.0)
    figures = list(found.values())
    compare(figures)
    return figures


def compare(figures: Iterable[Figure]) -> None:
    """Set each figure's ratio to the floor and to the best peer of its table.

    The best is the best of those whose jobs all ran once. What cannot be compared, as with a floor of zero, has None.
    """
    tables: dict[tuple[Any, ...], list[Figure]] = {}
    for figure in figures:
        tables.setdefault(figure.table, []).append(figure)
    for rows in tables.values():
        floor = next((row.median for row in rows if row.system == FLOOR and row.values), None)
        peers = [row.median for row in rows if row.system not in {FLOOR, OURS} and row.sure]
        best = (max if rows[0].unit in MORE_IS_BETTER else min)(peers, default=None)
        for row in rows:
            row.to_floor, row.to_best = ratio(row.median, floor), ratio(row.median, best)


def ratio(value: float, reference: float | None) -> float | None:
    return value / reference if reference and reference > 0 and not math.isnan(value) else None


def ranked(rows: Iterable[Figure]) -> list[Figure]:
    """Return the rows of one table, best first, what failed last."""
    return sorted(rows, key=_rank)


def _rank(row: Figure) -> tuple[bool, float]:
    return not row.values, (-row.median if row.unit in MORE_IS_BETTER else row.median) if row.values else 0.0


def to_json(figure: Figure) -> dict[str, Any]:
    values = asdict(figure)
    low, high = figure.spread
    return values | ({"median": figure.median, "low": low, "high": high} if figure.values else {})


def from_json(values: dict[str, Any]) -> Figure:
    return Figure(**{name: value for name, value in values.items() if name not in {"median", "low", "high"}})
