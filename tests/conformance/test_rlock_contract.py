"""What holds for every RLock: https://docs.python.org/3/library/threading.html#rlock-objects."""

from __future__ import annotations

import time

import pytest
from crew import Crew, raises


@pytest.mark.parametrize("arguments", [(), (False,), (True, 0), (True, 5)])
def test_its_holder_takes_it_again(crew: Crew, name, arguments):
    a, b = crew(2)
    assert [a.RLock(name).acquire(*arguments) for _ in range(3)] == [True, True, True]
    for _ in range(3):
        assert b.RLock(name).acquire(False) is False
        a.RLock(name).release()
    assert b.RLock(name).acquire(False) is True
    b.RLock(name).release()


def test_levels_may_be_left_and_entered_in_any_order(crew: Crew, name):
    (a,) = crew(1)
    lock = a.RLock(name)
    for step in ("acquire", "acquire", "release", "acquire", "release", "release"):
        getattr(lock, step)()
    assert lock.locked() is False
    with raises("RuntimeError"):
        lock.release()


def test_one_that_is_free_cannot_be_released(crew: Crew, name):
    (a,) = crew(1)
    with raises("RuntimeError"):
        a.RLock(name).release()


def test_nobody_but_its_holder_may_release_it(crew: Crew, name):
    a, b = crew(2)
    a.RLock(name).acquire()
    with raises("RuntimeError"):
        b.RLock(name).release()
    assert b.RLock(name).locked() is True
    a.RLock(name).release()
    assert b.RLock(name).locked() is False


def test_a_waiter_has_it_after_the_last_release_only(crew: Crew, name):
    a, b = crew(2)
    a.RLock(name).acquire()
    a.RLock(name).acquire()
    (waiting,) = crew.in_line_one_by_one("rlock", name, [b.RLock(name).start.acquire])
    a.RLock(name).release()
    assert crew.in_line("rlock", name) == 1
    assert not waiting.done
    a.RLock(name).release()
    assert waiting.finish() is True
    with raises("RuntimeError"):
        a.RLock(name).release()
    b.RLock(name).release()


def test_a_wait_for_a_time_is_false_when_it_is_over(crew: Crew, name):
    a, b = crew(2)
    a.RLock(name).acquire()
    started = time.monotonic()
    assert b.RLock(name).acquire(timeout=0.1) is False
    assert time.monotonic() - started >= 0.1
    a.RLock(name).release()
    assert b.RLock(name).acquire(timeout=0.1) is True
    b.RLock(name).release()


@pytest.mark.parametrize(
    ("arguments", "error"), [((False, 1), "ValueError"), ((True, -2), "ValueError"), ((True, 1e100), "OverflowError")]
)
@pytest.mark.parametrize("held", [False, True])
def test_a_timeout_that_cannot_be_used_is_refused(crew: Crew, name, arguments, error, held):
    (a,) = crew(1)
    if held:
        a.RLock(name).acquire()
    with raises(error):
        a.RLock(name).acquire(*arguments)
    if held:
        a.RLock(name).release()
    assert a.RLock(name).locked() is False


def test_with_blocks_may_be_nested(crew: Crew, name):
    a, b = crew(2)
    a.RLock(name).acquire()
    assert a.RLock(name).inside(["locked"]) == [True]
    assert b.RLock(name).acquire(False) is False
    a.RLock(name).release()
    with raises("KeyError"):
        a.RLock(name).inside(error="KeyError")
    assert b.RLock(name).acquire(False) is True
    b.RLock(name).release()


def test_the_fence_stays_while_it_is_held_and_grows_from_holder_to_holder(crew: Crew, name):
    a, b = crew(2)
    fences = []
    for actor in (a, b, a):
        actor.RLock(name).acquire()
        fences.append(actor.RLock(name).read("fence"))
        actor.RLock(name).acquire()
        assert actor.RLock(name).read("fence") == fences[-1]
        actor.RLock(name).release()
        actor.RLock(name).release()
    assert fences == sorted(set(fences))


def test_nobody_but_its_holder_has_a_fence(crew: Crew, name):
    a, b = crew(2)
    a.RLock(name).acquire()
    assert b.RLock(name).read("fence") is None
    a.RLock(name).release()
    assert a.RLock(name).read("fence") is None


def test_first_come_first_served(crew: Crew, name):
    first, *others = crew(crew.many)
    first.RLock(name).acquire()
    waiting = crew.in_line_one_by_one(
        "rlock", name, [lambda actor=actor: actor.RLock(name).start.acquire() for actor in others]
    )
    holder = first
    for actor, each in zip(others, waiting, strict=True):
        holder.RLock(name).release()
        assert each.finish() is True
        holder = actor
    holder.RLock(name).release()
