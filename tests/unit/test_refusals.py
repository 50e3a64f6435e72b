"""Input of the wrong shape is refused in one line that names it and the way out; nothing is sent."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import ResponseError

from taskq import TaskQ
from taskq.broker.failures import translate
from taskq.broker.keys import QueueKeys
from taskq.broker.queues import declare, inspect
from taskq.client.options import check_delay
from taskq.config import resolve
from taskq.errors import (
    BadArguments,
    BrokerReadOnly,
    ConfigError,
    InvalidDelay,
    InvalidOption,
    InvalidPriority,
    InvalidQueueName,
    InvalidTask,
    InvalidURL,
    WrongServer,
    WrongType,
    clean,
)
from taskq.model.discipline import Discipline, check_priority
from taskq.model.retry import RetryPolicy


@pytest.fixture
def app() -> TaskQ:
    return TaskQ("unit", "redis://127.0.0.1:1", max_body=2048)


def one_line(error: BaseException) -> str:
    text = str(error)
    assert text.isprintable()
    assert len(text) < 400
    return text


@pytest.mark.parametrize(
    "name",
    ["", "q" * 101, "a b", "a{b}", "*", "../x", "a:b", "\n", "a\n", "\0", "\N{SNOWMAN}", "\u202e", "__x", "a~1",
     5, b"x", None, ["a"]],
)  # fmt: skip
def test_a_queue_name_that_keys_cannot_carry_is_refused_with_the_pattern(app: TaskQ, name: Any) -> None:
    with pytest.raises(InvalidQueueName) as raised:
        app.Queue(name)
    assert "1 to 100 letters, digits, '.', '_' or '-'" in one_line(raised.value)
    assert isinstance(raised.value, ConfigError)


@pytest.mark.parametrize("url", ["", " "])
def test_an_empty_url_is_no_way_to_the_embedded_server(url: str) -> None:
    with pytest.raises(InvalidURL, match="leave it out"):
        TaskQ("unit", url)


@pytest.mark.parametrize("args", ["ab", b"ab", 5, None, {"x": 1}, {1}])
def test_arguments_that_are_no_sequence_are_refused(app: TaskQ, args: Any) -> None:
    @app.task(name="take")
    def take(*values: object) -> None: ...

    with pytest.raises(BadArguments, match=r"is no list or tuple of arguments; for a single one say \(value,\)"):
        take.apply_async(args)


@pytest.mark.parametrize("kwargs", ["ab", 5, ["x"]])
def test_keyword_arguments_that_are_no_mapping_are_refused(app: TaskQ, kwargs: Any) -> None:
    @app.task(name="take")
    def take(**values: object) -> None: ...

    with pytest.raises(BadArguments, match="is no dict of arguments by name"):
        take.apply_async((), kwargs)


@pytest.mark.parametrize("priority", [math.nan, math.inf, -math.inf, True, "1", None, 10**400])
def test_a_priority_that_is_no_finite_number_is_refused_with_the_way_out(priority: Any) -> None:
    with pytest.raises(InvalidPriority, match="give a finite") as raised:
        check_priority(priority)
    one_line(raised.value)


@pytest.mark.parametrize("priority", [-1, 0, 1.5, 256, -1e300])
def test_any_finite_number_is_a_priority(priority: float) -> None:
    assert check_priority(priority) == priority


def test_a_delay_over_ten_years_names_the_option() -> None:
    with pytest.raises(InvalidDelay, match=r"countdown 1e\+300 is more than ten years away; is the unit seconds"):
        check_delay(1e300, None)


@pytest.mark.parametrize("attempts", [1_000, 10_000, 10**9])
def test_the_delay_of_a_late_attempt_is_a_day_at_most(attempts: int) -> None:
    assert 0 < RetryPolicy(10**6, ("Exception",), 1.0, 0.0).delay(attempts) <= 86_400


async def _values() -> Any:
    yield 1


def _more() -> Any:
    yield 1


class Home:
    def method(self) -> None: ...


@pytest.mark.parametrize(
    ("decorated", "said"),
    [
        (lambda: 1, "use a def"),
        (_more, "return a list"),
        (_values, "return a list"),
        (Home().method, "decorate a function of a module"),
        (Home.method, "decorate a function of a module"),
        (Home.__dict__["method"], "decorate a function of a module"),
        (staticmethod(Home.method), "decorate a function of a module"),
        (Home, "decorate a function that makes one"),
        (Home(), "decorate a def"),
        (5, "decorate a def"),
    ],
)
def test_what_cannot_run_as_a_task_is_refused_with_the_way_out(app: TaskQ, decorated: Any, said: str) -> None:
    with pytest.raises(InvalidTask) as raised:
        app.task(decorated)
    assert said in one_line(raised.value)


@pytest.mark.parametrize("variable", ["TASKQ_BROKR", "TASKQ_X"])
def test_a_variable_near_to_nothing_is_not_answered_with_another(variable: str) -> None:
    with pytest.raises(InvalidOption, match="is unknown; known: "):
        resolve("app", {}, environ={variable: "x"}, project=None)


def test_a_server_that_lacks_a_command_is_the_wrong_one() -> None:
    error = ResponseError("unknown command 'EVALSHA', with args beginning with: 'x\x1b[31m' 'y'")
    said = translate(error, "redis://h")
    assert isinstance(said, WrongServer)
    assert "does not know the command 'EVALSHA': it is a Sentinel" in one_line(said)


def test_a_database_that_is_not_there_is_told_with_what_a_cluster_has() -> None:
    said = translate(ResponseError("DB index is out of range"), "redis://h/1")
    assert isinstance(said, WrongServer)
    assert one_line(said).endswith("give a lower number (a cluster has 0 only)")


def test_a_key_of_a_wrong_type_is_answered_with_who_names_it() -> None:
    said = translate(ResponseError("WRONGTYPE Operation against a key"), "redis://h")
    assert isinstance(said, WrongType)
    assert "taskq doctor names" in one_line(said)


def test_a_replica_is_answered_with_whose_url_to_give() -> None:
    said = translate(ResponseError("READONLY You can't write against a read only replica."), "redis://h")
    assert isinstance(said, BrokerReadOnly)
    assert str(said).endswith("give its master's url")


@pytest.mark.parametrize("why", ["maxmemory-policy is 'allkeys-lru': \x1b[2J", "\xff", ""])
def test_new_jobs_that_a_queue_refuses_are_answered_with_since_when_and_why(why: str) -> None:
    said = translate(ResponseError(f"TASKQ_REFUSED 1763664243000 {why}"), "redis://h")
    assert isinstance(said, WrongServer)
    assert one_line(said) == (
        "server redis://h may lose jobs, so it takes no new ones since 2025-11-20 18:44:03 UTC: " + clean(why)
    )


QUEUE = QueueKeys("ns", "q")


def test_a_discipline_that_was_changed_by_hand_is_told_with_its_key() -> None:
    call = declare(QUEUE, None, None, "unit")
    with pytest.raises(WrongType, match=r"'heap' in the hash 'ns:\{q\}:meta'.*one of fifo, lifo, priority"):
        call.parse([b"heap", b"0", b"x", b"jobs"])


@pytest.mark.parametrize("maxsize", [b"x", b"", b"-1", b"1.5", b"9" * 30, b"\xff"])
def test_a_bound_that_was_changed_by_hand_is_none(maxsize: bytes) -> None:
    declared = declare(QUEUE, None, None, "unit").parse([b"fifo", maxsize, b"x", b"jobs"])
    assert (declared.discipline, declared.maxsize) == (Discipline.FIFO, 0)


def _inspected(*meta: bytes) -> list[Any]:
    return [b"1000000", *[0] * 8, None, *meta]


@pytest.mark.parametrize(
    ("field", "read"),
    [(b"maxsize", lambda info: info.maxsize), (b"enqueued", lambda info: info.counters["enqueued"])],
)
def test_a_number_that_was_changed_by_hand_does_not_stop_who_looks(field: bytes, read: Callable[[Any], int]) -> None:
    assert read(inspect(QUEUE).parse(_inspected(field, b"x"))) == 0
