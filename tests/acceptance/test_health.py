"""What ``taskq health``, a pidfile and a service manager tell of real workers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cli_kit import PATIENCE, Cli
from servers import TestServer
from worker_kit import TESTS, Bench, Worker, wait_until

FLAWED = """
import os, time
if os.path.exists("broken"):
    os._exit(3)
while os.path.exists("slow"):
    time.sleep(0.01)
from taskq import TaskQ
app = TaskQ("flawed")
@app.task
def nothing() -> None: ...
"""


@dataclass
class Station:
    """A server, a short directory to run in, and the command line there."""

    server: TestServer
    cli: Cli
    started: list[Worker]

    @property
    def folder(self) -> Path:
        return self.cli.folder

    @property
    def socket(self) -> str:
        return str(self.folder / "health.sock")

    def start(self, *options: str, ready: bool = True) -> Worker:
        log = self.folder / f"{len(self.started)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "taskq", "worker", *options],
                cwd=self.folder, env=self.cli.merged({}), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        worker = Worker(process, log)
        self.started.append(worker)
        if ready:
            wait_until(lambda: " is ready: pool" in worker.lines() or process.poll() is not None, "worker up")
            assert process.poll() is None, worker.lines()
        return worker

    def health(self, *options: str) -> tuple[int, str]:
        done = self.cli("health", *options)
        assert done.err == ""
        return done.code, done.out

    def until(self, code: int, words: str) -> None:
        wait_until(lambda: (said := self.health())[0] == code and words in said[1], f"{code} {words}")


@pytest.fixture
def station(start_server: Callable[..., TestServer], namespace: str) -> Iterator[Station]:
    server = start_server()
    with tempfile.TemporaryDirectory(prefix="tq-", dir="/tmp") as folder:
        (Path(folder) / "flawed.py").write_text(FLAWED, "utf-8")
        environment = {
            "TASKQ_URL": server.url,
            "TASKQ_NAMESPACE": namespace,
            "TASKQ_HEARTBEAT": "0.1",
            "TASKQ_LEASE": "0.6",
            "TASKQ_APP": "flawed:app",
            "TASKQ_POOL": "thread",
            "TASKQ_HEALTH_SOCKET": f"{folder}/health.sock",
            "PYTHONPATH": str(TESTS.parent),
        }
        made = Station(server, Cli(environment, Path(folder)), [])
        yield made
        for worker in made.started:
            if worker.process.poll() is None:
                worker.signal(signal.SIGCONT)
                worker.process.kill()
                worker.wait()


def test_a_worker_is_ready_from_its_first_child_to_its_end(station: Station) -> None:
    worker = station.start()
    station.until(0, "ready: worker ")
    assert worker.stop() == 0
    assert station.health()[0] == 1


def test_a_worker_that_imports_its_app_lives_and_is_not_ready(station: Station) -> None:
    (station.folder / "slow").touch()
    station.start(ready=False)
    station.until(1, "not ready: it is starting")
    assert station.health("--live")[0] == 0


def test_an_idle_worker_tells_how_long_ago_the_server_answered(station: Station) -> None:
    station.start()
    told = wait_until(lambda: station.cli("health", "--json").json().get("claim_age"), "a claim was answered")
    assert 0 <= told < 15


def test_without_the_server_a_worker_lives_and_is_not_ready(station: Station) -> None:
    station.start()
    station.until(0, "ready")
    os.kill(station.server.pid, signal.SIGSTOP)
    try:
        station.until(1, "not ready: the lease was not renewed")
        assert station.health("--live")[0] == 0
    finally:
        os.kill(station.server.pid, signal.SIGCONT)
    station.until(0, "ready")


def test_a_worker_whose_loop_is_stuck_does_not_live(station: Station) -> None:
    worker = station.start()
    worker.signal(signal.SIGSTOP)
    code, said = station.health("--live", "--timeout", "0.5")
    assert (code, said.startswith("not live: "), "did not answer within 0.5 s" in said) == (1, True, True)


def test_a_worker_whose_children_die_one_after_the_other_is_not_ready(station: Station) -> None:
    worker = station.start()
    station.until(0, "ready")
    (station.folder / "broken").touch()
    os.kill(worker.children()[0], signal.SIGKILL)
    wait_until(lambda: worker.lines().count("exited with code 3") >= 2, worker.lines())
    station.until(1, "not ready: no child is up")
    assert station.health("--live")[0] == 0


def test_a_worker_that_finishes_its_last_job_is_not_ready(rig: Bench, station: Station) -> None:
    path = station.socket
    worker = rig.start("thread", "--health-socket", path, "--grace", "30")
    rig.app.nap.delay(1, 3.0)
    wait_until(lambda: rig.noted("start"), "it runs")
    worker.signal(signal.SIGTERM)
    wait_until(lambda: "not ready: it is stopping" in station.health("--socket", path)[1], worker.lines())


def test_a_socket_that_a_killed_worker_left_is_taken_over(station: Station) -> None:
    station.start()
    station.started[0].process.kill()
    station.started[0].wait()
    assert Path(station.socket).exists()
    second = station.start()
    assert f".{second.pid}." in station.health()[1]


def test_a_worker_runs_where_no_socket_can_be_made(station: Station) -> None:
    worker = station.start("--health-socket", "/proc/none/health.sock")
    assert "no health socket at '/proc/none/health.sock'" in worker.lines()


def test_the_pidfile_is_there_from_ready_to_stopped(station: Station) -> None:
    file = station.folder / "worker.pid"
    worker = station.start("--pidfile", str(file))
    there = file.read_text("ascii")
    worker.stop()
    assert (there, file.exists()) == (f"{worker.pid}\n", False)


def test_a_second_worker_does_not_take_the_pidfile(station: Station) -> None:
    first = station.start("--pidfile", "worker.pid")
    second = station.start("--pidfile", "worker.pid", "--health-socket", "off", ready=False)
    assert second.wait() == 2
    assert second.lines().splitlines()[-1].startswith(f"taskq: pidfile 'worker.pid' names process {first.pid}")
    assert (station.folder / "worker.pid").read_text("ascii") == f"{first.pid}\n"


@pytest.fixture
def manager(station: Station) -> Iterator[socket.socket]:
    """The socket of a service manager that starts the workers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"{station.folder}/notify")
        sock.settimeout(PATIENCE)
        station.cli = Cli(
            {**station.cli.environment, "NOTIFY_SOCKET": sock.getsockname(), "WATCHDOG_USEC": "500000"}, station.folder
        )
        yield sock


