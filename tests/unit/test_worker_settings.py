"""Options of a worker by variable and file, and the url by a file."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskq.cli import worker as command
from taskq.cli.main import run
from taskq.config import WORKER_OPTIONS, Settings, resolve, worker_values
from taskq.errors import ConfigError, InvalidOption


@pytest.fixture
def project(tmp_path: Path) -> Callable[[str], Path]:
    def write(lines: str) -> Path:
        file = tmp_path / "pyproject.toml"
        file.write_text(f"[tool.taskq.worker]\n{lines}\n", "utf-8")
        return file

    return write


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Any]]:
    """What workers were started with: options, socket and pidfile; none is started."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TASKQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TASKQ_APP", "app")
    seen: list[Any] = []
    monkeypatch.setattr(command, "_run", lambda *given: seen.append(given) or 0)
    loggers = [logging.getLogger("taskq"), logging.getLogger()]
    before = [(one.handlers[:], one.propagate, one.level) for one in loggers]
    yield seen
    for one, (handlers, propagate, level) in zip(loggers, before, strict=True):
        one.handlers[:], one.propagate = handlers, propagate
        one.setLevel(level)


def test_a_variable_comes_before_the_file_and_the_option_before_both(project: Callable[[str], Path]) -> None:
    file = project("pool = 'a'\nname = 'a'\ngrace = 1")
    found = worker_values({"pool": "c"}, environ={"TASKQ_POOL": "b", "TASKQ_NAME": "b"}, project=file)
    assert {name: (one.text, one.rank) for name, one in found.items()} == {
        "pool": ("c", 0), "name": ("b", 1), "grace": ("1", 2),
    }  # fmt: skip


def test_an_empty_variable_is_not_said(project: Callable[[str], Path]) -> None:
    assert worker_values({}, environ={"TASKQ_POOL": " "}, project=project("")) == {}


def test_every_option_of_the_command_has_a_variable_and_a_key() -> None:
    names = [one.name for one in command.worker.params if one.expose_value]
    assert sorted(names) == sorted(WORKER_OPTIONS)


@pytest.mark.parametrize("name", WORKER_OPTIONS)
def test_its_variables_are_no_unknown_ones_for_an_app(project: Callable[[str], Path], name: str) -> None:
    assert resolve("x", {}, environ={f"TASKQ_{name.upper()}": "1"}, project=project("")).name == "x"


@pytest.mark.parametrize(("lines", "near"), [("poool = 'x'", "'pool'"), ("max_jobs = 1", "'max_jobs_per_child'")])
def test_an_unknown_key_is_answered_with_the_nearest(project: Callable[[str], Path], lines: str, near: str) -> None:
    with pytest.raises(InvalidOption, match=f"tool.taskq.worker key .* is unknown, did you mean {near}"):
        worker_values({}, environ={}, project=project(lines))


@pytest.mark.parametrize("value", ["{a = 1}", "[1, 2]", "2026-01-01"])
def test_a_value_that_no_option_has_names_its_key(project: Callable[[str], Path], value: str) -> None:
    with pytest.raises(InvalidOption, match=r"pyproject\.toml: tool\.taskq\.worker\.pool "):
        worker_values({}, environ={}, project=project(f"pool = {value}"))


