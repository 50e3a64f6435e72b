"""How the end of a job reaches who waits for it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import queue as standard
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError

import pytest
from handworker import HandWorker

from taskq import JobContext, RemoteError, TaskQ, current_job
from taskq.broker import jobs, queues, work
from taskq.broker.results import channel
from taskq.client import poller
from taskq.client.watching import Registry, Watch
from taskq.errors import (
    BrokerUnavailable,
    DeadlockRisk,
    Indeterminate,
    JobExpired,
    SerializationError,
    UnknownOrExpired,
)
from taskq.model.job import Job
from taskq.model.outcome import RECORD_VERSION, Ending, ErrorInfo, Record, Verdict, decode_record, encode_record

DEADLINE = 10.0  # seconds: the machine may run other suites


class Refused(Exception):
    """An error of the app's own."""


class Unexpected(Exception):
    """One that nobody opted in to."""


@pytest.fixture
def url(any_server):
    return any_server.url


@pytest.fixture
def app(url, namespace):
    with TaskQ("client", url, namespace, exceptions=(Refused,)) as app:

        @app.task(name="add")
        def add(a: int, b: int = 0) -> int:
            return a + b

        @app.task(name="big")
        def big(size: int) -> bytes:
            return b"x" * size

        yield app


@pytest.fixture
def listening(add, worker):
    """The listener's subscription stands when the test begins."""
    waited = add.delay(0)
    worker.run_all()
    waited.get(DEADLINE)
    wait_until(lambda: add.app._listener.epoch is not None)


def wait_until(reached):
    deadline = time.monotonic() + DEADLINE
    while not reached():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


def later(function, *args):
    """Call ``function`` in a thread once this thread waits."""
    timer = threading.Timer(0.05, function, args)
    timer.daemon = True
    timer.start()


def commands_of(client, name):
    return client.info("commandstats").get(f"cmdstat_{name}", {"calls": 0})["calls"]


def test_a_result_that_is_there_is_returned(add, worker):
    result = add.delay(1, 2)
    worker.run_all()
    assert result.get(DEADLINE) == 3


def test_a_waiter_is_told_of_a_later_end(add, worker):
    result = add.delay(1, 2)
    later(worker.run_all)
    assert result.result(DEADLINE) == 3


def test_who_is_told_reads_nothing(start_server, namespace):
    server = start_server()
    with TaskQ("client", server.url, namespace) as app:
        add = app.task(name="add")(pow)
        app.Queue("default").qsize()
        worker = HandWorker(app)
        with worker.serving():
            add.delay(2, 2).get(DEADLINE)
            wait_until(lambda: app._listener.epoch is not None)
            with server.client() as client:
                client.config_resetstat()
                for _ in range(20):
                    assert add.delay(2, 3).get(DEADLINE) == 8
                assert (commands_of(client, "mget"), commands_of(client, "hstrlen")) == (0, 0)


def test_a_result_too_large_for_an_announcement_arrives(app, worker):
    result = app.tasks["big"].delay(100_000)
    later(worker.run_all)
    assert len(result.get(DEADLINE)) == 100_000


@pytest.mark.usefixtures("listening")
def test_a_large_result_that_ended_before_the_wait_is_read(app, worker):
    result = app.tasks["big"].delay(100_000)
    worker.run_all()
    assert len(result.get(DEADLINE)) == 100_000


def test_another_holder_of_the_id_reads_it(app, add, worker, url, namespace):
    result = add.delay(1, 2)
    with TaskQ("other", url, namespace) as other:
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


@pytest.mark.parametrize("timeout", [0, -1, 0.05])
def test_a_wait_ends_after_its_timeout(add, timeout):
    started = time.monotonic()
    with pytest.raises(TimeoutError, match="has not ended"):
        add.delay(1).result(timeout)
    assert time.monotonic() - started >= timeout


def test_a_wait_that_timed_out_may_be_repeated(add, worker):
    result = add.delay(1)
    with pytest.raises(TimeoutError):
        result.get(0.01)
    later(worker.run_all)
    assert result.get(DEADLINE) == 1


def test_a_look_finds_what_has_ended(add, worker):
    result = add.delay(1)
    worker.run_all()
    assert result.get(0) == 1


def test_an_unknown_id_is_no_endless_wait(app):
    with pytest.raises(UnknownOrExpired, match="default/none"):
        app.AsyncResult("default/none").get()


