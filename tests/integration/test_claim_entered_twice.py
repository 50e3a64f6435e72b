"""One claim is for one block at a time: a second one, nested or in another thread, would lose the first item."""

from __future__ import annotations

import asyncio
import queue as standard
import threading

import pytest
from coordination_kit import left_over
from data_queue_kit import Call, blocked, drained, unfinished

from taskq import TaskQ
from taskq.errors import CoordinationError

REFUSED = r"this claim of queue 'q' is in use; call claim\(\) for each block"


@pytest.fixture
def app(url, namespace):
    with TaskQ("items", url, namespace) as app:
        yield app


@pytest.fixture
def queue(app):
    queue = app.Queue("q")
    queue.put_many([1, 2])
    return queue


def test_the_second_entry_is_refused_and_takes_no_item(app, queue):
    claim = queue.claim()
    with claim as item:
        with pytest.raises(CoordinationError, match=REFUSED), claim:
            pytest.fail("it was entered")
        assert (item, drained(queue)) == (1, [2])
    assert (unfinished(queue), left_over(app)) == (1, {})


def test_the_second_entry_of_a_coroutine_is_refused(app, queue):
    async def main() -> None:
        claim = queue.claim()
        async with claim:
            with pytest.raises(CoordinationError, match=REFUSED):
                await claim.__aenter__()

    asyncio.run(main())
    assert (unfinished(queue), queue.info().running) == (1, 0)


def test_another_thread_is_refused_while_the_first_one_waits_for_an_item(app):
    queue = app.Queue("q")
    claim, go_on = queue.claim(), threading.Event()

    def use() -> int:
        with claim as item:
            go_on.wait(20)
            return item

    [first] = blocked(queue, "getters", [Call(use)])
    with pytest.raises(CoordinationError, match=REFUSED), claim:
        pytest.fail("it was entered")
    queue.put(1)
    go_on.set()
    assert (first.end(), unfinished(queue)) == (1, 0)


def test_a_claim_may_be_used_again_after_its_block(queue):
    claim, items = queue.claim(block=False), []
    for _ in range(2):
        with claim as item:
            items.append(item)
    assert items == [1, 2]


def test_a_claim_may_be_used_again_after_there_was_none(app):
    queue = app.Queue("q")
    claim = queue.claim(block=False)
    with pytest.raises(standard.Empty), claim:
        pass
    queue.put(1)
    with claim as item:
        assert item == 1
