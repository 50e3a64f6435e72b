"""The asyncio pool's tasks: begin a crawl and wait for its end; look at what is not fetched. Many waits, no CPU."""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from pathlib import Path

from workers import gevent_tasks, web
from workers.app import KEPT, app, checks
from workers.head import Head, head
from workers.store import DEFAULT, Progress, Run, Store

POLL = 0.2  # seconds between looks at the file: a look takes about a millisecond
AT_ONCE = 8  # requests at once per page: what browsers do to one host, about


@app.task(queue=checks)
async def crawl(url: str, db: str = str(DEFAULT), run: str = "", limit: int = 0, html: bool = False) -> dict[str, int]:
    """Crawl a site from ``url`` on; returns, when all is done, what `progress` counted.

    Args:
        url: where to begin; only pages of the same host and port are read.
        db: the SQLite file, made when it is missing.
        run: the name of the run, so that a second attempt goes on with it; empty makes one.
        limit: the most pages to fetch; 0 for all.
        html: measure HTML pages too, for sites that are no directory of Python files.

    Raises:
        ValueError: the url is none of http or https.
    """
    start = web.normalise(url)
    if start is None:
        raise ValueError(f"{url!r} is no http or https url")
    plan = Run(run or secrets.token_hex(6), start, limit, html)
    path = await asyncio.to_thread(begin, plan, db)
    while not (progress := await asyncio.to_thread(_look, plan.run, path)).done:  # noqa: ASYNC110 (the news comes from other processes)
        await asyncio.sleep(POLL)
    await asyncio.to_thread(_close, plan.run, path)
    return progress.counts()


def begin(plan: Run, db: str) -> str:
    """Write the run down and queue its first page, unless it was closed meanwhile; returns the file's full path.

    Full, because the workers of the other pools may have been started in another folder.
    """
    rules = web.read_rules(plan.url)
    path = str(Path(db).resolve())
    with Store.create(path) as store:
        store.open_run(plan)
        store.start_run(plan.run, rules, os.getpid())
        active = store.active_run(plan.run)
        if active is None:
            return path
        first = store.claim(active, [web.Link(plan.url, web.kind_of(plan.url, html=plan.html))], found_on="")
    gevent_tasks.queue_links(active, first, path)
    return path


def _look(run: str, db: str) -> Progress:
    with Store(db) as store:
        return store.progress(run)


def _close(run: str, db: str) -> None:
    with Store(db) as store:
        store.close_run(run)


@app.task(queue=checks, max_retries=3, retry_on=(OSError, sqlite3.OperationalError), result_ttl=KEPT)
async def check_assets(page: str, run: str, db: str) -> int:
    """Ask for the headers of a page's assets: are they there, how large are they? Returns how many were asked."""
    urls = await asyncio.to_thread(_open_assets, page, run, db)
    gate = asyncio.Semaphore(AT_ONCE)

    async def ask(url: str) -> Head:
        async with gate:
            return await head(url)

    heads = await asyncio.gather(*(ask(url) for url in urls))
    await asyncio.to_thread(_finish_assets, run, db, heads)
    return len(heads)


def _open_assets(page: str, run: str, db: str) -> list[str]:
    with Store(db) as store:
        return store.open_assets(run, page) if store.active_run(run) else []


def _finish_assets(run: str, db: str, heads: list[Head]) -> None:
    with Store(db) as store:
        store.finish_assets(run, heads, os.getpid())
