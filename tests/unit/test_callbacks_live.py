"""Callbacks and waiters of a future that come and go while others are called."""

from __future__ import annotations

import concurrent.futures
from concurrent.futures._base import FINISHED

from taskq.client.future import LightFuture


class Value(LightFuture[int]):
    """Ends by hand."""

    def end(self) -> None:
        self._end(FINISHED, failed=False, change=lambda: None)


def test_a_callback_that_goes_while_another_is_called_hides_none():
    future, seen = Value(), []
    leaving = seen.append

    def first(done: Value) -> None:
        done._done_callbacks.remove(leaving)  # as a coroutine that was told does, in another thread
        seen.append("first")

    future.add_done_callback(leaving)
    future.add_done_callback(first)
    future.add_done_callback(lambda _: seen.append("last"))
    future.end()
    assert seen[-2:] == ["first", "last"]


def test_a_callback_that_is_added_while_another_is_called_is_called_once():
    future, seen = Value(), []
    future.add_done_callback(lambda done: done.add_done_callback(seen.append))
    future.end()
    assert seen == [future]


def test_a_foreign_waiter_that_goes_while_another_is_told_hides_none():
    future = Value()
    waits = [concurrent.futures._base._FirstCompletedWaiter() for _ in range(3)]

    class Leaving(concurrent.futures._base._Waiter):
        def add_result(self, done: Value) -> None:
            done._waiters.remove(self)  # as the collector has it, in this very thread

    leaving = Leaving()
    for waiter in (waits[0], leaving, *waits[1:]):
        future._waiters.append(waiter)
    future.end()
    assert [waiter.event.is_set() for waiter in waits] == [True] * 3
