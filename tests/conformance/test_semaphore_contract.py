"""What holds for every Semaphore: https://docs.python.org/3/library/threading.html#semaphore-objects."""

from __future__ import annotations

import time

import pytest
from crew import Crew, Thing, raises

BOTH = pytest.mark.parametrize("kind", ["Semaphore", "BoundedSemaphore"])


def of(actor, kind: str, name: str, value: int = 1) -> Thing:
    return getattr(actor, kind)(name, value=value)


@BOTH
def test_there_is_one_permit_where_nothing_is_said(crew: Crew, name, kind):
    a, b = crew(2)
    assert getattr(a, kind)(name).acquire() is True
    assert getattr(b, kind)(name).acquire(False) is False
    getattr(a, kind)(name).release()
    assert getattr(b, kind)(name).acquire(False) is True
    getattr(b, kind)(name).release()


@BOTH
def test_there_are_as_many_permits_as_were_asked_for(crew: Crew, name, kind):
    a, b = crew(2)
    answers = [of(actor, kind, name, 3).acquire(False) for actor in (a, b, a, b)]
    assert answers == [True, True, True, False]
    of(a, kind, name, 3).release()
    assert of(b, kind, name, 3).acquire(False) is True
    of(a, kind, name, 3).release()
    of(b, kind, name, 3).release(2)


@BOTH
def test_many_that_try_take_what_there_is(crew: Crew, name, kind):
    actors = crew(crew.many)
    of(actors[0], kind, name, 4).acquire()
    tries = [of(actor, kind, name, 4).start.acquire(False) for actor in actors for _ in range(2)]
    answers = [each.finish() for each in tries]
    assert sorted(answers) == [False] * (len(tries) - 3) + [True] * 3


@BOTH
@pytest.mark.parametrize("timeout", [None, 60])
def test_who_waits_has_a_permit_when_one_is_released(crew: Crew, name, kind, timeout):
    a, b = crew(2)
    of(a, kind, name).acquire()
    (waiting,) = crew.in_line_one_by_one("semaphore", name, [lambda: of(b, kind, name).start.acquire(timeout=timeout)])
    assert not waiting.done
    of(a, kind, name).release()
    assert waiting.finish() is True
    of(b, kind, name).release()


@BOTH
def test_a_wait_for_a_time_is_false_when_it_is_over(crew: Crew, name, kind):
    a, b = crew(2)
    of(a, kind, name).acquire()
    started = time.monotonic()
    assert of(b, kind, name).acquire(timeout=0.1) is False
    assert time.monotonic() - started >= 0.1
    assert crew.in_line("semaphore", name) == 0
    of(a, kind, name).release()
    assert of(b, kind, name).acquire(timeout=0.1) is True
    of(b, kind, name).release()


@BOTH
@pytest.mark.parametrize("timeout", [0, -1])
def test_a_wait_without_time_is_a_try(crew: Crew, name, kind, timeout):
    (a,) = crew(1)
    assert of(a, kind, name).acquire(timeout=timeout) is True
    assert of(a, kind, name).acquire(timeout=timeout) is False
    of(a, kind, name).release()


@BOTH
@pytest.mark.parametrize("timeout", [0, 1.0])
def test_a_timeout_for_who_does_not_wait_is_refused(crew: Crew, name, kind, timeout):
    (a,) = crew(1)
    with raises("ValueError"):
        of(a, kind, name).acquire(False, timeout)


@BOTH
@pytest.mark.parametrize("value", [-1, -(2**62)])
def test_a_negative_value_is_refused(crew: Crew, name, kind, value):
    (a,) = crew(1)
    with raises("ValueError"):
        of(a, kind, name, value).acquire()


@BOTH
@pytest.mark.parametrize("count", [0, -1])
def test_less_than_one_cannot_be_released(crew: Crew, name, kind, count):
    (a,) = crew(1)
    of(a, kind, name).acquire()
    with raises("ValueError"):
        of(a, kind, name).release(count)
    assert of(a, kind, name).acquire(False) is False
    of(a, kind, name).release()


@BOTH
def test_several_are_released_at_once_and_wake_as_many(crew: Crew, name, kind):
    a, *others = crew(3)
    for _ in others:
        of(a, kind, name, 2).acquire()
    waiting = crew.in_line_one_by_one(
        "semaphore", name, [lambda actor=actor: of(actor, kind, name, 2).start.acquire() for actor in others]
    )
    of(a, kind, name, 2).release(2)
    assert [each.finish() for each in waiting] == [True, True]
    for actor in others:
        of(actor, kind, name, 2).release()