def test_a_job_that_vanishes_is_no_endless_wait(start_server, namespace):
    server = start_server()
    with TaskQ("client", server.url, namespace) as app, server.client() as client:
        result = app.task(name="t")(len).delay([])
        later(client.flushall)
        with pytest.raises(UnknownOrExpired):
            result.get(DEADLINE)


def test_a_dead_job_whose_result_expired_still_tells_why(app, add, worker):
    result = add.delay(1)
    worker.raise_(worker.claim_one(), ValueError("why"), ttl_ms=1)
    wait_until(lambda: app.broker.read(jobs.result(app.broker.keys("default"), result.unique)) is None)
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


def test_a_job_without_a_result_is_done_when_it_is_gone(app, worker):
    result = app.task(name="q", ignore_result=True)(len).delay([])
    assert not result.done()
    worker.run_all()
    assert result.done()


def test_done_finds_out_without_a_wait(add, worker):
    result = add.delay(1)
    assert not result.done()
    worker.run_all()
    assert result.done()


def test_done_of_a_result_that_will_be_announced_asks_nobody(own_app, own_server):
    add, worker = own_app.tasks["add"], HandWorker(own_app)
    waited = add.delay(2, 1)
    with pytest.raises(TimeoutError):
        waited.get(0.05)
    wait_until(lambda: own_app._listener.epoch is not None)
    fresh = add.delay(2, 2)
    with pytest.raises(TimeoutError):
        waited.get(0.05)  # it is read during the subscription that stands now
    with own_server.client() as client:
        client.config_resetstat()
        assert (waited.done(), fresh.done(), commands_of(client, "get")) == (False, False, 0)
    worker.run_all()
    wait_until(lambda: waited.done() and fresh.done())


@pytest.mark.usefixtures("listening")
def test_done_of_a_large_result_is_found_out(app, worker):
    result = app.tasks["big"].delay(100_000)
    worker.run_all()
    wait_until(result.done)


@pytest.mark.usefixtures("listening")
def test_done_is_found_out_by_every_handle_of_one_id(app, add, worker):
    handles = [add.apply_async((1,), job_id="one") for _ in range(2)]
    for handle in handles:
        with pytest.raises(TimeoutError):
            handle.get(0.05)
    worker.run_all()
    wait_until(lambda: all(handle.done() for handle in handles))


class Told:
    """A sink that remembers what it was told."""

    def __init__(self):
        self.heard = []

    def _settle(self, job_id, data):
        self.heard.append(decode_record(data).error)

    def _vanish(self, job_id):
        self.heard.append("vanished")

    def _covered(self, epoch): ...


@pytest.mark.parametrize(("dead", "why"), [(False, None), (True, ErrorInfo("ValueError", "why"))])
def test_a_job_that_ends_between_two_reads_of_the_poller_is_not_missed(app, add, worker, dead, why):
    result, sink = add.delay(1), Told()
    job = worker.claim_one()
    worker.raise_(job, ValueError("why")) if dead else worker.run(job)
    registry = Registry()
    registry.add(Watch(sink, [result.id], pushed=True, wake=None))
    poller.Poller(app.broker, registry, lambda _: None)._probe(result.id, deep=True)
    assert sink.heard == [why]


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


def test_a_callback_hears_of_the_end(add, worker):
    seen = threading.Event()
    result = add.delay(1)
    result.add_done_callback(lambda done: done.result() == 1 and seen.set())
    worker.run_all()
    assert seen.wait(DEADLINE)


def test_a_callback_is_called_though_nobody_keeps_the_handle(add, worker):
    seen = threading.Event()
    add.delay(1).add_done_callback(lambda done: seen.set())
    gc.collect()
    worker.run_all()
    assert seen.wait(DEADLINE)


def test_then_is_for_success_and_its_other_half_for_failure(add, worker):
    good, bad, seen = add.delay(1), add.delay(2), standard.Queue()
    good.then(lambda done: seen.put(("good", done.get())), lambda done: seen.put("no"))
    bad.then(lambda done: seen.put("no"), lambda done: seen.put(("bad", done.traceback)))
    worker.run(worker.claim_one())
    worker.raise_(worker.claim_one(), ValueError(), "tb")
    assert {seen.get(timeout=DEADLINE), seen.get(timeout=DEADLINE)} == {("good", 1), ("bad", "tb")}


