"""Signed jobs and results on a server: every way a job is made, goes on and is read, and what a forger achieves."""

from __future__ import annotations

import asyncio
import pickle
from concurrent.futures import as_completed

import pytest
from client_kit import DEADLINE
from coordination_kit import until
from signing_kit import NEW, OLD, InnerWorker, Intruder, intruder_at

from taskq import TaskQ
from taskq.broker import work
from taskq.broker.items import ARRIVAL
from taskq.client.runs import read_runs
from taskq.errors import JobExpired, SerializationError, SignatureError, UnknownSigningKey
from taskq.model.job import encode_body, encode_header, split_data
from taskq.model.outcome import RECORD_VERSION, Ending, Record, encode_record
from taskq.model.signing import MARK, is_signed

FORGED = b"1700000000000;" + encode_header().encode() + encode_body("add", b"\x92\x01\x02")


def tasks_of(app: TaskQ) -> TaskQ:
    @app.task(name="add")
    def add(a: int, b: int = 0) -> int:
        return a + b

    @app.task(name="fail")
    def fail() -> None:
        raise ValueError("why")

    @app.task(name="told", queue="other")
    def told(value: object, more: int = 0) -> object:
        return [value, more]

    @app.task(name="nested")
    def nested(a: int) -> str:
        return add.delay(a, a).id

    return app


@pytest.fixture
def make(server, namespace):
    made = []

    def make(key=NEW, **options) -> TaskQ:
        keys = {"signing_key": key} if key else {}
        app = tasks_of(TaskQ("signed", server.url, namespace, **keys, **options))
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


@pytest.fixture
def app(make):
    return make()


@pytest.fixture
def add(app):
    return app.tasks["add"]


@pytest.fixture
def worker(app):
    worker = InnerWorker(app)
    yield worker
    worker.close()


@pytest.fixture
def plain(make):
    """An app of the same namespace that has no key."""
    return make(key=None)


@pytest.fixture
def intruder(server, namespace):
    with intruder_at(server, namespace) as intruder:
        yield intruder


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


# -- results ---

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


# -- rotation ---


def test_jobs_of_the_old_key_run_after_a_rotation(make, server, namespace):
    before = make(OLD).tasks["add"].delay(1, 2)
    now = make([NEW, OLD])
    after = now.tasks["add"].delay(3, 4)
    worker = InnerWorker(now)
    worker.run_all()
    worker.close()
    assert (now.AsyncResult(before.id).get(DEADLINE), after.get(DEADLINE)) == (3, 7)


def test_a_job_of_a_key_that_is_not_known_yet_waits_for_a_worker_that_knows_it(make):
    early = make([NEW, OLD]).tasks["add"].delay(1, 2)
    behind, ahead = InnerWorker(make(OLD)), InnerWorker(make([NEW, OLD]))
    behind.run_all()
    assert early.state == "delayed"
    until(lambda: ahead.run_all() or early.done(), "it runs", DEADLINE)
    assert (behind.ran, ahead.ran, early.get(DEADLINE)) == ([], [early.id], 3)
    behind.close()
    ahead.close()


def test_a_job_of_a_key_that_nobody_knows_ends_saying_so(make, app, worker, intruder):
    job = make("unknown-" * 5).tasks["add"].delay(1, 2)
    intruder.client.hset(intruder.keys().key("state"), job.unique, "1;0;0;0;20")
    worker.run_all()
    until(lambda: worker.run_all() or intruder.dead(), "it ends", DEADLINE)
    with pytest.raises(UnknownSigningKey):
        app.AsyncResult(job.id).get(DEADLINE)


def test_signatures_can_be_introduced_before_they_are_required(make, plain):
    lenient = make(require_signed=False)
    results = [plain.tasks["add"].delay(1, 2), lenient.tasks["add"].delay(3, 4)]
    worker = InnerWorker(lenient)
    worker.run_all()
    worker.close()
    assert [lenient.AsyncResult(result.id).get(DEADLINE) for result in results] == [3, 7]


def test_what_was_not_signed_does_not_become_signed_by_its_follow_ups(make, plain, intruder):
    lenient = make(require_signed=False)
    job = plain.tasks["add"].apply_async((1, 2), link=plain.tasks["told"].s())
    worker = InnerWorker(lenient)
    worker.run_claimed(worker.queues[0])
    worker.do_chores(worker.queues[0])
    worker.close()
    assert not is_signed(intruder.stored(f"{job.unique}.l0", "other"))


# -- pickled items ---


def test_a_pickled_item_is_not_read_where_what_is_stored_must_be_signed(make, intruder):
    box = make(allow_pickle=True).Queue("box")
    box.put(1)
    key = intruder.keys("box").key("items")
    ((member, score),) = intruder.client.zrange(key, 0, 0, withscores=True)
    intruder.client.zadd(key, {member[:ARRIVAL] + b"pickle;" + pickle.dumps(2): score})
    intruder.client.zrem(key, member)
    with pytest.raises(SerializationError, match="items are not signed"):
        box.get(timeout=DEADLINE)


def test_a_pickled_item_is_not_put_where_nobody_would_read_it(make):
    with pytest.raises(SerializationError, match="items are not signed"):
        make(allow_pickle=True, serializer="pickle").Queue("box").put(1)


def test_pickled_items_are_read_where_signatures_are_not_required(make):
    box = make(allow_pickle=True, serializer="pickle", require_signed=False).Queue("box")
    box.put({1})
    assert box.get(timeout=DEADLINE) == {1}
