"""From a call to a job on its queue."""

from __future__ import annotations

import os
import queue as standard
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from childdriver import eventually
from handworker import HandWorker

from taskq import JobContext, TaskQ, current_job
from taskq.broker import jobs
from taskq.broker.call import Command
from taskq.broker.finishing import follow_ups
from taskq.errors import (
    InvalidPriority,
    JobConflict,
    QueueConflict,
    SerializationError,
    UnknownOrExpired,
)
from taskq.model.job import Job, split_data

DEADLINE = 10.0  # seconds: the machine may run other suites


@pytest.fixture
def app(url, namespace):
    with TaskQ("client", url, namespace) as app:

        @app.task(name="add")
        def add(a: int, b: int = 0) -> int:
            return a + b

        @app.task(name="quiet", ignore_result=True)
        def quiet(a: int = 0) -> None: ...

        yield app


def stored(result):
    """Return header and body of a job as the server has it."""
    app = result._app
    return app.broker.run(jobs.find(app.broker.keys(result.queue), result.unique))


def test_delay_puts_a_job_on_the_default_queue(app, add, worker):
    result = add.delay(1, b=2)
    job = worker.claim_one()
    assert (job.id, job.body.task) == (result.id, "add")
    assert add.signature.decode_arguments(add.codec, job.body.payload) == ((1,), {"b": 2})


def test_a_task_may_name_its_queue(app):
    task = app.task(queue="other")(len)
    assert task.delay([]).queue == "other"


def test_a_call_may_name_its_queue(app, add):
    assert add.apply_async((1,), queue=app.LifoQueue("stack")).queue == "stack"


def test_queues_are_entered_in_the_registry(app, add, namespace):
    add.apply_async((1,), queue="seen")
    assert app.broker.read(jobs.queue_names(namespace)) == ["seen"]


def test_a_fifo_queue_hands_out_in_order(app, add, worker):
    ids = [add.delay(number).id for number in range(5)]
    assert [job.id for job in worker.claim(count=5)] == ids


def test_a_lifo_queue_hands_out_the_newest_first(app, add):
    stack = app.LifoQueue("stack")
    ids = [add.apply_async((number,), queue=stack).id for number in range(5)]
    assert [job.id for job in HandWorker(app, "stack").claim(count=5)] == ids[::-1]


def test_a_priority_queue_hands_out_the_lowest_number_first(app, add):
    ranked = app.PriorityQueue("ranked")
    by_rank = {rank: add.apply_async((1,), queue=ranked, priority=rank).id for rank in (3, -1.5, 1e9, 0.25)}
    by_rank[0] = add.apply_async((1,), queue=ranked).id
    assert [job.id for job in HandWorker(app, "ranked").claim(count=5)] == [by_rank[rank] for rank in sorted(by_rank)]


def test_a_tasks_priority_holds_for_plain_calls(app):
    @app.task(queue=app.PriorityQueue("ranked"), priority=7)
    def work() -> None: ...

    work.delay()
    work.delay()
    assert [job.header.priority for job in HandWorker(app, "ranked").claim(count=2)] == [7.0, 7.0]


def test_a_tasks_priority_does_not_count_on_a_plain_queue(app):
    @app.task(queue=app.PriorityQueue("ranked"), priority=7)
    def work() -> None: ...

    assert stored(work.apply_async(queue="plain")).place == "ready"


def test_a_priority_on_a_queue_that_others_declared_without_is_refused(app, add, url, namespace):
    with TaskQ("other", url, namespace) as other:
        other.Queue("shared").qsize()
    with pytest.raises(InvalidPriority, match=r"fifo queue declared by 'other, "):
        add.apply_async((1,), queue="shared", priority=1)


def test_a_queue_declared_otherwise_elsewhere_is_refused(app, add, url, namespace):
    with TaskQ("other", url, namespace) as other:
        other.LifoQueue("shared").qsize()
    with pytest.raises(QueueConflict, match=r"is fifo here, but lifo since 'other, .* \d+' declared it"):
        add.apply_async((1,), queue=app.Queue("shared"))


