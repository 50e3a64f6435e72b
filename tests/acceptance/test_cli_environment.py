"""The command line in an environment that is not as it should be."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_kit import Cli
from servers import TestServer
from worker_kit import PATIENCE, Bench, wait_until


@pytest.fixture
def taskq(server: TestServer, namespace: str, tmp_path: Path) -> Cli:
    """The command line without an app."""
    return Cli({"TASKQ_URL": server.url, "TASKQ_NAMESPACE": namespace}, tmp_path)


def test_a_reader_that_left_is_no_error(taskq: Cli) -> None:
    done = taskq.shell("taskq worker --help | true; echo ${PIPESTATUS[0]}")
    assert (done.out, done.err) in {("141\n", ""), ("0\n", "")}  # the help may have fitted into the pipe


def test_a_reader_that_left_before_ends_it_quietly(taskq: Cli) -> None:
    read, write = os.pipe()
    os.close(read)
    with taskq.popen("doctor", stdout=write, stderr=-1) as process:
        os.close(write)
        assert (process.communicate(timeout=PATIENCE)[1], process.returncode) == ("", 141)


def test_a_closed_standard_output_is_no_error(taskq: Cli) -> None:
    done = taskq.shell("taskq status >&-")
    assert (done.code, done.err) == (0, "")


def test_closed_standard_descriptors_do_no_harm(taskq: Cli) -> None:
    assert taskq.shell("taskq status <&- >&- 2>&-").code == 0


def test_a_full_disk_is_one_line(taskq: Cli) -> None:
    full = taskq.shell("taskq status >/dev/full")
    assert (full.code, full.err.count("\n"), "No space left" in full.err) == (1, 1, True)


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_a_locale_without_unicode_is_no_error(taskq: Cli, locale: dict[str, str]) -> None:
    refused = taskq("enqueue", "-A", "x" * 200, "é", **locale)
    assert (refused.code, refused.err.count("\n"), "Traceback" in refused.err) == (2, 1, False)


def test_an_argument_that_is_no_text_is_refused(rig: Bench) -> None:
    cli = Cli({**rig.environment(), "TASKQ_APP": "apps.acceptance:app"}, rig.folder)
    refused = cli.shell("taskq enqueue boom $'\\xff'")
    assert (refused.code, refused.err.count("\n")) == (2, 1)


def test_a_directory_that_was_removed_is_told(taskq: Cli) -> None:
    gone = taskq.shell("mkdir gone && cd gone && rmdir ../gone && taskq worker")
    assert (gone.code, "no app is named" in gone.err) == (2, True)


def test_the_current_directory_is_no_place_to_import_from_below_a_project(taskq: Cli) -> None:
    (taskq.folder / "pyproject.toml").write_text("", "utf-8")
    below = taskq.folder / "below"
    below.mkdir()
    (below / "planted.py").write_text("raise SystemExit('planted')", "utf-8")
    script = f"import sys; sys.path[0] = {str(Path(sys.executable).parent)!r}; from taskq.cli.main import main; main()"
    done = Cli(taskq.environment, below).shell(
        f'"{sys.executable}" -c "$SCRIPT" enqueue -A planted:app x', SCRIPT=script
    )
    assert "there is no module 'planted'" in done.err


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """The writing end of a pipe that is full, and that nobody reads."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"\n" * 65_536)
    os.set_blocking(write, True)
    yield write
    os.close(read)
    with contextlib.suppress(OSError):
        os.close(write)


def test_a_log_that_nobody_reads_stops_no_worker(rig: Bench, full_pipe: int) -> None:
    cli = Cli({**rig.environment(), "TASKQ_APP": "apps.acceptance:app"}, rig.folder)
    worker = cli.popen("worker", "--pool", "thread", "--no-job-logs", "--log-level", "INFO", stderr=full_pipe)
    try:
        assert cli("enqueue", "add", "1", "2", "--wait", "--timeout", "30").out == "3\n"
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: worker.poll() is not None, "the worker ended")
        assert worker.returncode == 0
    finally:
        worker.kill()
        worker.wait()
