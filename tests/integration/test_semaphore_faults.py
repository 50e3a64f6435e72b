"""Semaphores when processes that hold permits die or end."""

from __future__ import annotations

import time

import pytest
from coordination_kit import BOTH_SERVERS, Board, Program, in_thread, left_over, own_server, until

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


@pytest.fixture(scope="module", params=BOTH_SERVERS)
def any_server(request):
    with own_server(request.param) as server:
        yield server


@pytest.fixture
def app(any_server, namespace):
    with TaskQ("faults", any_server.url, namespace) as app:
        yield app


@pytest.fixture
def board(any_server, namespace):
    with any_server.client() as client:
        yield Board(client, namespace)


@pytest.fixture
def start(any_server, namespace):
    programs = []

    def started(value: int, count: int) -> Program:
        programs.append(Program(HOLDER, any_server.url, namespace, LEASE, value, count))
        assert programs[-1].line() == str([True] * count)
        return programs[-1]

    yield started
    for program in programs:
        program.close()


def test_the_permits_of_a_killed_process_come_back(app, start, board):
    program = start(3, 2)
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


def test_a_consumed_signal_does_not_come_back_when_its_consumer_has_ended(app, start, board):
    semaphore = app.Semaphore("s", 0, lease=LEASE)
    semaphore.release(2)
    program = start(0, 1)
    assert program.end() == 0
    until(lambda: _held(app) == 0, "its lease is over")
    assert semaphore.acquire(timeout=20) is True, "the one that nobody consumed"
    assert semaphore.acquire(timeout=2 * LEASE) is False


def _held(app) -> int:
    from taskq.broker import permits

    return app.broker.run(permits.count(app.Semaphore("s", 0, lease=LEASE)._keys, 0)).held


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
