"""What users call, over connections that are cut all the time: nothing is lost, doubled or mixed up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from chaos.proxy import NONE, Fault, Proxy
from handworker import HandWorker
from servers import TestServer

from taskq import TaskQ
from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
from taskq.model.job import Job, encode_header

NUMBER = 100
LONGEST = 400  # bytes of replies that a connection passes at most; a reply has 10 to 200
CONNECTIONS = 5000  # far more than a test needs


def storm(seed: int) -> list[Fault]:
    """Draw how each connection to come is cut."""
    dice = random.Random(seed)
    faults = []
    for _ in range(CONNECTIONS):
        if dice.random() < 0.25:
            faults.append(Fault(request=dice.randrange(LONGEST * 4), reset=dice.random() < 0.5))
        else:
            faults.append(Fault(reply=dice.randrange(LONGEST), reset=dice.random() < 0.5))
    return faults


@pytest.fixture
def proxy(server: TestServer) -> Iterator[Proxy]:
    with Proxy(server.socket) as proxy:
        yield proxy


@pytest.fixture(params=[1, 2])
def stormy(
    request: pytest.FixtureRequest, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], None]]:
    """Begin to cut; ends with the test."""
    monkeypatch.setattr("taskq.broker.session.FIRST_PAUSE", 0.002)
    yield lambda: proxy.coming.extend(storm(request.param))
    proxy.coming.clear()
    proxy.always = NONE
    assert proxy.accepted > 5, "connections were cut"


@pytest.fixture
def apps(server: TestServer, proxy: Proxy, namespace: str) -> Iterator[tuple[TaskQ, TaskQ]]:
    """One app at the server, and one behind the proxy."""
    with TaskQ("near", server.url, namespace) as near, TaskQ("far", proxy.url, namespace) as far:
        yield near, far


def test_jobs_run_once_and_their_results_come_back(apps: tuple[TaskQ, TaskQ], stormy: Callable[[], None]) -> None:
    near, far = apps
    ran: list[int] = []

    def double(number: int) -> int:
        ran.append(number)
        return 2 * number

    near.task(name="double")(double)
    task = far.task(name="double")(double)
    worker = HandWorker(near)
    stormy()
    with worker.serving():
        results = [task.delay(number) for number in range(NUMBER)]
        results += task.delay_many(range(NUMBER, 2 * NUMBER))
        assert [result.result(timeout=30) for result in results] == [2 * number for number in range(2 * NUMBER)]
    worker.close()
    assert sorted(ran) == list(range(2 * NUMBER))


def test_jobs_of_a_loop_are_accepted_once(apps: tuple[TaskQ, TaskQ], stormy: Callable[[], None]) -> None:
    near, far = apps

    @far.task(name="nothing")
    def task(number: int) -> None: ...

    async def send() -> None:
        await asyncio.gather(*(task.aio.delay(number) for number in range(NUMBER)))
        for number in range(NUMBER):
            await task.aio.delay(number)

    stormy()
    asyncio.run(send())
    info = near.Queue("default").info()
    assert (info.ready, info.counters["enqueued"]) == (2 * NUMBER, 2 * NUMBER)


def test_a_brokers_merged_enqueues_are_accepted_once(
    server: TestServer, proxy: Proxy, apps: tuple[TaskQ, TaskQ], stormy: Callable[[], None]
) -> None:
    near, _ = apps

    @near.task(name="nothing")
    def task() -> None: ...

    task.delay()  # declares the queue
    broker = Broker(parse_url(proxy.url), near.settings.namespace)

    def produce(name: str) -> list[str]:
        letters = []
        for number in range(NUMBER):
            header = encode_header().encode() + b"x"
            batch = [Job(f"{name}{number}.{n}", header) for n in range(1 + number % 3)]
            letters.append(broker.enqueue("default", batch))
        return letters

    stormy()
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(produce, "abc"))
    broker.close()
    assert answers == [["A" * (1 + number % 3) for number in range(NUMBER)]] * 3
    assert near.Queue("default").info().ready == 1 + sum(len(letters) for batch in answers for letters in batch)


def test_items_leave_a_queue_once_and_in_order(apps: tuple[TaskQ, TaskQ], stormy: Callable[[], None]) -> None:
    queue = apps[1].Queue("items", maxsize=7)
    stormy()
    got = []
    for number in range(NUMBER):
        queue.put(number, timeout=20)
        if queue.full() or number == NUMBER - 1:
            while not queue.empty():
                got.append(queue.get(timeout=20))
                queue.task_done()
    queue.join()
    assert got == list(range(NUMBER))


def test_a_lock_has_one_holder_and_its_fence_grows(apps: tuple[TaskQ, TaskQ], stormy: Callable[[], None]) -> None:
    near, far = apps
    lock, other = far.Lock("l", lease=20), near.Lock("l", lease=20)
    stormy()
    fences = []
    for _ in range(NUMBER):
        with lock:
            fences.append(lock.fence)
            assert not other.acquire(blocking=False)
        with other:
            fences.append(other.fence)
    assert fences == sorted(set(fences))


@pytest.mark.leaves
def test_an_event_and_a_semaphore_count_once(apps: tuple[TaskQ, TaskQ], stormy: Callable[[], None]) -> None:
    near, far = apps
    event, semaphore = far.Event("e"), far.Semaphore("s", 3)
    stormy()
    for _ in range(NUMBER // 2):
        event.set()
        assert near.Event("e").wait(10)
        event.clear()
        assert not near.Event("e").is_set()
        assert semaphore.acquire(timeout=10)
        semaphore.release()
    held = [near.Semaphore("s", 3).acquire(blocking=False) for _ in range(4)]
    assert held == [True, True, True, False]
