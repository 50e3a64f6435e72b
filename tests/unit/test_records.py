"""Which exception a caller gets for the data of a failure."""

from __future__ import annotations

import builtins
import traceback

import pytest

from taskq import RemoteError, TaskQ
from taskq.client.records import open_record
from taskq.errors import InvalidOption
from taskq.model.outcome import RECORD_VERSION, Ending, ErrorInfo, Record, error_info


class Refused(Exception):
    """An error of the app's own."""


class Unlike(Refused):
    """A subclass of it."""


class Asking(Exception):
    """Its constructor wants more than a message."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")


class Wrapping(Exception):
    """Makes another text of its argument."""

    def __init__(self, who: str) -> None:
        super().__init__(f"{who} was refused")


class Mute(Exception):
    """Prints what did not travel."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code

    def __str__(self) -> str:
        return f"code {self.code}"


def false_friend() -> type[Exception]:
    """No builtin, but called like one."""
    return type("ValueError", (Exception,), {"__module__": "builtins"})


@pytest.fixture
def app():
    return TaskQ("records", "redis://localhost", exceptions=(Refused,))


def failure(app, error, task=None):
    """What a caller gets where a job raised ``error``."""
    record = Record(RECORD_VERSION, Ending.FAILED, error=error_info(error, "Traceback: there\n"))
    value, raised = open_record(app, record, "q/1", task)
    assert value is None
    return raised


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        ValueError(),
        KeyError("k"),
        KeyError(("a", 1)),
        KeyError(3),
        KeyError(),
        ZeroDivisionError("division by zero"),
        RecursionError("deep"),
        TimeoutError("late"),
        ImportError("no module"),
        FileNotFoundError(2, "No such file or directory", "x"),
        UserWarning("w"),
        SyntaxError("invalid"),
    ],
    ids=repr,
)
def test_a_builtin_comes_back_as_itself_and_prints_as_it_did(app, error):
    again = failure(app, error)
    assert (type(again), str(again)) == (type(error), str(error))


def test_a_key_comes_back_where_it_is_text(app):
    assert failure(app, KeyError("it's")).args == ("it's",)


def test_the_cause_of_what_comes_back_is_the_failure_as_data(app):
    cause = failure(app, ValueError("x")).__cause__
    assert isinstance(cause, RemoteError)
    assert (cause.type, cause.message, cause.traceback, cause.job_id) == (
        "ValueError",
        "x",
        "Traceback: there\n",
        "q/1",
    )


def test_a_printed_traceback_shows_the_remote_one(app):
    assert "Traceback: there" in "".join(traceback.format_exception(failure(app, ValueError("x"))))


@pytest.mark.parametrize(
    "error",
    [
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        ExceptionGroup("several", [ValueError()]),
        StopIteration("end"),
        StopAsyncIteration(),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        false_friend()("x"),
        Unlike("x"),
        Asking(1, "no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_cannot_or_may_not_come_back_is_data(app, error):
    assert type(failure(app, error)) is RemoteError


def test_no_name_leads_to_a_class_that_is_no_builtin_exception(app):
    for name in [*vars(builtins), "os.system", "taskq.errors.TaskqError"]:
        record = Record(RECORD_VERSION, Ending.FAILED, error=ErrorInfo(name, "x"))
        raised = open_record(app, record, "q/1", None)[1]
        assert type(raised) is RemoteError or vars(builtins)[name] is type(raised)


def test_a_class_of_the_apps_settings_comes_back(app):
    assert type(failure(app, Refused("no"))) is Refused


def test_a_class_that_a_task_declares_comes_back(app):
    task = app.task(name="t", raises=(Unlike, Asking))(len)
    assert type(failure(app, Unlike("no"), task)) is Unlike


def test_what_a_task_declares_is_found_by_the_records_task(app):
    app.task(name="t", raises=Unlike)(len)
    record = Record(RECORD_VERSION, Ending.FAILED, error=error_info(Unlike("no")), task="t")
    assert type(open_record(app, record, "q/1", None)[1]) is Unlike


@pytest.mark.parametrize("error", [Asking(1, "no"), Wrapping("he")], ids=repr)
def test_a_declared_class_with_another_constructor_comes_back_with_its_text(app, error):
    again = failure(app, error, app.task(name="t", raises=(Asking, Wrapping))(len))
    assert (type(again), str(again)) == (type(error), str(error))


def test_a_declared_class_that_cannot_print_the_text_is_data(app):
    assert type(failure(app, Mute(5), app.task(name="t", raises=Mute)(len))) is RemoteError


def test_a_class_of_the_main_module_is_the_one_that_workers_import(app, monkeypatch):
    record = Record(RECORD_VERSION, Ending.FAILED, error=ErrorInfo("shop.tasks.Late", "x"))
    late = type("Late", (Exception,), {"__module__": "__main__"})
    task = app.task(name="t", raises=late)(len)
    monkeypatch.setattr("taskq.client.naming._main_name", lambda: "shop.tasks")
    assert type(open_record(app, record, "q/1", task)[1]) is late


@pytest.mark.parametrize("raises", [ValueError("x"), "ValueError", int, SystemExit, (ValueError, None)], ids=repr)
def test_what_is_no_exception_class_is_not_declared(app, raises):
    with pytest.raises(InvalidOption, match=r"raises .* is no subclass of Exception"):
        app.task(name="t", raises=raises)(len)
