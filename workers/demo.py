"""The main job in one command: ``python -m workers.demo`` crawls a site with four kinds of pools.

The standard library of the running Python, served by a local site, is crawled by a gevent, a process, a thread and
an asyncio worker over four queues. It ends with a report, and with code 1 unless each file has its one record.
"""

from __future__ import annotations

import contextlib
import platform
import secrets
import sqlite3
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from taskq.errors import TaskqError
from workers import options, site, web
from workers.baseline import SAMPLE, estimate
from workers.display import display
from workers.fleet import Fleet, MemberError, tail, worker_command
from workers.report import console, render
from workers.signals import Interrupted, Signals
from workers.store import Progress, Run, Store
from workers.summary import missing, read_summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskq import AsyncResult
    from workers.options import Options

TICK = 0.1  # seconds between looks at the run
STALLED = 120.0  # seconds without progress that mean something broke: four tries of a silent page take 60 and pauses
RETURN = 10.0  # seconds for the result of the crawl's own job to come back once its work is done
LAST = 5  # lines of each worker's log, when it is not known whose fault it was
POLITE = 8  # requests at once to somebody else's server
SAMPLE_LIVE = 10  # pages of it that are read a second time

# pool, slots, queue. Fetching waits 35 ms per page, so fifty at once; parsing is CPU, so one process per core of two.
POOLS = (
    ("gevent", 50, "crawl.pages"),
    ("process", 2, "crawl.sources"),
    ("thread", 4, "crawl.findings"),
    ("asyncio", 50, "crawl.checks"),
)


class CrawlError(Exception):
    """The crawl is not what it should be; the message is one line."""


def main(argv: list[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    given = options.parse(argv)
    try:
        with Signals() as signals:
            problem = _run(given, signals)
    except Interrupted as interrupt:
        print("interrupted: the workers are stopped", file=sys.stderr)
        return interrupt.exit_code
    except MemberError as failure:
        print(tail(failure.member.log), file=sys.stderr)
        problem = f"{failure}; its log is {failure.member.log}"
    except sqlite3.Error as error:
        problem = f"{given.db}: {error}"
    except (CrawlError, TaskqError, OSError) as error:
        problem = str(error) or type(error).__name__
    if problem:
        print(f"the crawl is incomplete: {problem}", file=sys.stderr)
    return 1 if problem else 0


def _run(given: Options, signals: Signals) -> str:
    with contextlib.ExitStack() as stack:
        url = given.url or stack.enter_context(site.Site(given.root)).url
        expected = None if given.url else site.sources(given.root)
        if expected is None:
            _reach(url)
        elif not expected:
            raise CrawlError(f"there is no Python file under {given.root}")
        else:
            print(f"crawling {given.root} (Python {platform.python_version()}), served at {url}", flush=True)
        store = stack.enter_context(Store.create(given.db))
        if given.fresh:
            store.drop_closed_runs()
        run = Run(secrets.token_hex(6), url, given.limit, html=bool(given.url))
        store.open_run(run)
        stack.callback(store.close_run, run.run)
        began = time.monotonic()
        _crawl(given, signals, store, run)
        baseline = estimate(store, run, SAMPLE_LIVE if given.url else SAMPLE)
        console().print(render(read_summary(store, run.run), baseline))
        print(f"the timeline of the run: {_picture(given.db, time.monotonic() - began)}")
        return missing(store, run.run, expected)


def _reach(url: str) -> None:
    """Tell a mistyped host at once, and not after four tries of a job."""
    try:
        web.get(url)
    except OSError as error:
        raise CrawlError(f"{url} cannot be reached: {error}") from error


def _crawl(given: Options, signals: Signals, store: Store, run: Run) -> None:
    # Imported here: the App needs the embedded server, `--help` and a wrong option do not.
    from workers.asyncio_tasks import crawl

    result = crawl.delay(run.url, str(given.db), run.run, run.limit, run.html)
    with Fleet(given.logs, signals) as fleet, contextlib.ExitStack() as stack:
        # Before the workers stop: jobs of a closed run end at once, so an interrupt need not wait for any.
        stack.callback(store.close_run, run.run)
        for pool, slots, queue in POOLS:
            slots_here = POLITE if given.url and pool == "gevent" else slots
            fleet.start(pool, worker_command(pool, slots_here, queue))
        try:
            _open_scene(run)
            final = _watch(store, run.run, fleet, result.done)
            _compare(_returned(result), final)
        except TimeoutError as error:
            raise CrawlError(f"the result of the crawl's job did not come back within {RETURN:g} s") from error
        except (CrawlError, TaskqError):
            for member in fleet.members:
                print(f"--- {member.log}", tail(member.log, LAST), sep="\n", file=sys.stderr)
            raise


def _open_scene(run: Run) -> None:
    from workers import scene

    try:
        print(scene.play(run.url, run.run), flush=True)
    except (TaskqError, OSError) as error:  # a TimeoutError is an OSError
        raise CrawlError(f"the opening scene failed: {error}") from error


def _picture(db: Path, seconds: float) -> Path:
    """Write the page of the jobs that ended in the last ``seconds`` beside the crawl's file; returns where."""
    from taskq.report.page import render_page
    from taskq.report.report import make_report
    from workers.app import app

    path = db.with_suffix(".html")
    with path.open("w", encoding="ascii") as out:
        out.writelines(render_page(make_report(app, since=timedelta(seconds=seconds))))
    return path


def _returned(result: AsyncResult[dict[str, int]]) -> dict[str, int]:
    failure = result.exception(timeout=RETURN)
    if failure is not None and not isinstance(failure, TaskqError):  # one of Python's own, which says nothing by itself
        raise CrawlError(f"the crawl's job failed: {failure.__cause__ or failure}") from failure
    return result.result()


def _watch(store: Store, run: str, fleet: Fleet, ended: Callable[[], bool]) -> Progress:
    """Show the run until it is done, or its own job ended, be it with an error; returns the run's last state."""
    last, since = Progress(), time.monotonic()
    with display() as shown:
        while True:
            over = ended()
            progress = store.progress(run)
            shown.show(progress)
            if progress.done or over:
                return progress
            fleet.check()
            if progress != last:
                last, since = progress, time.monotonic()
            elif time.monotonic() - since > STALLED:
                raise CrawlError(f"nothing happened for {STALLED:g} s, and {missing(store, run)}")
            time.sleep(TICK)


def _compare(told: dict[str, int], final: Progress) -> None:
    if told != final.counts():
        raise CrawlError(f"the crawl's job returned {told}, but its file says {final.counts()}")


if __name__ == "__main__":
    sys.exit(main())
