"""Every command with a server that is down, silent, read-only or lets nobody in: one line and an exit code, soon."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from cli_kit import Cli, Run
from servers import TestServer
from tcp_kit import Listener
from worker_kit import wait_until

LIMIT = 5.0  # seconds
STARTUP = 3.0  # seconds that a loaded machine may take to start Python; measured apart
READING = (
    "status", "queues", "workers", "jobs", "jobs --state failed", "job default/x", "result default/x", "dead list",
    "dead show default/x", "events --for 1", "report -o -", "doctor",
)  # fmt: skip
WRITING = (
    "enqueue add 1 2", "cancel default/x", "revoke default/x", "retry default/x", "move default/x --to urgent",
    "purge default --yes", "pause default", "resume default", "dead retry --all --yes", "dead drop default/x",
    "worker pause --all",
)  # fmt: skip
COMMANDS = (*READING, *WRITING)
WORKER = "worker --pool thread --log-level ERROR"
WAITING = (
    WORKER,
    "status",
    "jobs",
    "events --for 1",
    "report -o -",
    "doctor",
    "enqueue add 1 2",
    "dead retry --all --yes",
)


@pytest.fixture
def taskq(tmp_path: Path) -> Cli:
    """The command line of an app without a server."""
    tests = str(Path(__file__).parents[1])
    return Cli({"TASKQ_APP": "apps.acceptance:app", "PYTHONPATH": tests}, tmp_path)


def timed(taskq: Cli, command: str, url: str, **settings: str) -> tuple[Run, float]:
    began = time.monotonic()
    done = taskq(*command.split(), TASKQ_URL=url, **settings)
    return done, time.monotonic() - began


def check(taskq: Cli, command: str, url: str, code: int, word: str) -> None:
    """Run a command with less patience than by default, of which another test is."""
    done, _ = timed(taskq, command, url, TASKQ_CALL_DEADLINE="0.3")
    assert (done.code, done.err.count("\n"), "Traceback" in done.err) == (code, 1, False), done
    assert word in done.err


@pytest.mark.parametrize("command", [*COMMANDS, WORKER])
def test_a_server_that_is_down_is_one_line(taskq: Cli, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"redis://127.0.0.1:{closed.getsockname()[1]}"
    check(taskq, command, url, 4, "cannot be reached")


@pytest.fixture
def silent() -> Iterator[str]:
    """The url of a server that takes connections and never says a word."""

    def serve(connection: socket.socket) -> None:
        while connection.recv(65_536):
            pass

    with Listener(serve) as listener:
        yield listener.url


@pytest.mark.parametrize("command", WAITING)  # each way of asking: every one takes its four seconds
def test_a_server_that_is_silent_is_one_line_within_five_seconds(taskq: Cli, silent: str, command: str) -> None:
    startup = timed(taskq, "--version", silent)[1]
    done, seconds = timed(taskq, command, silent)
    assert (done.code, done.err.count("\n"), "Traceback" in done.err) == (4, 1, False), done
    assert seconds - startup < LIMIT


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The url of a replica with a queue and a dead job."""
    with TestServer(tcp=True) as master, TestServer() as follower, follower.client() as client:
        tests, folder = str(Path(__file__).parents[1]), tmp_path_factory.mktemp("replica")
        taskq = Cli({"TASKQ_APP": "apps.acceptance:app", "PYTHONPATH": tests, "TASKQ_URL": master.url}, folder)
        assert taskq("enqueue", "boom", "no", "--id", "x").code == 0
        assert taskq("worker", "--pool", "thread", "--drain").code == 0
        assert taskq("enqueue", "add", "1", "2", "--queue", "urgent").code == 0
        assert taskq("enqueue", "add", "1", "2").code == 0
        client.replicaof("127.0.0.1", master.port)
        wait_until(lambda: _follows(client), "the replica follows")
        yield follower.url


def _follows(client: redis.Redis) -> bool:
    found = client.info("replication")
    return found["master_link_status"] == "up" and bool(client.exists("taskq:{default}:dead"))


@pytest.mark.parametrize("command", [one for one in WRITING if one != "worker pause --all"])  # there is none to ask
def test_a_server_that_takes_no_writes_is_one_line(taskq: Cli, replica: str, command: str) -> None:
    check(taskq, command, replica, 4, "master's url")


@pytest.mark.parametrize("command", [one for one in READING if one not in {"events --for 1", "doctor"}])
def test_looking_needs_no_writes(taskq: Cli, replica: str, command: str) -> None:
    done = taskq(*command.split(), TASKQ_URL=replica)
    assert (done.code in {0, 1}, "Traceback" in done.err, "master" in done.err) == (True, False, False), done


@pytest.fixture
def user(server: TestServer, namespace: str) -> Iterator[Callable[[str], str]]:
    """Make a user with these rights; the value is its url."""
    with server.client() as client:

        def make(rights: str) -> str:
            client.execute_command("ACL", "SETUSER", namespace, "reset", "on", ">canary", *rights.split())
            return f"unix://{namespace}:canary@{server.url.removeprefix('unix://')}"

        yield make
        client.execute_command("ACL", "DELUSER", namespace)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_user_without_rights_is_one_line_without_its_password(
    taskq: Cli, user: Callable[[str], str], command: str
) -> None:
    done, seconds = timed(taskq, command, user("+ping"))
    assert (done.code, done.err.count("\n") or command == "doctor", "Traceback" in done.err) == (3, 1, False), done
    assert "canary" not in done.err + done.out
    assert seconds < LIMIT + STARTUP
