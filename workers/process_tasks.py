"""The process pool's task: parse and measure a page. All CPU, so each job has a process of its own."""

from __future__ import annotations

import contextlib
import os

from taskq.errors import JobConflict
from workers import thread_tasks
from workers.app import KEPT, app, job_id, sources
from workers.measure import measure


@app.task(queue=sources, max_retries=3, retry_on=(OSError,), result_ttl=KEPT)
def measure_page(url: str, run: str, db: str, content_type: str, charset: str, body: bytes) -> int:
    """Measure one page and hand the finding on; returns the number of functions found."""
    finding = measure(url, content_type, charset, body, worker=os.getpid())
    # JobConflict: an earlier attempt, in another process, handed its finding on and that job still waits.
    with contextlib.suppress(JobConflict):
        thread_tasks.store_finding.apply_async((run, db, finding), job_id=job_id("store", run, url))
    return finding.functions
