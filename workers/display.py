"""Live progress of a crawl: bars on a terminal, a line every two seconds elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, Self

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from workers.report import console

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

    from workers.store import Progress

EVERY = 2.0  # seconds between lines: a crawl of seconds leaves a few, one of minutes does not flood a log


class Display(Protocol):
    """A context manager that shows one look at a run after the other."""

    def show(self, progress: Progress) -> None:
        """Show where the run stands."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class BarDisplay:
    """Three bars whose totals grow as pages are found."""

    def __init__(self, out: Console) -> None:
        columns = (TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Bars(*columns, console=out)
        self._looked, self._fetched, self._stored = (
            self._bars.add_task(name, total=None) for name in ("urls", "fetched", "recorded")
        )

    def show(self, progress: Progress) -> None:
        """Move the bars."""
        self._bars.update(self._looked, completed=progress.urls_done, total=progress.urls or None)
        self._bars.update(self._fetched, completed=progress.pages_done, total=progress.pages or None)
        self._bars.update(self._stored, completed=progress.recorded, total=progress.owed or None)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()


class LineDisplay:
    """One line at most every ``every`` seconds, for logs and pipes; the end always gets one."""

    def __init__(self, out: Console, every: float = EVERY) -> None:
        self._out = out
        self._every = every
        self._began = time.monotonic()
        self._next = self._began

    def show(self, progress: Progress) -> None:
        """Print a line when one is due."""
        now = time.monotonic()
        if now < self._next and not progress.done:
            return
        self._next = now + self._every
        self._out.print(
            f"{now - self._began:5.1f} s: {progress.pages_done:,} of {progress.pages:,} pages fetched,"
            f" {progress.recorded:,} findings recorded, {progress.urls_done:,} of {progress.urls:,} urls done"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def display() -> Display:
    """What fits where standard error goes."""
    out = console(stderr=True)
    return BarDisplay(out) if out.is_terminal else LineDisplay(out)
