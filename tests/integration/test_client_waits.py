"""Waits for a result: when they end, what ``done`` finds out, callbacks, and waits in jobs."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import queue as standard
import subprocess
import sys
import threading
import time

import pytest
from client_kit import DEADLINE, client_app, later
from worker_kit import wait_until

from taskq import JobContext, TaskQ, current_job
from taskq.errors import DeadlockRisk, UnknownOrExpired


@pytest.fixture
def app(any_server, namespace):
    with client_app("client", any_server.url, namespace) as app:
        yield app


@pytest.mark.parametrize("timeout", [0, -1, 0.05])
def test_a_wait_ends_after_its_timeout(add, timeout):
    started = time.monotonic()
    with pytest.raises(TimeoutError, match="has not ended"):
        add.delay(1).result(timeout)
    assert time.monotonic() - started >= timeout


def test_a_wait_that_timed_out_may_be_repeated(add, worker):
    result = add.delay(1)
    with pytest.raises(TimeoutError):
        result.get(0.01)
    later(worker.run_all)
    assert result.get(DEADLINE) == 1


def test_a_look_finds_what_has_ended(add, worker):
    result = add.delay(1)
    worker.run_all()
    assert result.get(0) == 1


def test_an_unknown_id_is_no_endless_wait(app):
    with pytest.raises(UnknownOrExpired, match="default/none"):
        app.AsyncResult("default/none").get()


@pytest.mark.fault(41)
def test_a_job_that_vanishes_is_no_endless_wait(start_server, namespace):
    server = start_server()
    with TaskQ("client", server.url, namespace) as app, server.client() as client:
        result = app.task(name="t")(len).delay([])
        later(client.flushall)
        with pytest.raises(UnknownOrExpired):
            result.get(DEADLINE)


@pytest.mark.fault(41)
def test_ten_thousand_who_wait_are_all_told_and_leave_nothing(app, add, worker):
    told = []
    results = [add.delay(number) for number in range(100)]
    handles = [app.AsyncResult(result.id) for result in results for _ in range(100)]
    for handle in handles:
        handle.add_done_callback(told.append)
    later(worker.run_all)
    wait_until(lambda: len(told) == 10_000, "all are told", 30)
    assert app._listener._registry.waiting() == 0
    assert len(set(told)) == 10_000


def test_many_threads_may_wait_for_one_result(add, worker):
    result = add.delay(5)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        waits = [pool.submit(result.get, DEADLINE) for _ in range(8)]
        worker.run_all()
        assert [wait.result() for wait in waits] == [5] * 8


def test_two_handles_of_one_id_are_both_told(app, add, worker):
    first, second = add.apply_async((1,), job_id="one"), add.apply_async((1,), job_id="one")
    third = app.AsyncResult("default/one")
    later(worker.run_all)
    assert [done.get(DEADLINE) for done in (first, second, third)] == [1, 1, 1]


GEVENT = """
from gevent import monkey; monkey.patch_all()
import gevent, sys, warnings
from taskq import TaskQ
app = TaskQ("green", sys.argv[1], sys.argv[2])
@app.task(name="add")
def add(a, b=0): ...
jobs = [gevent.spawn(lambda n=n: add.delay(1, n).get(10)) for n in range(50)]
gevent.joinall(jobs, timeout=20, raise_error=True)
print([job.value for job in jobs] == list(range(1, 51)))
app.close()
"""


def test_waiting_works_in_patched_gevent(worker, any_server, namespace):
    with worker.serving():
        command = [sys.executable, "-c", GEVENT, any_server.url, namespace]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == ("True", "")


# -- done ---


def test_a_job_without_a_result_is_done_when_it_is_gone(app, worker):
    result = app.task(name="q", ignore_result=True)(len).delay([])
    assert not result.done()
    worker.run_all()
    assert result.done()


def test_done_finds_out_without_a_wait(add, worker):
    result = add.delay(1)
    assert not result.done()
    worker.run_all()
    assert result.done()


@pytest.mark.usefixtures("listening")
def test_done_is_found_out_by_every_handle_of_one_id(app, add, worker):
    handles = [add.apply_async((1,), job_id="one") for _ in range(2)]
    for handle in handles:
        with pytest.raises(TimeoutError):
            handle.get(0.05)
    worker.run_all()
    wait_until(lambda: all(handle.done() for handle in handles), "all find out", DEADLINE)


# -- callbacks, and waits of the standard library ---


def test_a_callback_hears_of_the_end(add, worker):
    seen = threading.Event()
    result = add.delay(1)
    result.add_done_callback(lambda done: done.result() == 1 and seen.set())
    worker.run_all()
    assert seen.wait(DEADLINE)


def test_a_callback_is_called_though_nobody_keeps_the_handle(add, worker):
    seen = threading.Event()
    add.delay(1).add_done_callback(lambda done: seen.set())
    gc.collect()
    worker.run_all()
    assert seen.wait(DEADLINE)


def test_then_is_for_success_and_its_other_half_for_failure(add, worker):
    good, bad, seen = add.delay(1), add.delay(2), standard.Queue()
    good.then(lambda done: seen.put(("good", done.get())), lambda done: seen.put("no"))
    bad.then(lambda done: seen.put("no"), lambda done: seen.put(("bad", done.traceback)))
    worker.run(worker.claim_one())
    worker.raise_(worker.claim_one(), ValueError(), "tb")
    assert {seen.get(timeout=DEADLINE), seen.get(timeout=DEADLINE)} == {("good", 1), ("bad", "tb")}


def test_wait_of_the_standard_library_works(add, worker):
    results = [add.delay(number) for number in range(10)]
    later(worker.run_all)
    done, not_done = concurrent.futures.wait(results, DEADLINE)
    assert (len(done), not_done) == (10, set())


def test_as_completed_of_the_standard_library_works(add, worker):
    results = [add.delay(number) for number in range(10)]
    later(worker.run_all)
    assert sorted(done.result() for done in concurrent.futures.as_completed(results, DEADLINE)) == list(range(10))


# -- inside jobs ---


@pytest.fixture
def in_job():
    token = current_job.set(JobContext("default/1", "t", "default", served_queues=frozenset({"default"})))
    yield
    current_job.reset(token)


@pytest.mark.usefixtures("in_job")
@pytest.mark.parametrize("wait", ["result", "get", "exception"])
def test_a_job_does_not_wait_for_its_own_workers_queue(add, wait):
    with pytest.raises(DeadlockRisk, match="default/1"):
        getattr(add.delay(1), wait)(1)


@pytest.mark.usefixtures("in_job")
def test_a_coroutine_job_does_not_await_its_own_workers_queue(add):
    async def job():
        await add.delay(1)

    with pytest.raises(DeadlockRisk):
        asyncio.run(job())


@pytest.mark.usefixtures("in_job")
def test_who_insists_waits_in_a_job(add, worker):
    result = add.delay(1)
    worker.run_all()
    assert result.get(DEADLINE, allow_deadlock=True) == 1


@pytest.mark.usefixtures("in_job")
def test_a_result_that_is_known_is_no_wait(add, worker):
    result = add.delay(1)
    worker.run_all()
    assert result.done()
    assert result.get() == 1
