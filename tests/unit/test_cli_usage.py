"""Wrong usage ends with one clear line and its exit code, before anything is connected to."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskq import errors
from taskq.cli import exits, status
from taskq.cli.main import commands, run


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A directory without a project, an environment without settings, and the loggers as before."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TASKQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TASKQ_EMBEDDED", "0")
    monkeypatch.setattr(sys, "path", sys.path[:])
    own = logging.getLogger("taskq")
    before = own.handlers[:], own.propagate, own.level
    yield
    own.handlers[:], own.propagate = before[:2]
    own.setLevel(before[2])


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command line that must fail with a code; returns its last line of standard error."""

    def call(*arguments: str, code: int = 2) -> str:
        assert run(arguments) == code
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "Traceback" not in shown.err
        return shown.err.splitlines()[-1]

    return call


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Write a module into the current directory; returns its name, which no other test has."""
    made: list[str] = []

    def write(text: str) -> str:
        name = f"m{os.urandom(6).hex()}"
        (tmp_path / f"{name}.py").write_text(text, "utf-8")
        made.append(name)
        return name

    yield write
    for name in made:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(("given", "near"), [("wroker", "worker"), ("enque", "enqueue"), ("stats", "status")])
def test_an_unknown_command_is_answered_with_the_nearest(refused: Callable[..., str], given: str, near: str) -> None:
    assert refused(given) == f"taskq: no such command: '{given}'; did you mean '{near}'?"


def test_a_command_near_to_nothing_lists_them(refused: Callable[..., str]) -> None:
    assert refused("zzz").endswith(f"there are {', '.join(sorted(commands.commands))}")


def test_an_unknown_command_of_the_server_is_answered_with_the_nearest(refused: Callable[..., str]) -> None:
    assert "did you mean 'stop'?" in refused("server", "stopp")


@pytest.mark.parametrize(
    ("line", "near"),
    [("worker --concurency 5", "--concurrency"), ("enqueue add 1 --wiat", "--wait"), ("status --jsn", "--json")],
)
def test_an_unknown_option_is_answered_with_the_nearest(refused: Callable[..., str], line: str, near: str) -> None:
    assert near in refused(*line.split())


def test_usage_is_shown_with_an_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    run(["wroker"])
    assert capsys.readouterr().err.startswith("Usage: taskq ")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("worker --concurrency 0", "--concurrency 0 must be a whole number from 1 to 1000"),
        ("worker --concurrency -1", "--concurrency -1 must be"),
        ("worker --concurrency 1000000000", "--concurrency 1000000000 must be"),
        ("worker --concurrency abc", "--concurrency 'abc' must be"),
        ("worker --pool thread --concurrency 10001", "--concurrency 10001 must be a whole number from 1 to 10000"),
        ("worker --pool thread --processes 0", "--processes 0 must be a whole number from 1 to 1000"),
        ("worker --processes 2", "--processes is for the other pools"),
        ("worker --pool foo", "--pool 'foo' is unknown; choose one of process, thread, gevent, asyncio"),
        ("worker --queues=", "empty name"),
        ("worker --queues a,,b", "empty name"),
        ("worker --queues a:0", "weight must be a whole number from 1"),
        ("worker --queues a:1,b", "give every queue a weight"),
        ("worker --queues a{b}", "queue name 'a{b}' cannot be used"),
        ("worker --max-jobs-per-child -5", "--max-jobs-per-child -5 must be"),
        ("worker --max-memory-per-child 5", "--max-memory-per-child 5 must be a size from 16M"),
        ("worker --grace nan", "--grace 'nan' must be a number of seconds from 0 to 86400"),
        ("worker --grace -1", "--grace -1 must be"),
        ("worker --name a/b", "--name 'a/b' cannot be used"),
        ("worker --log-level loud", "log level 'loud' is none of DEBUG"),
        ("worker --log-format xml", "log format 'xml' is none of text, json"),
        ("enqueue add --timeout nan", "--timeout 'nan' must be"),
        ("enqueue add --delay soon", "--delay 'soon' must be a number"),
        ("enqueue add --priority high", "--priority 'high' must be a number"),
        ("enqueue add --kwarg 5", "--kwarg '5' is not of the form name=value"),
        ("result default/x --wait --timeout -1", "--timeout -1 must be"),
    ],
)
def test_a_value_out_of_range_is_named(refused: Callable[..., str], line: str, words: str) -> None:
    assert words in refused(*line.split())


def test_more_queues_than_a_worker_can_serve_are_refused(refused: Callable[..., str]) -> None:
    names = ",".join(f"q{i}" for i in range(10_000))
    assert "10000 queues are more than one worker can serve (256)" in refused("worker", "--queues", names)


def test_a_queue_named_twice_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    run(["worker", "--queues", "a,b,a"])
    assert "taskq: --queues names a more than once; it is served once" in capsys.readouterr().err


def test_a_pool_whose_package_is_missing_says_what_to_install(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gevent", None)
    assert "pip install 'taskq[gevent]'" in refused("worker", "--pool", "gevent")


@pytest.mark.parametrize("command", ["worker", "enqueue add"])
def test_a_missing_app_names_the_three_ways_to_give_one(refused: Callable[..., str], command: str) -> None:
    line = refused(*command.split())
    assert all(way in line for way in ("-A module:attr", "TASKQ_APP", "[tool.taskq] in pyproject.toml"))


@pytest.mark.parametrize("spec", ["no_such_module_x", "no_such_module_x:app", "a b", "os:", "../x", "os.path.:x"])
def test_an_app_that_cannot_be_imported_is_named(refused: Callable[..., str], spec: str) -> None:
    assert spec in refused("-A", spec, "enqueue", "add")


def test_an_app_that_raises_on_import_shows_the_errors_last_line(
    refused: Callable[..., str], module: Callable[[str], str]
) -> None:
    line = refused("enqueue", "-A", module("x = 1\nraise RuntimeError('first\\nlast line')"), "add")
    assert "RuntimeError: first last line" in line


def test_what_is_no_app_is_refused(refused: Callable[..., str], module: Callable[[str], str]) -> None:
    assert "no TaskQ" in refused("enqueue", "-A", module("app = 5") + ":app", "add")


def test_an_attribute_that_is_not_there_is_refused(refused: Callable[..., str], module: Callable[[str], str]) -> None:
    assert "has no" in refused("enqueue", "-A", module("") + ":app", "add")


def test_the_commands_own_app_comes_before_the_groups(
    refused: Callable[..., str], module: Callable[[str], str]
) -> None:
    first, second = module("raise ValueError('first')"), module("raise ValueError('second')")
    assert "second" in refused("-A", first, "enqueue", "-A", second, "add")


def test_the_option_comes_before_the_environment(
    refused: Callable[..., str], module: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKQ_APP", module("raise ValueError('environment')"))
    assert "option" in refused("-A", module("raise ValueError('option')"), "enqueue", "add")


def test_the_environment_comes_before_the_project(
    refused: Callable[..., str], module: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.taskq]\napp = '{module('raise ValueError(1)')}'\n", "utf-8")
    monkeypatch.setenv("TASKQ_APP", module("raise ValueError('environment')"))
    assert "environment" in refused("enqueue", "add")


def test_the_project_names_the_app_from_below_its_root(
    refused: Callable[..., str], module: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.taskq]\napp = '{module('raise ValueError(77)')}'\n", "utf-8")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert "ValueError: 77" in refused("enqueue", "add")


@pytest.mark.parametrize("text", ["[tool.taskq]\napp = 5\n", "[tool.taskq\n", "[tool]\ntaskq = 5\n"])
def test_a_project_file_that_cannot_be_used_is_named(refused: Callable[..., str], tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text, "utf-8")
    assert "pyproject.toml" in refused("enqueue", "add")


@pytest.mark.parametrize(
    "url",
    ["redis:/x", "http://h", "redis://", "redis://:s3cret@h:0", "redis://:s3cret@h:99999", "redis://:s3cret@h:x",
     "redis://:s3cret@h/-1", "redis://:s3cret@h/abc"],
)  # fmt: skip
def test_a_url_that_cannot_be_used_is_refused_without_its_password(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("TASKQ_URL", url)
    line = refused("status")
    assert line.startswith("taskq: url ")
    assert "s3cret" not in line


def test_no_url_and_no_embedded_server_is_refused(refused: Callable[..., str]) -> None:
    assert "TASKQ_EMBEDDED=0" in refused("status", code=3)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.AppNotFound, 2),
        (errors.InvalidDelay, 2),
        (errors.UnknownTask, 2),
        (errors.AuthenticationFailed, 3),
        (errors.WrongServer, 3),
        (errors.SchemaTooNew, 3),
        (errors.WrongType, 3),
        (errors.EmbeddedServerError, 3),
        (errors.BrokerUnavailable, 4),
        (errors.Indeterminate, 4),
        (errors.BrokerFull, 4),
        (errors.UnknownOrExpired, 1),
        (errors.JobCrashed, 1),
        (errors.WorkerError, 1),
    ],
)
def test_each_error_has_its_exit_code(error: type[errors.TaskqError], code: int) -> None:
    assert exits.code_of(error("x")) == code


def _raise(error: BaseException) -> Callable[[], None]:
    def raising() -> None:
        raise error

    return raising


def test_an_error_of_many_lines_is_told_in_one(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "load_any_app", _raise(errors.BrokerError("one\n\x1b[31mtwo")))
    assert refused("status", code=3) == "taskq: one \N{REPLACEMENT CHARACTER}[31mtwo"


def test_a_defect_is_one_line_that_says_how_to_see_more(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "load_any_app", _raise(RuntimeError("oops")))
    assert refused("status", code=70) == "taskq: RuntimeError: oops; run with TASKQ_DEBUG=1 for the traceback"


def test_a_defect_shows_its_traceback_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TASKQ_DEBUG", "1")
    monkeypatch.setattr(status, "load_any_app", _raise(RuntimeError("oops")))
    run(["status"])
    assert "in raising" in capsys.readouterr().err


def test_an_interrupt_is_silent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(status, "load_any_app", _raise(KeyboardInterrupt()))
    assert (run(["status"]), *capsys.readouterr()) == (130, "", "")


@pytest.mark.parametrize("arguments", [["--help"], ["worker", "--help"], ["server", "start", "-h"], ["--version"]])
def test_help_is_no_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert (run(arguments), capsys.readouterr().err) == (0, "")


def test_no_command_at_all_shows_the_help_and_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert (run([]), "Commands:" in capsys.readouterr().err) == (2, True)
