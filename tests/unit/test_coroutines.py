"""Coroutines of jobs in a loop of their slot's own."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from taskq.worker.attempt import Attempt, Batch, Strike
from taskq.worker.coroutines import CoroutineRunner
from taskq.worker.protocol import JobFrame


def attempt():
    return Attempt(JobFrame(1, "q", "u", 1, b"", b""), Batch(0, 0, 0.0))


@pytest.fixture
def runner():
    runner = CoroutineRunner()
    yield runner
    if runner._loop is not None:
        runner._loop.close()


def run(runner, call, one=None):
    return runner.run(one or attempt(), call, contextvars.copy_context())


def test_coroutine_runs_to_its_end(runner):
    seen = []

    async def job(one):
        await asyncio.sleep(0)
        seen.append(one)

    one = attempt()
    assert run(runner, job, one) is None
    assert seen == [one]


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit])
def test_what_a_coroutine_raises_comes_back_and_the_loop_goes_on(runner, kind):
    async def job(_):
        await asyncio.sleep(0)
        raise kind

    async def other(_):
        await asyncio.sleep(0)

    assert isinstance(run(runner, job), kind)
    assert run(runner, other) is None


def test_loop_is_made_once(runner):
    loops = []

    async def job(_):
        loops.append(asyncio.get_running_loop())

    run(runner, job)
    run(runner, job)
    assert loops[0] is loops[1]


def test_tasks_left_behind_are_cancelled_with_their_job(runner):
    left = []

    async def job(_):
        left.append(asyncio.create_task(asyncio.sleep(60)))
        await asyncio.sleep(0)

    run(runner, job)
    assert left[0].cancelled()


def test_exit_of_a_task_left_behind_harms_nobody(runner, caplog):
    async def leave():
        try:
            await asyncio.sleep(60)
        finally:
            raise SystemExit(3)

    async def job(_):
        app.append(asyncio.create_task(leave()))
        await asyncio.sleep(0)

    app = []
    assert run(runner, job) is None
    assert [record.message.splitlines()[0] for record in caplog.records] == [
        "exception in a task that a job left behind"
    ]
    assert run(runner, lambda _: asyncio.sleep(0)) is None


@pytest.mark.parametrize("strike", list(Strike))
def test_coroutine_is_interrupted_from_another_thread(runner, strike):
    started, found = threading.Event(), []

    async def job(_):
        started.set()
        await asyncio.sleep(60)

    one = attempt()
    thread = threading.Thread(target=lambda: found.append(run(runner, job, one)))
    thread.start()
    started.wait(10)
    assert runner.interrupt(one, strike)
    thread.join(10)
    assert isinstance(found[0], asyncio.CancelledError)
    assert one.strike is strike


def test_coroutine_of_another_job_is_left_alone(runner):
    answers = []

    async def job(_):
        answers.append(runner.interrupt(attempt(), Strike.LIMIT))
        await asyncio.sleep(0)

    assert run(runner, job) is None
    assert answers == [False]


def test_job_that_is_over_is_left_alone(runner):
    one = attempt()
    run(runner, lambda _: asyncio.sleep(0), one)
    assert not runner.interrupt(one, Strike.LIMIT)
