"""What is looked at when another test ends: see ``namespace`` and ``start_server``."""

from __future__ import annotations

import pytest
from fsck_kit import what_is_wrong

from taskq import TaskQ

pytestmark = pytest.mark.corrupts


@pytest.fixture
def lose_the_token(hand, add):
    """A queue with a job that nobody would be woken for, which counts where nothing runs."""
    add.delay(1)
    hand.client.delete(hand.key("wake"))


def test_every_namespace_of_a_server_is_looked_at(start_server) -> None:
    server = start_server()
    with server.client() as client:
        for name in ("one", "two"):
            with TaskQ("app", server.url, name) as app:
                app.PriorityQueue("q").put(1)
            client.sadd(f"{name}:{{q}}:claimed", "x")
    found = what_is_wrong(server.url)
    assert [line.partition(" is a set")[0] for line in found] == [
        f"leftover 18: key '{name}:{{q}}:claimed'" for name in ("one", "two")
    ]


def test_a_namespace_without_workers_is_looked_at_strictly(any_server, namespace, lose_the_token) -> None:
    assert what_is_wrong(any_server.url, namespace) == ["wake 12: queue default has 1 ready jobs and no wake token"]


def test_a_test_that_leaves_something_is_not(any_server, namespace, lose_the_token) -> None:
    assert what_is_wrong(any_server.url, namespace, strict=False) == []


def test_where_a_worker_has_a_lease_nothing_is_looked_at_strictly(
    any_server, namespace, worker, lose_the_token
) -> None:
    assert what_is_wrong(any_server.url, namespace) == []
