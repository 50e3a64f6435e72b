"""What drives an operation, where its coroutine does not come to its end."""

from __future__ import annotations

import asyncio

from taskq.client.operation import Hear, MakeBell, Operation, aperform


def waits(cleaned: list[str]) -> Operation[None]:
    bell = yield MakeBell()
    try:
        yield Hear(bell, None)
    finally:
        cleaned.append("here")
        yield MakeBell()  # as a call to the server would be
        cleaned.append("never")


def test_coroutine_that_is_dropped_while_it_waits_ends_quietly():
    cleaned: list[str] = []

    async def main() -> None:
        coroutine = aperform(waits(cleaned), None)
        coroutine.send(None)
        coroutine.close()

    asyncio.run(main())
    assert cleaned == ["here"]


def test_coroutine_that_is_cancelled_does_what_its_operation_asks_for():
    cleaned: list[str] = []

    async def main() -> None:
        task = asyncio.create_task(aperform(waits(cleaned), None))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

    asyncio.run(main())
    assert cleaned == ["here", "never"]
