"""Permits whose taking, holding or giving back is interrupted."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from coordination_kit import Board, in_thread, interrupt, left_over, until

from taskq import TaskQ
from taskq.client.signals import ThreadBell
from taskq.errors import BrokerFull

LEASE = 5.0  # seconds; nothing here waits for its end


@pytest.fixture
def app(lone_server, namespace):
    with TaskQ("interrupts", lone_server.url, namespace) as app:
        yield app


class Interrupting:
    """Stands in for a method: runs it or not, then raises, once."""

    def __init__(self, method: Any, error: BaseException, *, runs: bool) -> None:
        self._method = method
        self._error: BaseException | None = error
        self._runs = runs

    def __call__(self, *args: Any, **options: Any) -> Any:
        error, self._error = self._error, None
        answer = self._method(*args, **options) if error is None or self._runs else None
        if error is not None:
            raise error
        return answer


# -- taking


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore"])
@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize("error", [RuntimeError("no new thread"), KeyboardInterrupt()], ids=["thread", "ctrl-c"])
def test_an_acquire_that_fails_when_its_permit_is_to_be_kept_holds_nothing(app, board, monkeypatch, kind, runs, error):
    permits = getattr(app, kind)("p", lease=LEASE)
    keeper = app._sender.keeper
    monkeypatch.setattr(keeper, "keep", Interrupting(keeper.keep, error, runs=runs))
    with pytest.raises(type(error)):
        permits.acquire()
    assert left_over(app, permits) == {}
    assert board.places() == {}


def test_an_rlock_is_not_entered_again_after_an_acquire_that_failed(app, board, monkeypatch):
    lock = app.RLock("l", lease=LEASE)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", Interrupting(None, RuntimeError("no new thread"), runs=False))
        with pytest.raises(RuntimeError, match="new thread"):
            lock.acquire()
    assert lock.acquire(blocking=False) is True
    assert board.holders("rlock", "l") == 1
    lock.release()


# -- giving back


@pytest.mark.parametrize("ran", [False, True])
@pytest.mark.parametrize("kind", ["Lock", "Semaphore", "BoundedSemaphore"])
def test_a_release_that_is_interrupted_gives_back_what_was_held(app, board, kind, ran):
    permits = getattr(app, kind)("p", lease=LEASE)
    permits.acquire()
    with pytest.raises(asyncio.CancelledError):
        interrupt(app, permits._exit(), {0}, ran=ran)
    assert left_over(app, permits) == {}
    assert board.places() == {}


@pytest.mark.leaves
def test_a_release_that_is_interrupted_adds_what_it_adds_once_at_most(app, board):
    semaphore = app.Semaphore("s", 1, lease=LEASE)
    semaphore.acquire()
    with pytest.raises(asyncio.CancelledError):
        interrupt(app, semaphore._release(2), {0}, ran=True)
    assert [semaphore.acquire(blocking=False) for _ in range(3)] == [True, True, False]


@pytest.mark.leaves
def test_a_release_that_is_interrupted_before_it_asks_for_anything_gives_back_too(app, board, monkeypatch):
    semaphore = app.Semaphore("s", 2, lease=LEASE)
    semaphore.acquire()
    semaphore.acquire()
    monkeypatch.setattr(semaphore, "_hold_of", _then_interrupt(semaphore._hold_of))
    with pytest.raises(KeyboardInterrupt):
        semaphore.release(2)
    assert board.holders("semaphore", "s") == len(semaphore._holds) == 1, "the one that it did not come to"


def test_a_release_that_is_interrupted_in_the_middle_of_one_gives_that_back_too(app, board, monkeypatch):
    semaphore = app.Semaphore("s", 1, lease=LEASE)
    semaphore.acquire()
    monkeypatch.setattr(semaphore, "_let_go", Interrupting(semaphore._let_go, KeyboardInterrupt(), runs=False))
    with pytest.raises(KeyboardInterrupt):
        semaphore.release()
    assert left_over(app, semaphore) == {}
    assert board.places() == {}


def test_a_wait_that_the_collector_ends_while_its_thread_looks_at_its_holds_stops_nothing(app):
    lock = app.Lock("l", lease=LEASE)
    lock.acquire()
    waits = lock._take(None, wait=True)
    waits.send(None)
    waits.send(ThreadBell())
    with lock._guard, pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        waits.close()
    assert lock.fence is not None
    lock.release()


def _then_interrupt(method: Any) -> Any:
    calls = iter([method])

    def called(*args: Any, **options: Any) -> Any:
        for first in calls:
            return first(*args, **options)
        raise KeyboardInterrupt

    return called


# -- a waiter that fails


def test_a_waiter_whose_look_is_refused_leaves_the_line(namespace, start_server):
    server = start_server()
    with TaskQ("holds", server.url, namespace) as app, server.client() as client:
        board = Board(client, namespace)
        lock = app.Lock("l", lease=1.0)
        lock.acquire()
        with TaskQ("waits", server.url, namespace) as other:
            with in_thread(other.Lock("l", lease=1.0).acquire) as acquired:
                until(lambda: board.in_line("lock", "l") == 1)
                client.config_set("maxmemory", 1)
                with pytest.raises(BrokerFull):
                    acquired()
                assert board.in_line("lock", "l") == 0
            client.config_set("maxmemory", 0)
            assert left_over(other) == {}
        lock.release()
