"""What holds for every Condition: https://docs.python.org/3/library/threading.html#condition-objects."""

from __future__ import annotations

import time

import pytest
from crew import Actor, Crew, Doing, raises, until


def sleep(crew: Crew, name: str, actors: list[Actor], *timeout: float) -> list[Doing]:
    """Let one after the other take the lock and wait, each when the one before stands in line."""
    starts = []
    for actor in actors:
        starts.append(lambda actor=actor: _sleep(actor, name, timeout))
    return crew.in_line_one_by_one("condition", name, starts, "waiting")


def _sleep(actor: Actor, name: str, timeout: tuple[float, ...]) -> Doing:
    assert actor.Condition(name).acquire() is True
    return actor.Condition(name).start.wait(*timeout)


def leave(name: str, actors: list[Actor], waiting: list[Doing]) -> None:
    """Let all that were notified go on, in whatever order they have the lock again."""
    left = list(zip(actors, waiting, strict=True))
    while left:
        until(lambda: any(each.done for _, each in left), "the next has the lock")
        (here,) = [pair for pair in left if pair[1].done]  # and no other
        assert here[1].finish() is True
        here[0].Condition(name).release()
        left.remove(here)


def notify(actor: Actor, name: str, *count: int) -> None:
    actor.Condition(name).acquire()
    actor.Condition(name).notify(*count)
    actor.Condition(name).release()


def test_its_lock_is_taken_and_given_back_through_it(crew: Crew, name):
    a, b = crew(2)
    assert a.Condition(name).acquire() is True
    assert b.Condition(name).acquire(False) is False
    assert a.Condition(name).release() is None
    assert b.Condition(name).inside() == []
    assert a.Condition(name).acquire(False) is True
    a.Condition(name).release()


@pytest.mark.parametrize("call", ["wait", "notify", "notify_all", "release"])
def test_without_the_lock_nothing_goes(crew: Crew, name, call):
    a, b = crew(2)
    with raises("RuntimeError"):
        getattr(a.Condition(name), call)()
    b.Condition(name).acquire()
    with raises("RuntimeError"):
        getattr(a.Condition(name), call)()
    b.Condition(name).release()


def test_while_one_waits_another_may_have_the_lock(crew: Crew, name):
    a, b = crew(2)
    (waiting,) = sleep(crew, name, [a])
    assert b.Condition(name).acquire(timeout=10) is True
    b.Condition(name).notify()
    b.Condition(name).release()
    assert waiting.finish() is True
    a.Condition(name).release()


def test_who_was_notified_goes_on_when_the_lock_is_free(crew: Crew, name):
    a, b = crew(2)
    (waiting,) = sleep(crew, name, [a])
    b.Condition(name).acquire()
    b.Condition(name).notify()
    until(lambda: crew.in_line("condition", name) == 1, "the waiter stands in line for the lock")
    assert not waiting.done
    b.Condition(name).release()
    assert waiting.finish() is True
    with raises("RuntimeError"):
        b.Condition(name).release()
    a.Condition(name).release()


def test_notify_wakes_as_many_as_it_says_and_first_who_came_first(crew: Crew, name):
    *sleepers, waker = crew(max(4, min(crew.many, 6)))
    waiting = sleep(crew, name, sleepers)
    notify(waker, name)
    assert waiting[0].finish() is True
    sleepers[0].Condition(name).release()
    assert crew.in_line("condition", name, "waiting") == len(sleepers) - 1
    notify(waker, name, 2)
    leave(name, sleepers[1:3], waiting[1:3])
    assert not any(each.done for each in waiting[3:])
    assert crew.in_line("condition", name, "waiting") == len(sleepers) - 3
    notify(waker, name, 99)
    leave(name, sleepers[3:], waiting[3:])


def test_notify_all_wakes_all(crew: Crew, name):
    *sleepers, waker = crew(min(crew.many, 6))
    waiting = sleep(crew, name, sleepers)
    waker.Condition(name).acquire()
    waker.Condition(name).notify_all()
    waker.Condition(name).release()
    leave(name, sleepers, waiting)
    assert crew.in_line("condition", name, "waiting") == 0


def test_a_notification_for_nobody_is_not_kept(crew: Crew, name):
    a, b = crew(2)
    notify(b, name)
    a.Condition(name).acquire()
    assert a.Condition(name).wait(0.05) is False
    a.Condition(name).release()


def test_a_wait_for_a_time_is_false_when_it_is_over_and_has_the_lock(crew: Crew, name):
    a, b = crew(2)
    a.Condition(name).acquire()
    started = time.monotonic()
    assert a.Condition(name).wait(0.1) is False
    assert time.monotonic() - started >= 0.1
    assert b.Condition(name).acquire(False) is False
    a.Condition(name).release()
    assert crew.in_line("condition", name, "waiting") == 0


def test_who_gave_up_takes_no_notification_from_the_others(crew: Crew, name):
    a, b, c = crew(3)
    hasty = _sleep(a, name, (0.3,))
    doing = [b.Condition(name).start.acquire(), b.Condition(name).start.wait()]  # while the other waits, or after it
    assert hasty.finish() is False
    a.Condition(name).release()
    crew.parked(b)
    until(lambda: crew.in_line("condition", name, "waiting") == 1, "the other waits")
    notify(c, name)
    assert [each.finish() for each in doing] == [True, True]
    b.Condition(name).release()


def test_a_lock_taken_several_times_is_free_during_the_wait_and_then_as_before(crew: Crew, name):
    a, b = crew(2)
    a.Condition(name).acquire()
    (waiting,) = sleep(crew, name, [a])
    notify(b, name)
    assert waiting.finish() is True
    a.Condition(name).release()
    assert b.Condition(name).acquire(False) is False
    a.Condition(name).release()
    assert b.Condition(name).acquire(False) is True
    b.Condition(name).release()


def test_wait_for_waits_until_it_is_true_and_tells_it(crew: Crew, name):
    a, b = crew(2)
    predicate = {"$call": [["Event", name, {}], "is_set"]}
    a.Condition(name).acquire()
    (waiting,) = crew.in_line_one_by_one(
        "condition", name, [lambda: a.Condition(name).start.wait_for(predicate)], "waiting"
    )
    notify(b, name)
    until(lambda: crew.in_line("condition", name, "waiting") == 1, "it waits again, as it is not true yet")
    b.Event(name).set()
    notify(b, name)
    assert waiting.finish() is True
    a.Condition(name).release()


def test_wait_for_does_not_wait_for_what_is_true(crew: Crew, name):
    (a,) = crew(1)
    a.Event(name).set()
    a.Condition(name).acquire()
    assert a.Condition(name).wait_for({"$call": [["Event", name, {}], "is_set"]}) is True
    a.Condition(name).release()


def test_wait_for_a_time_tells_what_is_so_when_it_is_over(crew: Crew, name):
    a, b = crew(2)
    a.Condition(name).acquire()
    started = time.monotonic()
    assert a.Condition(name).wait_for({"$call": [["Event", name, {}], "is_set"]}, 0.1) is False
    assert time.monotonic() - started >= 0.1
    assert b.Condition(name).acquire(False) is False
    a.Condition(name).release()