def test_a_name_alone_takes_the_queue_as_it_is(app, add, url, namespace):
    with TaskQ("other", url, namespace) as other:
        other.PriorityQueue("shared").qsize()
    assert stored(add.apply_async((1,), queue="shared", priority=3)).score == 3.0


def test_a_queue_that_vanished_is_declared_again(url, namespace, start_server):
    server = start_server()
    with TaskQ("client", server.url, namespace) as app:
        task = app.task(name="t")(len)
        task.delay([])
        with server.client() as client:
            client.flushall()
        assert stored(task.delay([])).place == "ready"


@pytest.mark.parametrize("options", [{"countdown": 60}, {"eta": datetime.now(UTC) + timedelta(hours=1)}])
def test_a_job_may_be_due_later(add, options):
    assert stored(add.apply_async((1,), **options)).place == "delayed"


def test_a_past_eta_is_due_at_once(add):
    assert stored(add.apply_async((1,), eta=datetime.now(UTC) - timedelta(hours=1))).place == "ready"


def test_an_expired_job_is_not_handed_out(add, worker):
    add.apply_async((1,), expires=datetime.now(UTC) - timedelta(seconds=1))
    assert worker.claim() == []


def test_a_tasks_expiry_holds_for_plain_calls(app, worker):
    @app.task(expires=30)
    def work() -> None: ...

    work.delay()
    assert worker.claim_one().header.expires_ms == 30_000


def test_limits_of_a_call_travel_in_its_body(add, worker):
    add.apply_async((1,), result_ttl=5, time_limit=2.5, headers={"user": "ann", "n": [1, 2]})
    assert worker.claim_one().body.meta == {
        "result_ttl": 5.0,
        "time_limit": 2.5,
        "headers": {"user": "ann", "n": [1, 2]},
    }


@pytest.mark.parametrize("options", [{"ignore_result": True}, {"result_ttl": 0}])
def test_a_call_may_ask_for_no_result(add, worker, options):
    add.apply_async((1,), **options)
    assert (worker.claim_one().header.flags, worker.claim()) == ("i", [])


def test_a_call_may_ask_for_a_result_of_a_quiet_task(app, worker):
    app.tasks["quiet"].apply_async(ignore_result=False)
    header = worker.claim_one().header
    assert (header.flags, header.reply) == ("", app._listener.token)


def test_the_callers_token_travels_with_a_job_that_keeps_its_result(app, add, worker):
    add.delay(1)
    app.tasks["quiet"].delay()
    assert [job.header.reply for job in worker.claim(count=2)] == [app._listener.token, ""]


def test_the_same_call_under_one_id_is_one_job(add, worker):
    first, second = (add.apply_async((1,), job_id="once") for _ in range(2))
    assert first.id == second.id == "default/once"
    assert len(worker.claim(count=5)) == 1


def test_the_same_call_from_another_process_is_the_same_job(app, add, url, namespace, worker):
    add.apply_async((1,), job_id="once")
    with TaskQ("other", url, namespace) as other:
        same = other.task(name="add")(add.function).apply_async((1,), job_id="once")
        with pytest.raises(TimeoutError):
            same.get(0.1)
        worker.run_all()
        assert same.done()  # though its end was announced to the first caller


def test_another_call_under_a_taken_id_is_a_conflict(add):
    add.apply_async((1,), job_id="once")
    with pytest.raises(JobConflict, match="default/once"):
        add.apply_async((2,), job_id="once")


def test_the_id_of_a_job_that_ended_is_free_again(add, worker):
    add.apply_async((1,), job_id="once")
    worker.run_all()
    add.apply_async((2,), job_id="once")
    assert worker.claim_one().unique == "once"


def test_a_full_queue_blocks_until_there_is_room(app, add):
    small = app.Queue("small", maxsize=1)
    add.apply_async((1,), queue=small)
    sending = threading.Thread(target=lambda: add.apply_async((2,), queue=small), daemon=True)
    sending.start()
    sending.join(0.1)
    assert sending.is_alive()
    HandWorker(app, "small").claim()
    sending.join(DEADLINE)
    assert (sending.is_alive(), small.qsize()) == (False, 1)


