"""Signed results on a server: every way a result is made and read, and what a forger achieves."""

from __future__ import annotations

import asyncio
from concurrent.futures import as_completed

import pytest
from client_kit import DEADLINE
from coordination_kit import until
from signing_kit import InnerWorker, Intruder

from taskq.broker import work
from taskq.client.runs import read_runs
from taskq.errors import JobExpired, SignatureError
from taskq.model.outcome import RECORD_VERSION, Ending, Record, encode_record
from taskq.model.signing import MARK

VALUE = Record(RECORD_VERSION, Ending.SUCCEEDED, b"\x2a", task="add")


def forge_result(intruder: Intruder, result) -> None:
    assert intruder.client.set(intruder.keys(result.queue).result(result.unique), encode_record(VALUE), ex=60)


def test_a_stored_result_is_signed(add, worker, intruder):
    result = add.delay(1, 2)
    worker.run_all()
    stored = intruder.client.get(intruder.keys().result(result.unique))
    assert stored.startswith(MARK)


@pytest.mark.parametrize("task", ["add", "fail"])
def test_a_forged_result_is_refused_by_get(app, worker, intruder, task):
    result = app.tasks[task].delay(*[1, 2][: 2 * (task == "add")])
    worker.run_all()
    forge_result(intruder, result)
    with pytest.raises(SignatureError, match=f"the result of job {result.id} is not signed"):
        app.AsyncResult(result.id).get(DEADLINE)


def test_a_forged_result_is_refused_by_await(app, add, worker, intruder):
    result = add.delay(1, 2)
    forge_result(intruder, result)

    async def wait():
        return await app.AsyncResult(result.id)

    with pytest.raises(SignatureError):
        asyncio.run(wait())


def test_a_forged_result_is_refused_by_as_completed(app, add, worker, intruder):
    result = add.delay(1, 2)
    forge_result(intruder, result)
    (ended,) = as_completed([app.AsyncResult(result.id)], DEADLINE)
    assert isinstance(ended.exception(), SignatureError)


def test_a_forged_result_is_refused_by_a_set(add, worker, intruder):
    results = add.delay_many([1], [2])
    forge_result(intruder, results[0])
    with pytest.raises(SignatureError):
        results.get(DEADLINE)


def test_a_forged_announcement_is_refused(add, worker, intruder, app):
    waited = add.delay(0)
    worker.run_all()
    waited.get(DEADLINE)
    until(lambda: app._listener.epoch is not None, "it listens", DEADLINE)
    result = add.delay(1, 2)
    app._listener._tell(result.id, encode_record(VALUE))
    with pytest.raises(SignatureError):
        result.get(DEADLINE)


def test_a_forged_result_is_damaged_in_a_report(app, add, worker, intruder):
    genuine, result = add.delay(1, 2), add.delay(3, 4)
    worker.run_all()
    forge_result(intruder, result)
    found = read_runs(app)
    assert ([run.id for run in found.runs], found.damaged) == ([genuine.id], 1)


def test_a_result_that_another_job_had_is_refused(app, add, worker, intruder):
    one, other = add.delay(1, 2), add.delay(3, 4)
    worker.run_all()
    intruder.client.copy(intruder.keys().result(one.unique), intruder.keys().result(other.unique), replace=True)
    with pytest.raises(SignatureError, match="changed or put elsewhere"):
        app.AsyncResult(other.id).get(DEADLINE)


def test_a_cancellation_is_signed(app, add, worker):
    result = add.delay(1, 2)
    assert result.cancel()
    assert app.AsyncResult(result.id).cancelled()


def test_a_purge_is_signed(app, add, worker):
    result = add.delay(1, 2)
    assert app.control.purge("default") == 1
    assert app.AsyncResult(result.id).cancelled()


def test_who_has_no_key_reads_the_results_of_others(add, worker, plain):
    result = add.delay(1, 2)
    worker.run_all()
    assert plain.AsyncResult(result.id).get(DEADLINE) == 3


def test_a_dead_job_whose_result_is_gone_has_an_end(app, worker, intruder):
    result = app.tasks["fail"].delay()
    worker.run_all()
    assert intruder.client.delete(intruder.keys().result(result.unique)) == 1
    with pytest.raises(Exception, match="is dead; its result has expired"):
        app.AsyncResult(result.id).get(DEADLINE)


# -- who has no key ---


def end_in_a_script(worker: InnerWorker) -> None:
    """Have the server notice that jobs expired; nobody writes their results yet."""
    worker.broker.run(work.step(worker.queues[0].keys, worker.id, work.StepRequest(count=10)))


def test_who_waits_without_a_key_leaves_the_ending_to_a_worker(app, add, worker, plain, intruder):
    job = add.apply_async((1,), expires=60.0, link_error=app.tasks["told"].s())
    intruder.put(job.unique, b"1700000000000;" + intruder.stored(job.unique).partition(b";")[2])
    end_in_a_script(worker)
    with pytest.raises(TimeoutError):
        plain.AsyncResult(job.id).get(1.0)
    worker.run_all()
    with pytest.raises(JobExpired):
        job.get(DEADLINE)
    assert app.AsyncResult(f"other/{job.unique}.e0").get(DEADLINE)[0]["ending"] == "expired"
    assert plain.AsyncResult(job.id).state == "expired"


CANCELLING = {
    "cancel": lambda plain, job: plain.AsyncResult(job.id).cancel(),
    "twice": lambda plain, job: plain.AsyncResult(job.id).cancel() and plain.AsyncResult(job.id).cancel(),
    "purge of a queue": lambda plain, job: plain.Queue(job.queue).purge(),
    "purge by control": lambda plain, job: plain.control.purge(job.queue),
}


@pytest.mark.parametrize("way", CANCELLING)
def test_who_cancels_without_a_key_leaves_the_signed_result_to_a_worker(app, add, worker, plain, way):
    job = add.delay(1, 2)
    assert CANCELLING[way](plain, job)
    worker.run_all()
    assert (worker.ran, app.AsyncResult(job.id).cancelled()) == ([], True)