def test_wait_of_the_standard_library_works(add, worker):
    results = [add.delay(number) for number in range(10)]
    later(worker.run_all)
    done, not_done = concurrent.futures.wait(results, DEADLINE)
    assert (len(done), not_done) == (10, set())


def test_as_completed_of_the_standard_library_works(add, worker):
    results = [add.delay(number) for number in range(10)]
    later(worker.run_all)
    assert sorted(done.result() for done in concurrent.futures.as_completed(results, DEADLINE)) == list(range(10))


def test_the_standard_librarys_waits_leave_nothing_behind(app, add):
    results = [add.delay(number) for number in range(3)]
    concurrent.futures.wait(results, 0.01)
    assert app._listener._registry.waiting() == 0


def test_many_threads_may_wait_for_one_result(add, worker):
    result = add.delay(5)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        waits = [pool.submit(result.get, DEADLINE) for _ in range(8)]
        worker.run_all()
        assert [wait.result() for wait in waits] == [5] * 8


def test_two_handles_of_one_id_are_both_told(app, add, worker):
    first, second = add.apply_async((1,), job_id="one"), add.apply_async((1,), job_id="one")
    third = app.AsyncResult("default/one")
    later(worker.run_all)
    assert [done.get(DEADLINE) for done in (first, second, third)] == [1, 1, 1]


def test_a_wait_that_ended_leaves_nothing_behind(app, add, worker):
    result = add.delay(1)
    with pytest.raises(TimeoutError):
        result.get(0.01)
    assert app._listener._registry.waiting() == 0


def test_a_dropped_handle_is_forgotten(app, add, worker, listening):
    add.delay(1)
    gc.collect()
    assert len(app._listener._registry._known) == 0


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


# -- cancelling ---


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


# -- losing the connection ---


@pytest.fixture
def own_server(start_server):
    """A server that the test may harm."""
    return start_server(appendonly="yes", appendfsync="always")


@pytest.fixture
def own_app(own_server, namespace):
    with TaskQ("client", own_server.url, namespace, call_deadline=30) as app:
        app.task(name="add")(pow)
        app.Queue("default").qsize()
        yield app


def kill_subscribers(server):
    with server.client() as client:
        return client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


def test_an_end_that_was_announced_while_nobody_listened_is_found(own_app, own_server, monkeypatch):
    monkeypatch.setattr(poller, "LONGEST_INTERVAL", 60.0)  # the safety net would find it too
    add, worker = own_app.tasks["add"], HandWorker(own_app)
    with worker.serving():
        add.delay(2, 2).get(DEADLINE)
    waiting = add.delay(2, 3)
    found = standard.Queue()
    waiting.add_done_callback(lambda done: found.put(done.get()))
    wait_until(lambda: own_app._listener.epoch is not None)
    before = own_app._listener.epoch
    assert kill_subscribers(own_server) == 1
    worker.run_all()
    assert found.get(timeout=DEADLINE) == 8
    wait_until(lambda: own_app._listener.epoch not in {None, before})


def test_what_was_sent_before_the_connection_was_lost_is_read_again(own_app, own_server):
    add, worker = own_app.tasks["add"], HandWorker(own_app)
    with worker.serving():
        add.delay(2, 2).get(DEADLINE)
    wait_until(lambda: own_app._listener.epoch is not None)
    result, before = add.delay(2, 3), own_app._listener.epoch
    kill_subscribers(own_server)
    worker.run_all()
    wait_until(lambda: own_app._listener.epoch not in {None, before})
    assert result.done()


def test_waiting_survives_a_restart_of_the_server(own_app, own_server):
    add = own_app.tasks["add"]
    result = add.delay(2, 3)
    found = standard.Queue()
    result.add_done_callback(lambda done: found.put(done.get()))
    wait_until(lambda: own_app._listener.epoch is not None)
    own_server.restart()
    HandWorker(own_app).run_all()
    assert found.get(timeout=3 * DEADLINE) == 8


def test_a_waiter_is_told_when_the_server_is_gone_for_good(start_server, namespace):
    server = start_server()
    with TaskQ("client", server.url, namespace, call_deadline=0.3) as app:
        result = app.task(name="t")(len).delay([])
        server.kill()
        with pytest.raises((BrokerUnavailable, Indeterminate)):
            result.get()


