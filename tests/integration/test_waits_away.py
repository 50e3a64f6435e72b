"""Waits that end while the server is away: by their own outcome, and soon."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest
from coordination_kit import aio_until, in_thread, left_over, until
from cut_kit import Cut, cut_at_hearing

from taskq import TaskQ
from taskq.client.operation import perform
from taskq.errors import BrokerError

SOON = 4.0  # seconds: what tidying takes at most, and a loaded machine
CALL_DEADLINE = 60.0  # seconds, which nobody here waits for


@pytest.fixture
def away(start_server, namespace):
    """A server that is to be killed."""
    server = start_server()
    with TaskQ("blocker", server.url, namespace) as app:
        app.Lock("l").acquire()
        yield server
        server.start()  # so that apps can close


@pytest.fixture
def app(away, namespace):
    with TaskQ("away", away.url, namespace, call_deadline=CALL_DEADLINE) as app:
        app._listener.start()
        until(lambda: app._listener.epoch is not None, "it listens")
        yield app


def waits(app: TaskQ) -> dict[str, Callable[[], Any]]:
    """The operation of each wait that nobody ends."""
    return {
        "lock": lambda: app.Lock("l")._acquire(True, -1),
        "semaphore": lambda: app.Semaphore("s", 0)._acquire(True, None),
        "event": lambda: app.Event("e")._wait(None),
        "barrier": lambda: app.Barrier("b", 2)._wait(None),
        "condition": lambda: _wait(app),
    }


def _wait(app: TaskQ) -> Generator[Any, Any, bool]:
    condition = app.Condition("c")
    yield from condition._lock._acquire(True, -1)
    return (yield from condition._wait(None))


@pytest.mark.parametrize("error", [KeyboardInterrupt, Cut, asyncio.CancelledError])
@pytest.mark.parametrize("what", ["lock", "semaphore", "event", "barrier", "condition"])
def test_an_interrupted_wait_ends_soon_by_its_interrupt(away, app, what, error):
    started = 0.0

    def kill() -> None:
        nonlocal started
        away.kill()
        started = time.monotonic()

    with pytest.raises(error):
        perform(cut_at_hearing(waits(app)[what](), 1, kill, error()), app.broker)
    assert time.monotonic() - started < SOON
    assert left_over(app) == {}


@pytest.mark.parametrize("what", ["lock", "event", "barrier", "condition"])
def test_a_cancelled_coroutine_ends_soon(away, app, what):
    async def waits_for_news() -> bool:
        return bool(app._listener.signals._open) and not app.broker._async_session()._running

    async def main() -> float:
        task = asyncio.ensure_future(app.Lock("x")._aperform(waits(app)[what]()))
        await aio_until(waits_for_news)
        away.kill()
        task.cancel()
        started = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - started

    assert asyncio.run(main()) < SOON
    assert left_over(app) == {}


@pytest.mark.parametrize("what", ["lock", "event", "semaphore"])
def test_a_timed_wait_returns_false(away, app, what):
    timed: dict[str, Callable[[], bool]] = {
        "lock": lambda: app.Lock("l").acquire(timeout=1),
        "semaphore": lambda: app.Semaphore("s", 0).acquire(timeout=1),
        "event": lambda: app.Event("e").wait(1),
    }
    with away.client() as client, in_thread(timed[what]) as answer:
        until(lambda: any(part in key for key in client.scan_iter() for part in (b"line", b"waiters")), "it waits")
        away.kill()
        assert answer(1 + SOON) is False
    assert left_over(app) == {}


def test_a_timed_wait_at_a_barrier_says_soon_that_the_server_is_away(away, app):
    with in_thread(app.Barrier("b", 2).wait, 1) as answer:
        until(lambda: app.Barrier("b", 2).n_waiting == 1)
        away.kill()
        with pytest.raises(BrokerError):
            answer(1 + SOON)


def test_a_block_whose_wait_was_interrupted_raises_the_interrupt_though_its_lock_is_not_held(away, app):
    condition = app.Condition("c")
    interrupted = threading.Event()

    def block() -> None:
        with condition:
            interrupted.set()
            perform(cut_at_hearing(condition._wait(None), 1, away.kill, Cut()), app.broker)

    with in_thread(block) as answer, pytest.raises(Cut):
        answer(2 * SOON)


@pytest.mark.parametrize("what", ["lock", "semaphore", "event"])
def test_a_timed_wait_that_begins_while_the_server_is_away_does_not_wait_much_longer(away, app, what):
    timed: dict[str, Callable[[], bool]] = {
        "lock": lambda: app.Lock("l").acquire(timeout=1),
        "semaphore": lambda: app.Semaphore("s", 0).acquire(timeout=1),
        "event": lambda: app.Event("e").wait(1),
    }
    app.Event("x").is_set()  # the server was reached
    away.kill()
    until(lambda: app._listener.epoch is None, "the listener has noticed")
    with in_thread(timed[what]) as answer, pytest.raises(BrokerError):
        answer(2 + SOON)
    assert left_over(app) == {}
