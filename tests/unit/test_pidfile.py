"""The file with a worker's process id."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskq.errors import ConfigError, InvalidOption
from taskq.worker.pidfile import Pidfile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "worker.pid"


def test_it_holds_the_process_id_and_nothing_is_beside_it(path: Path) -> None:
    Pidfile(str(path)).write()
    assert (path.read_text("ascii"), list(path.parent.iterdir())) == (f"{os.getpid()}\n", [path])


def test_it_goes_at_the_end(path: Path) -> None:
    file = Pidfile(str(path))
    file.write()
    file.remove()
    assert not path.exists()


def test_one_that_was_not_written_here_stays(path: Path) -> None:
    path.write_text(f"{os.getpid()}\n", "ascii")
    Pidfile(str(path)).remove()
    assert path.exists()


def test_one_that_another_has_taken_over_stays(path: Path) -> None:
    file = Pidfile(str(path))
    file.write()
    path.write_text("1\n", "ascii")
    file.remove()
    assert path.read_text("ascii") == "1\n"


def test_one_of_a_process_that_lives_is_refused(path: Path) -> None:
    path.write_text(f"{os.getppid()}\n", "ascii")
    with pytest.raises(InvalidOption, match=f"names process {os.getppid()}, which lives"):
        Pidfile(str(path)).check()


def test_one_of_a_process_that_ended_is_replaced(path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    path.write_bytes(ended.stdout)
    Pidfile(str(path)).write()
    assert path.read_text("ascii") == f"{os.getpid()}\n"


def test_one_of_a_process_that_is_only_not_waited_for_is_replaced(path: Path) -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    path.write_text(f"{pid}\n", "ascii")
    try:
        Pidfile(str(path)).check()
    finally:
        os.waitpid(pid, 0)


@pytest.mark.parametrize("text", ["", f"{os.getpid()}\n"], ids=["empty", "own"])
def test_an_empty_one_and_its_own_are_replaced(path: Path, text: str) -> None:
    path.write_text(text, "ascii")
    Pidfile(str(path)).check()


@pytest.mark.parametrize("text", [b"root:x:0\n", b"\xff\xfe", b"-5", b"12345678901234567890"])
def test_a_file_of_something_else_is_left_alone(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    with pytest.raises(InvalidOption, match="pidfile"):
        Pidfile(str(path)).check()


def test_a_directory_that_is_missing_is_told_before_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="its directory is missing or read-only"):
        Pidfile(str(tmp_path / "none" / "x")).check()


def test_what_cannot_be_written_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"^pidfile '/proc/taskq\.pid' cannot be written") as raised:
        Pidfile("/proc/taskq.pid").write()
    assert "\n" not in str(raised.value)


def test_no_path_is_no_file() -> None:
    file = Pidfile()
    file.check()
    file.write()
    file.remove()
