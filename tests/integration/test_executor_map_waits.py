"""``executor.aio.map`` with a buffer: what becomes of the part that is just being sent when its wait is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from executor_kit import executor_app

from taskq import TaskQ

SOON = 20.0  # seconds; a loaded machine needs one


@pytest.fixture
def app(url, namespace):
    with executor_app(url, namespace) as app:
        yield app


class Held:
    """Holds what the app sends from an event loop, until it is let go."""

    def __init__(self, app: TaskQ) -> None:
        self.come, self.go_on = asyncio.Event(), asyncio.Event()
        for name in ("aenqueue", "arun"):
            setattr(app.broker, name, self._holding(getattr(app.broker, name)))

    def _holding(self, run: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def held(*args: Any, **kwargs: Any) -> Any:
            self.come.set()
            await self.go_on.wait()
            return await run(*args, **kwargs)

        return held


async def cancelled_while_it_sends(results: Any, held: Held) -> None:
    wait = asyncio.ensure_future(anext(results))
    await asyncio.wait_for(held.come.wait(), SOON)
    wait.cancel()
    await asyncio.wait({wait}, timeout=SOON)
    assert wait.cancelled()


@pytest.mark.parametrize("chunksize", [1, 2])
def test_a_wait_that_was_cancelled_while_a_part_was_sent_may_be_repeated(app, executor, add, worker, chunksize):
    async def main() -> list[int]:
        results = await executor.aio.map(add, range(10), chunksize=chunksize, buffersize=2)
        held = Held(app)
        await cancelled_while_it_sends(results, held)
        held.go_on.set()
        with worker.serving():
            return [value async for value in results]

    assert asyncio.run(main()) == list(range(10))


def test_a_wait_may_be_cancelled_again_and_again(app, executor, add, worker):
    async def main() -> list[int]:
        results = await executor.aio.map(add, range(4), buffersize=1)
        held = Held(app)
        for _ in range(5):
            await cancelled_while_it_sends(results, held)
        held.go_on.set()
        with worker.serving():
            return [value async for value in results]

    assert asyncio.run(main()) == list(range(4))


def test_closing_waits_for_the_part_that_is_being_sent_and_cancels_it_too(app, executor, add, worker):
    async def main() -> list[int]:
        results = await executor.aio.map(add, range(10), buffersize=2)
        held = Held(app)
        await cancelled_while_it_sends(results, held)
        closing = asyncio.ensure_future(results.aclose())
        held.go_on.set()
        await asyncio.wait_for(closing, SOON)
        return [value async for value in results]

    assert asyncio.run(main()) == []
    assert worker.claim(count=10) == []


def test_an_error_in_sending_comes_where_the_wait_is_repeated(app, executor, add, worker):
    async def main() -> None:
        results = await executor.aio.map(add, [1, 2, "no number"], buffersize=2)
        held = Held(app)
        held.come.set()  # this one is refused before it comes to the broker
        wait = asyncio.ensure_future(anext(results))
        await asyncio.sleep(0)
        wait.cancel()
        await asyncio.wait({wait}, timeout=SOON)
        assert wait.cancelled()
        held.go_on.set()
        with pytest.raises(TypeError, match="no number"):
            await anext(results)

    asyncio.run(main())
    assert worker.claim(count=10) == []
