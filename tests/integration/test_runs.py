"""Finished jobs read back from the results that are kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from handworker import HandWorker
from servers import TestServer

from taskq import TaskQ
from taskq.broker.call import Command
from taskq.broker.doctor import server_time
from taskq.client.runs import read_runs
from taskq.errors import InvalidOption, InvalidQueueName
from taskq.model.outcome import RECORD_VERSION, ErrorInfo, Record, encode_record

KEPT_MS = 60_000  # of records that a test writes


@pytest.fixture
def app(any_server: TestServer, namespace: str) -> Iterator[TaskQ]:
    with TaskQ("runs", any_server.url, namespace) as app:

        @app.task(name="proj.add")
        def add(a: int, b: int = 0) -> int:
            return a + b

        @app.task(name="proj.boom")
        def boom() -> None:
            raise ValueError("no\nway")

        yield app


@pytest.fixture
def add(app: TaskQ) -> Any:
    return app.tasks["proj.add"]


@pytest.fixture
def now(app: TaskQ) -> float:
    """The server's clock."""
    return app.broker.read(server_time())


def write(app: TaskQ, job_id: str, data: bytes) -> None:
    queue, _, unique = job_id.partition("/")
    app.broker.read(Command(("SET", app.broker.keys(queue).result(unique), data, "PX", KEPT_MS), bool))


def keep(app: TaskQ, job_id: str, finished: float, **facts: Any) -> None:
    """Write the record of a job that ended then."""
    us = int(finished * 1e6)
    record = {"ending": "succeeded", "task": "proj.add", "started_us": us - 1000, "finished_us": us} | facts
    write(app, job_id, encode_record(Record(RECORD_VERSION, **record)))


def ids(app: TaskQ, **asked: Any) -> list[str]:
    return [run.id for run in read_runs(app, **asked).runs]


def test_jobs_that_ended_are_found_with_their_task_and_worker(app: TaskQ, add: Any, worker: HandWorker) -> None:
    job = add.delay(1)
    worker.run_all()
    (run,) = read_runs(app).runs
    assert (run.id, run.queue, run.task, run.worker, run.ending) == (
        job.id,
        "default",
        "proj.add",
        worker.id,
        "succeeded",
    )


def test_a_failure_is_found_with_its_error_in_one_line(app: TaskQ, worker: HandWorker) -> None:
    app.tasks["proj.boom"].delay()
    worker.run_all()
    (run,) = read_runs(app).runs
    assert (run.failed, run.error, run.message) == (True, "ValueError", "no way")


def test_jobs_that_have_not_ended_are_not_found(app: TaskQ, add: Any) -> None:
    add.delay(1)
    assert read_runs(app).read == 0


def test_all_times_of_a_record_come_back_in_seconds(app: TaskQ, now: float) -> None:
    us = int(now * 1e6)
    keep(app, "default/a", now, enqueued_us=us - 3_000_000, claimed_us=us - 2_000_000, started_us=us - 1_000_000)
    (run,) = read_runs(app).runs
    ago = [round(now - moment, 5) for moment in (run.enqueued, run.claimed, run.started, run.finished) if moment]
    assert ago == [3.0, 2.0, 1.0, 0.0]


def test_jobs_come_in_the_order_of_their_ends(app: TaskQ, now: float) -> None:
    for name, ago in (("a", 5), ("b", 9), ("c", 1)):
        keep(app, f"default/{name}", now - ago)
    assert ids(app) == ["default/b", "default/a", "default/c"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"since": timedelta(seconds=60)}, ["default/new"]),
        ({"until": timedelta(seconds=60)}, ["default/old"]),
        ({"since": timedelta(seconds=200), "until": timedelta(seconds=50)}, ["default/old"]),
        ({"since": timedelta(seconds=50), "until": timedelta(seconds=40)}, []),
    ],
)
def test_the_end_of_a_job_decides_whether_it_was_then(
    app: TaskQ, now: float, asked: dict[str, Any], found: list[str]
) -> None:
    keep(app, "default/old", now - 100)
    keep(app, "default/new", now - 1)
    assert ids(app, **asked) == found


def test_a_moment_may_be_given_by_the_servers_clock(app: TaskQ, now: float) -> None:
    keep(app, "default/old", now - 100)
    keep(app, "default/new", now - 1)
    assert ids(app, until=now - 50) == ["default/old"]


def test_a_job_without_an_end_is_in_no_span_of_time(app: TaskQ) -> None:
    keep(app, "default/a", 0.0, started_us=0)
    assert (ids(app), ids(app, since=timedelta(days=9))) == (["default/a"], [])


