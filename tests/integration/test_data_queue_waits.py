"""Waits at data queues: for items, for room and for the end of all items, and what a shutdown does to them."""

from __future__ import annotations

import queue as standard
import time

import pytest
from data_queue_kit import DEADLINE, Call, blocked, drained, in_line

from taskq import TaskQ
from taskq.errors import InvalidTimeout, ShutDown


@pytest.fixture
def app(any_server, namespace):
    with TaskQ("items", any_server.url, namespace) as app:
        yield app


def test_an_empty_queue_refuses_who_does_not_wait(make_queue):
    queue = make_queue()
    for call in (queue.get_nowait, lambda: queue.get(block=False), lambda: queue.get_many(5, block=False)):
        with pytest.raises(standard.Empty):
            call()


def test_a_full_queue_refuses_who_does_not_wait(make_queue):
    queue = make_queue(maxsize=2)
    queue.put(1)
    queue.put_nowait(2)
    with pytest.raises(standard.Full):
        queue.put_nowait(3)
    with pytest.raises(standard.Full):
        queue.put(3, block=False)
    assert queue.qsize() == 2


@pytest.mark.parametrize("timeout", [0, 0.001, 0.3])
def test_a_wait_ends_after_its_timeout(make_queue, timeout):
    queue = make_queue(maxsize=1)
    started = time.monotonic()
    with pytest.raises(standard.Empty):
        queue.get(timeout=timeout)
    queue.put(1)
    with pytest.raises(standard.Full):
        queue.put(2, timeout=timeout)
    assert time.monotonic() - started >= 2 * timeout
    assert (in_line(queue, "getters"), in_line(queue, "putters")) == (0, 0)


def test_a_negative_timeout_is_an_error_but_where_nobody_waits(app):
    queue = app.Queue("q", maxsize=1)
    calls = [
        lambda block: queue.put(1, block, -1),
        lambda block: queue.get(block, -1),
        lambda block: queue.get_many(1, block, -0.001),
        lambda block: queue.claim(block, -1).__enter__(),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="non-negative"):
            call(True)
    queue.put(1, False, -1)
    assert queue.get(False, -1) == 1


@pytest.mark.parametrize("timeout", ["1", float("nan"), True])
def test_a_timeout_that_is_no_number_is_an_error(app, timeout):
    with pytest.raises(InvalidTimeout, match="no number of seconds"):
        app.Queue("q").get(timeout=timeout)


def test_who_waits_gets_what_another_process_puts(make_queue, other):
    queue = make_queue()
    [call] = blocked(queue, "getters", [Call(queue.get)])
    getattr(other, type(queue).__name__)("q").put(5)
    assert call.end() == 5


def test_who_waits_for_room_puts_when_another_process_takes(make_queue, other):
    queue = make_queue(maxsize=1)
    queue.put(1)
    [call] = blocked(queue, "putters", [Call(queue.put, 1)])
    assert getattr(other, type(queue).__name__)("q", 1).get() == 1
    call.end()
    assert (queue.get(), queue.qsize()) == (1, 0)


def test_getters_are_served_in_the_order_in_which_they_came(app):
    queue = app.Queue("q")
    calls: list[Call] = []
    for _ in range(5):
        blocked(queue, "getters", [*calls, call := Call(queue.get, timeout=DEADLINE)])
        calls.append(call)
    for number, call in enumerate(calls):
        queue.put(number)
        assert call.end() == number


def test_putters_are_served_in_the_order_in_which_they_came(app):
    queue = app.Queue("q", maxsize=1)
    queue.put("first")
    calls: list[Call] = []
    for number in range(5):
        blocked(queue, "putters", [*calls, call := Call(queue.put, number, timeout=DEADLINE)])
        calls.append(call)
    got = [queue.get()]
    for call in calls:
        call.end()
        got.append(queue.get())
    assert got == ["first", 0, 1, 2, 3, 4]


def test_a_bound_that_is_raised_lets_all_in_who_wait(app, any_server, namespace):
    queue = app.Queue("q", maxsize=1)
    queue.put(0)
    calls = blocked(queue, "putters", [Call(queue.put, number) for number in range(1, 11)])
    with TaskQ("later", any_server.url, namespace) as later:
        later.Queue("q", maxsize=20).put(11)
    for call in calls:
        call.end()
    assert sorted(drained(queue)) == list(range(12))


