"""Fixtures of the acceptance tests: an app on a namespace of its own, and workers for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import TestServer
from worker_kit import POOLS, Bench, bench

from taskq import TaskQ


@pytest.fixture(params=list(POOLS))
def pool(request: pytest.FixtureRequest) -> str:
    """Each pool kind."""
    return request.param


@pytest.fixture
def rig(server: TestServer, namespace: str, tmp_path: Path) -> Iterator[Bench]:
    """The app and its workers, with fast heartbeats."""
    with bench(server.url, namespace, tmp_path) as made:
        yield made


@pytest.fixture
def faulty(rig: Bench) -> Iterator[TaskQ]:
    """An app from which ``send`` of fault_kit enqueues jobs of ``apps.faulty``."""
    with TaskQ("here", rig.url, rig.namespace) as app:
        yield app