def test_what_is_no_table_is_told(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text("[tool.taskq]\nworker = 5\n", "utf-8")
    with pytest.raises(ConfigError, match=r"tool\.taskq\.worker must be a table, is 5"):
        worker_values({}, environ={}, project=file)


def test_a_worker_is_started_with_its_variables(started: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "POOL": "thread", "CONCURRENCY": "3", "PROCESSES": "2", "QUEUES": "a:1,b:2", "NAME": "n", "GRACE": "1.5",
        "MAX_JOBS_PER_CHILD": "7", "MAX_MEMORY_PER_CHILD": "20M", "LOG_LEVEL": "debug", "LOG_FORMAT": "json",
        "JOB_LOGS": "no", "ALLOW_IMPORT": "x.*", "DRAIN": "1", "HEALTH_SOCKET": "/x/s", "PIDFILE": "/x/p",
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(f"TASKQ_{name}", value)
    assert run(["worker"]) == 0
    ((options, socket, pidfile, _),) = started
    assert (options.pool, options.concurrency, options.processes, options.name) == ("thread", 3, 2, "n")
    assert [(queue.name, queue.weight) for queue in options.queues] == [("a", 1), ("b", 2)]
    assert (options.grace, options.max_jobs, options.max_memory) == (1.5, 7, 20 * 1024)
    assert (options.log_level, options.log_format, options.job_logs, options.drain) == ("DEBUG", "json", False, True)
    assert (options.allow_import, socket, pidfile) == (("x.*",), "/x/s", "/x/p")


def test_a_worker_is_started_with_the_keys_of_the_file(started: list[Any], project: Callable[[str], Path]) -> None:
    project("pool = 'asyncio'\nconcurrency = 5\nqueues = ['a', 'b']\ngrace = 0.5\ndrain = true\nhealth_socket = ''")
    assert run(["worker"]) == 0
    ((options, socket, *_),) = started
    assert (options.pool, options.concurrency, options.grace, options.drain, socket) == ("asyncio", 5, 0.5, True, "")
    assert [queue.name for queue in options.queues] == ["a", "b"]


def test_an_option_comes_before_the_variable(started: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_JOB_LOGS", "no")
    monkeypatch.setenv("TASKQ_ALLOW_IMPORT", "a")
    assert run(["worker", "--job-logs", "--allow-import", "b", "--allow-import", "c"]) == 0
    assert (started[0][0].job_logs, started[0][0].allow_import) == (True, ("b", "c"))


def test_processes_of_a_pool_that_an_option_replaced_do_not_count(
    started: list[Any], project: Callable[[str], Path]
) -> None:
    project("pool = 'thread'\nprocesses = 4")
    assert run(["worker", "--pool", "process", "-c", "1"]) == 0
    assert started[0][0].children == 1


def test_nothing_said_takes_the_usual_socket(started: list[Any]) -> None:
    run(["worker"])
    assert started[0][1:] == (None, "", None)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("TASKQ_POOL", "foo", "TASKQ_POOL 'foo' is unknown; choose one of process"),
        ("TASKQ_CONCURRENCY", "abc", "TASKQ_CONCURRENCY 'abc' must be a whole number"),
        ("TASKQ_PROCESSES", "2", "TASKQ_PROCESSES is for the other pools"),
        ("TASKQ_QUEUES", "a,,b", "TASKQ_QUEUES: queues 'a,,b' have an empty name"),
        ("TASKQ_QUEUES", "a{b}", "TASKQ_QUEUES: queue name 'a{b}' cannot be used"),
        ("TASKQ_NAME", "a/b", "TASKQ_NAME 'a/b' cannot be used"),
        ("TASKQ_GRACE", "-1", "TASKQ_GRACE -1 must be"),
        ("TASKQ_MAX_JOBS_PER_CHILD", "x", "TASKQ_MAX_JOBS_PER_CHILD 'x' must be"),
        ("TASKQ_MAX_MEMORY_PER_CHILD", "5", "TASKQ_MAX_MEMORY_PER_CHILD 5 must be a size"),
        ("TASKQ_LOG_LEVEL", "loud", "TASKQ_LOG_LEVEL: log level 'loud' is none of DEBUG"),
        ("TASKQ_LOG_FORMAT", "xml", "TASKQ_LOG_FORMAT: log format 'xml' is none of text"),
        ("TASKQ_JOB_LOGS", "maybe", "TASKQ_JOB_LOGS 'maybe' is neither true nor false"),
        ("TASKQ_DRAIN", "2", "TASKQ_DRAIN '2' is neither true nor false"),
        ("TASKQ_ALLOW_IMPORT", "a b", "TASKQ_ALLOW_IMPORT: allow-import 'a b' is no pattern"),
        ("TASKQ_HEALTH_SOCKET", "/" * 3 + "x" * 100, "TASKQ_HEALTH_SOCKET "),
    ],
)
def test_an_error_names_the_variable(
    started: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    variable: str, value: str, words: str,
) -> None:  # fmt: skip
    monkeypatch.setenv(variable, value)
    assert (run(["worker"]), started) == (2, [])
    said = capsys.readouterr().err
    assert (said.startswith(f"taskq: {words}"), said.count("\n")) == (True, 1)


def test_an_error_names_the_key(
    started: list[Any], project: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = project("concurrency = 0")
    assert run(["worker"]) == 2
    assert f"{file}: tool.taskq.worker.concurrency 0 must be" in capsys.readouterr().err


# --- the url by a file ----------------------------------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "url"
    file.write_text("redis://:s3cret@h:1/0\n", "utf-8")
    return file


def resolved(secret: Path, **more: str) -> Settings:
    nothing = secret.with_name("pyproject.toml")
    nothing.write_text("[tool.taskq]\nurl = 'redis://file'\n", "utf-8")
    given = {name.lower(): value for name, value in more.items() if name == "URL"}
    rest = {name: value for name, value in more.items() if name != "URL"}
    return resolve("x", given, environ={"TASKQ_URL_FILE": str(secret), **rest}, project=nothing)


def test_the_url_comes_from_the_file(secret: Path) -> None:
    found = resolved(secret)
    assert (found.url, found.sources["url"]) == ("redis://:s3cret@h:1/0", "TASKQ_URL_FILE")


def test_an_argument_comes_before_the_file_which_is_not_read(secret: Path) -> None:
    secret.unlink()
    assert resolved(secret, URL="redis://argument").url == "redis://argument"


def test_both_ways_to_give_the_url_are_one_too_many(secret: Path) -> None:
    with pytest.raises(InvalidOption, match="TASKQ_URL and TASKQ_URL_FILE are both set; unset one of them"):
        resolved(secret, TASKQ_URL="redis://variable")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b" \n", "is empty"), (b"a s3cret\nb", "more than one line"), (b"\xff s3cret", "holds no text")],
)
def test_a_file_that_holds_no_url_is_told_without_its_content(secret: Path, content: bytes, words: str) -> None:
    secret.write_bytes(content)
    with pytest.raises(InvalidOption, match=words) as raised:
        resolved(secret)
    assert ("s3cret" in str(raised.value), "\n" in str(raised.value)) == (False, False)


@pytest.mark.parametrize("name", ["none", ".", "a\0b"])
def test_a_file_that_cannot_be_read_is_named(secret: Path, name: str) -> None:
    with pytest.raises(InvalidOption, match=r"TASKQ_URL_FILE: .* cannot be read"):
        resolved(secret, TASKQ_URL_FILE=f"{secret.parent}/{name}")
