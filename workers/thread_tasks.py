"""The thread pool's task: write findings to SQLite. Blocking I/O that leaves the interpreter free."""

from __future__ import annotations

import os
import sqlite3

from workers.app import KEPT, app, findings
from workers.measure import Finding
from workers.store import Store


@app.task(queue=findings, max_retries=3, retry_on=(OSError, sqlite3.OperationalError), result_ttl=KEPT)
def store_finding(run: str, db: str, finding: Finding) -> bool:
    """Write one finding down; returns whether it was the first of its page and so accepted."""
    with Store(db) as store:
        if store.active_run(run) is None:
            return False
        return store.record(run, finding, os.getpid())
