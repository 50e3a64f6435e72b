"""Waits at a condition that are interrupted by what is neither a cancellation nor an error."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from coordination_kit import Board, in_thread, left_over, until
from cut_kit import Cut, cut_at_hearing

from taskq import TaskQ
from taskq.client.operation import perform
from taskq.coordination.condition import Condition

LEASE = 10.0  # seconds; nothing here waits for its end


@pytest.fixture
def app(lone_server, namespace):
    with TaskQ("cuts", lone_server.url, namespace) as app:
        app._listener.start()
        until(lambda: app._listener.epoch is not None, "it listens")
        yield app


@pytest.fixture
def other(lone_server, namespace) -> Iterator[TaskQ]:
    with TaskQ("other", lone_server.url, namespace) as other:
        yield other


def condition_of(app: TaskQ) -> Condition:
    return app.Condition("c", app.RLock("l", lease=LEASE))


def wait_and_look(app: TaskQ, error: BaseException) -> bool:
    """Wait, and be interrupted while the lock is taken again; answers whether it was held then."""
    condition = condition_of(app)
    condition.acquire()
    with pytest.raises(type(error)):
        perform(cut_at_hearing(condition._wait(None), 2, lambda: None, error), app.broker)
    held = condition._lock._own() is not None
    if held:
        condition.release()
    return held


def wait(app: TaskQ) -> bool:
    with condition_of(app) as condition:
        return condition.wait(LEASE / 2)


def in_line(board: Board, number: int) -> None:
    until(lambda: board.client.zcard(board.key("condition", "c", "waiting")) == number, f"{number} wait")


@pytest.mark.parametrize(
    ("error", "held"),
    [(Cut(), True), (asyncio.CancelledError(), True), (KeyboardInterrupt(), False), (SystemExit(), False)],
    ids=["cut", "cancelled", "ctrl-c", "exit"],
)
def test_one_that_is_interrupted_after_it_was_notified_hands_that_on(app, other, board, error: Any, held):
    with in_thread(wait_and_look, app, error) as first:
        in_line(board, 1)
        with in_thread(wait, other) as second:
            in_line(board, 2)
            with condition_of(other) as condition:
                condition.notify()
                until(lambda: board.in_line("rlock", "l") == 1 or not held, "the first wants the lock")
                if not held:
                    in_line(board, 0)
            assert first() is held
            assert second() is True
    assert left_over(app) == {}
    assert board.places() == {}
