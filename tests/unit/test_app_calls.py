"""What is refused before anything is sent: the server of these tests does not exist."""

from __future__ import annotations

import math
import threading
from datetime import UTC, datetime, timedelta

import pytest

from taskq import JobContext, TaskQ, current_job
from taskq.client.options import check_delay, check_expires, check_room
from taskq.client.waiting import check_deadlock, check_wait
from taskq.errors import (
    BadArguments,
    DeadlockRisk,
    InvalidDelay,
    InvalidJobId,
    InvalidOption,
    InvalidPriority,
    InvalidQueueName,
    InvalidTimeout,
    InvalidURL,
    PayloadTooLarge,
    SerializationError,
    UnknownTask,
)


@pytest.fixture
def app():
    return TaskQ("unit", "redis://127.0.0.1:1", max_body=2048)


@pytest.fixture
def add(app):
    @app.task(name="calc.add")
    def add(a: int, b: int = 0) -> int:
        return a + b

    return add


@pytest.fixture
def take(app):
    @app.task(name="calc.take")
    def take(value) -> None: ...

    return take


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((), {}, "lacks argument 'a'"),
        ((1, 2, 3), {}, "takes at most 2"),
        ((1,), {"c": 3}, "has no argument 'c'"),
        (("one",), {}, "argument 'a'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(add, args, kwargs, said):
    with pytest.raises(BadArguments, match=said):
        add.delay(*args, **kwargs)


def test_a_bad_item_of_many_is_named_by_its_number(add):
    with pytest.raises(BadArguments) as raised:
        list(_chunks_of(add, [1, 2, "three"]))
    assert "item 2" in raised.value.__notes__[0]


def _chunks_of(task, items):
    from taskq.broker.queues import Declared
    from taskq.client.bulk import _chunks
    from taskq.model.discipline import Discipline

    return _chunks(task, task.app._sender, Declared(Discipline.FIFO, 0, "test"), zip(items, strict=False))


def test_what_is_no_data_is_refused_by_its_path(take):
    with pytest.raises(SerializationError, match=r"args\[0\]\['lock'\]"):
        take.delay({"lock": threading.Lock()})


def test_a_job_over_the_limit_is_refused(take):
    with pytest.raises(PayloadTooLarge, match="over max_body of 2048"):
        take.delay(b"x" * 3000)


def test_an_unknown_task_is_refused_with_the_nearest(app, add):
    with pytest.raises(UnknownTask, match=r"did you mean 'calc\.add'"):
        app.send_task("calc.ad")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"countdown": -1}, InvalidDelay),
        ({"countdown": 1, "eta": datetime.now(UTC)}, InvalidDelay),
        ({"eta": datetime(2030, 1, 1)}, InvalidDelay),  # noqa: DTZ001
        ({"expires": 0}, InvalidTimeout),
        ({"expires": datetime(2030, 1, 1)}, InvalidTimeout),  # noqa: DTZ001
        ({"result_ttl": -1}, InvalidTimeout),
        ({"time_limit": math.nan}, InvalidTimeout),
        ({"timeout": -1}, InvalidTimeout),
        ({"timeout": "5"}, InvalidTimeout),
        ({"job_id": ""}, InvalidJobId),
        ({"job_id": "a b"}, InvalidJobId),
        ({"job_id": "x" * 65}, InvalidJobId),
        ({"job_id": "a*"}, InvalidJobId),
        ({"priority": math.inf}, InvalidPriority),
        ({"queue": "a/b"}, InvalidQueueName),
        ({"headers": {1: 2}}, SerializationError),
        ({"headers": {"a": object()}}, SerializationError),
        ({"headers": "x"}, SerializationError),
        ({"ignore_result": 1}, InvalidOption),
        ({"link": "calc.add"}, InvalidOption),
        ({"countdwn": 5}, InvalidOption),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(add, options, error):
    with pytest.raises(error) as raised:
        add.apply_async((1,), **options)
    assert "\n" not in str(raised.value)


def test_a_priority_on_a_queue_declared_without_is_refused(app, add):
    with pytest.raises(InvalidPriority, match="only priority queues"):
        add.apply_async((1,), queue=app.Queue("plain"), priority=1)


@pytest.mark.parametrize("countdown", [-0.001, math.nan, math.inf, 1e300, 10**400, "5", True])
def test_a_countdown_is_a_number_of_seconds_within_ten_years(countdown):
    with pytest.raises(InvalidDelay):
        check_delay(countdown, None)


@pytest.mark.parametrize("eta", [datetime.max.replace(tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC), "2030-01-01", 5])
def test_an_eta_is_an_aware_datetime_within_ten_years(eta):
    with pytest.raises(InvalidDelay):
        check_delay(None, eta)


def test_a_past_eta_is_now():
    assert check_delay(None, datetime.now(UTC) - timedelta(days=1)) == 0


def test_a_countdown_is_rounded_up_to_milliseconds():
    assert check_delay(0.0001, None) == 1


def test_an_eta_is_counted_from_now():
    assert 59_000 < check_delay(None, datetime.now(UTC) + timedelta(minutes=1)) <= 60_000


def test_a_past_expiry_is_at_once():
    assert check_expires(datetime.now(UTC) - timedelta(days=1)) == 0


def test_an_endless_wait_for_room_has_no_limit():
    assert check_room(math.inf) is None


@pytest.mark.parametrize(("timeout", "seconds"), [(None, None), (0, 0.0), (-3, 0.0), (1.5, 1.5), (math.inf, None)])
def test_a_wait_is_measured_as_futures_do(timeout, seconds):
    assert check_wait(timeout) == seconds


@pytest.mark.parametrize("timeout", [math.nan, "5", True])
def test_a_wait_that_is_no_number_is_refused(timeout):
    with pytest.raises(InvalidTimeout):
        check_wait(timeout)


@pytest.fixture
def in_job():
    token = current_job.set(JobContext("own/1", "t", "own", served_queues=frozenset({"own"})))
    yield
    current_job.reset(token)


@pytest.mark.usefixtures("in_job")
def test_waiting_in_a_job_for_its_own_workers_queue_is_a_deadlock():
    with pytest.raises(DeadlockRisk, match="allow_deadlock=True"):
        check_deadlock("own", "job 2", allowed=False)


@pytest.mark.usefixtures("in_job")
@pytest.mark.parametrize(("queue", "allowed"), [("other", False), ("own", True)])
def test_other_queues_and_who_insists_may_wait_in_a_job(queue, allowed):
    check_deadlock(queue, "job 2", allowed=allowed)


@pytest.mark.usefixtures("in_job")
def test_a_result_is_not_waited_for_in_a_job_of_its_own_workers_queue(app):
    with pytest.raises(DeadlockRisk):
        app.AsyncResult("own/2").get(timeout=1)


@pytest.mark.parametrize("url", ["", "http://x", "redis://:secret@h:0", "redis:/x"])
def test_an_url_is_checked_when_the_app_is_made(url, monkeypatch):
    monkeypatch.setenv("TASKQ_URL", "redis://fine")
    with pytest.raises(InvalidURL) as raised:
        TaskQ("unit", url or "redis://")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("job_id", ["", "a/b/c", "a b", "/x", 5])
def test_an_id_that_is_none_is_refused(app, job_id):
    with pytest.raises((InvalidJobId, InvalidQueueName)):
        app.AsyncResult(job_id)
