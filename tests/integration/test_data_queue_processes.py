"""Data queues between threads, forks and processes, and in jobs of every pool."""

from __future__ import annotations

import os
import queue as standard
import subprocess
import sys
import threading
from collections import Counter

import pytest
from data_queue_kit import DEADLINE, Call, blocked, in_line
from worker_kit import POOLS, TESTS, bench, wait_until

from taskq import TaskQ
from taskq.errors import ShutDown


@pytest.fixture
def app(any_server, namespace):
    with TaskQ("items", any_server.url, namespace) as app:
        yield app


PRODUCER = """
import sys
from taskq import TaskQ

url, namespace, name, start, stop = sys.argv[1:]
with TaskQ("producer", url, namespace) as app:
    queue = app.Queue("q", 500)
    for number in range(int(start), int(stop)):
        queue.put((name, number))
"""
CONSUMER = """
import sys
from taskq import TaskQ
from taskq.errors import ShutDown

url, namespace = sys.argv[1:]
with TaskQ("consumer", url, namespace) as app:
    queue = app.Queue("q", 500)
    try:
        while True:
            name, number = queue.get()
            print(name, number)
            queue.task_done()
    except ShutDown:
        pass
"""


def start(code: str, *arguments: object, stdout: int | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=stdout, text=True)


def test_every_item_of_several_producers_is_consumed_once_and_in_their_order(app, any_server, namespace):
    queue = app.Queue("q", 500)
    queue.put("warm")
    queue.get()
    queue.task_done()
    consumers = [start(CONSUMER, any_server.url, namespace, stdout=subprocess.PIPE) for _ in range(2)]
    producers = [start(PRODUCER, any_server.url, namespace, name, 0, 5000) for name in "ab"]
    printed = [Call(consumer.communicate) for consumer in consumers]
    for producer in producers:
        assert producer.wait(60) == 0
    queue.join()
    queue.shutdown()
    seen = [[line.split() for line in call.end()[0].splitlines()] for call in printed]
    assert [consumer.wait(DEADLINE) for consumer in consumers] == [0, 0]
    assert Counter((name, int(number)) for lines in seen for name, number in lines) == Counter(
        (name, number) for name in "ab" for number in range(5000)
    )
    for lines in seen:
        for producer in "ab":
            numbers = [int(number) for name, number in lines if name == producer]
            assert numbers == sorted(numbers)


def test_threads_share_a_queue(app):
    queue, taken = app.Queue("q", 20), Counter()
    lock = threading.Lock()

    def consume() -> None:
        while True:
            try:
                item = queue.get()
            except ShutDown:
                return
            with lock:
                taken[item] += 1
            queue.task_done()

    consumers = [Call(consume) for _ in range(8)]
    producers = [Call(queue.put_many, range(start, 1000, 8)) for start in range(8)]
    for call in producers:
        call.end()
    queue.join()
    queue.shutdown()
    for call in consumers:
        call.end()
    assert taken == Counter(range(1000))


def test_a_fork_uses_an_open_queue_of_its_own(app):
    queue = app.Queue("q")
    with pytest.raises(standard.Empty):
        queue.get(timeout=0.01)  # a listener with its thread is there
    pid = os.fork()
    if not pid:
        try:
            item = queue.get(timeout=DEADLINE)
            queue.put((item, "from the child"))
            os._exit(0)
        finally:
            os._exit(1)
    wait_until(lambda: in_line(queue, "getters") == 1, "the child waits")
    queue.put("from the parent")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert queue.get(timeout=DEADLINE) == ("from the parent", "from the child")


def test_a_wait_of_the_parent_outlives_a_fork(app):
    queue = app.Queue("q")
    [call] = blocked(queue, "getters", [Call(queue.get)])
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    queue.put(1)
    assert call.end() == 1


JOBS = """
from taskq import TaskQ

app = TaskQ("jobs")

@app.task(name="serve")
def serve() -> int:
    asked, answers = app.Queue("asked"), app.PriorityQueue("answers")
    with asked.claim(timeout=30) as number:
        answers.put((number, "claimed"))
    number = asked.get(timeout=30)
    answers.put((number, "got"))
    asked.task_done()
    return number

@app.task(name="aserve")
async def aserve() -> int:
    asked, answers = app.Queue("asked"), app.PriorityQueue("answers")
    async with asked.claim(timeout=30) as number:
        await answers.aio.put((number, "claimed"))
    number = await asked.aio.get(timeout=30)
    await answers.aio.put((number, "got"))
    await asked.aio.task_done()
    return number
"""


@pytest.mark.parametrize("pool", POOLS)
def test_jobs_of_every_pool_use_a_queue_by_its_name(server, namespace, tmp_path, monkeypatch, pool):
    (tmp_path / "queueing.py").write_text(JOBS)
    with bench(server.url, namespace, tmp_path) as rig, TaskQ("here", server.url, namespace) as app:
        environment = {**rig.environment(), "PYTHONPATH": f"{TESTS}{os.pathsep}{tmp_path}"}
        monkeypatch.setattr(rig, "environment", lambda: environment)
        worker = rig.start(pool, "-A", "queueing:app")
        task = "aserve" if pool == "asyncio" else "serve"
        results = [app.send_task(task, send_by_name=True) for _ in range(2)]
        asked, answers = app.Queue("asked"), app.PriorityQueue("answers")
        asked.put_many(range(4))
        got = sorted(answers.get(timeout=DEADLINE) for _ in range(4))
        assert [number for number, _ in got] == [0, 1, 2, 3]
        assert Counter(how for _, how in got) == {"claimed": 2, "got": 2}
        assert [result.get(DEADLINE) for result in results].count(0) <= 1
        asked.join()
        assert worker.stop() == 0