@BOTH
def test_one_release_wakes_one_that_came_first(crew: Crew, name, kind):
    a, b, c = crew(3)
    of(a, kind, name).acquire()
    first, second = crew.in_line_one_by_one(
        "semaphore", name, [lambda actor=actor: of(actor, kind, name).start.acquire() for actor in (b, c)]
    )
    of(a, kind, name).release()
    assert first.finish() is True
    assert crew.in_line("semaphore", name) == 1
    assert not second.done
    of(b, kind, name).release()
    assert second.finish() is True
    of(c, kind, name).release()


def test_with_none_to_begin_with_a_release_is_a_signal(crew: Crew, name):
    a, b = crew(2)
    assert a.Semaphore(name, value=0).acquire(False) is False
    (waiting,) = crew.in_line_one_by_one("semaphore", name, [a.Semaphore(name, value=0).start.acquire])
    b.Semaphore(name, value=0).release()
    assert waiting.finish() is True
    assert b.Semaphore(name, value=0).acquire(False) is False


def test_signals_are_counted(crew: Crew, name):
    a, b = crew(2)
    a.Semaphore(name, value=0).release(3)
    assert [b.Semaphore(name, value=0).acquire(timeout=0.02) for _ in range(4)] == [True, True, True, False]


def test_a_release_by_who_took_none_adds_one(crew: Crew, name):
    a, b = crew(2)
    a.Semaphore(name).release()
    assert [b.Semaphore(name).acquire(False) for _ in range(3)] == [True, True, False]
    b.Semaphore(name).release(2)


def test_any_other_may_release_what_one_took(crew: Crew, name):
    a, b = crew(2)
    a.Semaphore(name).acquire()
    b.Semaphore(name).release()
    assert [actor.Semaphore(name).acquire(False) for actor in (b, a)] == [True, False]


def test_a_bounded_one_refuses_more_than_it_began_with(crew: Crew, name):
    a, b = crew(2)
    for actor in (a, b):
        with raises("ValueError"):
            actor.BoundedSemaphore(name).release()
    a.BoundedSemaphore(name).acquire()
    a.BoundedSemaphore(name).release()
    with raises("ValueError"):
        a.BoundedSemaphore(name).release()
    assert [b.BoundedSemaphore(name).acquire(False) for _ in range(2)] == [True, False]
    b.BoundedSemaphore(name).release()


def test_a_bounded_one_refuses_too_many_at_once_and_releases_none_of_them(crew: Crew, name):
    a, b = crew(2)
    a.BoundedSemaphore(name, value=2).acquire()
    with raises("ValueError"):
        a.BoundedSemaphore(name, value=2).release(2)
    assert [b.BoundedSemaphore(name, value=2).acquire(False) for _ in range(2)] == [True, False]
    a.BoundedSemaphore(name, value=2).release()
    b.BoundedSemaphore(name, value=2).release()


def test_of_a_bounded_one_another_may_release_what_one_took_but_then_not_both(crew: Crew, name):
    a, b = crew(2)
    a.BoundedSemaphore(name).acquire()
    b.BoundedSemaphore(name).release()
    with raises("ValueError"):
        a.BoundedSemaphore(name).release()
    assert [b.BoundedSemaphore(name).acquire(False) for _ in range(2)] == [True, False]
    b.BoundedSemaphore(name).release()


def test_another_number_is_a_conflict(crew: Crew, name):
    a, b = crew(2)
    a.Semaphore(name, value=2).acquire()
    with raises("PrimitiveConflict"):
        b.Semaphore(name, value=3).acquire()
    assert a.Semaphore(name, value=2).acquire(False) is True
    a.Semaphore(name, value=2).release(2)


@BOTH
def test_a_with_block_holds_a_permit_and_no_longer(crew: Crew, name, kind):
    a, b = crew(2)
    taken = of(a, kind, name, 2).inside(["acquire", False], ["acquire", False], ["release"])
    assert taken == [True, False, None]
    assert [of(b, kind, name, 2).acquire(False) for _ in range(3)] == [True, True, False]
    of(b, kind, name, 2).release(2)


@BOTH
def test_a_with_block_that_fails_gives_it_back_and_its_error_passes(crew: Crew, name, kind):
    a, b = crew(2)
    with raises("KeyError"):
        of(a, kind, name).inside(error="KeyError")
    assert of(b, kind, name).acquire(False) is True
    of(b, kind, name).release()


@BOTH
def test_many_that_want_one_have_it_in_the_end(crew: Crew, name, kind):
    turns = [of(actor, kind, name, 2).tell("with") for _ in range(8) for actor in crew(3)]
    assert [each.finish() for each in turns] == [[]] * len(turns)
    assert [of(crew(1)[0], kind, name, 2).acquire(False) for _ in range(3)] == [True, True, False]
    of(crew(1)[0], kind, name, 2).release(2)