def hear(manager: socket.socket, word: str) -> str:
    """Return the first message with a line."""
    while True:
        said = manager.recv(4096).decode()
        if word in said.splitlines():
            return said


def test_a_service_manager_hears_of_ready_life_and_stop(station: Station, manager: socket.socket) -> None:
    worker = station.start()
    assert hear(manager, "READY=1") == "READY=1\nSTATUS=running"
    hear(manager, "WATCHDOG=1")
    worker.signal(signal.SIGTERM)
    hear(manager, "STOPPING=1")


def test_a_service_manager_hears_that_the_server_is_lost(station: Station, manager: socket.socket) -> None:
    station.start()
    hear(manager, "READY=1")
    station.server.kill()
    while "STATUS=the lease was not renewed" not in manager.recv(4096).decode():
        pass


def test_an_idle_worker_wakes_to_give_a_sign_of_life(station: Station, manager: socket.socket) -> None:
    slow = {"WATCHDOG_USEC": "800000", "TASKQ_HEARTBEAT": "5", "TASKQ_LEASE": "25"}  # no beat wakes the loop
    station.cli = Cli({**station.cli.environment, **slow}, station.folder)
    station.start()
    hear(manager, "READY=1")
    manager.settimeout(1.2)  # seconds; without a reason the loop sleeps for 1.5 and more
    for _ in range(4):
        hear(manager, "WATCHDOG=1")
