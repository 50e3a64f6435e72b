"""Semaphores that pass signals: what was consumed leaves nothing behind, and is not called lost."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from coordination_kit import left_over, until

from taskq import TaskQ
from taskq.worker.holdings import Holder, LinkedKeeper
from taskq.worker.protocol import Frame, FrameReader

LEASE = 0.5  # seconds; a beat is a tenth of one


@pytest.fixture
def app(lone_server, namespace):
    with TaskQ("consumes", lone_server.url, namespace) as app:
        yield app


@pytest.fixture
def producer(lone_server, namespace) -> Iterator[TaskQ]:
    with TaskQ("produces", lone_server.url, namespace) as producer:
        yield producer


def test_consumed_signals_leave_nothing_in_the_process_nor_at_the_server(app, producer, board, caplog):
    producer.Semaphore("s", 0, lease=LEASE).release(100)
    consumer = app.Semaphore("s", 0, lease=LEASE)
    with caplog.at_level(logging.INFO):
        for _ in range(100):
            assert consumer.acquire(timeout=10)
        until(lambda: left_over(app, consumer) == {}, "nothing is kept")
    assert board.places() == {}
    assert not [record for record in caplog.records if getattr(record, "action", "") == "lease_lost"]
    assert consumer.acquire(blocking=False) is False


@pytest.mark.leaves
def test_a_permit_that_another_gave_back_can_be_released_by_who_took_it(app, producer, board):
    """As in threading: each release adds one."""
    consumer = app.Semaphore("s", 1, lease=LEASE)
    consumer.acquire()
    producer.Semaphore("s", 1, lease=LEASE).release()
    until(lambda: left_over(app, consumer) == {}, "it is used up")
    consumer.release()
    assert [consumer.acquire(blocking=False) for _ in range(3)] == [True, True, False]


def test_a_bounded_one_that_another_gave_back_is_one_too_many(app, producer, board):
    consumer = app.BoundedSemaphore("s", 1, lease=LEASE)
    consumer.acquire()
    producer.BoundedSemaphore("s", 1, lease=LEASE).release()
    until(lambda: left_over(app, consumer) == {}, "it is used up")
    with pytest.raises(ValueError, match="too many"):
        consumer.release()


def test_a_jobs_process_is_told_that_its_signal_is_used_up(app, producer, board):
    producer.Semaphore("s", 0, lease=LEASE).release()
    consumer = app.Semaphore("s", 0, lease=LEASE)
    holder = Holder(producer.broker)

    class Link:
        """The socket between child and supervisor."""

        def send(self, frame: bytes) -> None:
            for kind, payload in FrameReader().feed(frame):
                assert kind is Frame.HOLDINGS
                holder.take(1, payload, lambda address: keeper.lose([address]))

    keeper = app._sender.keeper = LinkedKeeper(app.broker, Link())
    try:
        assert consumer.acquire()
        until(lambda: left_over(app, consumer) == {}, "nothing is kept")
        assert board.places() == {}
        assert holder._held == {1: {}}
    finally:
        holder.close()