@pytest.mark.parametrize("line", ["getters", "putters"])
def test_a_wait_costs_three_calls_however_long_it_is(start_server, namespace, line):
    server = start_server()
    with TaskQ("items", server.url, namespace) as app, server.client() as client:
        queue = app.Queue("q", maxsize=1)
        with pytest.raises(standard.Empty):
            queue.get(timeout=0.05)  # subscribes
        waiting, other = (queue.get, lambda: queue.put(1)) if line == "getters" else (lambda: queue.put(1), queue.get)
        if line == "putters":
            queue.put(0)
        client.config_resetstat()
        [call] = blocked(queue, line, [Call(waiting)])
        other()
        call.end()
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 3 + 1, "one is the other side's"


# -- join ---


def test_join_returns_at_once_where_nothing_is_unfinished(make_queue):
    queue = make_queue()
    queue.join()
    queue.put(1)
    queue.get()
    queue.task_done()
    Call(queue.join).end()


def test_join_waits_for_every_item(make_queue, other):
    queue = make_queue()
    queue.put_many([1, 2])
    calls = blocked(queue, "joiners", [Call(queue.join), Call(getattr(other, type(queue).__name__)("q").join)])
    for _ in range(2):
        assert all(call.blocks for call in calls)
        queue.get()
        queue.task_done()
    for call in calls:
        call.end()


def test_join_waits_for_what_is_put_while_it_waits(app):
    queue = app.Queue("q")
    queue.put(1)
    [call] = blocked(queue, "joiners", [Call(queue.join)])
    queue.put(2)
    queue.task_done()
    assert call.blocks
    queue.task_done()
    call.end()


# -- shutdown ---


def test_a_queue_that_is_shut_down_takes_nothing_and_gives_what_it_has(make_queue):
    queue = make_queue()
    queue.put_many([1, 1])
    queue.shutdown()
    for call in (lambda: queue.put(1), lambda: queue.put_nowait(1), lambda: queue.put_many([1])):
        with pytest.raises(ShutDown, match="takes no more items"):
            call()
    assert (queue.get(), queue.get_nowait()) == (1, 1)
    for call in (queue.get, queue.get_nowait, lambda: queue.get(timeout=5), lambda: queue.get_many(3)):
        with pytest.raises(ShutDown, match="shut down and empty"):
            call()


def test_a_shutdown_is_one_of_the_standard_library_where_it_has_one():
    assert issubclass(ShutDown, getattr(standard, "ShutDown", Exception))


@pytest.mark.parametrize("immediate", [False, True])
def test_a_shutdown_ends_blocked_getters(make_queue, other, immediate):
    queue = make_queue()
    calls = blocked(queue, "getters", [Call(queue.get) for _ in range(4)])
    getattr(other, type(queue).__name__)("q").shutdown(immediate)
    for call in calls:
        with pytest.raises(ShutDown):
            call.end()


@pytest.mark.parametrize("immediate", [False, True])
def test_a_shutdown_ends_blocked_putters(make_queue, immediate):
    queue = make_queue(maxsize=1)
    queue.put(1)
    calls = blocked(queue, "putters", [Call(queue.put, 2) for _ in range(4)])
    queue.shutdown(immediate)
    for call in calls:
        with pytest.raises(ShutDown):
            call.end()
    assert queue.qsize() == (0 if immediate else 1)


def test_a_shutdown_lets_join_wait_for_the_rest(make_queue):
    queue = make_queue()
    queue.put(1)
    [call] = blocked(queue, "joiners", [Call(queue.join)])
    queue.shutdown()
    assert call.blocks
    queue.get()
    queue.task_done()
    call.end()


def test_an_immediate_shutdown_drops_the_items_and_ends_join(make_queue):
    queue = make_queue()
    queue.put_many([1, 2])
    [call] = blocked(queue, "joiners", [Call(queue.join)])
    queue.shutdown(immediate=True)
    call.end()
    with pytest.raises(ShutDown):
        queue.get()


def test_an_immediate_shutdown_lets_join_wait_for_what_was_taken(make_queue):
    queue = make_queue()
    queue.put_many([1, 2])
    queue.get()
    [call] = blocked(queue, "joiners", [Call(queue.join)])
    queue.shutdown(immediate=True)
    assert call.blocks
    queue.task_done()
    call.end()


def test_a_second_shutdown_may_be_immediate(app):
    queue = app.Queue("q")
    queue.put(1)
    queue.shutdown()
    queue.shutdown(immediate=True)
    with pytest.raises(ShutDown):
        queue.get_nowait()


def test_a_queue_opens_again(make_queue):
    queue = make_queue()
    queue.shutdown()
    queue.reopen()
    queue.put(1)
    assert queue.get() == 1
    with pytest.raises(standard.Empty):
        queue.get_nowait()