def test_a_span_that_ends_before_it_begins_is_refused(app: TaskQ) -> None:
    with pytest.raises(InvalidOption, match=r"since, 10 s ago, comes after until, 20 s ago"):
        read_runs(app, since=timedelta(seconds=10), until=timedelta(seconds=20))


@pytest.mark.parametrize(
    ("queues", "found"),
    [((), ["a", "b", "c"]), (("a",), ["a"]), (("a", "c"), ["a", "c"]), (("a", "a"), ["a"]), (("d",), [])],
)
def test_only_jobs_of_the_queues_asked_for(app: TaskQ, now: float, queues: tuple[str, ...], found: list[str]) -> None:
    for at, queue in enumerate("abc"):
        keep(app, f"{queue}/job", now + at)
    assert ids(app, queues=queues) == [f"{queue}/job" for queue in found]


def test_a_queue_that_cannot_be_is_refused(app: TaskQ) -> None:
    with pytest.raises(InvalidQueueName, match=r"'a\*'"):
        read_runs(app, queues=["a*"])


@pytest.mark.parametrize(("task", "count"), [("proj.add", 1), ("add", 1), ("dd", 0), ("proj", 0)])
def test_a_task_is_asked_for_by_its_name_or_ending(app: TaskQ, now: float, task: str, count: int) -> None:
    keep(app, "default/a", now)
    keep(app, "default/b", now, task="proj.boom")
    assert len(ids(app, tasks=[task])) == count


def test_other_tasks_are_named_for_who_mistyped(app: TaskQ, now: float) -> None:
    keep(app, "default/a", now)
    assert read_runs(app, tasks=["ad"]).tasks == {"proj.add"}


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"not a record", b"\x91\x01", encode_record(Record(RECORD_VERSION, "exploded"))],
    ids=["empty", "number", "text", "short", "unknown ending"],
)
def test_a_damaged_record_is_counted_and_left_out(app: TaskQ, now: float, data: bytes) -> None:
    write(app, "default/bad", data)
    keep(app, "default/good", now)
    found = read_runs(app)
    assert ([run.id for run in found.runs], found.read, found.damaged) == (["default/good"], 2, 1)


@pytest.mark.parametrize("us", [-5, 10**18, 2**63])
def test_a_time_that_cannot_be_is_unknown(app: TaskQ, us: int) -> None:
    write(app, "default/a", encode_record(Record(RECORD_VERSION, "succeeded", started_us=us, finished_us=us)))
    (run,) = read_runs(app).runs
    assert (run.started, run.finished) == (None, None)


def test_a_start_after_the_end_is_unknown(app: TaskQ, now: float) -> None:
    keep(app, "default/a", now, started_us=int(now * 1e6) + 1)
    assert read_runs(app).runs[0].started is None


def test_a_key_of_another_type_is_left_alone(app: TaskQ, now: float) -> None:
    app.broker.read(Command(("RPUSH", app.broker.keys("default").result("list"), "x"), int))
    keep(app, "default/a", now)
    assert ids(app) == ["default/a"]
    app.broker.read(Command(("DEL", app.broker.keys("default").result("list")), int))


def test_another_namespace_is_left_alone(app: TaskQ, any_server: TestServer, now: float) -> None:
    with TaskQ("other", any_server.url, f"{app.settings.namespace}x") as other:
        keep(other, "default/a", now)
        assert ids(app) == []


def test_a_long_message_is_shortened(app: TaskQ, now: float) -> None:
    keep(app, "default/a", now, ending="failed", error=ErrorInfo("E", "x" * 2000))
    assert len(read_runs(app).runs[0].message) == 200


def test_thousands_of_results_are_read_in_pages(app: TaskQ, now: float) -> None:
    record = encode_record(Record(RECORD_VERSION, "succeeded", task="proj.add", finished_us=int(now * 1e6)))
    script = (
        "for i = 1, tonumber(ARGV[3]) do redis.call('SET', KEYS[1] .. 'j' .. i, ARGV[1], 'PX', ARGV[2]) end return 1"
    )
    key = app.broker.keys("default").result("")
    app.broker.read(Command(("EVAL", script, 1, key, record, KEPT_MS, 5000), bool))
    assert sorted(ids(app)) == sorted(f"default/j{i}" for i in range(1, 5001))


def test_queues_of_a_cluster_are_read_apart(cluster_server: TestServer, namespace: str) -> None:
    with TaskQ("runs", cluster_server.url, namespace) as app:
        for at, queue in enumerate("abcdef"):
            keep(app, f"{queue}/job", 1_800_000_000.0 + at)
        assert ids(app) == [f"{queue}/job" for queue in "abcdef"]
