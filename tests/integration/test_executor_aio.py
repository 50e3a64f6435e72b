"""Executors in an event loop: as ``run_in_executor`` takes one, and by ``.aio``."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from executor_kit import executor_app


@pytest.fixture
def app(any_server, namespace):
    with executor_app(any_server.url, namespace) as app:
        yield app


def test_a_loop_runs_tasks_in_it(executor, add, worker):
    async def main():
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(executor, add, number, 1) for number in range(10)))

    with worker.serving():
        assert asyncio.run(main()) == list(range(1, 11))


def test_a_failure_reaches_the_loop(executor, fail, worker):
    async def main():
        await asyncio.get_running_loop().run_in_executor(executor, fail, 1, 1)

    with worker.serving(), pytest.raises(ZeroDivisionError):
        asyncio.run(main())


def test_a_loop_that_gives_up_cancels_the_job(executor, add, worker):
    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(executor, add, 1), 0.05)

    asyncio.run(main())
    assert worker.claim() == []


# -- .aio ---


def test_aio_submits(executor, add, app, worker):
    async def main():
        futures = [await executor.aio.submit(add, 1, b=2), await executor.aio.submit(app.tasks["later"], 5)]
        return [await future for future in futures]

    with worker.serving():
        assert asyncio.run(main()) == [3, 5]


@pytest.mark.usefixtures("allowed")
def test_aio_submits_plain_functions(executor, plain, worker):
    async def main():
        one = await executor.aio.submit(plain.double, 4, plus=1)
        return await one, [value async for value in await executor.aio.map(plain.double, range(4), chunksize=3)]

    with worker.serving():
        assert asyncio.run(main()) == (9, [0, 2, 4, 6])


@pytest.mark.parametrize("options", [{}, {"chunksize": 3}, {"buffersize": 2}, {"chunksize": 2, "buffersize": 1}])
def test_aio_maps_in_order(executor, add, worker, options):
    async def main():
        return [value async for value in await executor.aio.map(add, range(10), itertools.count(5), **options)]

    with worker.serving():
        assert asyncio.run(main()) == list(range(5, 25, 2))


@pytest.mark.parametrize("chunksize", [1, 3])
def test_aio_cancels_what_is_left_when_map_fails(executor, fail, worker, chunksize):
    async def main():
        results = await executor.aio.map(fail, range(6), [0] * 6, chunksize=chunksize)
        worker.run(worker.claim_one())
        with pytest.raises(ZeroDivisionError):
            await anext(results)
        return [value async for value in results]

    assert asyncio.run(main()) == []
    assert worker.claim(count=10) == []


def test_aio_map_has_a_timeout(executor, add, worker):
    async def main():
        async for _ in await executor.aio.map(add, range(2), timeout=0.05):
            pytest.fail("there is no worker")

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert worker.claim(count=10) == []


def test_a_wait_of_aio_map_that_was_cancelled_may_be_repeated(executor, add, worker):
    async def main():
        results = await executor.aio.map(add, range(2))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(results), 0.02)
        with worker.serving():
            return [value async for value in results]

    assert asyncio.run(main()) == [0, 1]


def test_an_async_context_ends_when_all_futures_have(app, add, worker):
    async def main():
        async with app.Executor() as executor:
            futures = [await executor.aio.submit(add, number) for number in range(20)]
            await executor.aio.map(add, range(20), chunksize=7)
        return {future._state for future in futures}, executor._pending

    with worker.serving():
        assert asyncio.run(main()) == ({"FINISHED"}, {})


def test_aio_shutdown_cancels_if_it_is_asked_to(executor, add, worker):
    async def main():
        futures = [await executor.aio.submit(add, 1)]
        await executor.aio.map(add, range(3), chunksize=3)
        await executor.aio.shutdown(cancel_futures=True)
        with pytest.raises(RuntimeError):
            await executor.aio.submit(add, 1)
        return futures[0].cancelled()

    assert asyncio.run(main())
    assert worker.claim(count=10) == []


def test_an_async_wait_for_the_end_that_is_cancelled_leaves_nothing_behind(app, executor, add, worker):
    async def main():
        await executor.aio.submit(add, 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(executor.aio.shutdown(), 0.02)
        return len(app._listener._registry.watches())

    assert asyncio.run(main()) == 1  # the executor's own
    worker.run_all()
    executor.shutdown()