def test_nonsense_on_the_channel_does_not_stop_the_listener(own_app, own_server):
    add, worker = own_app.tasks["add"], HandWorker(own_app)
    result = add.delay(2, 3)
    with pytest.raises(TimeoutError):
        result.get(0.05)
    with own_server.client() as client:
        client.publish(channel(own_app.settings.namespace, own_app._listener.token), b"\xffnonsense")
    later(worker.run_all)
    assert result.get(DEADLINE) == 8


@pytest.mark.usefixtures("listening")
def test_closing_the_app_ends_waits_with_an_error(app, add):
    result = add.delay(1)
    later(app.close)
    with pytest.raises(BrokerUnavailable, match="closed"):
        result.get(DEADLINE)


def test_closing_ends_the_threads_and_the_next_use_starts_anew(app, add, worker):
    others = set(threading.enumerate())
    with worker.serving():
        add.delay(1).get(DEADLINE)
        app.close()
        names = {"taskq-listener", "taskq-poller"}
        wait_until(lambda: not [t for t in threading.enumerate() if t.name in names and t not in others])
        assert add.delay(2).get(DEADLINE) == 2


# -- inside jobs ---


@pytest.fixture
def in_job():
    token = current_job.set(JobContext("default/1", "t", "default", served_queues=frozenset({"default"})))
    yield
    current_job.reset(token)


@pytest.mark.usefixtures("in_job")
@pytest.mark.parametrize("wait", ["result", "get", "exception"])
def test_a_job_does_not_wait_for_its_own_workers_queue(add, wait):
    with pytest.raises(DeadlockRisk, match="default/1"):
        getattr(add.delay(1), wait)(1)


@pytest.mark.usefixtures("in_job")
def test_a_coroutine_job_does_not_await_its_own_workers_queue(add):
    async def job():
        await add.delay(1)

    with pytest.raises(DeadlockRisk):
        asyncio.run(job())


@pytest.mark.usefixtures("in_job")
def test_who_insists_waits_in_a_job(add, worker):
    result = add.delay(1)
    worker.run_all()
    assert result.get(DEADLINE, allow_deadlock=True) == 1


@pytest.mark.usefixtures("in_job")
def test_a_result_that_is_known_is_no_wait(add, worker):
    result = add.delay(1)
    worker.run_all()
    assert result.done()
    assert result.get() == 1


GEVENT = """
from gevent import monkey; monkey.patch_all()
import gevent, sys, warnings
from taskq import TaskQ
app = TaskQ("green", sys.argv[1], sys.argv[2])
@app.task(name="add")
def add(a, b=0): ...
jobs = [gevent.spawn(lambda n=n: add.delay(1, n).get(10)) for n in range(50)]
gevent.joinall(jobs, timeout=20, raise_error=True)
print([job.value for job in jobs] == list(range(1, 51)))
app.close()
"""


def test_waiting_works_in_patched_gevent(worker, url, namespace):
    with worker.serving():
        done = subprocess.run(
            [sys.executable, "-c", GEVENT, url, namespace], capture_output=True, text=True, timeout=60, check=False
        )
    assert (done.stdout.strip(), done.stderr) == ("True", "")


SILENT_EXIT = """
import sys
from taskq import TaskQ
app = TaskQ("exit", sys.argv[1], sys.argv[2])
result = app.task(name="add")(pow).delay(1, 1)
result.add_done_callback(print)
try:
    result.get(0.05)
except TimeoutError:
    pass
"""


def test_a_process_ends_quietly_while_it_listens(url, namespace):
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", SILENT_EXIT, url, namespace],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_lengths_are_as_the_queue_has_them(app, add, worker):
    add.delay(1)
    info = app.broker.run(queues.inspect(app.broker.keys("default")))
    assert (info.ready, app.queues["default"].info().ready) == (1, 1)


def test_a_record_of_another_codec_than_the_tasks_is_read(app, add, worker):
    result = add.delay(1)
    record = Record(RECORD_VERSION, Ending.SUCCEEDED, b'{"a":1}', "json", task="add")
    job = worker.claim_one()
    full = work.FullSettlement(job.unique, job.delivery, "o", encode_record(record), 60_000, b"", "")
    worker.broker.run(work.step(app.broker.keys("default"), worker.id, work.StepRequest(full=[full])))
    assert result.get(DEADLINE) == {"a": 1}
