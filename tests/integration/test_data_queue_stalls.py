"""Coroutines that give up while the server stands still."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest
from coordination_kit import aio_until

from taskq import TaskQ
from taskq.client import operation


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(operation, "ANSWER_SECONDS", 0.05)  # instead of a server that stands still for seconds


@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])
def test_a_get_that_is_cancelled_while_the_server_stands_still_loses_no_item(start_server, namespace, kind):
    server = start_server()

    async def main(app: TaskQ) -> list[Any]:
        queue = getattr(app, kind)("q")
        await queue.aio.put_many([1, 2, 3])
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(queue.aio.get(), 0.05)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await queue.aio.qsize()  # over the same connection, so the first answer is there

        async def back() -> bool:
            return await queue.aio.qsize() == 3

        await aio_until(back)
        return await queue.aio.get_many(10)

    with TaskQ("stalls", server.url, namespace) as app:
        assert asyncio.run(main(app)) == ([3, 2, 1] if kind == "LifoQueue" else [1, 2, 3])


def test_a_claim_that_is_cancelled_while_the_server_stands_still_is_given_back_before_its_lease_ends(
    start_server, namespace
):
    server = start_server()

    async def use(queue: Any) -> None:
        async with queue.claim(lease=3600.0):
            pytest.fail("it was cancelled before")

    async def main(app: TaskQ) -> None:
        queue = app.Queue("q")
        await queue.aio.put("a")
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(use(queue), 0.05)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert await queue.aio.get(timeout=20.0) == "a"

    with TaskQ("stalls", server.url, namespace) as app:
        asyncio.run(main(app))
