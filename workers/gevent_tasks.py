"""The gevent pool's task: fetch a page, follow its links, hand its text on. Waiting for the network all day."""

from __future__ import annotations

import contextlib
import os
import sqlite3

from taskq.errors import JobConflict
from workers import process_tasks, thread_tasks, web
from workers.app import FILE_AFTER, KEPT, LISTING_FIRST, app, job_id, pages
from workers.measure import Finding
from workers.store import Run, Store

MAX_RETRIES = 3  # a page that fails four times within seconds will not be better in a minute


@app.task(queue=pages, max_retries=MAX_RETRIES, retry_on=(OSError, sqlite3.OperationalError), result_ttl=KEPT)
def fetch_page(url: str, run: str, db: str) -> int:
    """Fetch one page of a run, queue what it leads to, and mark it as fetched; returns its size in bytes.

    It may run twice and die anywhere: links are written down before they are queued and queued before the page is
    marked, every job has its page's id, and a marked page is not fetched again.
    """
    with Store(db) as store:
        crawl = store.active_run(run)
        if crawl is None or not store.is_open(run, url):
            return 0
    answer = _get(url, run, db)
    if answer is None:
        return 0
    error = _follow(crawl, answer, db)
    owes = answer.status == 200 and answer.is_text and web.kind_of(url, html=crawl.html) == "page"
    if owes:
        _hand_on(crawl, answer, db)
    size = len(answer.body)
    with Store(db) as store:
        store.finish_page(run, url, answer.status, size=size, owes=owes, error=error, worker=os.getpid())
    return size


def _get(url: str, run: str, db: str) -> web.Answer | None:
    """The page; None when it failed for the last time, which is then its result.

    Failures are counted here, not by the queue, because the crawl's end must know of pages that will never come.
    """
    try:
        return web.get(url)
    except OSError as error:
        with Store(db) as store:
            if store.add_failure(run, url) <= MAX_RETRIES:
                raise
            text = f"{type(error).__name__}: {error}"
            store.finish_page(run, url, 0, error=text, worker=os.getpid())
        return None


def _follow(crawl: Run, answer: web.Answer, db: str) -> str:
    """Write down and queue the page's links; returns what is wrong with the answer, if anything."""
    links = web.links(answer, html=crawl.html, rules=web.parse_rules(crawl.rules))
    with Store(db) as store:
        fresh = store.claim(crawl, links, answer.url)
    queue_links(crawl, [link for link in fresh if link.kind != "asset"], db)
    if len(fresh) > sum(link.kind != "asset" for link in fresh):
        queue_assets(crawl, answer.url, db)
    if answer.location:
        return "" if links else f"redirects to {answer.location}, which is not on this site or not for robots"
    if answer.status != 200:
        return f"status {answer.status}"
    return "" if answer.is_text else f"no text: {answer.content_type}"


def queue_links(crawl: Run, links: list[web.Link], db: str) -> None:
    """Queue pages to fetch, directory pages before files."""
    for link in links:
        priority = LISTING_FIRST if web.is_folder(link.url) else FILE_AFTER
        with contextlib.suppress(JobConflict):
            fetch_page.apply_async(
                (link.url, crawl.run, db), priority=priority, job_id=job_id("page", crawl.run, link.url)
            )


def queue_assets(crawl: Run, url: str, db: str) -> None:
    """Queue one look at all assets of a page."""
    from workers import asyncio_tasks

    with contextlib.suppress(JobConflict):
        asyncio_tasks.check_assets.apply_async((url, crawl.run, db), job_id=job_id("assets", crawl.run, url))


def _hand_on(crawl: Run, answer: web.Answer, db: str) -> None:
    # JobConflict: an earlier attempt handed on another state of the page and that job still waits. One is enough.
    with contextlib.suppress(JobConflict):
        if len(answer.body) > web.MAX_SOURCE:
            finding = Finding(answer.url, error=f"too large: more than {web.MAX_SOURCE} bytes")
            thread_tasks.store_finding.apply_async(
                (crawl.run, db, finding), job_id=job_id("store", crawl.run, answer.url)
            )
        else:
            process_tasks.measure_page.apply_async(
                (answer.url, crawl.run, db, answer.content_type, answer.charset, answer.body),
                job_id=job_id("measure", crawl.run, answer.url),
            )
