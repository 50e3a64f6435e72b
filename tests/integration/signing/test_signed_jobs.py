"""Signed jobs on a server: every way a job is made and goes on, and what a forger achieves."""

from __future__ import annotations

import asyncio

import pytest
from client_kit import DEADLINE
from coordination_kit import until
from signing_kit import InnerWorker, Intruder

from taskq.errors import JobExpired, SignatureError
from taskq.model.job import encode_body, encode_header, split_data
from taskq.model.signing import is_signed

FORGED = b"1700000000000;" + encode_header().encode() + encode_body("add", b"\x92\x01\x02")


def refused(intruder: Intruder, worker: InnerWorker, job_id: str) -> bool:
    """Tell whether a job ended as dead without having run."""
    worker.run_all()
    queue, _, unique = job_id.partition("/")
    return job_id not in worker.ran and unique in intruder.dead(queue)


# -- every way in which jobs are made ---


def test_a_plain_call_is_signed(add, worker):
    results = [add.delay(1, 2), add.delay(3, 4)]  # the second one by the short way
    worker.run_all()
    assert [result.get(DEADLINE) for result in results] == [3, 7]


def test_a_call_with_options_is_signed(add, worker):
    result = add.apply_async((1,), {"b": 2}, expires=60, queue="other", headers={"a": "b"}, job_id="mine")
    worker.run_all()
    assert result.get(DEADLINE) == 3


def test_calls_in_bulk_are_signed(add, worker):
    results = add.delay_many(range(50), range(50))
    worker.run_all()
    assert results.get(DEADLINE) == [2 * number for number in range(50)]


def test_calls_of_an_executor_are_signed(app, add, worker):
    future = app.Executor().submit(add, 1, 2)
    worker.run_all()
    assert future.result(DEADLINE) == 3


def test_calls_from_a_loop_are_signed(app, add, worker):
    async def call():
        results = [await add.aio.delay(1, 2), *await add.aio.delay_many([5], [6])]
        await asyncio.to_thread(worker.run_all)
        return [await result for result in results]

    assert asyncio.run(call()) == [3, 11]


def test_a_call_by_a_job_is_signed(app, worker):
    outer = app.tasks["nested"].delay(4)
    worker.run_all()
    assert app.AsyncResult(outer.get(DEADLINE)).get(DEADLINE) == 8


def test_sending_the_same_job_twice_is_one_job(add, worker):
    first, second = (add.apply_async((1, 2), job_id="mine") for _ in range(2))
    worker.run_all()
    assert (worker.ran, first.get(DEADLINE), second.get(DEADLINE)) == (["default/mine"], 3, 3)


# -- going on ---


def test_follow_ups_that_take_a_value_are_signed(app, add, worker):
    told = app.tasks["told"]
    parent = add.apply_async((1, 2), link=[told.s(9), told.si("alone")])
    worker.run_all()
    given, alone = (app.AsyncResult(f"other/{parent.unique}.l{number}") for number in range(2))
    assert (given.get(DEADLINE), alone.get(DEADLINE)) == ([3, 9], ["alone", 0])


def test_follow_ups_of_a_failure_are_signed(app, worker):
    parent = app.tasks["fail"].apply_async(link_error=app.tasks["told"].s(9))
    worker.run_all()
    failure, more = app.AsyncResult(f"other/{parent.unique}.e0").get(DEADLINE)
    assert (failure["type"], more) == ("ValueError", 9)


def test_follow_ups_of_a_job_that_expired_are_signed(app, add, worker, intruder):
    parent = add.apply_async((1,), expires=60.0, link_error=app.tasks["told"].s())
    intruder.put(parent.unique, b"1700000000000;" + intruder.stored(parent.unique).partition(b";")[2])
    worker.run_all()
    with pytest.raises(JobExpired):
        parent.get(DEADLINE)
    assert app.AsyncResult(f"other/{parent.unique}.e0").get(DEADLINE)[0]["ending"] == "expired"


@pytest.mark.parametrize("call", ["s", "si"])
def test_what_follows_the_next_failure_of_a_job_is_signed_anew(app, worker, call):
    told = app.tasks["told"]
    parent = app.tasks["fail"].apply_async(link_error=getattr(told, call)(*(("it",) if call == "si" else ())))
    worker.run_all()
    assert app.control.retry([parent.id]) == 1
    worker.run_all()
    first, second = (app.AsyncResult(f"other/{parent.unique}.e0{life}").get(DEADLINE) for life in ("", ".2"))
    assert first == second


def test_a_dead_job_that_is_put_back_is_still_signed(app, worker):
    job = app.tasks["fail"].delay()
    worker.run_all()
    assert app.control.retry([job.id]) == 1
    worker.run_all()
    assert worker.ran == [job.id, job.id]


