"""Tables on a terminal: which columns are shown and how wide, so that a narrow one can still be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP: Final = 2  # characters between two columns
LEAST: Final = 8  # characters; a text in less says nothing
CAPS: Final = (40, 24, 16, 12, LEAST)  # characters to which texts are cut, one after another, until all is in
REST: Final = 20  # characters beside a column that is shown whole: room for a state and a bit of an error
NOTHING: Final = frozenset({"0", "-", ""})  # cells of which a narrow table can do without


@dataclass(frozen=True, slots=True)
class Narrow:
    """What a table shows where the terminal is too narrow for all of it.

    Attributes:
        keep: heads of the columns that matter, the most important first; the others are shown if there is room.
        whole: the head of one that is not cut.
        ends: heads of those that are cut at their beginning, since their end says more.
    """

    keep: tuple[str, ...]
    whole: str = ""
    ends: tuple[str, ...] = ()


def draw(
    title: str, heads: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool], narrow: Narrow | None
) -> None:
    """Print a table; no line is wider than the terminal.

    Args:
        title: above it.
        heads: one word a column.
        cells: rows of clean texts.
        right: whether a column has numbers, which are never cut.
        narrow: what matters most; None for all alike, and texts are folded instead of cut.
    """
    console = Console()
    widths = fit(heads, cells, right, console.width, narrow)
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, GAP - 1, 0, 0))
    for at, width in widths.items():
        drawn.add_column(Text(heads[at]), justify="right" if right[at] else "left", width=width, overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(_cell(row[at], heads[at], width, narrow)) for at, width in widths.items()))
    if title:
        console.print(Text(title, style="italic"))
    console.print(drawn)


def fit(
    heads: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool], room: int, narrow: Narrow | None
) -> dict[int, int]:
    """Return the columns to show, in their order, with their widths in characters; see ``draw``."""
    every = range(len(heads))
    natural = [max(cell_len(row[at]) for row in [heads, *cells]) for at in every]
    if _sum(natural) <= room:
        return dict(enumerate(natural))
    keep = [heads.index(head) for head in narrow.keep] if narrow is not None else list(every)
    if cells:
        keep = [at for at in keep if at == keep[0] or any(row[at] != "-" for row in cells)]
    order = keep + [at for at in every if at not in keep and any(row[at] not in NOTHING for row in cells)]

    def least(at: int, cap: int) -> int:
        if right[at]:
            return natural[at]
        if narrow is not None and heads[at] == narrow.whole:
            return min(natural[at], max(cap, room - REST))
        return min(natural[at], max(cap, cell_len(heads[at])))

    cap = next((cap for cap in CAPS if _sum([least(at, cap) for at in keep]) <= room), LEAST)
    widths: dict[int, int] = {}
    for at in order:
        wanted = least(at, cap if at in keep else LEAST)
        if not widths or _sum([*widths.values(), wanted]) <= room:
            widths[at] = min(wanted, room)
    spare = max(0, room - _sum(list(widths.values())))
    for at, width in list(widths.items()):
        more = min(natural[at] - width, spare)
        widths[at], spare = width + more, spare - more
    return dict(sorted(widths.items()))


def _sum(widths: Sequence[int]) -> int:
    """Return the width of a row of columns."""
    return sum(widths) + GAP * (len(widths) - 1)


def _cell(text: str, head: str, width: int, narrow: Narrow | None) -> str:
    if narrow is None or head == narrow.whole or cell_len(text) <= width:
        return text
    from_end = head in narrow.ends
    kept = text[1 - width :] if from_end else text[: width - 1]
    while cell_len(kept) >= width:  # characters that are two wide
        kept = kept[1:] if from_end else kept[:-1]
    return f"…{kept}" if from_end else f"{kept}…"
