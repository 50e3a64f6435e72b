"""A worker whose connections break between its first word with the server and its first job."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.proxy import NONE, Fault, Proxy
from cli_kit import Cli
from servers import TestServer
from worker_kit import TESTS, Bench, Worker, bench, wait_until

LOOK = 30  # bytes of replies: AUTH and PING are answered, and the doctor's first question is not
CONNECTIONS = 6  # that a worker opens until it is ready: the doctor's, the calls', two for claims, control, heartbeat
AWAY = 4.5  # seconds; longer than a server has that never answered
GONE = Fault(request=0)  # whoever says a word is hung up on


@pytest.fixture
def proxy(server: TestServer) -> Iterator[Proxy]:
    with Proxy(server.socket) as made:
        yield made


@pytest.fixture
def url(server: TestServer, namespace: str, proxy: Proxy) -> Iterator[str]:
    """The url of a user with a password, so that opening a connection takes an answer of the server."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", namespace, "on", ">canary", "~*", "&*", "+@all")
        yield f"redis://{namespace}:canary@127.0.0.1:{proxy.port}"
        client.execute_command("ACL", "DELUSER", namespace)


@pytest.fixture
def rig(url: str, namespace: str, tmp_path: Path) -> Iterator[Bench]:
    with bench(url, namespace, tmp_path) as made:
        yield made


@pytest.mark.parametrize("after", [0, LOOK])
@pytest.mark.parametrize("number", range(CONNECTIONS))
def test_a_connection_that_is_reset_while_a_worker_starts_is_opened_again(
    rig: Bench, proxy: Proxy, number: int, after: int
) -> None:
    proxy.coming.extend([*[NONE] * number, Fault(reply=after)])
    rig.start("thread")
    assert rig.app.add.delay(1, 2).result(timeout=20) == 3
    assert rig.workers[0].stop() == 0


def test_a_server_that_goes_away_while_a_worker_starts_is_waited_for(rig: Bench, proxy: Proxy) -> None:
    gone = threading.Event()

    def go() -> None:
        proxy.always = GONE
        gone.set()

    proxy.coming.append(Fault(reply=LOOK, cutting=go))
    worker = rig.start("thread", ready=False)
    assert gone.wait(20)
    with pytest.raises(subprocess.TimeoutExpired):  # it is waiting all that time
        worker.wait(AWAY)
    proxy.always = NONE
    wait_until(lambda: " is ready: pool" in worker.lines(), worker.lines())
    assert rig.app.add.delay(1, 2).result(timeout=20) == 3


def test_a_server_that_is_gone_after_its_first_answer_is_one_line_when_the_time_is_over(
    proxy: Proxy, url: str, tmp_path: Path
) -> None:
    proxy.always = Fault(reply=LOOK)
    taskq = Cli({"TASKQ_URL": url, "PYTHONPATH": str(TESTS), "TASKQ_CALL_DEADLINE": "1"}, tmp_path)
    began = time.monotonic()
    done = taskq("doctor")
    assert time.monotonic() - began >= 1.0
    assert (done.code, done.err.count("\n"), "Traceback" in done.err, "TLS" in done.err) == (4, 1, False, False), done


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pipe that holds up the import of the app."""
    made = tmp_path / "gate"
    os.mkfifo(made)
    monkeypatch.setenv("GATE", str(made))
    return made


def kill_first_child(worker: Worker, killed: list[int]) -> None:
    child = wait_until(lambda: [pid for pid in worker.children() if pid not in killed], worker.lines())[0]
    os.kill(child, signal.SIGKILL)
    killed.append(child)


@pytest.mark.fault(1)
def test_a_first_child_that_is_killed_while_it_imports_the_app_is_replaced(rig: Bench, gate: Path) -> None:
    worker = rig.start("thread", "-A", "apps.gated:app", ready=False)
    killed: list[int] = []
    for _ in range(2):
        kill_first_child(worker, killed)
    gate.write_text("")
    wait_until(lambda: " is ready: pool" in worker.lines(), worker.lines())
    assert rig.app.add.delay(1, 2).result(timeout=20) == 3
    assert worker.stop() == 0


def test_a_worker_whose_first_child_is_killed_again_and_again_says_so(rig: Bench, gate: Path) -> None:
    worker = rig.start("thread", "-A", "apps.gated:app", ready=False)
    killed: list[int] = []
    for _ in range(3):
        kill_first_child(worker, killed)
    assert worker.wait() == 1
    assert worker.lines().splitlines()[-1] == "taskq: the child process died while it imported 'apps.gated:app'"
