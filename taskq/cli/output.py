"""Printing: columns for pipes, tables for terminals, JSON for scripts. What others wrote cannot steer the terminal."""

from __future__ import annotations

import contextlib
import json
import math
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import click

from taskq.errors import TaskqError, clean, shorten

# What JSON does not escape by itself and could still steer a terminal or turn the direction of its text.
_STEERING = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

LONG = 1000  # jobs; fewer are done before a bar is drawn


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
    """Print a value as one line of JSON in ASCII; numbers that JSON does not know become null."""
    try:
        text = json.dumps(value, default=shorten, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), default=shorten)
    click.echo(text)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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


def table(
    title: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    keep: tuple[str, ...] = (),
    whole: str = "",
    ends: tuple[str, ...] = (),
) -> None:
    """Print rows: numbers to the right, the rest to the left.

    Args:
        title: for a terminal.
        heads: one word a column, in capitals in a pipe.
        rows: as many cells each; of any type, printed by ``str``.
        keep: heads that matter on a narrow terminal, the most important first; texts are cut there. Empty for all
            alike, and texts are folded.
        whole: of these one that is not cut.
        ends: of these those that are cut at their beginning.
    """
    cells = [[line(str(cell)) or "-" for cell in row] for row in rows]
    right = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(heads))]
    if on_terminal():
        from taskq.cli.tables import Narrow, draw

        draw(title, heads, cells, right, Narrow(keep, whole, ends) if keep else None)
        return
    widths = [max(len(row[i]) for row in [list(heads), *cells]) for i in range(len(heads))]
    for row in [[head.upper() for head in heads], *cells]:
        padded = (
            cell.rjust(width) if number else cell.ljust(width) for cell, width, number in _columns(row, widths, right)
        )
        click.echo("  ".join(padded).rstrip())


def _columns(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> Iterator[tuple[str, int, bool]]:
    return zip(row, widths, right, strict=True)


def flush() -> None:
    """Let whoever reads along see what was printed."""
    if sys.stdout is not None:
        sys.stdout.flush()


@contextlib.contextmanager
def screen() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Use the whole terminal for the length of a block; the value draws what a function prints in place of the last."""
    from rich.console import Console

    console = Console()

    def draw(show: Callable[[], None]) -> None:
        console.clear()
        show()

    with console.screen(hide_cursor=True):
        yield draw


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Print named values, one a line."""
    shown = [(name, line(text)) for name, text in pairs]
    width = max((len(name) for name, _ in shown), default=0)
    for name, text in shown:
        click.echo(f"{name.ljust(width)}  {text}".rstrip())


def block(text: str) -> None:
    """Print several lines, set in."""
    for one in clean(text).rstrip().splitlines():
        click.echo(f"    {one}")


def confirm(question: str, agreed: bool) -> bool:
    """Ask a person before something is destroyed.

    Args:
        question: with the number of what is about to go.
        agreed: by ``--yes``, so that nothing is asked.

    Raises:
        click.UsageError: nobody can be asked.
    """
    if agreed:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError(f"{line(question)} say --yes, or --dry-run to see what would be done")
    try:
        return click.confirm(line(question), err=True)
    except click.Abort:  # Ctrl-C, or the end of what is typed
        click.echo(err=True)
        raise KeyboardInterrupt from None


@contextlib.contextmanager
def tally(participle: str) -> Iterator[Callable[[int], None]]:
    """Count what is done in a block; if it is interrupted or fails, say how much that was."""
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more

    try:
        yield count
    except (KeyboardInterrupt, TaskqError) as error:
        if done or isinstance(error, KeyboardInterrupt):
            complain(
                f"{'interrupted' if isinstance(error, KeyboardInterrupt) else 'failed'}: {done:,} {participle} before"
            )
        raise


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait for the end of a block, where this is the main thread of a system with signals."""
    mask = getattr(signal, "pthread_sigmask", None)
    if mask is None:
        yield
        return
    before = mask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        mask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def progress(text: str, total: int) -> Iterator[Callable[[int], None]]:
    """Count along on standard error for the length of a block; the value is told of more. Nothing in a pipe."""
    if total < LONG or sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        bar = shown.add_task(line(text), total=total)
        yield lambda more: shown.update(bar, advance=more)


@contextlib.contextmanager
def spinner(text: str) -> Iterator[None]:
    """Show on standard error that something is awaited, for the length of a block; nothing in a pipe."""
    if not on_terminal() or sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(line(text)), spinner="line"):  # a spinner of ASCII: any locale has it
        yield
