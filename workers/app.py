"""The App of the crawl: four queues of three disciplines, and the tasks that use them."""

from __future__ import annotations

import hashlib

from taskq import TaskQ

app = TaskQ("crawl")
pages = app.PriorityQueue("crawl.pages")
sources = app.Queue("crawl.sources")
findings = app.LifoQueue("crawl.findings")
checks = app.Queue("crawl.checks")

KEPT = 600.0  # seconds that results are kept: small numbers, of which the timeline of the run is made
LISTING_FIRST = 0  # priority of directory pages: they lead to more work, so they keep the pools busy
FILE_AFTER = 1


def job_id(step: str, run: str, url: str) -> str:
    """The id of the one job that does ``step`` for ``url`` in ``run``: at most 48 characters of a-z, 0-9 and "-".

    An attempt that runs again hands the same work on under the same id, so it cannot be queued twice.
    """
    digest = hashlib.blake2b(f"{run}\n{url}".encode(), digest_size=16)
    return f"{step}-{digest.hexdigest()}"


# At the end, because the tasks need the queues; here at all, because `-A workers.app:app` must know every task.
from workers import asyncio_tasks, gevent_tasks, process_tasks, scene, thread_tasks  # noqa: E402, F401
