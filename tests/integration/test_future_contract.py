"""An AsyncResult is a ``concurrent.futures.Future`` wherever the standard library takes one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import queue
import threading
from collections import Counter
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError, InvalidStateError

import pytest
from client_kit import DEADLINE, client_app, later


@pytest.fixture
def app(any_server, namespace):
    with client_app("futures", any_server.url, namespace) as app:
        yield app


@pytest.fixture
def three(add):
    return [add.delay(number) for number in range(3)]


# -- waits of the standard library ---


def test_wait_for_all(three, worker):
    later(worker.run_all)
    assert concurrent.futures.wait(three, DEADLINE, ALL_COMPLETED) == (set(three), set())


def test_wait_for_the_first(three, worker):
    later(lambda: worker.run(worker.claim_one()))
    assert concurrent.futures.wait(three, DEADLINE, FIRST_COMPLETED) == ({three[0]}, set(three[1:]))


def test_wait_for_the_first_failure(three, worker):
    def fail_second():
        jobs = worker.claim(count=2)
        worker.run(jobs[0])
        worker.raise_(jobs[1], ValueError("no"))

    later(fail_second)
    assert concurrent.futures.wait(three, DEADLINE, FIRST_EXCEPTION) == (set(three[:2]), {three[2]})


def test_a_cancelled_one_is_no_failure_to_wait_for(three, worker):
    def cancel_first():
        three[0].cancel()
        worker.run_all()

    later(cancel_first)
    assert concurrent.futures.wait(three, DEADLINE, FIRST_EXCEPTION) == (set(three), set())


@pytest.mark.parametrize("when", [ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION])
def test_wait_gives_up_after_its_timeout(three, when):
    assert concurrent.futures.wait(three, 0.02, when) == (set(), set(three))


@pytest.mark.parametrize("when", [ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION])
def test_wait_for_what_has_ended_returns_at_once(three, worker, when):
    worker.run_all()
    assert all(future.done() for future in three)
    assert concurrent.futures.wait(three, 0, when) == (set(three), set())


def test_futures_of_other_executors_may_be_waited_for_beside_them(three, worker):
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        mixed = [*three, threads.submit(worker.run_all)]
        assert concurrent.futures.wait(mixed, DEADLINE).done == set(mixed)


def test_as_completed_yields_each_one_once_as_it_ends(three, worker):
    jobs = worker.claim(count=3)
    completed = concurrent.futures.as_completed(three, DEADLINE)
    for at in (2, 0, 1):
        later(worker.run, jobs[at])
        assert next(completed) is three[at]
    assert list(completed) == []


def test_as_completed_gives_up_after_its_timeout(three, worker):
    worker.run(worker.claim_one())
    completed = concurrent.futures.as_completed(three, 0.3)
    assert next(completed) is three[0]
    with pytest.raises(TimeoutError):
        next(completed)


def test_a_loop_awaits_it(three, worker):
    async def main():
        waiting = asyncio.gather(*map(asyncio.wrap_future, three))
        await asyncio.sleep(0)
        worker.run_all()
        return await asyncio.wait_for(waiting, DEADLINE)

    assert asyncio.run(main()) == [0, 1, 2]


def test_a_loop_sees_its_failure(add, worker):
    async def main():
        waiting = asyncio.wrap_future(add.delay(1))
        worker.raise_(worker.claim_one(), LookupError("no"))
        await asyncio.wait_for(waiting, DEADLINE)

    with pytest.raises(LookupError, match="no"):
        asyncio.run(main())


def test_a_loop_is_not_stopped_by_a_job_that_raised_StopIteration(add, worker):  # noqa: N802 (its name)
    async def main():
        waiting = asyncio.wrap_future(add.delay(1))
        worker.raise_(worker.claim_one(), StopIteration("end"))
        await asyncio.wait_for(waiting, DEADLINE)

    with pytest.raises(Exception, match="StopIteration: end"):
        asyncio.run(main())


def test_cancelling_in_a_loop_cancels_the_job(add, worker):
    async def main():
        waiting = asyncio.wrap_future(add.delay(1))
        waiting.cancel()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert worker.claim() == []


def test_a_loop_sees_that_it_was_cancelled_elsewhere(app, add):
    async def main():
        result = add.delay(1)
        waiting = asyncio.wrap_future(result)
        app.AsyncResult(result.id).cancel()
        await asyncio.wait_for(waiting, DEADLINE)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


# -- callbacks ---


def test_callbacks_are_called_in_order_once_each_also_those_added_later(add, worker):
    called: queue.Queue[str] = queue.Queue()
    result = add.delay(1)
    result.add_done_callback(lambda _: called.put("first"))
    result.add_done_callback(lambda _: called.put("second"))
    worker.run_all()
    assert [called.get(timeout=DEADLINE) for _ in range(2)] == ["first", "second"]
    result.add_done_callback(lambda _: called.put("third"))
    assert (called.get_nowait(), result.get(DEADLINE), called.empty()) == ("third", 1, True)


def test_the_same_callback_may_be_added_twice(add, worker):
    called: queue.Queue[object] = queue.Queue()
    result = add.delay(1)
    result.add_done_callback(called.put)
    result.add_done_callback(called.put)
    worker.run_all()
    assert [called.get(timeout=DEADLINE), called.get(timeout=DEADLINE)] == [result, result]


@pytest.mark.parametrize("ended", [False, True])
def test_a_callback_that_raises_is_logged_and_harms_nothing(add, worker, caplog, ended):
    called = threading.Event()
    result = add.delay(1)
    if ended:
        worker.run_all()
        assert result.done()
    with caplog.at_level(logging.ERROR):
        result.add_done_callback(lambda _: 1 / 0)
        result.add_done_callback(lambda _: called.set())
        worker.run_all()
        assert called.wait(DEADLINE)
    assert ("ZeroDivisionError" in caplog.text, result.get(DEADLINE)) == (True, 1)
    assert add.delay(2).cancel()  # and whoever tells of ends goes on
    other = add.delay(3)
    later(worker.run_all)
    assert other.get(DEADLINE) == 3


def test_callbacks_that_are_added_while_the_job_ends_are_called_once_each(add, worker):
    called: Counter[int] = Counter()
    results = [add.delay(number) for number in range(20)]
    started = threading.Barrier(3)

    def add_callbacks(offset):
        started.wait(DEADLINE)
        for at in range(200):
            key = offset + at
            results[at % 20].add_done_callback(lambda _, key=key: called.update([key]))

    threads = [threading.Thread(target=add_callbacks, args=(offset,)) for offset in (0, 1_000)]
    for thread in threads:
        thread.start()
    started.wait(DEADLINE)
    worker.run_all()
    for thread in threads:
        thread.join(DEADLINE)
    assert concurrent.futures.wait(results, DEADLINE).not_done == set()
    assert set(called.values()) == {1}


def test_a_callback_hears_of_a_cancel(add):
    called = []
    result = add.delay(1)
    result.add_done_callback(called.append)
    assert (result.cancel(), called, called[0].cancelled()) == (True, [result], True)


def test_a_callback_may_wait_for_its_own_result_and_send_another_job(add, worker):
    chained: queue.Queue[object] = queue.Queue()
    result = add.delay(1)
    result.add_done_callback(lambda done: chained.put(add.delay(done.result() + 1)))
    worker.run_all()
    following = chained.get(timeout=DEADLINE)
    worker.run_all()
    assert following.get(DEADLINE) == 2


# -- states ---


def test_cancel_says_what_the_contract_says(add, worker):
    waiting, running, ended = add.delay(1), add.delay(2), add.delay(3)
    jobs = worker.claim(count=3)
    worker.run(jobs[2])
    assert (running.cancel(), running.cancelled(), ended.cancel(), ended.cancelled()) == (False, False, False, False)
    worker.run(jobs[0])
    assert waiting.get(DEADLINE) == 1
    cancelled = add.delay(4)
    assert (cancelled.cancel(), cancelled.cancel(), cancelled.cancelled(), cancelled.done()) == (True,) * 4
    assert not cancelled.running()


@pytest.mark.parametrize("method", ["result", "exception"])
def test_a_cancelled_future_raises_cancelled(add, method):
    result = add.delay(1)
    result.cancel()
    with pytest.raises(CancelledError):
        getattr(result, method)(DEADLINE)


@pytest.mark.parametrize("method", ["result", "exception"])
def test_a_future_that_has_not_ended_raises_timeout(add, method):
    with pytest.raises(concurrent.futures.TimeoutError):
        getattr(add.delay(1), method)(0.01)


@pytest.mark.parametrize("state", ["waits", "runs", "ended", "was cancelled"])
@pytest.mark.parametrize(
    ("method", "args"),
    [("set_result", (1,)), ("set_exception", (ValueError(),)), ("set_running_or_notify_cancel", ())],
)
def test_only_the_worker_says_how_a_job_ends(add, worker, state, method, args):
    result, called = add.delay(7), []
    if state == "runs":
        worker.claim_one()
    elif state == "ended":
        worker.run_all()
        assert result.get(DEADLINE) == 7
    elif state == "was cancelled":
        result.cancel()
    else:
        result.add_done_callback(called.append)
    with pytest.raises(InvalidStateError, match=method):
        getattr(result, method)(*args)
    assert (result.done(), called) == (state in {"ended", "was cancelled"}, [])
