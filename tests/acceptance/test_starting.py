"""A worker between its start and its first job: it tells how it is and obeys, whatever it waits for."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cli_kit import PATIENCE, Cli
from tcp_kit import Listener
from worker_kit import TESTS

PROMPTLY = 2.0  # seconds; a server that stays silent has four
HANGING = """
import os, time
os.close(os.open(os.environ["REACHED"], os.O_CREAT | os.O_WRONLY))
time.sleep(60)
"""


@dataclass
class Start:
    """A worker that waits for the first word of a server."""

    process: subprocess.Popen[str]
    cli: Cli


@pytest.fixture
def waiting() -> Iterator[Start]:
    asked = threading.Event()

    def serve(connection: socket.socket) -> None:
        while connection.recv(65_536):
            asked.set()

    with Listener(serve) as silent, tempfile.TemporaryDirectory(prefix="tq-", dir="/tmp") as folder:
        (Path(folder) / "shop.py").write_text("from taskq import TaskQ\napp = TaskQ('shop')\n", "utf-8")
        environment = {
            "TASKQ_URL": silent.url,
            "TASKQ_APP": "shop",
            "TASKQ_POOL": "thread",
            "TASKQ_HEALTH_SOCKET": f"{folder}/health.sock",
            "PYTHONPATH": str(TESTS.parent),
        }
        cli = Cli(environment, Path(folder))
        process = cli.popen("worker", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            assert asked.wait(PATIENCE)
            yield Start(process, cli)
        finally:
            process.kill()
            process.communicate()


def test_a_worker_that_waits_for_its_server_lives_and_is_not_ready(waiting: Start) -> None:
    live, ready = waiting.cli("health", "--live", "--timeout", "1"), waiting.cli("health", "--timeout", "1")
    assert (live.code, ready.code, "not ready: it is starting" in ready.out) == (0, 1, True), (live, ready)


def test_a_worker_that_waits_for_its_server_is_stopped_promptly(waiting: Start) -> None:
    waiting.process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    said, _ = waiting.process.communicate(timeout=PATIENCE)
    assert (waiting.process.returncode, time.monotonic() - asked < PROMPTLY) == (0, True), said
    assert ("stopped before it was ready" in said, "Traceback" in said) == (True, False), said


def test_a_server_that_says_nothing_ends_the_worker_with_one_line(waiting: Start) -> None:
    said, _ = waiting.process.communicate(timeout=PATIENCE)
    last = said.splitlines()[-1]
    assert (waiting.process.returncode, last.startswith("taskq: "), "Traceback" in said) == (4, True, False), said


def _can_unshare() -> bool:
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    done = subprocess.run(
        [unshare, "--user", "--map-root-user", "--pid", "--fork", "true"], check=False, timeout=PATIENCE
    )
    return done.returncode == 0


@pytest.fixture
def first(tmp_path: Path) -> Iterator[Callable[[str], int]]:
    """Send a signal to a ``taskq`` that is process 1 of a namespace and still loads its command; return its code."""
    if not _can_unshare():
        pytest.skip("this machine lets nobody make a process namespace")
    (tmp_path / "click.py").write_text(HANGING, "utf-8")
    reached = tmp_path / "reached"
    started: list[subprocess.Popen[bytes]] = []

    def send(number: int) -> int:
        process = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", sys.executable, "-m", "taskq"],
            env={**os.environ, "PYTHONPATH": f"{tmp_path}:{TESTS.parent}", "REACHED": str(reached)},
        )
        started.append(process)
        deadline = time.monotonic() + PATIENCE
        while not reached.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        inner = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii").split()[0])
        os.kill(inner, number)
        return process.wait(PROMPTLY)

    yield send
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_1_obeys_signals_before_its_command_is_loaded(first: Callable[[int], int], number: int) -> None:
    assert first(number) == 128 + number
