"""What a job's result, failure, record and state are where somebody asks for them."""

from __future__ import annotations

import time

import pytest
from client_kit import DEADLINE, client_app, later
from handworker import HandWorker
from worker_kit import wait_until

from taskq import RemoteError, TaskQ
from taskq.broker import jobs, queues, work
from taskq.errors import JobExpired, SerializationError, UnknownOrExpired
from taskq.model.job import Job
from taskq.model.outcome import RECORD_VERSION, Ending, ErrorInfo, Record, Verdict, encode_record


class Refused(Exception):
    """An error of the app's own."""


class Unexpected(Exception):
    """One that nobody opted in to."""


@pytest.fixture
def app(any_server, namespace):
    with client_app("client", any_server.url, namespace, exceptions=(Refused,)) as app:

        @app.task(name="big")
        def big(size: int) -> bytes:
            return b"x" * size

        yield app


def test_a_result_that_is_there_is_returned(add, worker):
    result = add.delay(1, 2)
    worker.run_all()
    assert result.get(DEADLINE) == 3


def test_a_waiter_is_told_of_a_later_end(add, worker):
    result = add.delay(1, 2)
    later(worker.run_all)
    assert result.result(DEADLINE) == 3


def test_a_result_too_large_for_an_announcement_arrives(app, worker):
    result = app.tasks["big"].delay(100_000)
    later(worker.run_all)
    assert len(result.get(DEADLINE)) == 100_000


@pytest.mark.usefixtures("listening")
def test_a_large_result_that_ended_before_the_wait_is_read(app, worker):
    result = app.tasks["big"].delay(100_000)
    worker.run_all()
    assert len(result.get(DEADLINE)) == 100_000


@pytest.mark.usefixtures("listening")
def test_done_of_a_large_result_is_found_out(app, worker):
    result = app.tasks["big"].delay(100_000)
    worker.run_all()
    wait_until(result.done, "it is found out", DEADLINE)


def test_another_holder_of_the_id_reads_it(app, add, worker, any_server, namespace):
    result = add.delay(1, 2)
    with TaskQ("other", any_server.url, namespace) as other:
        other.task(name="add")(add.function)
        later(worker.run_all)
        assert other.AsyncResult(result.id).get(4) == 3  # it reads every second at least


def test_a_bare_id_is_looked_up(app, add, worker):
    result = add.apply_async((1,), queue=app.Queue("third"))
    assert app.AsyncResult(result.unique).id == result.id


def test_a_bare_id_that_is_not_unique_is_refused(app, add):
    for queue in ("first", "second"):
        add.apply_async((1,), queue=queue, job_id="same")
    with pytest.raises(ValueError, match=r"first, second; give queue/unique"):
        app.AsyncResult("same")


def test_a_failure_that_is_not_allowed_for_is_raised_as_data(app, add, worker):
    result = add.delay(1)
    worker.raise_(worker.claim_one(), Unexpected("k"), "Traceback: here")
    with pytest.raises(RemoteError) as raised:
        result.get(DEADLINE)
    assert (raised.value.type, raised.value.job_id) == (f"{__name__}.Unexpected", result.id)
    assert (result.traceback, result.failed(), result.successful()) == ("Traceback: here", True, False)


def test_a_class_that_the_app_opted_in_to_is_raised_again(add, worker):
    result = add.delay(1)
    worker.raise_(worker.claim_one(), Refused("no credit"))
    with pytest.raises(Refused, match="no credit") as raised:
        result.get(DEADLINE)
    assert isinstance(raised.value.__cause__, RemoteError)


def test_the_exception_is_returned_on_request(add, worker):
    result = add.delay(1)
    worker.raise_(worker.claim_one(), ValueError("x"))
    assert repr(result.exception(DEADLINE)) == "ValueError('x')"


def test_there_is_no_exception_after_success(add, worker):
    result = add.delay(1)
    worker.run_all()
    assert result.exception(DEADLINE) is None


def test_taskqs_own_conditions_come_as_their_classes(add, worker):
    result = add.delay(1)
    record = Record(RECORD_VERSION, Ending.EXPIRED, error=ErrorInfo("JobExpired", "late"))
    worker.settle(worker.claim_one(), Verdict.DEAD, record, 60_000)
    with pytest.raises(JobExpired):
        result.get(DEADLINE)


@pytest.mark.corrupts
def test_a_damaged_record_is_a_failure_that_says_so(app, add, any_server):
    result = add.delay(1)
    with any_server.client() as client:
        client.set(app.broker.keys("default").result(result.unique), b"\xc1nonsense")
    with pytest.raises(RemoteError, match="DamagedRecord"):
        result.get(DEADLINE)


