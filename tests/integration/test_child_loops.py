"""Event loops in a gevent child: each greenlet has its own, and none is seen by the others."""

from __future__ import annotations

import pytest
from childdriver import Driver, job_data, value_of


@pytest.fixture(scope="module")
def driver():
    with Driver("gevent", app="loopapp", slots=20) as driver:
        yield driver.started()


def values(driver, calls):
    frames = [driver.frame(job_data(task, *args)) for task, args in calls]
    driver.give(frames)
    return [value_of(driver.wait(frame.handle)) for frame in frames]


def test_coroutines_run_in_the_main_thread_where_no_patched_lock_is_contended():
    with Driver("gevent", app="loopapp", slots=20) as driver:
        assert set(values(driver.started(), [("native_thread", ())] * 60)) == {driver.child.pid}


@pytest.mark.parametrize("tasks", [("amixed",), ("runs_a_loop",), ("amixed", "runs_a_loop")])
def test_loops_of_many_greenlets_take_turns_and_each_keeps_its_own(driver, tasks):
    calls = [(tasks[number % len(tasks)], (number,)) for number in range(60)]
    assert values(driver, calls) == [[number, True] for number in range(60)]


def test_job_without_a_loop_sees_none(driver):
    calls = [("amixed", (1,)), ("looks_for_a_loop", ())] * 30
    assert values(driver, calls)[1::2] == [False] * 30


def test_async_generators_that_jobs_drop_are_closed_by_their_own_loop(driver):
    before = driver.value("count_closed")
    values(driver, [("leaves_a_generator", ()), ("amixed", (1,))] * 20)
    assert driver.value("count_closed") == before + 20


@pytest.mark.parametrize(("task", "value"), [("talks", "HELLO"), ("works_in_a_thread", "DONE")])
def test_loop_of_a_greenlet_does_what_a_loop_does(driver, task, value):
    assert values(driver, [(task, ())] * 10) == [value] * 10
