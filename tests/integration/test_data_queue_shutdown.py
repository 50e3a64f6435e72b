"""Claims that come back after a data queue was shut down."""

from __future__ import annotations

import contextlib

import pytest
from data_queue_kit import Call, blocked, unfinished

from taskq import TaskQ
from taskq.errors import ShutDown


@pytest.fixture
def app(any_server, namespace):
    with TaskQ("items", any_server.url, namespace) as app:
        yield app


def test_a_claim_given_back_after_a_shutdown_at_once_ends_the_wait_of_join(app):
    queue = app.Queue("q")
    queue.put("a")
    with contextlib.suppress(KeyError), queue.claim():
        queue.shutdown(immediate=True)
        [joining] = blocked(queue, "joiners", [Call(queue.join)])
        raise KeyError
    joining.end()
    assert (queue.qsize(), unfinished(queue)) == (0, 0)


def test_a_claim_given_back_after_a_shutdown_can_still_be_got(app):
    queue = app.Queue("q")
    queue.put("a")
    with contextlib.suppress(KeyError), queue.claim():
        queue.shutdown()
        raise KeyError
    assert queue.get() == "a"
    with pytest.raises(ShutDown):
        queue.get()


def test_a_queue_that_was_opened_again_keeps_what_comes_back(app):
    queue = app.Queue("q")
    queue.put("a")
    with contextlib.suppress(KeyError), queue.claim():
        queue.shutdown(immediate=True)
        queue.reopen()
        raise KeyError
    assert queue.get() == "a"