def test_a_pickled_result_is_not_read_without_consent(app, add, worker):
    result = add.delay(1)
    record = Record(RECORD_VERSION, Ending.SUCCEEDED, b"cos\nsystem\n.", "pickle", task="add")
    worker.settle(worker.claim_one(), Verdict.DONE, record, 60_000)
    with pytest.raises(SerializationError, match="pickle is refused"):
        result.get(DEADLINE)


def test_a_record_of_another_codec_than_the_tasks_is_read(app, add, worker):
    result = add.delay(1)
    record = Record(RECORD_VERSION, Ending.SUCCEEDED, b'{"a":1}', "json", task="add")
    job = worker.claim_one()
    full = work.FullSettlement(job.unique, job.delivery, "o", encode_record(record), 60_000, b"", "")
    worker.broker.run(work.step(app.broker.keys("default"), worker.id, work.StepRequest(full=[full])))
    assert result.get(DEADLINE) == {"a": 1}


def test_a_dead_job_whose_result_expired_still_tells_why(app, add, worker):
    result = add.delay(1)
    worker.raise_(worker.claim_one(), ValueError("why"), ttl_ms=1)
    stored = jobs.result(app.broker.keys("default"), result.unique)
    wait_until(lambda: app.broker.read(stored) is None, "the result expires", DEADLINE)
    with pytest.raises(RemoteError):
        app.AsyncResult(result.id).get(DEADLINE)


def test_a_job_in_quarantine_is_no_endless_wait(app, worker):
    app.broker.enqueue("default", [Job("odd", b"1;;;;\n")])
    keys = app.broker.keys("default")
    app.broker.read(work_by_hand(keys.key("jobs"), "odd", "garbage"))
    worker.claim()
    with pytest.raises(RemoteError, match="Quarantined"):
        app.AsyncResult("default/odd").get(DEADLINE)


def work_by_hand(key, field, value):
    from taskq.broker.call import Command

    return Command(("HSET", key, field, value), int)


def test_an_ending_that_nobody_finished_is_finished_by_who_waits(app, add, worker):
    result = add.apply_async((1,), expires=0.001)
    time.sleep(0.002)  # for the server's clock, which has no signal to wait for
    assert worker.claim() == []
    with pytest.raises(JobExpired):
        result.get(DEADLINE)


def test_results_that_are_not_kept_are_not_waited_for(app):
    result = app.task(name="q", ignore_result=True)(len).delay([])
    with pytest.raises(UnknownOrExpired, match="ignore_result"):
        result.get(DEADLINE)


def test_states_of_a_job(app, add, worker):
    result = add.apply_async((1,), countdown=60)
    assert result.state == "delayed"
    result = add.delay(1)
    assert (result.state, result.running()) == ("ready", False)
    job = worker.claim_one()
    assert (result.state, result.running()) == ("running", True)
    worker.run(job)
    assert (result.state, result.successful()) == ("succeeded", True)
    assert app.AsyncResult("default/none").state == "unknown"


def test_a_cluster_serves_clients_as_one_server_does(cluster_server, namespace):
    with TaskQ("client", cluster_server.url, namespace) as app:
        task = app.task(name="t")(abs)
        app.Queue("default").qsize()
        with HandWorker(app).serving():
            assert task.delay(-1).get(DEADLINE) == 1
            assert task.delay_many(range(-5, 0)).get(DEADLINE) == [5, 4, 3, 2, 1]
        assert app.AsyncResult(task.apply_async((1,), queue="second").unique).cancel()


def test_the_record_tells_who_ran_it(add, worker):
    result = add.delay(1)
    assert result.record is None
    worker.run_all()
    assert (result.record.worker, result.record.task) == (worker.id, "add")


def test_lengths_are_as_the_queue_has_them(app, add, worker):
    add.delay(1)
    info = app.broker.run(queues.inspect(app.broker.keys("default")))
    assert (info.ready, app.queues["default"].info().ready) == (1, 1)


def test_a_value_is_decoded_once(app, worker):
    @app.task(name="pair")
    def pair() -> list[int]:
        return [1]

    result = pair.delay()
    worker.run_all()
    assert result.get(DEADLINE) is result.get(DEADLINE)


def test_forgetting_removes_the_result(app, add, worker):
    result = add.delay(1)
    worker.run_all()
    result.forget()
    with pytest.raises(UnknownOrExpired):
        app.AsyncResult(result.id).get(DEADLINE)
