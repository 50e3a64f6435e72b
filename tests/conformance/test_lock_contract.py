"""What holds for every Lock: https://docs.python.org/3/library/threading.html#lock-objects."""

from __future__ import annotations

import time

import pytest
from crew import Crew, raises, until


def locked_by_none(crew: Crew, name: str) -> bool:
    return [actor.Lock(name).locked() for actor in crew(2)] == [False, False]


def test_a_new_lock_is_free(crew: Crew, name):
    assert locked_by_none(crew, name)


@pytest.mark.parametrize("arguments", [(), (True,), (True, -1), (True, 0), (True, 5), (False,), (False, -1)])
def test_a_free_lock_is_taken_in_any_way(crew: Crew, name, arguments):
    a, b = crew(2)
    assert a.Lock(name).acquire(*arguments) is True
    assert [actor.Lock(name).locked() for actor in (a, b)] == [True, True]
    a.Lock(name).release()
    assert locked_by_none(crew, name)


def test_a_lock_is_taken_again_and_again(crew: Crew, name):
    a, b = crew(2)
    for actor in (a, b, b, a):
        assert actor.Lock(name).acquire() is True
        assert actor.Lock(name).release() is None


@pytest.mark.parametrize("arguments", [(False,), (True, 0)])
def test_who_does_not_wait_is_refused_at_once(crew: Crew, name, arguments):
    a, b = crew(2)
    a.Lock(name).acquire()
    assert b.Lock(name).acquire(*arguments) is False
    assert crew.in_line("lock", name) == 0
    a.Lock(name).release()


@pytest.mark.parametrize("arguments", [(False,), (True, 0), (True, 0.05)])
def test_it_is_not_reentrant(crew: Crew, name, arguments):
    (a,) = crew(1)
    a.Lock(name).acquire()
    assert a.Lock(name).acquire(*arguments) is False
    a.Lock(name).release()
    assert locked_by_none(crew, name)


@pytest.mark.parametrize("timeout", [-1, 60])
def test_who_waits_has_it_when_it_is_released(crew: Crew, name, timeout):
    a, b = crew(2)
    a.Lock(name).acquire()
    (waiting,) = crew.in_line_one_by_one("lock", name, [lambda: b.Lock(name).start.acquire(timeout=timeout)])
    assert not waiting.done
    a.Lock(name).release()
    assert waiting.finish() is True
    assert a.Lock(name).acquire(False) is False
    b.Lock(name).release()
    assert locked_by_none(crew, name)


def test_a_wait_for_a_time_is_false_when_it_is_over(crew: Crew, name):
    a, b = crew(2)
    a.Lock(name).acquire()
    started = time.monotonic()
    assert b.Lock(name).acquire(timeout=0.1) is False
    assert time.monotonic() - started >= 0.1
    assert crew.in_line("lock", name) == 0
    a.Lock(name).release()


def test_after_a_wait_in_vain_it_is_as_before(crew: Crew, name):
    a, b = crew(2)
    a.Lock(name).acquire()
    assert b.Lock(name).acquire(timeout=0.02) is False
    a.Lock(name).release()
    assert locked_by_none(crew, name)
    assert b.Lock(name).acquire(blocking=False) is True
    b.Lock(name).release()


def test_only_one_of_many_that_try_has_it(crew: Crew, name):
    actors = crew(crew.many)
    tries = [actor.Lock(name).start.acquire(False) for actor in actors]
    answers = [each.finish() for each in tries]
    assert sorted(answers) == [False] * (len(actors) - 1) + [True]
    actors[answers.index(True)].Lock(name).release()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((False, 1), "ValueError"),
        ((False, 0), "ValueError"),
        ((True, -2), "ValueError"),
        ((True, -0.5), "ValueError"),
        ((True, float("nan")), "ValueError"),
        ((True, 1e100), "OverflowError"),
        ((True, float("inf")), "OverflowError"),
        ((True, "soon"), "TypeError"),
        ((True, None), "TypeError"),
    ],
)
def test_a_timeout_that_cannot_be_used_is_refused(crew: Crew, name, arguments, error):
    (a,) = crew(1)
    with raises(error):
        a.Lock(name).acquire(*arguments)
    assert locked_by_none(crew, name)


def test_a_lock_that_nobody_holds_cannot_be_released(crew: Crew, name):
    (a,) = crew(1)
    with raises("RuntimeError"):
        a.Lock(name).release()
    a.Lock(name).acquire()
    a.Lock(name).release()
    with raises("RuntimeError"):
        a.Lock(name).release()


