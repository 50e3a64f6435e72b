"""Fixtures of the tests of fsck."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from client_kit import client_app
from fsck_kit import Hand

from taskq import TaskQ
from taskq.broker import fsck


@pytest.fixture(autouse=True)
def _hasty(monkeypatch) -> None:
    """The second look follows soon, or the pauses were most of the time."""
    monkeypatch.setattr(fsck, "PAUSE", 0.05)


@pytest.fixture
def app(any_server, namespace) -> Iterator[TaskQ]:
    with client_app("client", any_server.url, namespace) as app:

        @app.task(name="fail", max_retries=0)
        def fail() -> None:
            raise ValueError

        yield app


@pytest.fixture
def hand(app, any_server) -> Iterator[Hand]:
    with any_server.client() as client:
        yield Hand(app, client)


@pytest.fixture
def job(add) -> str:
    """The unique part of a job that waits."""
    return add.delay(1).unique
