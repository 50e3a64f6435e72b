"""Printing: columns for pipes, tables for terminals, JSON for scripts. What others wrote cannot steer the terminal."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from taskq.errors import shorten
from taskq.worker.logs import clean

# What JSON does not escape by itself and could still steer a terminal or turn the direction of its text.
_STEERING = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def on_terminal() -> bool:
    """Tell whether a person reads along, on standard output."""
    return sys.stdout is not None and sys.stdout.isatty()


def line(text: str) -> str:
    """Return ``text`` as one line without control characters."""
    return clean(" ".join(text.split()))


def say(text: str) -> None:
    """Print one line."""
    click.echo(line(text))


def say_columns(*cells: tuple[str, int]) -> None:
    """Print one line of (text, least width) columns."""
    click.echo("  ".join(line(text).ljust(width) for text, width in cells).rstrip())


def blank() -> None:
    """Print an empty line."""
    click.echo()


def complain(text: str) -> None:
    """Print one line to standard error, under our name; nobody may fail because nobody reads it."""
    with contextlib.suppress(OSError):
        click.echo(f"taskq: {line(text)}", err=True)


def emit(value: object) -> None:
    """Print a value as one line of JSON in ASCII."""
    click.echo(json.dumps(value, default=shorten))


def as_json(value: object) -> str | None:
    """Return ``value`` as one line of JSON for a person, or None if JSON has no word for it."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return None
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def as_text(value: object) -> str:
    """Return ``value`` as JSON if that can carry it, else its ``repr``, without control characters."""
    return as_json(value) or clean(shorten(value, limit=100_000))


def age(seconds: float | None) -> str:
    """Return a time span for people: ``0.3s``, ``42s``, ``3m12s``, ``5h07m``, ``2d04h``; ``-`` for None."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{max(0.0, seconds):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02}h"


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows: numbers to the right, the rest to the left.

    Args:
        title: for a terminal.
        heads: one word a column, in capitals in a pipe.
        rows: as many cells each; of any type, printed by ``str``.
    """
    cells = [[line(str(cell)) or "-" for cell in row] for row in rows]
    right = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(heads))]
    if on_terminal():
        _draw(title, heads, cells, right)
        return
    widths = [max(len(row[i]) for row in [list(heads), *cells]) for i in range(len(heads))]
    for row in [[head.upper() for head in heads], *cells]:
        padded = (
            cell.rjust(width) if number else cell.ljust(width) for cell, width, number in _columns(row, widths, right)
        )
        click.echo("  ".join(padded).rstrip())


def _columns(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> Iterator[tuple[str, int, bool]]:
    return zip(row, widths, right, strict=True)


def _draw(title: str, heads: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(title=title, title_justify="left")
    for head, number in zip(heads, right, strict=True):
        drawn.add_column(head, justify="right" if number else "left", overflow="fold")
    for row in cells:
        drawn.add_row(*(escape(cell) for cell in row))
    Console().print(drawn)


@contextlib.contextmanager
def spinner(text: str) -> Iterator[None]:
    """Show on standard error that something is awaited, for the length of a block; nothing in a pipe."""
    if not on_terminal() or sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(line(text)), spinner="line"):  # a spinner of ASCII: any locale has it
        yield
