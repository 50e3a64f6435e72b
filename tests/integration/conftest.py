"""What the client's tests share; each module makes an ``app`` of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from handworker import HandWorker

from taskq import TaskQ


@pytest.fixture
def add(app: TaskQ) -> Any:
    """The app's task ``add``."""
    return app.tasks["add"]


@pytest.fixture
def worker(app: TaskQ) -> Iterator[HandWorker]:
    """A worker of the default queue that runs jobs when it is told to."""
    app.Queue("default").qsize()
    worker = HandWorker(app)
    yield worker
    worker.close()
