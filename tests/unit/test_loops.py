"""Event loops of several threads that use one broker at the same time."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from taskq.broker.address import parse_url
from taskq.broker.broker import Broker

SOON = 10.0  # seconds; a loaded machine needs one


class Loops(weakref.WeakKeyDictionary[Any, Any]):
    """The broker's; while it is looked through another thread comes with a loop of its own."""

    def __init__(self, broker: Broker) -> None:
        super().__init__()
        self._broker = broker
        self.errors: list[BaseException] = []
        self.come: list[threading.Thread] = []
        self._busy = False

    def __iter__(self) -> Iterator[Any]:
        for number, key in enumerate(super().__iter__()):
            if number == 0 and not self._busy:
                self._busy = True
                self.come.append(another(self._broker, self.errors))
                self.come[0].join(0.2)  # done by then, unless it has to wait for this look
            yield key


def another(broker: Broker, errors: list[BaseException]) -> threading.Thread:
    async def use() -> None:
        broker._loop()

    def run() -> None:
        try:
            asyncio.run(use())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.fixture
def broker():
    return Broker(parse_url("redis://localhost"))


def test_a_loop_that_comes_while_another_thread_looks_for_closed_ones_disturbs_nothing(broker):
    closed = [asyncio.new_event_loop() for _ in range(3)]
    for loop in closed:
        broker._loops[loop] = None
        loop.close()
    loops = Loops(broker)
    loops.update(broker._loops)
    broker._loops = loops

    async def use() -> bool:
        return broker._loop() is broker._loop()

    assert asyncio.run(use())
    for thread in loops.come:
        thread.join(SOON)
    assert (loops.errors, len(loops.come)) == ([], 1)
    assert not any(loop in loops for loop in closed)
