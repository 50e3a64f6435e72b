"""Calls that share a session, while the server is away: each keeps its own deadline."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from tcp_kit import Listener, nobody

from taskq.broker import events, permits
from taskq.broker.address import parse_url
from taskq.broker.aio import AsyncSession
from taskq.broker.connection import Link
from taskq.broker.keys import QueueKeys
from taskq.broker.session import Session
from taskq.errors import BrokerError, BrokerUnavailable

CALLERS = 5
LIMIT = 0.5  # seconds


def lock_count(namespace: str):
    return permits.count(QueueKeys(namespace, "lock:l"), 1)


def flag(namespace: str):
    return events.is_set(QueueKeys(namespace, "event:e"))


def seconds_until_error(call: Callable[[], object]) -> float:
    started = time.monotonic()
    with pytest.raises(BrokerError):
        call()
    return time.monotonic() - started


@pytest.mark.parametrize("what", ["run", "read"])
def test_threads_that_share_a_session_give_up_at_the_same_time(namespace, what):
    with nobody() as url:
        session = Session(parse_url(url), deadline=LIMIT)
        call = (lambda: session.run(lock_count(namespace))) if what == "run" else lambda: session.read(flag(namespace))
        with ThreadPoolExecutor(CALLERS) as threads:
            took = list(threads.map(seconds_until_error, [call] * CALLERS))
    assert max(took) < 2 * LIMIT, "not one after another"


@pytest.mark.parametrize("what", ["run", "read"])
def test_coroutines_that_share_a_session_give_up_at_the_same_time(namespace, what):
    async def main(url: str) -> float:
        session = AsyncSession(parse_url(url), deadline=LIMIT)
        calls = [session.run(lock_count(namespace)) if what == "run" else session.read(flag(namespace)) for _ in took]
        started = time.monotonic()
        for answer in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(answer, BrokerError)
        return time.monotonic() - started

    took = range(CALLERS)
    with nobody() as url:
        assert asyncio.run(main(url)) < 2 * LIMIT


class Silent(Listener):
    """A server that takes what it is sent and says nothing."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        super().__init__(self._take)

    def _take(self, connection) -> None:
        while connection.recv(65_536):
            self.asked.set()


@pytest.mark.parametrize("what", ["run", "read", "begin"])
def test_a_call_that_never_had_its_turn_says_that_it_was_not_sent(namespace, what):
    call = replace(lock_count(namespace), deadline=LIMIT)
    with Silent() as server, ThreadPoolExecutor(1) as threads:
        session = Session(parse_url(server.url), deadline=3 * LIMIT)
        first = threads.submit(session.run, lock_count(namespace))
        assert server.asked.wait(10)
        with pytest.raises(BrokerUnavailable, match=r"kept other calls .* for 0\.5 s; the (count|hget) was not sent"):
            session.read(flag(namespace), LIMIT) if what == "read" else getattr(session, what)(call)
        assert not first.done()
        assert isinstance(first.exception(10), BrokerError)


def test_a_coroutines_call_that_never_had_its_turn_says_that_it_was_not_sent(namespace):
    async def main(url: str, asked: threading.Event) -> None:
        session = AsyncSession(parse_url(url), deadline=3 * LIMIT)
        first = asyncio.ensure_future(session.run(lock_count(namespace)))
        assert await asyncio.to_thread(asked.wait, 10)
        with pytest.raises(BrokerUnavailable, match="the hget was not sent"):
            await session.read(flag(namespace), LIMIT)
        with pytest.raises(BrokerError):
            await first
        await session.close()

    with Silent() as server:
        asyncio.run(main(server.url, server.asked))


def test_a_call_of_its_own_deadline_is_given_up_then(namespace):
    with nobody() as url:
        session = Session(parse_url(url), deadline=60)
        assert seconds_until_error(lambda: session.run(replace(lock_count(namespace), deadline=0.2))) < 5
        assert seconds_until_error(lambda: session.read(replace(flag(namespace), deadline=0.2))) < 5


def test_a_session_goes_on_after_a_call_that_had_no_turn(any_server, namespace):
    session = Session(parse_url(any_server.url), deadline=10)
    held = session.begin(lock_count(namespace))
    with ThreadPoolExecutor(1) as threads:
        refused = threads.submit(session.read, flag(namespace), 0.05)
        assert isinstance(refused.exception(10), BrokerUnavailable)
    assert session.finish(held).held == 0
    assert session.read(flag(namespace)) is False
    session.close()


def test_a_fork_does_not_wait_for_the_turn_of_its_parents_threads(any_server, namespace):
    session = Session(parse_url(any_server.url), deadline=10)
    held = session.begin(lock_count(namespace))
    child = os.fork()
    if child == 0:
        try:
            os._exit(int(session.read(flag(namespace), 5)))
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    session.finish(held)
    session.close()


@pytest.mark.parametrize("what", ["run", "read"])
def test_a_silent_server_is_waited_for_no_longer_than_asked(namespace, what):
    call = lock_count(namespace) if what == "run" else flag(namespace)
    with Silent() as server:
        session = Session(parse_url(server.url), deadline=60)
        assert seconds_until_error(lambda: getattr(session, what)(call, 0.3, patience=0.3)) < 3
        assert seconds_until_error(lambda: getattr(session, what)(replace(call, deadline=0.3))) < 5


def test_a_silent_connection_is_replaced_within_the_time_of_a_call(any_server, namespace):
    """As when a firewall forgot it: no answer, and no end."""
    with Silent() as silent:
        session = Session(parse_url(any_server.url), deadline=60)
        assert session.run(lock_count(namespace)).held == 0
        dead = Link(parse_url(silent.url))
        dead.connect()
        live, session._link._connection._sock = session._link._connection._sock, dead._connection._sock
        dead._connection._sock = None
        session._link._connection._parser._sock = session._link._connection._sock
        live.close()
        started = time.monotonic()
        assert session.run(lock_count(namespace), 10, patience=0.3).held == 0
        assert time.monotonic() - started < 5
        assert session._link._connection.socket_timeout > 1, "and the next call has its own times again"
        session.close()