@pytest.mark.parametrize("options", [{}, {"expires": 60.0}, {"expires": 60.0, "countdown": 0.001}], ids=str)
def test_a_job_is_signed_anew_where_it_is_moved_to(app, add, worker, options):
    job = add.apply_async((1, 2), **options)
    moved = app.control.move(job.id, "other")
    result = app.AsyncResult(moved.now)
    until(lambda: worker.run_all() or result.done(), "it runs", DEADLINE)
    assert (result.queue, result.get(DEADLINE)) == ("other", 3)


def test_a_dead_job_is_signed_anew_where_it_is_moved_to(app, worker):
    job = app.tasks["fail"].delay()
    worker.run_all()
    moved = app.control.move(job.id, "other")
    worker.run_all()
    assert worker.ran == [job.id, moved.now]


def test_a_signed_job_is_not_moved_without_a_key(add, worker, plain):
    job = add.delay(1, 2)
    assert "no signing_key" in plain.control.move(job.id, "other").problem
    worker.run_all()
    assert job.get(DEADLINE) == 3


def test_a_job_that_was_stamped_later_than_now_is_not_given_more_time_by_moving_it(app, add, worker, intruder):
    job = add.apply_async((1, 2), expires=60.0)
    stamp, _, rest = intruder.stored(job.unique).partition(b";")
    intruder.put(job.unique, b"%d;%b" % (int(stamp) + 10**9, rest))
    moved = app.control.move(job.id, "other")
    stored = intruder.stored(moved.now.partition("/")[2], "other")
    header, _ = split_data(stored)
    assert (header.expires_ms, is_signed(stored)) == (60_000, True)


def test_a_forged_job_is_not_signed_by_moving_it(app, worker, intruder):
    job_id = intruder.put("forged", FORGED.replace(b"\n", b";s1:00000000:x\n", 1))
    with pytest.raises(SignatureError):
        app.control.move(job_id, "other")


def test_an_order_to_move_that_was_forged_has_nothing_signed(add, worker, intruder):
    job = add.delay(1, 2)
    intruder.client.zrem(intruder.keys().key("ready"), job.unique)
    intruder.client.hset(intruder.keys().key("ended"), job.unique, "moved other elsewhere 0")
    assert refused(intruder, worker, "other/elsewhere")


@pytest.mark.corrupts
def test_a_reason_that_was_forged_is_signed_by_nobody(app, add, worker, intruder):
    """Its text would become the argument of a signed follow-up."""
    job = add.apply_async((1,), link_error=app.tasks["told"].s())
    intruder.client.zrem(intruder.keys().key("ready"), job.unique)
    intruder.client.hset(intruder.keys().key("ended"), job.unique, "words of mine")
    assert refused(intruder, worker, f"other/{job.unique}.e0")


# -- forgery ---


def test_a_job_without_a_signature_never_runs(app, worker, intruder):
    job_id = intruder.put("forged", FORGED)
    assert refused(intruder, worker, job_id)
    with pytest.raises(SignatureError, match="job default/forged is not signed"):
        app.AsyncResult(job_id).get(DEADLINE)


def test_a_job_of_a_producer_without_a_key_never_runs(plain, worker, intruder):
    job = plain.tasks["add"].delay(1, 2)
    assert refused(intruder, worker, job.id)
    with pytest.raises(SignatureError):
        job.get(DEADLINE)


def test_a_job_with_changed_arguments_never_runs(add, worker, intruder):
    job = add.delay(1, 2)
    intruder.put(job.unique, intruder.stored(job.unique).replace(b"\x92\x01\x02", b"\x92\x01\x03"))
    assert refused(intruder, worker, job.id)


def test_a_job_that_was_copied_to_another_queue_or_id_never_runs(add, worker, intruder):
    data = intruder.stored(add.delay(1, 2).unique)
    copies = [intruder.put("copy", data), intruder.put("copy", data, "other")]
    assert [refused(intruder, worker, copy) for copy in copies] == [True, True]


def test_a_forged_follow_up_never_runs(worker, intruder):
    intruder.client.hset(intruder.keys().key("outbox"), "other/forged", b"0\n" + FORGED.partition(b";")[2])
    assert refused(intruder, worker, "other/forged")


def test_a_forged_job_that_ended_in_a_script_has_no_follow_ups(app, worker, intruder):
    link = encode_header().encode() + encode_body("told", b"\x91\x01")
    meta = {"link_error": [["other", "follow", 0, link]]}
    data = b"1700000000000;" + encode_header().encode() + encode_body("add", b"\x90", meta=meta)
    intruder.client.hset(intruder.keys().key("jobs"), "forged", data)
    intruder.client.hset(intruder.keys().key("ended"), "forged", "expired")
    worker.run_all()
    assert (worker.ran, intruder.client.hlen(intruder.keys("other").key("jobs"))) == ([], 0)


def test_a_forged_job_is_shown_without_its_arguments(app, worker, intruder):
    job_id = intruder.put("forged", FORGED)
    found = app.inspect.job(job_id)
    assert (found.call, "is not signed" in found.problem) == ("", True)
