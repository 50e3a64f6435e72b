"""Claims on items of data queues: finished, given back, kept for as long as their blocks take."""

from __future__ import annotations

import contextlib
import queue as standard

import pytest
from data_queue_kit import Call, blocked, drained, unfinished

from taskq import TaskQ
from taskq.errors import SerializationError, ShutDown


@pytest.fixture
def app(any_server, namespace):
    with TaskQ("items", any_server.url, namespace) as app:
        yield app


def test_a_claimed_item_is_finished_at_the_end_of_the_block(make_queue):
    queue = make_queue()
    queue.put(1)
    with queue.claim() as item:
        assert item == 1
        assert (queue.qsize(), queue.info().running, unfinished(queue)) == (0, 1, 1)
    assert (queue.qsize(), queue.info().running, unfinished(queue)) == (0, 0, 0)


def test_a_claimed_item_goes_back_to_its_place_where_the_block_raises(app):
    queue = app.Queue("q")
    queue.put_many("abc")
    with pytest.raises(ZeroDivisionError), queue.claim():
        raise ZeroDivisionError
    assert (drained(queue), unfinished(queue)) == (["a", "b", "c"], 3)


def test_an_item_that_goes_back_wakes_who_waits(app):
    queue = app.Queue("q")
    queue.put("a")
    with contextlib.suppress(ZeroDivisionError), queue.claim():
        [call] = blocked(queue, "getters", [Call(queue.get)])
        raise ZeroDivisionError
    assert call.end() == "a"


def test_a_claim_waits_as_get_does(app):
    queue = app.Queue("q")
    with pytest.raises(standard.Empty), queue.claim(block=False):
        pass
    with pytest.raises(standard.Empty), queue.claim(timeout=0.01):
        pass
    queue.shutdown()
    with pytest.raises(ShutDown), queue.claim():
        pass


def test_a_claim_is_kept_for_as_long_as_its_block_takes(app, other):
    queue = app.Queue("q")
    queue.put("a")
    with queue.claim(lease=0.3), pytest.raises(standard.Empty):
        other.Queue("q").get(timeout=1.5)
    assert unfinished(queue) == 0


def test_an_item_that_cannot_be_read_here_goes_back(any_server, namespace, app):
    with TaskQ("pickles", any_server.url, namespace, serializer="pickle", allow_pickle=True) as pickles:
        pickles.Queue("q").put({"a": 1})
        with pytest.raises(SerializationError), app.Queue("q").claim():
            pass
        assert pickles.Queue("q").get() == {"a": 1}


def test_several_claims_of_a_thread_are_independent(app):
    queue = app.Queue("q")
    queue.put_many("ab")
    with queue.claim() as first, contextlib.suppress(ZeroDivisionError), queue.claim() as second:
        assert (first, second) == ("a", "b")
        raise ZeroDivisionError
    assert drained(queue) == ["b"]
