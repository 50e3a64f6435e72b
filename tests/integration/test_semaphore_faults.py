"""Semaphores when processes that hold permits die or end."""

from __future__ import annotations

import time

import pytest
from coordination_kit import Program, in_thread, left_over, until

from taskq import TaskQ
from taskq.errors import LeaseLost

LEASE = 0.5  # seconds
HOLDER = """
import sys
from taskq import TaskQ
url, namespace, lease, value, count = sys.argv[1:]
semaphore = TaskQ("holder", url, namespace).Semaphore("s", int(value), lease=float(lease))
print([semaphore.acquire() for _ in range(int(count))], flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def app(lone_server, namespace):
    with TaskQ("faults", lone_server.url, namespace) as app:
        yield app


def hold(start_program, value: int, count: int) -> Program:
    program = start_program(HOLDER, LEASE, value, count)
    assert program.line() == str([True] * count)
    return program


def test_the_permits_of_a_killed_process_come_back(app, start_program, board):
    program = hold(start_program, 3, 2)
    semaphore = app.Semaphore("s", 3, lease=LEASE)
    assert semaphore.acquire(blocking=False) is True
    assert semaphore.acquire(blocking=False) is False
    program.kill()
    killed = time.monotonic()
    assert [semaphore.acquire(timeout=20) for _ in range(2)] == [True, True]
    assert time.monotonic() - killed < LEASE + 1
    assert semaphore.acquire(timeout=2 * LEASE) is False, "and no more than there were"
    semaphore.release(3)
    assert left_over(app, semaphore) == {}


def test_a_consumed_signal_does_not_come_back_when_its_consumer_has_ended(app, start_program, board):
    semaphore = app.Semaphore("s", 0, lease=LEASE)
    semaphore.release(2)
    program = hold(start_program, 0, 1)
    assert program.end() == 0
    until(lambda: _held(app) == 0, "its lease is over")
    assert semaphore.acquire(timeout=20) is True, "the one that nobody consumed"
    assert semaphore.acquire(timeout=2 * LEASE) is False


def _held(app) -> int:
    from taskq.broker import permits

    return app.broker.run(permits.count(app.Semaphore("s", 0, lease=LEASE)._keys, 0)).held


@pytest.mark.corrupts
def test_a_lost_permit_is_told_at_its_release(app, board):
    semaphore = app.Semaphore("s", 2, lease=LEASE)
    semaphore.acquire()
    semaphore.acquire()
    board.client.zpopmin(board.key("semaphore", "s", "holders"))
    with pytest.raises(LeaseLost, match="1 of 2"):
        semaphore.release(2)
    assert left_over(app, semaphore) == {}
    assert [semaphore.acquire(False) for _ in range(3)] == [True, True, False]
    semaphore.release(2)


def test_a_wait_in_one_thread_does_not_hold_up_a_release_in_another(app, board):
    semaphore = app.Semaphore("s", lease=10)
    semaphore.acquire()
    with in_thread(semaphore.acquire) as acquired:
        until(lambda: board.in_line("semaphore", "s") == 1)
        semaphore.release()
        assert acquired() is True
    semaphore.release()
    assert board.places() == {}
