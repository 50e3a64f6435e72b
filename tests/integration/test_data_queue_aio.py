"""Data queues from an event loop: the same contract, and a cancelled wait loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import queue as standard
import random
import threading
import time
from collections import Counter

import pytest
from data_queue_kit import DEADLINE, in_line

from taskq import TaskQ
from taskq.broker import items
from taskq.errors import QueueConflict, ShutDown


@pytest.fixture
def app(url, namespace):
    with TaskQ("aio", url, namespace) as app:
        yield app


def standing(queue) -> items.Standing:
    return queue._app.broker.run(items.stand(queue._keys))


async def blocked(queue, line: str, *waits):
    """Start coroutines one after another, and return their tasks when all stand in a line."""
    tasks = []
    for wait in waits:
        tasks.append(asyncio.ensure_future(wait))
        async with asyncio.timeout(DEADLINE):
            while await asyncio.to_thread(in_line, queue, line) < len(tasks):
                assert not tasks[-1].done(), tasks[-1]
                await asyncio.sleep(0.002)
    return tasks


async def drained(queue) -> list:
    found = []
    with contextlib.suppress(standard.Empty):
        while True:
            found.append(await queue.aio.get_nowait())
    return found


def test_items_are_put_and_got(app):
    queue = app.LifoQueue("q", 3)

    async def main():
        await queue.aio.put((1, b"x"))
        await queue.aio.put_nowait(2)
        lengths = await queue.aio.qsize(), await queue.aio.empty(), await queue.aio.full()
        await queue.aio.put_many([3])
        with pytest.raises(standard.Full):
            await queue.aio.put(4, timeout=0.01)
        full = await queue.aio.full()
        return lengths, full, await queue.aio.get(), await queue.aio.get_many(5)

    assert asyncio.run(main()) == ((2, False, False), True, 3, [2, (1, b"x")])


def test_an_empty_queue_is_told_apart(app):
    async def main():
        for wait in (app.Queue("q").aio.get_nowait(), app.Queue("q").aio.get(timeout=0.01)):
            with pytest.raises(standard.Empty):
                await wait
        with pytest.raises(ValueError, match="non-negative"):
            await app.Queue("q").aio.get(timeout=-1)

    asyncio.run(main())


def test_waits_are_served_in_order(app):
    queue = app.Queue("q", 1)

    async def main():
        getters = await blocked(queue, "getters", *(queue.aio.get() for _ in range(3)))
        for number in range(3):
            await queue.aio.put(number)
            assert await getters[number] == number
        await queue.aio.put("a")
        putters = await blocked(queue, "putters", *(queue.aio.put(letter) for letter in "bcd"))
        got = [await queue.aio.get() for _ in range(4)]
        await asyncio.gather(*putters)
        return got

    assert asyncio.run(main()) == ["a", "b", "c", "d"]


def test_a_thread_and_a_loop_share_a_queue(app):
    queue = app.Queue("q")

    async def main():
        [getter] = await blocked(queue, "getters", queue.aio.get())
        threading.Thread(target=queue.put, args=(5,)).start()
        return await getter

    assert asyncio.run(main()) == 5


def test_join_waits_until_all_is_finished(app):
    queue = app.Queue("q")

    async def main():
        await queue.aio.put_many([1, 2])
        [joiner] = await blocked(queue, "joiners", queue.aio.join())
        await queue.aio.get_many(2)
        await queue.aio.task_done()
        assert not joiner.done()
        await queue.aio.task_done()
        await joiner
        with pytest.raises(ValueError, match="too many times"):
            await queue.aio.task_done()

    asyncio.run(main())


def test_a_shutdown_ends_the_waits(app):
    queue = app.Queue("q", 1)

    async def main():
        getters = await blocked(queue, "getters", queue.aio.get(), queue.aio.get())
        await queue.aio.shutdown()
        assert [type(end) for end in await asyncio.gather(*getters, return_exceptions=True)] == [ShutDown] * 2
        await queue.aio.reopen()
        await queue.aio.put(1)
        putters = await blocked(queue, "putters", queue.aio.put(2), queue.aio.put(3))
        await queue.aio.shutdown(immediate=True)
        assert [type(end) for end in await asyncio.gather(*putters, return_exceptions=True)] == [ShutDown] * 2
        await queue.aio.reopen()
        await queue.aio.put(4)
        return await queue.aio.purge()

    assert asyncio.run(main()) == 1


def test_a_claim_ends_or_goes_back(app):
    queue = app.Queue("q")

    async def main():
        await queue.aio.put_many("ab")
        async with queue.claim() as item:
            assert item == "a"
        with contextlib.suppress(ZeroDivisionError):
            async with queue.aio.claim(timeout=5) as item:
                assert item == "b"
                raise ZeroDivisionError
        return await drained(queue)

    assert asyncio.run(main()) == ["b"]
    assert standing(queue).unfinished == 1


def test_a_block_that_is_cancelled_gives_its_claim_back(app):
    queue = app.Queue("q")

    async def hold(held: asyncio.Event) -> None:
        async with queue.claim():
            held.set()
            await asyncio.sleep(DEADLINE)

    async def main():
        await queue.aio.put("a")
        held = asyncio.Event()
        task = asyncio.ensure_future(hold(held))
        await held.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return await drained(queue)

    assert asyncio.run(main()) == ["a"]


def test_a_name_that_holds_jobs_is_refused(app):
    app.task(name="add", queue="q")(pow).delay(1, 2)

    async def main():
        with pytest.raises(QueueConflict, match="holds jobs"):
            await app.Queue("q").aio.put(1)

    asyncio.run(main())


def test_a_wait_that_is_cancelled_leaves_no_place_in_line_and_no_signal(app):
    queue = app.Queue("q", 1)

    async def main():
        await queue.aio.put(1)
        waits = await blocked(queue, "putters", queue.aio.put(2), queue.aio.put(3))
        waits += await blocked(queue, "joiners", queue.aio.join())
        empty = app.Queue("other")
        waits += await blocked(empty, "getters", empty.aio.get(), empty.aio.get())
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        return [in_line(queue, "putters"), in_line(queue, "joiners"), in_line(empty, "getters")]

    assert asyncio.run(main()) == [0, 0, 0]
    assert len(app._listener.signals) == 0


@pytest.mark.parametrize("line", ["getters", "putters"])
def test_who_is_cancelled_while_its_first_call_is_under_way_delays_nobody(app, line):
    """Its place in line may be taken although it never got an answer."""
    queue = app.Queue("q", 1)

    async def main():
        with pytest.raises(standard.Empty):
            await queue.aio.get(timeout=0.05)  # subscribes
        wait = queue.aio.get if line == "getters" else lambda: queue.aio.put("x")
        if line == "putters":
            await queue.aio.put("x")
        for turns in range(12):
            task = asyncio.ensure_future(wait())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        waits = await blocked(queue, line, wait(), wait(), wait())
        started = time.monotonic()
        for _ in range(3):
            await (queue.aio.put("y") if line == "getters" else queue.aio.get())
        await asyncio.gather(*waits)
        assert time.monotonic() - started < 1.5, "somebody waited for a net below the net"

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])
@pytest.mark.parametrize("claim", [False, True])
def test_a_wait_that_is_cancelled_at_any_moment_loses_and_doubles_no_item(app, kind, claim):
    queue, rng, tries = getattr(app, kind)("q"), random.Random(7), 300

    async def take() -> int:
        if not claim:
            return await queue.aio.get()
        async with queue.claim() as item:
            return item

    async def main():
        got: list[int] = []
        with pytest.raises(standard.Empty):
            await queue.aio.get(timeout=0.05)  # subscribes
        for number in range(tries):
            task = asyncio.ensure_future(take())
            putting = asyncio.ensure_future(queue.aio.put(number))
            await asyncio.sleep(rng.choice([0, rng.uniform(0, 0.002), rng.uniform(0, 0.0005)]))
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                got.append(await task)
            await putting
        return got, await drained(queue)

    got, left = asyncio.run(main())
    if claim:  # the cancellation may come between the end of the item and the end of the block
        assert max((Counter(got) + Counter(left)).values()) == 1
        assert (standing(queue).claimed, standing(queue).unfinished) == (0, len(left))
    else:
        assert sorted(got + left) == list(range(tries))
    assert 0 < len(got) < tries, "both happened"


def test_waits_with_a_timeout_of_the_loop_lose_no_item(app):
    queue, rng, tries = app.Queue("q"), random.Random(3), 200

    async def main():
        got: list[int] = []
        for number in range(tries):
            putting = asyncio.ensure_future(queue.aio.put(number))
            with contextlib.suppress(TimeoutError):
                got.append(await asyncio.wait_for(queue.aio.get(), rng.uniform(0.0001, 0.003)))
            await putting
        return got + await drained(queue)

    assert sorted(asyncio.run(main())) == list(range(tries))


def test_items_that_go_back_keep_their_places(app):
    """Whatever is cancelled, a single consumer sees what one producer put in order."""
    queue, rng, tries = app.Queue("q"), random.Random(5), 200

    async def main():
        await queue.aio.put_many(range(tries))
        got: list[int] = []
        while len(got) < tries:
            task = asyncio.ensure_future(queue.aio.get())
            await asyncio.sleep(rng.uniform(0, 0.0006))
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                got.append(await task)
        return got

    assert asyncio.run(main()) == list(range(tries))


def test_a_queue_is_used_from_one_loop_after_another(app):
    queue = app.Queue("q")

    async def main(number: int):
        await queue.aio.put(number)
        return await queue.aio.get(timeout=DEADLINE)

    assert [asyncio.run(main(number)) for number in range(3)] == [0, 1, 2]