def test_any_other_of_the_same_process_may_release_it_and_of_another_process_not(crew: Crew, name):
    a, b = crew(2)
    a.Lock(name).acquire()
    if crew.one_process:
        b.Lock(name).release()
    else:
        with raises("RuntimeError"):
            b.Lock(name).release()
        assert b.Lock(name).locked()
        a.Lock(name).release()
    assert locked_by_none(crew, name)


def test_who_waits_for_its_own_lock_has_it_when_another_releases_it(crew: Crew, name):
    if not crew.one_process:
        pytest.skip("only within a process may others release it")
    a, b = crew(2)
    a.Lock(name).acquire()
    (waiting,) = crew.in_line_one_by_one("lock", name, [a.Lock(name).start.acquire])
    b.Lock(name).release()
    assert waiting.finish() is True
    b.Lock(name).release()
    assert locked_by_none(crew, name)


def test_a_with_block_holds_it_and_no_longer(crew: Crew, name):
    a, b = crew(2)
    assert a.Lock(name).inside(["locked"]) == [True]
    assert b.Lock(name).acquire(False) is True
    b.Lock(name).release()


def test_a_with_block_that_fails_gives_it_back_and_its_error_passes(crew: Crew, name):
    a, b = crew(2)
    with raises("KeyError"):
        a.Lock(name).inside(["locked"], error="KeyError")
    assert b.Lock(name).acquire(False) is True
    b.Lock(name).release()


def test_a_with_block_waits_for_its_turn(crew: Crew, name):
    a, b = crew(2)
    a.Lock(name).acquire()
    (waiting,) = crew.in_line_one_by_one("lock", name, [lambda: b.Lock(name).tell("with", ["locked"])])
    a.Lock(name).release()
    assert waiting.finish() == [True]
    assert locked_by_none(crew, name)


def test_first_come_first_served(crew: Crew, name):
    first, *others = crew(crew.many)
    first.Lock(name).acquire()
    waiting = crew.in_line_one_by_one(
        "lock", name, [lambda actor=actor: actor.Lock(name).start.acquire() for actor in others]
    )
    holder, fences = first, []
    for actor, each in zip(others, waiting, strict=True):
        assert not any(other.done for other in waiting[len(fences) :])
        holder.Lock(name).release()
        assert each.finish() is True
        fences.append(actor.Lock(name).read("fence"))
        holder = actor
    holder.Lock(name).release()
    assert fences == sorted(set(fences))


def test_who_leaves_the_line_holds_up_nobody(crew: Crew, name):
    a, b, c = crew(3)
    a.Lock(name).acquire()
    hasty = b.Lock(name).start.acquire(timeout=0.3)
    until(lambda: hasty.done or crew.in_line("lock", name) == 1, "it stands in line")
    patient = c.Lock(name).start.acquire(timeout=60)
    crew.parked(c)
    assert hasty.finish() is False
    a.Lock(name).release()
    assert patient.finish() is True
    c.Lock(name).release()


def test_many_that_want_it_have_it_one_at_a_time(crew: Crew, name):
    turns = [actor.Lock(name).tell("with", ["read", "fence"]) for _ in range(10) for actor in crew(3)]
    fences = [each.finish()[0] for each in turns]
    assert len(set(fences)) == len(turns), "one fence each, and none was held twice"
    assert locked_by_none(crew, name)
    assert crew.in_line("lock", name) == 0


def test_the_fence_grows_from_holder_to_holder(crew: Crew, name):
    fences = []
    for actor in crew(3) * 2:
        actor.Lock(name).acquire()
        fences.append(actor.Lock(name).read("fence"))
        actor.Lock(name).release()
    assert fences == sorted(set(fences))


def test_who_does_not_hold_it_has_no_fence(crew: Crew, name):
    a, b = crew(2)
    a.Lock(name).acquire()
    assert b.Lock(name).read("fence") == (a.Lock(name).read("fence") if crew.one_process else None)
    a.Lock(name).release()
    assert [actor.Lock(name).read("fence") for actor in (a, b)] == [None, None]


def test_locks_of_other_names_are_others(crew: Crew, name):
    a, b = crew(2)
    a.Lock(name).acquire()
    assert b.Lock(name + "-2").acquire(False) is True
    b.Lock(name + "-2").release()
    a.Lock(name).release()
    until(lambda: locked_by_none(crew, name), "both are free")
