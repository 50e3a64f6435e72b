"""Conditions between threads: the contract of ``threading.Condition``."""

from __future__ import annotations

import threading
import time

import pytest
from condition_kit import in_line, results, stand
from coordination_kit import DEADLINE, until

from taskq import TaskQ
from taskq.errors import InvalidOption, InvalidTimeout, NotHeld, PrimitiveConflict


@pytest.fixture
def app(url, namespace):
    with TaskQ("condition", url, namespace) as app:
        yield app


@pytest.mark.parametrize("make", [lambda app: None, lambda app: app.Lock("l"), lambda app: app.RLock("l")])
def test_the_lock_is_taken_and_given_back_through_it(app, threads, make):
    condition = app.Condition("c", make(app))
    with condition as entered:
        assert entered is condition
        assert condition.locked()
        assert condition.fence is not None
        assert threads.submit(condition.acquire, False).result(DEADLINE) is False
    assert condition.acquire(timeout=1)
    condition.release()
    assert (condition.locked(), condition.fence) == (False, None)


@pytest.mark.parametrize(
    "call", [lambda c: c.wait(), lambda c: c.wait(0), lambda c: c.notify(), lambda c: c.notify_all()]
)
def test_without_the_lock_nothing_goes(app, call):
    condition = app.Condition("c")
    with pytest.raises(NotHeld, match=r"Condition\('c'\) is not held here") as caught:
        call(condition)
    assert isinstance(caught.value, RuntimeError)


def test_the_default_lock_belongs_to_its_thread(app, threads):
    condition = app.Condition("c")
    with condition:
        assert isinstance(threads.submit(condition.notify).exception(DEADLINE), NotHeld)


def test_notify_wakes_as_many_as_it_says_in_the_order_in_which_they_came(app, threads, server):
    condition = app.Condition("c")
    waits = stand(threads, server, condition, 3)
    with condition:
        condition.notify(2)
    assert results(waits[:2]) == [True, True]
    assert not waits[2].done()
    with condition:
        condition.notify()
    assert results(waits[2:]) == [True]


def test_notify_all_wakes_all(app, threads, server):
    condition = app.Condition("c")
    waits = stand(threads, server, condition, 8)
    with condition:
        condition.notify_all()
    assert results(waits) == [True] * 8


def test_nobody_wakes_before_the_lock_is_free(app, threads, server):
    condition = app.Condition("c")
    waits = stand(threads, server, condition, 2)
    with condition:
        condition.notify_all()
        in_lock = app.broker.keys(condition._keys.queue).key("line")
        with server.client() as client:
            until(lambda: client.zcard(in_lock) == 2, "both are in line for the lock")
        assert not any(one.done() for one in waits)
    assert results(waits) == [True, True]


@pytest.mark.parametrize("n", [0, -1])
def test_to_notify_none_wakes_none(app, threads, server, n):
    condition = app.Condition("c")
    waits = stand(threads, server, condition)
    with condition:
        condition.notify(n)
    in_line(server, condition, 1)
    with condition:
        condition.notify()
    assert results(waits) == [True]


def test_a_notification_is_not_kept_for_who_comes_later(app):
    condition = app.Condition("c")
    with condition:
        condition.notify_all()
        assert condition.wait(0.05) is False


@pytest.mark.parametrize("timeout", [0.05, 0, -1])
def test_a_wait_that_runs_out_of_time_is_false_and_has_the_lock_again(app, threads, timeout):
    condition = app.Condition("c")
    with condition:
        started = time.monotonic()
        assert condition.wait(timeout) is False
        assert time.monotonic() - started >= timeout
        assert threads.submit(condition.acquire, False).result(DEADLINE) is False
    assert not condition.locked()


def test_a_lock_taken_several_times_is_free_during_the_wait_and_then_as_before(app, threads, server):
    condition = app.Condition("c", app.RLock("l"))

    def run():
        with condition, condition, condition:
            woken = condition.wait(DEADLINE)
            depths = []
            for _ in range(3):
                depths.append(condition._lock._own().depth)
                condition.release()
            left = condition._lock._own()
            for _ in range(3):
                condition.acquire()
            return woken, depths, left

    waits = [threads.submit(run)]
    in_line(server, condition, 1)
    with condition:
        condition.notify()
    assert results(waits) == [(True, [3, 2, 1], None)]


def test_the_fence_grows_with_each_wait(app):
    condition = app.Condition("c")
    with condition:
        before = condition.fence
        condition.wait(0)
        assert condition.fence > before


def test_wait_for_returns_what_the_predicate_said_last(app, threads, server):
    condition, items = app.Condition("c"), []

    def take():
        with condition:
            return condition.wait_for(lambda: items and items[-1], DEADLINE)

    waits = [threads.submit(take)]
    for item in (0, 0, 7):
        in_line(server, condition, 1)
        with condition:
            items.append(item)
            condition.notify()
    assert results(waits) == [7]


@pytest.mark.parametrize(("timeout", "calls"), [(0, 2), (0.05, 2)])
def test_wait_for_gives_up_after_its_timeout(app, timeout, calls):
    condition, called = app.Condition("c"), []
    with condition:
        assert condition.wait_for(lambda: called.append(None), timeout) is None
    assert len(called) == calls


def test_wait_for_does_not_wait_for_what_is_true(app):
    condition = app.Condition("c")
    assert condition.wait_for(lambda: "yes") == "yes"


def test_two_conditions_share_a_lock(app, threads, server):
    lock = app.Lock("l")
    one, two = app.Condition("one", lock), app.Condition("two", lock)
    waits = stand(threads, server, one) + stand(threads, server, two)
    with lock:
        two.notify()
    assert waits[1].result(DEADLINE) is True
    assert not waits[0].done()
    with two:
        one.notify()
    assert waits[0].result(DEADLINE) is True


def test_another_lock_for_the_same_condition_is_refused(app, other):
    lock = app.Lock("l")
    mine = app.Condition("c", lock)
    assert app.Condition("c", lock) is mine
    with pytest.raises(PrimitiveConflict, match=r"Condition\('c'\)"):
        app.Condition("c")
    with mine:
        mine.wait(0)
    theirs = other.Condition("c")
    with theirs:
        for call in (theirs.wait, theirs.notify):
            with pytest.raises(PrimitiveConflict, match="lock 'lock:l', made by 'condition, "):
                call()
        assert theirs.fence is not None


def test_arguments_are_checked(app, other):
    condition = app.Condition("c")
    for lock in (threading.Lock(), app.Semaphore("s"), other.Lock("l")):
        with pytest.raises(InvalidOption, match="of the same app"):
            app.Condition("d", lock)
    with condition:
        with pytest.raises(InvalidTimeout, match="timeout"):
            condition.wait("x")
        with pytest.raises(TypeError, match="whole number"):
            condition.notify(1.5)


def test_nothing_is_left_after_a_wait_however_it_ends(app, threads, server):
    condition = app.Condition("c")
    waits = stand(threads, server, condition, 8)
    with condition:
        condition.wait(0)
        condition.notify_all()
    results(waits)
    assert (len(app._listener.signals), len(app._sender.keeper)) == (0, 0)
    with server.client() as client:
        assert client.exists(*map(condition._keys.key, ("waiting", "seen", "line", "holders", "fences"))) == 0
