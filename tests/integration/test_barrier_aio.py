"""Barriers in a loop: tasks are parties as threads are, and a cancelled one leaves no place behind."""

from __future__ import annotations

import asyncio
from threading import BrokenBarrierError

import pytest
from barrier_kit import BROKEN, HeldAction, enter, fates
from coordination_kit import DEADLINE, aio_until, interrupt

from taskq import TaskQ


@pytest.fixture
def app(url, namespace):
    with TaskQ("barrier", url, namespace) as app:
        yield app


async def n_waiting(barrier, number):
    async def reached():
        return await barrier.aio.n_waiting() == number

    await aio_until(reached)


def test_tasks_wait_for_one_another_and_for_threads(app, threads):
    async def main():
        barrier = app.Barrier("b", 4)
        thread = threads.submit(barrier.wait, DEADLINE)
        indices = await asyncio.gather(*[barrier.aio.wait(DEADLINE) for _ in range(3)])
        return sorted([*indices, thread.result(DEADLINE)])

    assert asyncio.run(main()) == [0, 1, 2, 3]


def test_a_cancelled_task_breaks_the_barrier(app, threads):
    async def main():
        barrier = app.Barrier("b", 3)
        thread = threads.submit(barrier.wait, DEADLINE)
        task = asyncio.ensure_future(barrier.aio.wait(DEADLINE))
        await n_waiting(barrier, 2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return task.cancelled(), fates([thread]), await barrier.aio.broken()

    assert asyncio.run(main()) == (True, [BROKEN], True)
    assert (len(app._listener.signals), len(app._sender.keeper)) == (0, 0)


@pytest.mark.parametrize(("at", "ran"), [(0, True), (1, False), (1, True), (2, False)])
def test_wherever_a_wait_is_cancelled_its_place_is_given_up(app, at, ran):
    barrier = app.Barrier("b", 2)
    with pytest.raises(asyncio.CancelledError):
        interrupt(app, barrier._wait(None), {at}, ran=ran)
    assert (barrier.n_waiting, barrier.broken) == (0, (at, ran) in {(1, True), (2, False)})
    assert (len(app._listener.signals), len(app._sender.keeper)) == (0, 0)


def test_the_last_to_come_that_is_cancelled_before_it_acts_has_another_one_act(app, threads):
    acted = []
    barrier = app.Barrier("b", 3, action=lambda: acted.append(None))
    waits = enter(threads, barrier, 2)
    with pytest.raises(asyncio.CancelledError):
        interrupt(app, barrier._wait(None), {1}, ran=True)
    assert (sorted(fates(waits)), len(acted), barrier.broken) == ([0, 1], 1, False)


@pytest.mark.parametrize("ran", [False, True])
def test_the_last_to_come_that_is_cancelled_after_it_acted_releases_the_others(app, threads, ran):
    acted = []
    barrier = app.Barrier("b", 3, action=lambda: acted.append(None))
    waits = enter(threads, barrier, 2)
    with pytest.raises(asyncio.CancelledError):
        interrupt(app, barrier._wait(None), {2}, ran=ran)
    assert (fates(waits), len(acted), barrier.broken) == ([0, 1], 1, False)


def test_a_task_cancelled_when_all_have_come_leaves_quietly(app, threads):
    act = HeldAction()
    barrier = app.Barrier("b", 3, action=act)

    async def main():
        task = asyncio.ensure_future(barrier.aio.wait(DEADLINE))
        await n_waiting(barrier, 1)
        waits = [threads.submit(barrier.wait, DEADLINE) for _ in range(2)]
        await asyncio.to_thread(act.begun.wait, DEADLINE)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        act.end.set()
        return task.cancelled(), sorted(fates(waits)), await barrier.aio.broken()

    assert asyncio.run(main()) == (True, [1, 2], False)


def test_reset_and_abort_from_a_loop(app):
    async def main():
        barrier = app.Barrier("b", 2)
        await barrier.aio.abort()
        with pytest.raises(BrokenBarrierError):
            await barrier.aio.wait()
        await barrier.aio.reset()
        return await asyncio.gather(barrier.aio.wait(DEADLINE), barrier.aio.wait(DEADLINE))

    assert sorted(asyncio.run(main())) == [0, 1]
