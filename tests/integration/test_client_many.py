"""Many jobs in one call, and their results."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from concurrent.futures import CancelledError

import pytest
from client_kit import client_app, later
from handworker import HandWorker

from taskq import AsyncResult, JobContext, TaskQ, current_job
from taskq.broker.jobs import BATCH_JOBS
from taskq.errors import BadArguments, DeadlockRisk, UnknownOrExpired
from taskq.model.outcome import RECORD_VERSION, Ending, Record, Verdict

DEADLINE = 20.0  # seconds: the machine may run other suites
CHUNKS = 3 * BATCH_JOBS + 7  # jobs: several chunks, the last not full


@pytest.fixture
def app(url, namespace):
    with client_app("many", url, namespace) as app:
        yield app


def test_arguments_are_taken_as_map_takes_them(add, worker):
    results = add.delay_many([1, 2, 3], itertools.count(10))
    worker.run_all()
    assert results.get(DEADLINE) == [11, 13, 15]


def test_jobs_of_many_chunks_keep_their_order(add, worker):
    results = add.delay_many(range(CHUNKS))
    assert [job.id for job in worker.claim(count=500)] == results.ids[:500]
    assert len(set(results.ids)) == len(results) == CHUNKS


def test_results_come_in_the_order_of_the_jobs(add, worker):
    results = add.delay_many(range(CHUNKS))
    with worker.serving():
        assert results.get(DEADLINE) == list(range(CHUNKS))


def test_nothing_is_no_job(add, worker):
    results = add.delay_many([])
    assert (len(results), results.get(0), worker.claim()) == (0, [], [])


def test_no_iterable_is_refused(add):
    with pytest.raises(BadArguments, match="at least one iterable"):
        add.delay_many()


def test_a_large_job_begins_a_chunk_of_its_own(app, worker):
    task = app.task(name="take")(len)
    results = task.delay_many([b"x" * 900_000] * 12)
    assert sum(len(worker.claim(count=12)) for _ in range(6)) == len(results) == 12


def test_the_iterable_is_read_as_the_jobs_are_sent(app, add):
    queue, seen = app.Queue("default"), []

    def items():
        for number in range(4 * BATCH_JOBS):
            if number % BATCH_JOBS == 0:
                seen.append(queue.qsize())
            yield number

    add.delay_many(items())
    assert seen[0] == 0
    assert seen[-1] >= BATCH_JOBS


def test_an_iterable_that_enqueues_itself_does_not_deadlock(add, worker):
    results = add.delay_many(len(add.delay(0).unique) for _ in range(BATCH_JOBS + 5))
    assert len(results) == BATCH_JOBS + 5


def failing(after: int):
    yield from range(after)
    raise OSError("the disk is gone")


def test_an_iterable_that_raises_leaves_what_was_sent(app, add):
    with pytest.raises(OSError, match="the disk is gone") as raised:
        add.delay_many(failing(2 * BATCH_JOBS + 3))
    assert app.Queue("default").qsize() == len(raised.value.enqueued) == 2 * BATCH_JOBS
    assert f"{2 * BATCH_JOBS} jobs were enqueued" in raised.value.__notes__[0]


def test_an_iterable_that_raises_at_once_leaves_nothing(app, add):
    with pytest.raises(OSError, match="the disk is gone"):
        add.delay_many(failing(3))
    assert app.Queue("default").qsize() == 0


def test_an_item_that_does_not_fit_is_named_and_ends_the_batch(app, add):
    with pytest.raises(BadArguments) as raised:
        add.delay_many([*range(BATCH_JOBS), "x", 1])
    assert f"item {BATCH_JOBS}" in raised.value.__notes__[0]
    assert app.Queue("default").qsize() == BATCH_JOBS


def test_a_bound_lets_the_batch_in_as_there_is_room(app):
    task = app.task(name="t", queue=app.Queue("small", maxsize=BATCH_JOBS // 2))(abs)
    app.queues["small"].qsize()
    with HandWorker(app, "small").serving():
        assert task.delay_many(range(2 * BATCH_JOBS)).get(DEADLINE) == list(range(2 * BATCH_JOBS))


def test_the_connection_may_break_between_two_chunks(start_server, namespace):
    server = start_server()
    with TaskQ("many", server.url, namespace) as app:

        def items():
            for number in range(3 * BATCH_JOBS):
                if number == 2 * BATCH_JOBS:
                    with server.client() as client:
                        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                yield number

        results = app.task(name="t")(abs).delay_many(items())
        assert app.Queue("default").qsize() == len(results) == 3 * BATCH_JOBS


def test_a_reply_that_never_came_makes_no_job_twice(start_server, namespace):
    server = start_server(appendonly="yes", appendfsync="always")
    with TaskQ("many", server.url, namespace) as app:
        task = app.task(name="t")(abs)
        app.Queue("default").qsize()

        def items():
            for number in range(2 * BATCH_JOBS):
                if number == BATCH_JOBS - 1:
                    os.kill(server.pid, signal.SIGSTOP)  # the first chunk is sent, and not answered
                elif number == BATCH_JOBS:
                    server.restart()
                yield number

        assert len(task.delay_many(items())) == app.Queue("default").qsize() == 2 * BATCH_JOBS


def test_an_undeclared_queue_is_declared_between_two_chunks(start_server, namespace):
    server = start_server()
    with TaskQ("many", server.url, namespace) as app:
        task = app.task(name="t")(abs)
        task.delay(1)
        with server.client() as client:
            client.flushall()
        assert len(task.delay_many(range(5))) == app.Queue("default").qsize() == 5


def test_a_batch_leaves_no_session_per_call_behind(add, namespace, server):
    for _ in range(5):
        add.delay_many(range(2))
    with server.client() as client:
        assert len(client.keys(f"{namespace}:*:s:*")) <= 2


def test_a_set_is_a_sequence_of_results(add, worker):
    results = add.delay_many(range(5))
    worker.run_all()
    assert isinstance(results[0], AsyncResult)
    assert results[-1].get(DEADLINE) == 4
    assert results[1:3].get(DEADLINE) == [1, 2]
    assert [result.get(DEADLINE) for result in results] == [0, 1, 2, 3, 4]


def test_a_set_has_no_handle_per_job(add):
    results = add.delay_many(range(10))
    assert all(isinstance(unique, str) for unique in results._uniques)
    assert results._records == {}


def test_waiters_are_told_as_jobs_end(add, worker):
    results = add.delay_many(range(100))
    later(worker.run_all)
    assert results.get(DEADLINE) == list(range(100))


def test_a_set_that_is_not_done_times_out(add, worker):
    results = add.delay_many(range(3))
    worker.run(worker.claim_one())
    with pytest.raises(TimeoutError, match="2 of 3 jobs"):
        results.get(0.05)


def test_a_wait_for_a_set_leaves_nothing_behind(app, add):
    assert not add.delay_many(range(3)).wait(0.01)
    assert app._listener._registry.waiting() == 0


def test_counting_asks_the_server(add, worker):
    results = add.delay_many(range(3))
    assert (results.done_count(), results.ready()) == (0, False)
    worker.run(worker.claim_one())
    assert (results.done_count(), results.ready()) == (1, False)
    worker.run_all()
    assert (results.done_count(), results.ready(), results.successful(), results.failed()) == (3, True, True, False)


def test_the_first_failure_in_order_is_raised(add, worker):
    results = add.delay_many(range(3))
    first, second, third = worker.claim(count=3)
    worker.raise_(third, ValueError("third"))
    worker.raise_(second, ValueError("second"))
    worker.run(first)
    with pytest.raises(ValueError, match="second"):
        results.get(DEADLINE)
    assert (results.failed(), results.successful()) == (True, False)


def test_a_cancelled_job_of_a_set_raises_cancelled(add, worker):
    results = add.delay_many(range(2))
    worker.settle(worker.claim_one(), Verdict.CANCELLED, Record(RECORD_VERSION, Ending.CANCELLED), 60_000)
    worker.run_all()
    with pytest.raises(CancelledError):
        results.get(DEADLINE)


def test_results_are_yielded_as_their_jobs_end(add, worker):
    results = add.delay_many(range(3))
    first, second, third = worker.claim(count=3)
    completed = results.as_completed(DEADLINE)
    for job in (third, first, second):
        later(lambda job=job: worker.run(job))
        assert next(completed).id == job.id
    assert list(completed) == []


def test_results_that_are_all_there_are_yielded(add, worker):
    results = add.delay_many(range(3))
    worker.run_all()
    results.get(DEADLINE)
    assert [result.get(0) for result in results.as_completed()] == [0, 1, 2]


def test_a_large_set_is_yielded_as_it_ends(add, worker):
    results = add.delay_many(range(CHUNKS))
    with worker.serving():
        assert sorted(result.get(0) for result in results.as_completed(DEADLINE)) == list(range(CHUNKS))


def test_yielding_results_times_out(add):
    with pytest.raises(TimeoutError):
        next(add.delay_many([1]).as_completed(0.01))


def test_a_set_is_cancelled_as_far_as_no_worker_has_it(app, add, worker):
    results = add.delay_many(range(5))
    worker.claim_one()
    assert results.cancel() == 4


def test_forgetting_a_set_removes_its_results(app, add, worker):
    results = add.delay_many(range(2))
    worker.run_all()
    results.forget()
    with pytest.raises(UnknownOrExpired):
        results.get(DEADLINE)


def test_a_set_without_results_is_not_waited_for(app):
    with pytest.raises(UnknownOrExpired, match="ignore_result"):
        app.task(name="q", ignore_result=True)(abs).delay_many([1]).get(1)


def test_a_job_does_not_wait_for_a_set_of_its_own_workers_queue(add):
    token = current_job.set(JobContext("default/1", "t", "default", served_queues=frozenset({"default"})))
    try:
        with pytest.raises(DeadlockRisk, match="2 jobs"):
            add.delay_many([1, 2]).get(1)
    finally:
        current_job.reset(token)


def test_many_are_sent_and_awaited_in_a_loop(add, worker):
    async def main():
        results = await add.aio.delay_many(range(CHUNKS))
        counts = (await results.aio.done_count(), await results.aio.ready())
        with worker.serving():
            return counts, await results.aio.get(DEADLINE), await results.aio.successful()

    assert asyncio.run(main()) == ((0, False), list(range(CHUNKS)), True)


def test_a_failing_iterable_in_a_loop_leaves_what_was_sent(app, add):
    async def main():
        with pytest.raises(OSError, match="the disk is gone") as raised:
            await add.aio.delay_many(failing(BATCH_JOBS + 3))
        return len(raised.value.enqueued)

    assert asyncio.run(main()) == BATCH_JOBS


def test_awaiting_a_set_times_out(add):
    async def main():
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await (await add.aio.delay_many([1])).aio.get(0.05)
        return time.monotonic() - started

    assert asyncio.run(main()) >= 0.05
