"""Jobs are cancelled as futures are, and revoked."""

from __future__ import annotations

from concurrent.futures import CancelledError

import pytest
from client_kit import DEADLINE, client_app, later

from taskq.errors import UnknownOrExpired


@pytest.fixture
def app(any_server, namespace):
    with client_app("client", any_server.url, namespace) as app:
        yield app


@pytest.mark.parametrize("options", [{}, {"countdown": 60}])
def test_a_waiting_job_is_cancelled(add, worker, options):
    result = add.apply_async((1,), **options)
    assert result.cancel()
    assert (result.cancelled(), result.done(), worker.claim()) == (True, True, [])


def test_a_cancelled_job_raises_cancelled(add):
    result = add.delay(1)
    result.cancel()
    with pytest.raises(CancelledError, match=result.unique):
        result.get()


def test_others_see_at_once_that_a_job_was_cancelled(app, add):
    result = add.delay(1)
    handle = app.AsyncResult(result.id)
    later(result.cancel)
    with pytest.raises(CancelledError):
        handle.get(DEADLINE)


def test_cancelling_twice_is_true_twice(app, add):
    result = add.delay(1)
    assert (result.cancel(), result.cancel(), app.AsyncResult(result.id).cancel()) == (True, True, True)


def test_a_job_that_keeps_no_result_is_cancelled_by_its_id(app, worker):
    result = app.task(name="quiet", ignore_result=True)(len).delay([])
    handle = app.AsyncResult(result.id)
    assert handle.cancel()
    assert (handle.cancelled(), worker.claim()) == (True, [])


def test_a_job_with_a_worker_is_not_cancelled(add, worker):
    result = add.delay(1)
    job = worker.claim_one()
    assert not result.cancel()
    worker.run(job)
    assert (result.get(DEADLINE), result.cancel()) == (1, False)


def test_a_job_that_ended_is_not_cancelled(app, add, worker):
    result = add.delay(1)
    worker.run_all()
    assert not app.AsyncResult(result.id).cancel()


def test_cancelling_nothing_is_an_error(app):
    with pytest.raises(UnknownOrExpired):
        app.AsyncResult("default/none").cancel()


def test_a_job_that_keeps_no_result_is_cancelled_too(app):
    result = app.task(name="q", ignore_result=True)(len).delay([])
    assert result.cancel()
    assert result.cancelled()


@pytest.mark.parametrize(("terminate", "mark"), [(False, {"r"}), (True, {"t"})])
def test_revoking_marks_a_job_that_a_worker_has(app, add, worker, terminate, mark):
    from taskq.broker import workers

    result = add.delay(1)
    worker.claim_one()
    assert not result.revoke(terminate=terminate)
    assert set(app.broker.read(workers.revoked(app.broker.keys("default"))).values()) == mark


def test_revoking_cancels_a_job_that_waits(add):
    result = add.delay(1)
    assert result.revoke()
    assert result.cancelled()
