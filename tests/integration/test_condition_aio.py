"""Conditions in a loop: tasks wait and notify, and a cancelled one has the lock again before it ends."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from coordination_kit import DEADLINE, aio_until, interrupt, until

from taskq import TaskQ
from taskq.broker.call import Command


@pytest.fixture
def app(url, namespace):
    with TaskQ("condition", url, namespace) as app:
        yield app


async def begin(condition, number=1):
    """Have tasks wait one after another."""

    async def run():
        async with condition:
            return await condition.aio.wait(DEADLINE)

    tasks = []
    for _ in range(number):
        tasks.append(asyncio.ensure_future(run()))
        await aio_until(lambda: waits_in_loop(condition, len(tasks)))
    return tasks


async def waits_in_loop(condition, number):
    count = Command(("ZCARD", condition._keys.key("waiting")), int)
    return await condition._app.broker.aread(count) == number and not await condition.aio.locked()


def test_tasks_wait_and_notify(app, threads, server):
    async def main():
        condition, items = app.Condition("c"), []
        tasks = await begin(condition, 3)
        async with condition.aio:
            await condition.aio.notify(2)
        first = await asyncio.gather(*tasks[:2])
        assert not tasks[2].done()

        async def take():
            async with condition as entered:
                assert entered is condition
                return await condition.aio.wait_for(lambda: items, DEADLINE)

        taken = asyncio.ensure_future(take())
        await aio_until(lambda: waits_in_loop(condition, 2))
        assert await condition.aio.acquire()
        items.append(1)
        await condition.aio.notify_all()
        await condition.aio.release()
        return first, await tasks[2], await taken

    assert asyncio.run(main()) == ([True, True], True, [1])


def test_a_cancelled_task_has_the_lock_again_before_it_ends(app):
    async def main():
        condition, seen = app.Condition("c"), []

        async def run():
            async with condition:
                try:
                    await condition.aio.wait()
                except asyncio.CancelledError:
                    seen.append(condition.fence)
                    raise

        task = asyncio.ensure_future(run())
        await aio_until(lambda: waits_in_loop(condition, 1))
        await condition.aio.acquire()
        mine = condition.fence
        task.cancel()
        await aio_until(lambda: waits_for_lock(condition))
        task.cancel()  # also of one that is on its way back
        await asyncio.sleep(0)
        assert not task.done()
        await condition.aio.release()
        await asyncio.gather(task, return_exceptions=True)
        return task.cancelled(), seen[0] > mine, await condition.aio.locked()

    assert asyncio.run(main()) == (True, True, False)
    assert (len(app._listener.signals), len(app._sender.keeper)) == (0, 0)


async def waits_for_lock(condition):
    return await condition._app.broker.aread(Command(("ZCARD", condition._keys.key("line")), int)) == 1


def test_a_task_cancelled_after_it_was_notified_hands_the_notification_on(app):
    async def main():
        condition = app.Condition("c")
        first, second = await begin(condition, 2)
        async with condition:
            await condition.aio.notify()
            first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        return first.cancelled(), await second

    assert asyncio.run(main()) == (True, True)


def test_a_task_cancelled_before_it_was_notified_wakes_nobody(app):
    async def main():
        condition = app.Condition("c")
        first, second = await begin(condition, 2)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert await waits_in_loop(condition, 1)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        return await waits_in_loop(condition, 0)

    assert asyncio.run(main())


# At a bell, standing in line, giving the lock back or waiting; and again none to five needs later.
# A loop always sends what gives the lock back; cut off twice before it is sent, only its lease would free the lock.
CUTS = [cut for cut in itertools.product(range(4), range(6), (False, True)) if cut != (2, 1, False)]


@pytest.mark.parametrize(("at", "again", "ran"), CUTS)
def test_wherever_a_wait_is_cancelled_and_then_again_it_has_the_lock_and_no_place(app, server, at, again, ran):
    app._listener.start()
    until(lambda: app._listener.epoch is not None, "the listener listens")
    condition = app.Condition("c", app.RLock("l"))
    with condition, condition:
        with pytest.raises(asyncio.CancelledError):
            interrupt(app, condition._wait(None), {at, at + again}, ran=ran)
        assert condition._lock._own().depth == 2
    with server.client() as client:
        assert client.exists(*map(condition._keys.key, ("waiting", "seen"))) == 0
        assert client.exists(*map(condition._lock._keys.key, ("holders", "line"))) == 0
    assert (len(app._listener.signals), len(app._sender.keeper)) == (0, 0)
