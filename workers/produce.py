"""The producer of the crawl where workers and site run elsewhere: ``python -m workers.produce --site URL``.

It shares the crawl's file with the workers, as a volume, and the served folder with the site: the same image, the same
Python. It ends with the report, and with code 1 unless each file of that folder has its one record.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import sqlite3
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from taskq.errors import TaskqError
from workers import options, site
from workers.baseline import estimate
from workers.report import console, render
from workers.signals import Interrupted, Signals
from workers.store import DEFAULT, Run, Store
from workers.summary import missing, read_summary
from workers.watching import CrawlError, check_result, draw, open_scene, reach, watch

# Seconds for the crawl's own job once its work is done: where its worker died, it runs again after the lease of 25 s.
RETURN = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to crawl.

    Attributes:
        url: where the site is.
        root: the folder it serves, as this machine sees it.
        db: the crawl's SQLite file, as this machine and all workers see it.
        limit: the most files to fetch; 0 for all.
    """

    url: str
    root: Path
    db: Path
    limit: int


def parse(argv: list[str] | None = None) -> Plan:
    """Read the command line; ends the process with code 2 and one line about what cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m workers.produce", description="Crawl a site of workers.site with workers that run already."
    )
    parser.add_argument("--site", type=options.live_url, required=True, metavar="URL", help="where the site is")
    parser.add_argument("--root", type=Path, help="the folder it serves (default: the standard library)")
    parser.add_argument("--db", type=Path, default=DEFAULT, help=f"the file shared with workers (default: {DEFAULT})")
    parser.add_argument("--limit", type=options.count, metavar="N", help="the most files (default: all)")
    given = parser.parse_args(argv)
    root = given.root or site.standard_library()
    if not root.is_dir():
        parser.error(f"--root {str(root)!r} is no folder")
    return Plan(given.site, root, given.db.resolve(), given.limit or 0)


def main(argv: list[str] | None = None) -> int:
    """Crawl once; returns the exit code."""
    plan = parse(argv)
    try:
        with Signals():
            problem = _run(plan)
    except Interrupted as interrupt:
        print("interrupted: the run is closed, its jobs end by themselves", file=sys.stderr)
        return interrupt.exit_code
    except sqlite3.Error as error:
        problem = f"{plan.db}: {error}"
    except (CrawlError, TaskqError, OSError) as error:
        problem = str(error) or type(error).__name__
    if problem:
        print(f"the crawl is incomplete: {problem}", file=sys.stderr)
        return 1
    print("the crawl is complete: each file has its one record")
    return 0


def _run(plan: Plan) -> str:
    reach(plan.url)
    expected = site.sources(plan.root)
    if not expected:
        raise CrawlError(f"there is no Python file under {plan.root}")
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(Store.create(plan.db))
        store.drop_closed_runs()
        run = Run(secrets.token_hex(6), plan.url, plan.limit)
        store.open_run(run)
        stack.callback(store.close_run, run.run)
        print(f"crawling {plan.url}: {len(expected):,} files to find", flush=True)
        began = time.monotonic()
        _crawl(plan, store, run)
        taken = time.monotonic() - began
        console().print(render(read_summary(store, run.run), estimate(store, run)))
        print(f"the timeline of the run: {draw(plan.db, taken)}")
        return missing(store, run.run, expected)


def _crawl(plan: Plan, store: Store, run: Run) -> None:
    # Imported here: the App needs its server's url, `--help` and a wrong option do not.
    from workers.asyncio_tasks import crawl

    result = crawl.delay(run.url, str(plan.db), run.run, run.limit, run.html)
    open_scene(run)
    final = watch(store, run.run, _trust, result.done)
    check_result(result, final, RETURN)


def _trust() -> None:
    """Workers elsewhere are looked after by whoever started them."""


if __name__ == "__main__":
    sys.exit(main())