def test_who_waits_for_room_is_told_first_come_first_served(app, add):
    small = app.Queue("small", maxsize=1)
    add.apply_async((0,), queue=small)
    line, sent = app.broker.keys("small").key("putters"), []

    def send(number):
        add.apply_async((number,), queue=small)
        sent.append(number)

    senders = [threading.Thread(target=send, args=(number,), daemon=True) for number in range(1, 6)]
    for number, sender in enumerate(senders, 1):
        sender.start()
        eventually(lambda number=number: app.broker.read(Command(("ZCARD", line), int)) == number, "it stands in line")
    worker, started = HandWorker(app, "small"), time.monotonic()
    for number in range(1, 6):
        worker.claim()
        eventually(lambda number=number: len(sent) == number, "the next was told")
    assert sent == [1, 2, 3, 4, 5]
    assert time.monotonic() - started < 1.5, "none had to look for itself, which the first does after 2 s"


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_a_full_queue_refuses_when_the_time_is_over(app, add, timeout):
    small = app.Queue("small", maxsize=1)
    add.apply_async((1,), queue=small)
    started = time.monotonic()
    with pytest.raises(standard.Full, match=r"'small' is full \(maxsize 1\)"):
        add.apply_async((2,), queue=small, timeout=timeout)
    assert time.monotonic() - started >= timeout
    assert small.qsize() == 1


def test_a_job_never_waits_for_room_in_a_queue_of_its_own_worker(app, add):
    small = app.Queue("small", maxsize=1)
    add.apply_async((1,), queue=small)
    token = current_job.set(JobContext("small/1", "t", "small", served_queues=frozenset({"small"})))
    try:
        add.apply_async((2,), queue=small, timeout=0)
    finally:
        current_job.reset(token)
    assert small.qsize() == 2


def test_a_jobs_calls_tell_where_they_come_from(add, worker):
    token = current_job.set(JobContext("q/child", "t", "q", root="q/first"))
    try:
        add.delay(1)
        add.delay_many([1])
    finally:
        current_job.reset(token)
    origin = {"parent": "q/child", "root": "q/first"}
    assert [job.body.meta for job in worker.claim(count=2)] == [origin, origin]


def test_hooks_add_headers_to_every_way_of_sending(app, add, worker):
    @app.hooks.before_send
    def trace(sending):
        sending.headers["trace"] = f"{sending.task} {sending.args} {sending.kwargs}"

    add.delay(1, b=2)
    add.apply_async((3,), headers={"own": 1})
    add.delay_many([4])
    assert [job.body.meta["headers"] for job in worker.claim(count=3)] == [
        {"trace": "add (1,) {'b': 2}"},
        {"own": 1, "trace": "add (3,) {}"},
        {"trace": "add (4,) {}"},
    ]


def test_links_travel_as_jobs_that_are_ready_to_be_sent(app, add, worker):
    quiet = app.task(name="audit", queue="audits", ignore_result=True)(len)
    parent = add.apply_async((1,), link=[(add, (5,), {"b": 6}), (quiet, ([],))], link_error=(quiet, (["x"],)))
    meta = worker.claim_one().body.meta
    (first, second), (failed,) = meta["link"], meta["link_error"]
    assert [link[:3] for link in (first, second, failed)] == [
        ["default", f"{parent.unique}.l0", 0],
        ["audits", f"{parent.unique}.l1", 0],
        ["audits", f"{parent.unique}.e0", 0],
    ]
    _, _, _, data = first
    app.broker.enqueue("default", [Job("linked", data)])
    linked = worker.claim_one()
    assert linked.body.meta == {"parent": parent.id, "root": parent.id}
    assert add.signature.decode_arguments(add.codec, linked.body.payload) == ((5,), {"b": 6})
    assert follow_ups(meta["link"])[1][0] == f"audits/{parent.unique}.l1"


