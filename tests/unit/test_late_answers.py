"""An answer that comes when its caller, cancelled, has given up waiting for it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from taskq.broker.call import Call
from taskq.client import operation
from taskq.client.operation import Operation, Take, aperform
from taskq.errors import BrokerUnavailable

TAKING = Call(None, None, (), (), list)
GIVING = Call(None, None, (), (), dict)
SOON = 10.0  # seconds


class Broker:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.answers = asyncio.Queue[Any]()
        self.given = asyncio.Queue[Any]()
        self.asked = asyncio.Event()

    async def arun(self, call: Any) -> Any:
        if call is TAKING:
            self.asked.set()
            answer = await self.answers.get()
        else:
            answer = None
            self.given.put_nowait(call)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(operation, "ANSWER_SECONDS", 0.01)


def takes(late: list[Any]) -> Operation[Any]:
    def give_back(answer: Any) -> Operation[None]:
        late.append(answer)
        yield GIVING

    return (yield Take(TAKING, give_back))


async def cancelled(broker: Broker, late: list[Any]) -> None:
    """Have an operation that is cancelled, and ends without its answer."""
    task = asyncio.ensure_future(aperform(takes(late), broker))
    await broker.asked.wait()
    task.cancel()
    await asyncio.wait({task}, timeout=SOON)
    assert task.cancelled()
    assert late == []


async def all_others() -> None:
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others, timeout=SOON)


def test_an_answer_that_comes_too_late_is_given_back():
    late: list[Any] = []

    async def main() -> None:
        broker = Broker()
        await cancelled(broker, late)
        broker.answers.put_nowait("the item")
        assert await asyncio.wait_for(broker.given.get(), SOON) is GIVING

    asyncio.run(main())
    assert late == ["the item"]


def test_an_error_that_comes_too_late_gives_nothing_back():
    late: list[Any] = []

    async def main() -> None:
        broker = Broker()
        await cancelled(broker, late)
        broker.answers.put_nowait(BrokerUnavailable("away"))
        await all_others()

    asyncio.run(main())
    assert late == []


def test_an_answer_that_cannot_be_given_back_is_logged(caplog):
    async def main() -> None:
        broker, late = Broker(), []
        await cancelled(broker, late)
        broker.given.put_nowait = _refuse  # type: ignore[method-assign]
        broker.answers.put_nowait("the item")
        await all_others()

    def _refuse(_: Any) -> None:
        raise BrokerUnavailable("away")

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
    assert [record.action for record in caplog.records] == ["give_back_failed"]
