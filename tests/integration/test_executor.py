"""``app.Executor`` keeps the contract of ``concurrent.futures.Executor``: submit, shutdown, and what is kept."""

from __future__ import annotations

import concurrent.futures
import gc
import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import CancelledError

import pytest
from client_kit import DEADLINE
from executor_kit import executor_app
from handworker import HandWorker
from worker_kit import wait_until

from taskq import AsyncResult, JobContext, TaskQ, current_job
from taskq.client.importable import CALL_TASK
from taskq.errors import BadArguments, DeadlockRisk, InvalidQueueName, InvalidTask, SerializationError


@pytest.fixture
def app(any_server, namespace):
    with executor_app(any_server.url, namespace) as app:
        yield app


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


def test_a_task_of_another_app_is_refused(executor, any_server, namespace):
    with TaskQ("other", any_server.url, namespace) as other, pytest.raises(InvalidTask, match="is of app 'other'"):
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


def test_a_cancelled_future_is_raised_as_such(executor, add):
    future = executor.submit(add, 1)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result()


# -- plain functions ---


@pytest.mark.usefixtures("allowed")
def test_a_plain_function_goes_by_module_and_name(executor, plain, worker):
    future = executor.submit(plain.double, 4, plus=1)
    worker.run_all()
    assert future.result(DEADLINE) == 9


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
    wait_until(lambda: executor._closed, "it is closed", DEADLINE)
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


def test_a_process_ends_though_futures_are_pending(any_server, namespace):
    program = (
        "import sys; from taskq import TaskQ; app = TaskQ('x', sys.argv[1], sys.argv[2]);"
        "executor = app.Executor(); executor.submit(app.task(name='t')(len), []);"
        "next_ = executor.map(app.tasks['t'], [[], []], chunksize=2)"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program, any_server.url, namespace],
        capture_output=True, text=True, timeout=30, check=False, env={**os.environ},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# -- what is kept ---


def test_futures_that_ended_are_let_go(executor, add, worker):
    futures = [executor.submit(add, number) for number in range(50)]
    left = weakref.WeakSet(futures)
    worker.run_all()
    assert [future.result(DEADLINE) for future in futures] == list(range(50))
    wait_until(lambda: not is_kept(executor), "the futures end", DEADLINE)
    del futures

    def are_gone():
        gc.collect()
        return len(left) <= 2  # the one or two that the sleeping poller looked at last

    wait_until(are_gone, "they are let go", DEADLINE)


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
                wait_until(lambda: not is_kept(executor), "the futures end", DEADLINE)
            for _ in range(5):
                executor.map(add, range(19_000), chunksize=1_000)
                wait_until(lambda: not is_kept(executor), "the futures end", DEADLINE)
        worker.close()

        def are_gone():
            gc.collect()
            return len(gc.get_objects()) - before < 5_000  # of a hundred thousand

        wait_until(are_gone, "they are let go", DEADLINE)