def test_a_long_chosen_id_gives_its_links_ids_of_legal_length(add, worker):
    add.apply_async((1,), job_id="x" * 64, link=(add, (2,)))
    ((_, unique, _, _),) = worker.claim_one().body.meta["link"]
    assert len(unique) <= 64


def test_a_links_arguments_are_checked_when_the_parent_is_sent(app, add):
    take = app.task(name="take")(print)
    with pytest.raises(SerializationError):
        add.apply_async((1,), link=(take, (object(),)))


def test_a_task_may_be_sent_by_its_name(app, add, worker):
    result = app.send_task("add", (1,), {"b": 2})
    worker.run_all()
    assert result.get(DEADLINE) == 3


def test_a_task_that_only_workers_know_may_be_sent_by_name(app, worker):
    app.send_task("elsewhere.work", (1, "x"), {"deep": (1, {2})}, send_by_name=True)
    job = worker.claim_one()
    assert job.body.task == "elsewhere.work"


def test_a_json_task_travels_as_json(app, worker):
    @app.task(serializer="json")
    def work(a) -> None: ...

    work.delay({"a": [1]})
    body = worker.claim_one().body
    assert (body.codec, body.payload) == ("json", b'[{"a":[1]}]')


def test_concurrent_callers_all_get_their_jobs_in(add, worker):
    found = []

    def send():
        found.extend(add.delay(number).id for number in range(50))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert sorted(job.id for job in worker.claim(count=500)) == sorted(found)


def test_a_forked_child_sends_and_waits_on_its_own(app, add, worker):
    with worker.serving():
        assert add.delay(1).get(DEADLINE) == 1  # threads and connections exist when the fork comes
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = b"bad"
            try:
                if add.delay(20, 22).get(DEADLINE) == 42 and add.delay_many([1, 2]).get(DEADLINE) == [1, 2]:
                    status = b"good"
            finally:
                os.write(writing, status)
                os._exit(0)
        os.waitpid(pid, 0)
        assert os.read(reading, 10) == b"good"
        os.close(reading)
        os.close(writing)
        assert [add.delay(number).get(DEADLINE) for number in range(3)] == [0, 1, 2]


def test_two_apps_in_one_process_keep_apart(url, namespace, app, worker):
    with TaskQ("other", url, namespace + "x") as other:
        task = other.task(name="add")(lambda_free)
        task.delay()
        assert (worker.claim(), other.Queue("default").qsize()) == ([], 1)


def lambda_free() -> None: ...


def test_queue_questions(app, add):
    small = app.Queue("small", maxsize=2)
    assert (small.empty(), small.full()) == (True, False)
    add.apply_async((1,), queue=small)
    add.apply_async((1,), queue=small, countdown=60)
    assert (small.qsize(), small.empty(), small.full()) == (2, False, True)


def test_an_unbounded_queue_is_never_full(app, add):
    add.apply_async((1,), queue=app.Queue("wide"))
    assert not app.queues["wide"].full()


def test_a_paused_queue_hands_out_nothing_until_it_is_resumed(app, add, worker):
    queue = app.Queue("default")
    queue.pause()
    add.delay(1)
    assert worker.claim() == []
    queue.resume()
    assert len(worker.claim()) == 1


def test_purging_cancels_all_that_wait(app, add):
    queue = app.Queue("many")
    results = [add.apply_async((1,), queue=queue) for _ in range(250)]
    results.append(add.apply_async((1,), queue=queue, countdown=60))
    assert queue.purge() == 251
    assert all(result.cancelled() for result in results)


def test_the_stored_job_is_the_one_that_was_drafted(add):
    place = stored(add.delay(1))
    header, body = split_data(place.data)
    assert (header.version, header.flags, place.place) == (1, "", "ready")
    assert body.startswith(b"\x92")  # two parts: what is default takes no room


def test_an_unknown_bare_id_is_refused_at_once(app):
    with pytest.raises(UnknownOrExpired, match="nowhere"):
        app.AsyncResult("nowhere")
