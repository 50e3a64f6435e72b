"""What drives an operation, where its coroutine does not come to its end."""

from __future__ import annotations

import asyncio

from taskq.broker.call import Call
from taskq.client.operation import Hear, MakeBell, Operation, Take, aperform


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


def test_answer_reaches_an_operation_that_is_cancelled_again_and_again():
    seen: list[object] = []

    def takes() -> Operation[None]:
        try:
            yield Take(Call(None, None, (), (), list), lambda _: ())
        except BaseException as error:
            seen.append(getattr(error, "answer", None))
            raise

    class SlowBroker:
        async def arun(self, call: object) -> str:
            await asyncio.sleep(0.05)
            return "the item"

    async def main() -> None:
        task = asyncio.create_task(aperform(takes(), SlowBroker()))
        for _ in range(5):
            await asyncio.sleep(0.002)
            task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

    asyncio.run(main())
    assert seen == ["the item"]
