"""What holds for every Event: https://docs.python.org/3/library/threading.html#event-objects."""

from __future__ import annotations

import time

import pytest
from crew import Crew, raises, until


def test_a_new_event_is_clear(crew: Crew, name):
    assert [actor.Event(name).is_set() for actor in crew(2)] == [False, False]


def test_what_one_sets_all_see_set(crew: Crew, name):
    a, b = crew(2)
    a.Event(name).set()
    assert [actor.Event(name).is_set() for actor in (a, b)] == [True, True]


def test_setting_twice_is_as_once(crew: Crew, name):
    a, b = crew(2)
    a.Event(name).set()
    b.Event(name).set()
    assert a.Event(name).is_set()
    b.Event(name).clear()
    assert not a.Event(name).is_set()


def test_what_one_clears_all_see_clear(crew: Crew, name):
    a, b = crew(2)
    a.Event(name).set()
    b.Event(name).clear()
    b.Event(name).clear()
    assert [actor.Event(name).is_set() for actor in (a, b)] == [False, False]


def test_set_and_clear_return_nothing(crew: Crew, name):
    (a,) = crew(1)
    assert [a.Event(name).set(), a.Event(name).clear()] == [None, None]


def test_events_of_other_names_are_others(crew: Crew, name):
    a, b = crew(2)
    a.Event(name).set()
    assert b.Event(name + "-2").is_set() is False


@pytest.mark.parametrize("timeout", [None, 0, 0.0, -1, 5])
def test_a_wait_for_a_set_event_is_true_at_once(crew: Crew, name, timeout):
    a, b = crew(2)
    a.Event(name).set()
    assert b.Event(name).wait(timeout) is True
    assert b.Event(name).wait(timeout=timeout) is True


@pytest.mark.parametrize("timeout", [0, 0.0, -1])
def test_a_wait_without_time_is_a_look(crew: Crew, name, timeout):
    (a,) = crew(1)
    assert a.Event(name).wait(timeout) is False


def test_a_wait_for_a_time_is_false_when_it_is_over(crew: Crew, name):
    (a,) = crew(1)
    started = time.monotonic()
    assert a.Event(name).wait(0.1) is False
    assert time.monotonic() - started >= 0.1


@pytest.mark.parametrize("timeout", [None, 60])
def test_a_set_wakes_who_waits(crew: Crew, name, timeout):
    a, b = crew(2)
    waiting = a.Event(name).start.wait(timeout)
    crew.parked(a)
    assert crew.listed(name) == 1
    assert not waiting.done
    b.Event(name).set()
    assert waiting.finish() is True


def test_a_set_wakes_all_who_wait(crew: Crew, name):
    *waiters, setter = crew(crew.many)
    waiting = [actor.Event(name).start.wait() for actor in waiters]
    crew.parked(*waiters)
    setter.Event(name).set()
    assert [each.finish() for each in waiting] == [True] * len(waiters)


def test_a_set_wakes_all_who_wait_also_if_it_is_cleared_at_once(crew: Crew, name):
    *waiters, setter = crew(crew.many)
    waiting = [actor.Event(name).start.wait(60) for actor in waiters]
    crew.parked(*waiters)
    doing = [setter.Event(name).start.set(), setter.Event(name).start.clear()]
    assert [each.finish() for each in waiting] == [True] * len(waiters)
    assert [each.finish() for each in doing] == [None, None]
    assert setter.Event(name).is_set() is False


def test_each_of_many_sets_wakes_who_waited_for_it(crew: Crew, name):
    *waiters, setter = crew(3)
    for _ in range(10):
        waiting = [actor.Event(name).start.wait(60) for actor in waiters]
        crew.parked(*waiters)
        setter.Event(name).start.set()
        setter.Event(name).clear()
        assert [each.finish() for each in waiting] == [True, True]


def test_a_set_that_was_cleared_before_wakes_nobody(crew: Crew, name):
    a, b = crew(2)
    a.Event(name).set()
    a.Event(name).clear()
    assert b.Event(name).wait(0.05) is False


def test_who_gave_up_takes_nothing_from_the_others(crew: Crew, name):
    a, b, c = crew(3)
    waiting = a.Event(name).start.wait()
    crew.parked(a)
    assert b.Event(name).wait(0.02) is False
    assert not waiting.done
    c.Event(name).set()
    assert waiting.finish() is True


def test_who_sets_may_wait_itself(crew: Crew, name):
    (a,) = crew(1)
    a.Event(name).set()
    assert a.Event(name).wait() is True


@pytest.mark.parametrize("timeout", ["soon", True])
def test_a_timeout_that_is_no_number_is_refused(crew: Crew, name, timeout):
    (a,) = crew(1)
    with raises("ValueError"):
        a.Event(name).wait(timeout)


def test_nobody_is_listed_when_nobody_waits_any_more(crew: Crew, name):
    a, b, c = crew(3)
    waiting = [actor.Event(name).start.wait(timeout) for actor, timeout in ((a, 0.05), (b, 60))]
    assert waiting[0].finish() is False
    c.Event(name).set()
    assert waiting[1].finish() is True
    c.Event(name).clear()
    assert a.Event(name).wait(0.02) is False
    until(lambda: crew.listed(name) == 0, "the list is empty")
