"""What a worker's supervisor does with the permits of a child that died."""

from __future__ import annotations

import pytest
from coordination_kit import until

from taskq import TaskQ
from taskq.worker.holdings import Holder
from taskq.worker.protocol import Holding, Holdings

PID = 1234
LEASE = 10.0  # seconds; nothing here waits for its end


@pytest.fixture
def app(lone_server, namespace):
    with TaskQ("freeing", lone_server.url, namespace) as app:
        yield app


@pytest.fixture
def holder(app):
    holder = Holder(app.broker)
    yield holder
    holder.close()


def bury_holder_of(semaphore, holder: Holder) -> None:
    """As if who holds the semaphore's permits here were a child that dies."""
    held = list(semaphore._holds)
    for hold in held:
        semaphore._let_go(hold)
    news = [Holding(hold.kind, hold.tag, hold.address, hold.lease, hold.limit) for hold in held]
    holder.take(PID, Holdings(news, []), lambda _: None)
    holder.bury(PID)


def test_a_permit_of_a_dead_child_is_free_at_once(app, board, holder):
    semaphore = app.Semaphore("s", 1, lease=LEASE)
    semaphore.acquire()
    bury_holder_of(semaphore, holder)
    assert semaphore.acquire(timeout=LEASE / 2) is True
    semaphore.release()


def test_a_signal_that_a_dead_child_consumed_does_not_come_back(app, board, holder):
    semaphore = app.Semaphore("s", 0, lease=LEASE)
    semaphore.release()
    semaphore.acquire()
    bury_holder_of(semaphore, holder)
    until(lambda: board.holders("semaphore", "s") == 0)
    assert semaphore.acquire(blocking=False) is False
