"""``taskq server`` and the embedded server of a project."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_kit import Cli

from taskq import embedded


@pytest.fixture
def taskq(tmp_path: Path) -> Iterator[Cli]:
    """The command line in a project of its own, whose server ends with the test process however that ends."""
    runtime = tempfile.mkdtemp(prefix="taskq-test-", dir="/tmp")  # a socket's path holds about 100 bytes
    (tmp_path / "pyproject.toml").write_text("[tool.taskq]\napp = 'shop:app'\n", "utf-8")
    (tmp_path / "shop.py").write_text(
        "from taskq import TaskQ\napp = TaskQ('shop')\n@app.task\ndef add(x, y):\n    return x + y\n", "utf-8"
    )
    script = 'read _; kill -9 $(head -n 1 "$1"/.taskq/server.pid) 2>/dev/null'
    guard = subprocess.Popen(["/bin/sh", "-c", script, "sh", str(tmp_path)], stdin=subprocess.PIPE)
    cli = Cli({"XDG_RUNTIME_DIR": runtime}, tmp_path)
    with guard:
        yield cli
        broken = cli("fsck", "--strict").out if cli("server", "status", "--json").json()["running"] else ""
        cli("server", "stop")
        guard.kill()
    shutil.rmtree(runtime)
    assert broken in {"", "nothing is wrong\n"}


def test_a_server_that_was_started_by_name_stays(taskq: Cli) -> None:
    pid = taskq("server", "start", "--json").json()["pid"]
    found = taskq("server", "status", "--json").json()
    assert (found["running"], found["pid"], found["root"]) == (True, pid, str(taskq.folder))


def test_starting_twice_is_one_server(taskq: Cli) -> None:
    pids = {taskq("server", "start", "--json").json()["pid"] for _ in range(2)}
    assert len(pids) == 1


def test_stop_says_whether_there_was_one(taskq: Cli) -> None:
    taskq("server", "start")
    assert [taskq("server", "stop").out for _ in range(2)] == ["stopped\n", "it was not running\n"]


def test_stop_tells_scripts_too(taskq: Cli) -> None:
    taskq("server", "start")
    said = taskq("server", "stop", "--json").json()
    assert (said["stopped"], said["running"]) == (True, False)


def test_status_for_people_begins_with_whether_it_runs(taskq: Cli) -> None:
    assert taskq("server", "status").out.splitlines()[0].split() == ["running", "no"]


def test_looking_at_the_status_starts_nothing(taskq: Cli) -> None:
    taskq("server", "status")
    assert not (taskq.folder / ".taskq").exists()


def test_jobs_outlive_the_server_that_an_enqueue_started(taskq: Cli) -> None:
    job_id = taskq("enqueue", "add", "1", "2").out.strip()
    assert not embedded.status(taskq.folder).running
    assert taskq("result", job_id).out == "ready\n"


def test_each_use_is_warned_of_in_one_line(taskq: Cli) -> None:
    err = taskq("enqueue", "add", "1", "2").err
    assert (err.count("\n"), err.startswith("taskq: no url is configured: using the embedded server")) == (1, True)


def test_the_embedded_server_can_be_refused(taskq: Cli) -> None:
    refused = taskq("enqueue", "add", "1", "2", TASKQ_EMBEDDED="0")
    assert (refused.code, refused.err.count("\n")) == (3, 1)


def test_the_project_is_found_from_below_its_root(taskq: Cli) -> None:
    (taskq.folder / "below").mkdir()
    below = Cli(taskq.environment, taskq.folder / "below")
    assert below("enqueue", "add", "1", "2").out.startswith("default/")
