"""Fixtures of the tests of signed jobs."""

from __future__ import annotations

import pytest
from signing_kit import NEW, InnerWorker, intruder_at

from taskq import TaskQ


def tasks_of(app: TaskQ) -> TaskQ:
    @app.task(name="add")
    def add(a: int, b: int = 0) -> int:
        return a + b

    @app.task(name="fail")
    def fail() -> None:
        raise ValueError("why")

    @app.task(name="told", queue="other")
    def told(value: object, more: int = 0) -> object:
        return [value, more]

    @app.task(name="nested")
    def nested(a: int) -> str:
        return add.delay(a, a).id

    return app


@pytest.fixture
def make(server, namespace):
    made = []

    def make(key=NEW, **options) -> TaskQ:
        keys = {"signing_key": key} if key else {}
        app = tasks_of(TaskQ("signed", server.url, namespace, **keys, **options))
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


@pytest.fixture
def app(make):
    return make()


@pytest.fixture
def add(app):
    return app.tasks["add"]


@pytest.fixture
def worker(app):
    worker = InnerWorker(app)
    yield worker
    worker.close()


@pytest.fixture
def plain(make):
    """An app of the same namespace that has no key."""
    return make(key=None)


@pytest.fixture
def intruder(server, namespace):
    with intruder_at(server, namespace) as intruder:
        yield intruder
