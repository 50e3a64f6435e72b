"""Seeing a crawl through, wherever its workers run: the opening scene, the run until its end, what its job returned."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from taskq.errors import TaskqError
from workers import web
from workers.display import display
from workers.store import Progress
from workers.summary import missing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from taskq import AsyncResult
    from workers.store import Run, Store

TICK = 0.1  # seconds between looks at the run
STALLED = 120.0  # seconds without progress that mean something broke: four tries of a silent page take 60 and pauses


class CrawlError(Exception):
    """The crawl is not what it should be; the message is one line."""


def reach(url: str) -> None:
    """Tell a mistyped host at once, and not after four tries of a job.

    Raises:
        CrawlError: nobody answers there.
    """
    try:
        web.get(url)
    except OSError as error:
        raise CrawlError(f"{url} cannot be reached: {error}") from error


def open_scene(run: Run) -> None:
    """Play the opening scene and print what happened.

    Raises:
        CrawlError: it failed.
    """
    # Imported here, as below: the App needs a server, `--help` and a wrong option do not.
    from workers import scene

    try:
        print(scene.play(run.url, run.run), flush=True)
    except (TaskqError, OSError) as error:  # a TimeoutError is an OSError
        raise CrawlError(f"the opening scene failed: {error}") from error


def watch(store: Store, run: str, check: Callable[[], None], ended: Callable[[], bool]) -> Progress:
    """Show the run until it is done, or its own job ended, be it with an error; returns the run's last state.

    Args:
        store: the run's file.
        run: its name.
        check: looks after the workers; what it raises ends the watch.
        ended: whether the run's own job ended.

    Raises:
        CrawlError: nothing happened for ``STALLED`` seconds.
    """
    last, since = Progress(), time.monotonic()
    with display() as shown:
        while True:
            over = ended()
            progress = store.progress(run)
            shown.show(progress)
            if progress.done or over:
                return progress
            check()
            if progress != last:
                last, since = progress, time.monotonic()
            elif time.monotonic() - since > STALLED:
                raise CrawlError(f"nothing happened for {STALLED:g} s, and {missing(store, run)}")
            time.sleep(TICK)


def check_result(result: AsyncResult[dict[str, int]], final: Progress, patience: float) -> None:
    """Compare what the crawl's job returned with what its file says.

    Args:
        result: of the job.
        final: the last state of the run.
        patience: seconds for the result to come back.

    Raises:
        CrawlError: the job failed with one of Python's own errors, or they differ.
        TaskqError: it failed otherwise.
    """
    try:
        failure = result.exception(timeout=patience)
    except TimeoutError as error:
        raise CrawlError(f"the result of the crawl's job did not come back within {patience:g} s") from error
    if failure is not None and not isinstance(failure, TaskqError):  # one of Python's own, which says nothing by itself
        raise CrawlError(f"the crawl's job failed: {failure.__cause__ or failure}") from failure
    compare(result.result(), final)


def compare(told: dict[str, int], final: Progress) -> None:
    """Check the counts of the crawl's job against those of its file.

    Raises:
        CrawlError: they differ.
    """
    if told != final.counts():
        raise CrawlError(f"the crawl's job returned {told}, but its file says {final.counts()}")


def draw(db: Path, seconds: float) -> Path:
    """Write the page of the jobs that ended in the last ``seconds`` beside the crawl's file; returns where."""
    from taskq.report.page import render_page
    from taskq.report.report import make_report
    from workers.app import app

    path = db.with_suffix(".html")
    with path.open("w", encoding="ascii") as out:
        out.writelines(render_page(make_report(app, since=timedelta(seconds=seconds))))
    return path
