"""``app.Executor`` keeps the contract of ``concurrent.futures.Executor``."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import itertools
import os
import sys
import threading
import time
import weakref
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from handworker import HandWorker

from taskq import AsyncResult, JobContext, TaskQ, current_job
from taskq.client.importable import CALL_TASK
from taskq.errors import BadArguments, DeadlockRisk, InvalidQueueName, InvalidTask, SerializationError
from taskq.worker.importing import install

DEADLINE = 10.0  # seconds: the machine may run other suites
APPS = str(Path(__file__).parents[1] / "apps")


@pytest.fixture
def url(any_server):
    return any_server.url


@pytest.fixture
def app(url, namespace):
    with TaskQ("executor", url, namespace) as app:

        @app.task(name="add")
        def add(a: int, b: int = 0) -> int:
            return a + b

        @app.task(name="fail")
        def fail(number: int, at: int = 0) -> int:
            if number == at:
                raise ZeroDivisionError(f"at {number}")
            return number

        @app.task(name="later")
        async def later(number: int) -> int:
            await asyncio.sleep(0)
            return number

        yield app


@pytest.fixture
def fail(app):
    return app.tasks["fail"]


@pytest.fixture
def executor(app):
    return app.Executor()


@pytest.fixture
def plain(monkeypatch):
    """A module of functions that no app knows."""
    monkeypatch.syspath_prepend(APPS)
    from calls import plain

    return plain


def wait_until(reached):
    deadline = time.monotonic() + DEADLINE
    while not reached():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


def is_kept(executor):
    """Whether the executor, or what tells it of ends, still holds anything."""
    return bool(executor._pending or executor._app._listener._registry.waiting())


# -- submit ---


def test_it_is_an_executor(executor):
    assert isinstance(executor, concurrent.futures.Executor)


def test_submit_returns_a_future_of_a_tasks_job(executor, add, worker):
    future = executor.submit(add, 1, b=2)
    worker.run_all()
    assert (type(future), future.result(DEADLINE)) == (AsyncResult, 3)


def test_submit_takes_the_function_that_was_registered(app, executor, worker):
    future = executor.submit(app.tasks["add"].function, 1, 2)
    assert worker.claim_one().body.task == "add"
    assert future.state == "running"


def test_submit_takes_a_builtin_that_was_registered(app, executor, worker):
    app.task(name="pow")(pow)
    future = executor.submit(pow, 2, 5)
    worker.run_all()
    assert future.result(DEADLINE) == 32


def test_submit_takes_a_task_that_is_a_coroutine_function(app, executor, worker):
    future = executor.submit(app.tasks["later"], 5)
    worker.run_all()
    assert future.result(DEADLINE) == 5


def test_a_failure_is_raised_as_the_class_that_the_task_raised(executor, fail, worker):
    future = executor.submit(fail, 3, 3)
    worker.run_all()
    with pytest.raises(ZeroDivisionError, match="at 3"):
        future.result(DEADLINE)


def test_arguments_called_like_those_of_submit_reach_the_task(app, executor, worker):
    @app.task(name="odd")
    def odd(self: int, fn: int) -> int:
        return self + fn

    future = executor.submit(odd, self=1, fn=2)
    worker.run_all()
    assert future.result(DEADLINE) == 3


def test_submit_without_a_function_is_a_type_error(executor):
    with pytest.raises(TypeError):
        executor.submit()


def test_a_call_that_cannot_become_a_job_is_refused_by_submit(executor, add):
    with pytest.raises(BadArguments):
        executor.submit(add, "one")
    executor.shutdown()


@pytest.mark.parametrize(
    "function", [len, lambda: 1, "add", None, []], ids=["builtin", "lambda", "text", "none", "list"]
)
def test_what_no_worker_could_find_is_refused(executor, function):
    with pytest.raises(InvalidTask):
        executor.submit(function)


def test_a_task_of_another_app_is_refused(executor, url, namespace):
    with TaskQ("other", url, namespace) as other, pytest.raises(InvalidTask, match="is of app 'other'"):
        executor.submit(other.task(name="t")(len), [])


def test_a_task_without_results_is_refused(app, executor):
    with pytest.raises(InvalidTask, match="ignore_result"):
        executor.submit(app.task(name="q", ignore_result=True)(len), [])


def test_jobs_go_where_the_task_says(app, executor):
    future = executor.submit(app.task(name="t", queue="third")(len), [])
    assert future.queue == "third"


def test_jobs_go_where_the_executor_says(app, add):
    executor = app.Executor(queue=app.Queue("other"))
    worker = HandWorker(app, "other")
    futures = [executor.submit(add, 1), *executor.map(add, [2], chunksize=2)._ahead[0]]
    assert {future.queue for future in futures} == {"other"}
    assert (worker.run_all(), add.queue) == (2, "default")


def test_a_queue_that_has_no_name_is_refused(app):
    with pytest.raises(InvalidQueueName):
        app.Executor(queue="a b")


def test_many_threads_may_submit(executor, add, worker):
    def submit(number):
        return executor.submit(add, number).result(DEADLINE)

    with worker.serving(), concurrent.futures.ThreadPoolExecutor(8) as threads:
        assert list(threads.map(submit, range(50))) == list(range(50))


# -- plain functions ---


@pytest.fixture
def allowed(app, worker):
    """The hand worker allows the module of plain functions."""
    install(worker.app, ("calls.*",))
    yield
    worker.app.tasks.pop(CALL_TASK)


@pytest.mark.usefixtures("allowed")
def test_a_plain_function_goes_by_module_and_name(executor, plain, worker):
    future = executor.submit(plain.double, 4, plus=1)
    worker.run_all()
    assert future.result(DEADLINE) == 9


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("chunksize", [1, 3])
def test_plain_functions_are_mapped(executor, plain, worker, chunksize):
    with worker.serving():
        assert list(executor.map(plain.add, range(5), itertools.count(10), chunksize=chunksize)) == [10, 12, 14, 16, 18]


@pytest.mark.usefixtures("allowed")
def test_a_plain_function_may_get_a_queue(app, executor, plain, worker):
    future = executor.submit(plain.name_of, app.Queue("default"))
    worker.run_all()
    assert future.result(DEADLINE) == "default"


def test_the_producer_lists_no_task_for_plain_functions(app, executor, plain):
    executor.submit(plain.double, 1)
    assert CALL_TASK not in app.tasks


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2), {}), ((1,), {"minus": 1})])
def test_arguments_that_a_plain_function_does_not_take_are_refused_at_once(executor, plain, args, kwargs):
    with pytest.raises(BadArguments, match=r"calls\.plain\.double"):
        executor.submit(plain.double, *args, **kwargs)


def test_arguments_of_a_plain_function_are_data(executor, plain):
    with pytest.raises(SerializationError):
        executor.submit(plain.double, object())


def test_a_wrong_call_in_a_chunk_sends_nothing_of_it(executor, plain, worker):
    with pytest.raises(BadArguments):
        executor.map(plain.double, [1, 2], [3, 4], chunksize=2)
    assert worker.claim(count=10) == []


# -- map ---


@pytest.mark.parametrize("chunksize", [1, 2, 7, 100])
def test_map_gives_the_results_in_order(executor, add, worker, chunksize):
    with worker.serving():
        assert list(executor.map(add, range(10), itertools.count(5), chunksize=chunksize)) == list(range(5, 25, 2))


def test_map_sends_everything_before_it_returns(executor, add, worker):
    executor.map(add, range(10), chunksize=3)
    executor.map(add, range(10))
    assert len(worker.claim(count=100)) == 20


def texts(monitor):
    for found in monitor.listen():
        yield str(found["command"])


def test_a_chunk_travels_in_one_round_trip(app, executor, add, worker, any_server):
    executor.map(add, [1, 2], chunksize=2)  # declares the queue and loads the script
    with any_server.client() as client, client.monitor() as monitor:
        executor.map(add, range(500), chunksize=500)
        client.echo("sent")
        seen = list(itertools.takewhile(lambda text: "ECHO" not in text, texts(monitor)))
    assert len([text for text in seen if text.startswith("EVALSHA") and "add" in text]) == 1


@pytest.mark.parametrize("chunksize", [1, 4])
def test_map_over_nothing_is_empty(executor, add, chunksize):
    assert (list(executor.map(add, [], chunksize=chunksize)), list(executor.map(add, chunksize=chunksize))) == ([], [])


@pytest.mark.parametrize("chunksize", [0, -1])
def test_a_chunk_has_at_least_one_call(executor, add, chunksize):
    with pytest.raises(ValueError, match="chunksize"):
        executor.map(add, [1], chunksize=chunksize)


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("1", TypeError)])
def test_a_buffer_has_room_for_one_at_least(executor, add, size, error):
    with pytest.raises(error, match="buffersize"):
        executor.map(add, [1], buffersize=size)


@pytest.mark.parametrize("chunksize", [1, 2])
def test_map_raises_what_a_job_raised_after_the_results_before_it(executor, fail, worker, chunksize):
    with worker.serving():
        results = executor.map(fail, range(5), [2] * 5, chunksize=chunksize)
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ZeroDivisionError):
            next(results)
        assert list(results) == []


@pytest.mark.parametrize("chunksize", [1, 2])
def test_the_timeout_counts_from_the_call_of_map(executor, add, worker, chunksize):
    started = time.monotonic()
    results = executor.map(add, range(4), timeout=0.3, chunksize=chunksize)
    worker.run(worker.claim_one())
    assert next(results) == 0
    with pytest.raises(TimeoutError):
        next(results)
    assert 0.3 <= time.monotonic() - started < 0.3 + DEADLINE


@pytest.mark.parametrize("chunksize", [1, 3])
def test_what_is_left_is_cancelled_when_map_fails(executor, fail, worker, chunksize):
    results = executor.map(fail, range(6), [0] * 6, chunksize=chunksize)
    worker.run(worker.claim_one())
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert worker.claim(count=10) == []


@pytest.mark.parametrize("chunksize", [1, 3])
def test_what_is_left_is_cancelled_when_the_iterator_is_closed(executor, add, worker, chunksize):
    results = executor.map(add, range(6), chunksize=chunksize)
    worker.run(worker.claim_one())
    assert next(results) == 0
    results.close()
    assert (worker.claim(count=10), list(results)) == ([], [])


def test_what_is_left_is_cancelled_when_the_iterator_is_dropped(executor, add, worker):
    results = executor.map(add, range(6), chunksize=3)
    worker.run(worker.claim_one())
    assert next(results) == 0
    del results
    gc.collect()
    wait_until(lambda: not executor._pending)
    assert worker.claim(count=10) == []


def test_an_iterator_that_nobody_asked_cancels_nothing(executor, add, worker):
    executor.map(add, range(6))
    gc.collect()
    assert worker.run_all() == 6


def test_a_buffer_bounds_what_is_read_ahead(executor, add, worker):
    read = []

    def numbers():
        for number in range(6):
            read.append(number)
            yield number

    with worker.serving():
        results = executor.map(add, numbers(), buffersize=2)
        assert read == [0, 1]
        assert (next(results), read) == (0, [0, 1, 2])
        assert list(results) == [1, 2, 3, 4, 5]


def test_a_buffer_makes_endless_input_possible(executor, add, worker):
    with worker.serving():
        results = executor.map(add, itertools.count(), buffersize=3, chunksize=4)
        assert list(itertools.islice(results, 20)) == list(range(20))
        results.close()


def test_what_an_iterable_raises_comes_out_of_map_and_what_was_sent_stays(executor, add, worker):
    def broken():
        yield from range(5)
        raise LookupError("broken")

    with pytest.raises(LookupError, match="broken"):
        executor.map(add, broken(), chunksize=2)
    assert worker.run_all() >= 4
    executor.shutdown()


# -- shutdown ---


def test_nothing_is_taken_after_shutdown(executor, add):
    executor.shutdown()
    executor.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(add, 1)
    for chunksize in (1, 2):
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.map(add, [1], chunksize=chunksize)


def test_shutdown_is_told_before_what_is_wrong_with_the_call(executor):
    executor.shutdown()
    with pytest.raises(RuntimeError):
        executor.submit(None)


def test_the_context_ends_when_all_futures_have(app, add, worker):
    with worker.serving(), app.Executor() as executor:
        futures = [executor.submit(add, number) for number in range(20)]
        chunks = executor.map(add, range(20), chunksize=7)
    assert all(future._state == "FINISHED" for future in futures)
    assert not executor._pending
    assert list(chunks) == list(range(20))


def test_shutdown_waits_also_for_futures_that_nobody_kept(app, executor, add, worker):
    ended = threading.Event()
    executor.submit(add, 1)
    executor.map(add, range(3), chunksize=3)
    gc.collect()
    waiting = threading.Thread(target=lambda: (executor.shutdown(), ended.set()))
    waiting.start()
    wait_until(lambda: executor._closed)
    assert not ended.wait(0.05)
    worker.run_all()
    waiting.join(DEADLINE)
    assert ended.is_set()


def test_shutdown_survives_jobs_that_failed_or_were_cancelled(executor, add, fail, worker):
    executor.submit(fail, 1, 1)
    executor.submit(add, 1).cancel()
    worker.run_all()
    executor.shutdown()


def test_shutdown_without_waiting_leaves_the_jobs(executor, add, worker):
    future = executor.submit(add, 1)
    executor.shutdown(wait=False)
    worker.run_all()
    assert future.result(DEADLINE) == 1


def test_shutdown_cancels_what_no_worker_has_if_it_is_asked_to(executor, add, worker):
    running = executor.submit(add, 1)
    job = worker.claim_one()
    waiting = [executor.submit(add, 2), *executor.map(add, [3, 4], chunksize=2)._ahead[0]]
    executor.shutdown(wait=False, cancel_futures=True)
    assert [future.cancelled() for future in waiting] == [True, True, True]
    worker.run(job)
    assert running.result(DEADLINE) == 1


def test_shutdown_ends_though_the_app_was_closed_meanwhile(app, executor, add, worker):
    executor.submit(add, 1)
    executor.map(add, [1, 2], chunksize=2)
    app.close()
    worker.run_all()
    executor.shutdown()
    assert not executor._pending


def test_a_job_does_not_wait_for_its_own_workers_queue(executor, add):
    executor.submit(add, 1)
    token = current_job.set(JobContext("default/1", "t", "default", served_queues=frozenset({"default"})))
    try:
        with pytest.raises(DeadlockRisk):
            executor.shutdown()
    finally:
        current_job.reset(token)


def test_a_forked_child_begins_without_pending_futures(executor, add):
    executor.submit(add, 1)
    executor._pid = -1  # as a child finds it
    future = executor.submit(add, 2)
    assert list(executor._pending) == [future]


# -- what is kept ---


def test_futures_that_ended_are_let_go(executor, add, worker):
    futures = [executor.submit(add, number) for number in range(50)]
    left = weakref.WeakSet(futures)
    worker.run_all()
    assert [future.result(DEADLINE) for future in futures] == list(range(50))
    wait_until(lambda: not is_kept(executor))
    del futures

    def are_gone():
        gc.collect()
        return len(left) <= 2  # the one or two that the sleeping poller looked at last

    wait_until(are_gone)


def test_after_100_000_calls_nothing_is_kept(start_server, namespace):
    # A server of its own: tests that look at all keys of the shared one would have a hundred thousand results to pass.
    with TaskQ("executor", start_server().url, namespace) as app:
        add, executor = app.task(name="add")(abs), app.Executor()
        app.Queue("default").qsize()
        worker = HandWorker(app)
        before = len(gc.get_objects())
        with worker.serving():
            for _ in range(10):
                for _ in range(500):
                    executor.submit(add, 1)
                wait_until(lambda: not is_kept(executor))
            for _ in range(5):
                executor.map(add, range(19_000), chunksize=1_000)
                wait_until(lambda: not is_kept(executor))
        worker.close()

        def are_gone():
            gc.collect()
            return len(gc.get_objects()) - before < 5_000  # of a hundred thousand

        wait_until(are_gone)


# -- asyncio ---


def test_a_loop_runs_tasks_in_it(executor, add, worker):
    async def main():
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(executor, add, number, 1) for number in range(10)))

    with worker.serving():
        assert asyncio.run(main()) == list(range(1, 11))


def test_a_failure_reaches_the_loop(executor, fail, worker):
    async def main():
        await asyncio.get_running_loop().run_in_executor(executor, fail, 1, 1)

    with worker.serving(), pytest.raises(ZeroDivisionError):
        asyncio.run(main())


def test_a_loop_that_gives_up_cancels_the_job(executor, add, worker):
    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(executor, add, 1), 0.05)

    asyncio.run(main())
    assert worker.claim() == []


def test_a_process_ends_though_futures_are_pending(url, namespace):
    import subprocess

    program = (
        "import sys; from taskq import TaskQ; app = TaskQ('x', sys.argv[1], sys.argv[2]);"
        "executor = app.Executor(); executor.submit(app.task(name='t')(len), []);"
        "next_ = executor.map(app.tasks['t'], [[], []], chunksize=2)"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program, url, namespace],
        capture_output=True, text=True, timeout=30, check=False, env={**os.environ},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_cancelled_future_is_raised_as_such(executor, add):
    future = executor.submit(add, 1)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result()


# -- .aio ---


def test_aio_submits(executor, add, app, worker):
    async def main():
        futures = [await executor.aio.submit(add, 1, b=2), await executor.aio.submit(app.tasks["later"], 5)]
        return [await future for future in futures]

    with worker.serving():
        assert asyncio.run(main()) == [3, 5]


@pytest.mark.usefixtures("allowed")
def test_aio_submits_plain_functions(executor, plain, worker):
    async def main():
        one = await executor.aio.submit(plain.double, 4, plus=1)
        return await one, [value async for value in await executor.aio.map(plain.double, range(4), chunksize=3)]

    with worker.serving():
        assert asyncio.run(main()) == (9, [0, 2, 4, 6])


@pytest.mark.parametrize("options", [{}, {"chunksize": 3}, {"buffersize": 2}, {"chunksize": 2, "buffersize": 1}])
def test_aio_maps_in_order(executor, add, worker, options):
    async def main():
        return [value async for value in await executor.aio.map(add, range(10), itertools.count(5), **options)]

    with worker.serving():
        assert asyncio.run(main()) == list(range(5, 25, 2))


@pytest.mark.parametrize("chunksize", [1, 3])
def test_aio_cancels_what_is_left_when_map_fails(executor, fail, worker, chunksize):
    async def main():
        results = await executor.aio.map(fail, range(6), [0] * 6, chunksize=chunksize)
        worker.run(worker.claim_one())
        with pytest.raises(ZeroDivisionError):
            await anext(results)
        return [value async for value in results]

    assert asyncio.run(main()) == []
    assert worker.claim(count=10) == []


def test_aio_map_has_a_timeout(executor, add, worker):
    async def main():
        async for _ in await executor.aio.map(add, range(2), timeout=0.05):
            pytest.fail("there is no worker")

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert worker.claim(count=10) == []


def test_a_wait_of_aio_map_that_was_cancelled_may_be_repeated(executor, add, worker):
    async def main():
        results = await executor.aio.map(add, range(2))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(results), 0.02)
        with worker.serving():
            return [value async for value in results]

    assert asyncio.run(main()) == [0, 1]


def test_an_async_context_ends_when_all_futures_have(app, add, worker):
    async def main():
        async with app.Executor() as executor:
            futures = [await executor.aio.submit(add, number) for number in range(20)]
            await executor.aio.map(add, range(20), chunksize=7)
        return {future._state for future in futures}, executor._pending

    with worker.serving():
        assert asyncio.run(main()) == ({"FINISHED"}, {})


def test_aio_shutdown_cancels_if_it_is_asked_to(executor, add, worker):
    async def main():
        futures = [await executor.aio.submit(add, 1)]
        await executor.aio.map(add, range(3), chunksize=3)
        await executor.aio.shutdown(cancel_futures=True)
        with pytest.raises(RuntimeError):
            await executor.aio.submit(add, 1)
        return futures[0].cancelled()

    assert asyncio.run(main())
    assert worker.claim(count=10) == []


def test_an_async_wait_for_the_end_that_is_cancelled_leaves_nothing_behind(app, executor, add, worker):
    async def main():
        await executor.aio.submit(add, 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(executor.aio.shutdown(), 0.02)
        return len(app._listener._registry.watches())

    assert asyncio.run(main()) == 1  # the executor's own
    worker.run_all()
    executor.shutdown()
