"""What a handle says of what it holds when the app was closed, or the server does not answer."""

from __future__ import annotations

import pytest
from chaos.proxy import Proxy
from coordination_kit import Board, until

from taskq import TaskQ
from taskq.errors import LeaseLost

LEASE = 1.0  # seconds


@pytest.fixture
def app(lone_server, namespace):
    with TaskQ("keeping", lone_server.url, namespace) as app:
        yield app


@pytest.mark.leaves
def test_a_lock_that_was_held_when_the_app_was_closed_says_that_it_is_lost(app):
    lock = app.RLock("l", lease=LEASE)
    lock.acquire()
    app.close()
    with pytest.raises(LeaseLost):
        lock.acquire(blocking=False)
    assert lock._own().lost


@pytest.mark.leaves
def test_closing_gives_back_nothing(app, board):
    app.Lock("l", lease=LEASE).acquire()
    app.close()
    assert board.holders("lock", "l") == 1


def test_what_was_held_then_can_still_be_given_back(app, board):
    lock = app.RLock("l", lease=60)
    lock.acquire()
    app.close()
    lock.release()
    assert board.places() == {}


def deadline_of(board: Board) -> float:
    """When the lock's lease ends, by the server's clock."""
    return board.client.zrange(board.key("lock", "l", "holders"), 0, 0, withscores=True)[0][1]


@pytest.mark.leaves
def test_a_lock_is_kept_though_the_connections_go_silent(app, lone_server, namespace, board):
    """As when a firewall forgot them: new ones work."""
    with Proxy(lone_server.socket) as proxy, TaskQ("holds", proxy.url, namespace) as holder:
        lock = holder.Lock("l", lease=LEASE)
        lock.acquire()
        fence, first = lock.fence, deadline_of(board)
        until(lambda: deadline_of(board) > first, "the keeper has its connection")
        proxy.silence()
        assert app.Lock("l", lease=LEASE).acquire(timeout=4 * LEASE) is False
        assert lock.fence == fence


def test_a_lock_whose_server_is_away_for_a_lease_is_not_sure_to_be_held_until_it_is_back(start_server, namespace):
    server = start_server(appendonly="yes", appendfsync="always")
    with TaskQ("holds", server.url, namespace) as app:
        lock = app.Lock("l", lease=LEASE)
        lock.acquire()
        fence = lock.fence
        server.kill()
        until(lambda: lock._holds[0].lost, "it is in doubt")
        with pytest.raises(LeaseLost):
            _ = lock.fence
        server.start()
        until(lambda: not lock._holds[0].lost, "it is sure again")
        assert lock.fence == fence
        lock.release()
