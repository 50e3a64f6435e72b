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
from typing import TYPE_CHECKING

from taskq.errors import TaskqError
from workers import options, site
from workers.baseline import SAMPLE, estimate
from workers.fleet import Fleet, MemberError, tail, worker_command
from workers.report import console, render
from workers.signals import Interrupted, Signals
from workers.store import Run, Store
from workers.summary import missing, read_summary
from workers.watching import CrawlError, check_result, draw, open_scene, reach, watch

if TYPE_CHECKING:
    from workers.options import Options

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
            reach(url)
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
        print(f"the timeline of the run: {draw(given.db, time.monotonic() - began)}")
        return missing(store, run.run, expected)


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
            open_scene(run)
            final = watch(store, run.run, fleet.check, result.done)
            check_result(result, final, RETURN)
        except (CrawlError, TaskqError):
            for member in fleet.members:
                print(f"--- {member.log}", tail(member.log, LAST), sep="\n", file=sys.stderr)
            raise


if __name__ == "__main__":
    sys.exit(main())
