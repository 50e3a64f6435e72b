"""``map`` of an executor: order, chunks, buffers, and what becomes of the rest when it fails."""

from __future__ import annotations

import gc
import itertools
import time

import pytest
from client_kit import DEADLINE
from executor_kit import executor_app
from worker_kit import wait_until

from taskq.errors import BadArguments


@pytest.fixture
def app(any_server, namespace):
    with executor_app(any_server.url, namespace) as app:
        yield app


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
    wait_until(lambda: not executor._pending, "all are cancelled", DEADLINE)
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


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("chunksize", [1, 3])
def test_plain_functions_are_mapped(executor, plain, worker, chunksize):
    with worker.serving():
        assert list(executor.map(plain.add, range(5), itertools.count(10), chunksize=chunksize)) == [10, 12, 14, 16, 18]


def test_a_wrong_call_in_a_chunk_sends_nothing_of_it(executor, plain, worker):
    with pytest.raises(BadArguments):
        executor.map(plain.double, [1, 2], [3, 4], chunksize=2)
    assert worker.claim(count=10) == []
