"""What a worker tells of itself over its local socket, and what is made of it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from taskq.cli.main import run
from taskq.errors import InvalidOption, WorkerError
from taskq.worker import health
from taskq.worker.health import ACCEPTED, REST, SHORT, STUCK, HealthSocket, Pulse

PATIENCE = 10.0  # seconds
WELL = {"ready": True, "reason": "", "worker": "w.1.x", "state": "running", "children": {"up": 1, "wanted": 1}}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short directory that is the only one of sockets; no variable names another."""
    monkeypatch.delenv("TASKQ_HEALTH_SOCKET", raising=False)
    with tempfile.TemporaryDirectory(prefix="tq-", dir="/tmp") as made:
        monkeypatch.chdir(made)
        own = Path(made) / "taskq"
        monkeypatch.setattr(health, "_folders", lambda: iter([own]))
        yield own


class Loop:
    """The part of a supervisor's loop that listens."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.selector = selectors.DefaultSelector()
        self.told = told
        self.socket = HealthSocket(self.selector, lambda: self.told)

    def turn(self, seconds: float = PATIENCE) -> None:
        for key, _ in self.selector.select(seconds):
            key.data()

    def close(self) -> None:
        self.socket.close()
        self.selector.close()


@pytest.fixture
def make_loop(folder: Path) -> Iterator[Callable[..., Loop]]:
    made: list[Loop] = []

    def make(path: str | None = None, **told: Any) -> Loop:
        made.append(Loop(WELL | told))
        made[-1].socket.open(path, "name.host.tld")
        return made[-1]

    yield make
    for loop in made:
        loop.close()


def asked(loop: Loop, path: str) -> dict[str, Any]:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(health.ask, path, PATIENCE)
        while not answer.done():  # the first turn may answer only who looked whether somebody listens
            loop.turn(0.05)
        return answer.result()


@pytest.fixture
def pulse() -> Pulse:
    """A worker of two children that is well at 1000 s."""
    made = Pulse(2, stepped=999.0)
    made.turn(1000.0, 2, claiming=True)
    return made


def trouble(pulse: Pulse, now: float = 1000.0, state: str = "running", renewed: float = 999.5) -> str:
    return pulse.trouble(now, state, renewed, 1.0)


def test_a_worker_that_is_well_has_no_trouble(pulse: Pulse) -> None:
    assert trouble(pulse) == ""


@pytest.mark.parametrize("state", ["starting", "stopping"])
def test_a_worker_that_comes_or_goes_is_not_ready(pulse: Pulse, state: str) -> None:
    assert trouble(pulse, state=state) == f"it is {state}"


def test_a_paused_worker_is_ready(pulse: Pulse) -> None:
    assert trouble(pulse, state="paused") == ""


def test_a_worker_without_children_is_not_ready(pulse: Pulse) -> None:
    pulse.turn(1000.0, 0, claiming=False)
    assert trouble(pulse) == "no child is up"


def test_a_child_that_is_being_replaced_is_no_trouble(pulse: Pulse) -> None:
    pulse.turn(1000.0, 1, claiming=True)
    assert trouble(pulse) == ""


def test_a_child_that_stays_away_is_trouble(pulse: Pulse) -> None:
    pulse.turn(1000.0, 1, claiming=False)
    later = 1000.0 + SHORT + 1
    pulse.turn(later, 1, claiming=False)
    assert trouble(pulse, later, renewed=later) == "only 1 of 2 children are up, for 31 s"


def test_a_lease_that_is_not_renewed_is_trouble(pulse: Pulse) -> None:
    assert trouble(pulse, renewed=997.0).startswith("the lease was not renewed for 3.0 s")


def test_claims_without_an_answer_are_trouble(pulse: Pulse) -> None:
    later = 1001.0 + STUCK
    assert trouble(pulse, later, renewed=later) == "slots are free, and no claim was answered for 16 s"


def test_a_worker_whose_slots_are_long_taken_is_ready(pulse: Pulse) -> None:
    pulse.turn(1010.0, 2, claiming=False)
    assert trouble(pulse, 5000.0, renewed=5000.0) == ""


def test_a_slot_that_became_free_just_now_is_no_trouble(pulse: Pulse) -> None:
    pulse.turn(1010.0, 2, claiming=False)
    pulse.turn(5000.0, 2, claiming=True)
    assert trouble(pulse, 5000.0, renewed=5000.0) == ""


def test_the_report_has_the_ages(pulse: Pulse) -> None:
    told = pulse.report(1000.5, "running", 1000.0, 1.0)
    assert (told["heartbeat_age"], told["claim_age"], told["ready"]) == (0.5, 1.5, True)


def test_whoever_connects_gets_one_line(make_loop: Callable[..., Loop], folder: Path) -> None:
    loop = make_loop()
    assert asked(loop, str(folder / f"worker-name.{os.getpid()}.sock")) == WELL


def test_only_its_user_may_connect(make_loop: Callable[..., Loop], folder: Path) -> None:
    make_loop()
    assert [path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())] == [0o700, 0o600]


def test_one_turn_answers_a_bounded_number(make_loop: Callable[..., Loop], folder: Path) -> None:
    loop = make_loop(path := str(folder.parent / "x.sock"))
    told = 0
    with contextlib.ExitStack() as stack:
        askers = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(ACCEPTED + 2)]
        for asker in askers:
            asker.connect(path)
            asker.setblocking(False)
        loop.turn()
        for asker in askers:
            with contextlib.suppress(BlockingIOError):
                told += bool(asker.recv(10_000))
    assert told == ACCEPTED


def test_without_descriptors_it_rests_and_then_answers(make_loop: Callable[..., Loop], folder: Path) -> None:
    loop = make_loop(path := str(folder.parent / "x.sock"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket(socket.AF_UNIX) as asker:
        asker.connect(path)
        os.close(free := os.dup(0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            loop.turn()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        resting = not loop.selector.get_map()  # else the loop would spin
        loop.socket.tick(time.monotonic() + REST)
        loop.turn()
        assert (resting, bool(asker.recv(10_000))) == (True, True)


def test_a_report_that_fails_does_not_stop_the_loop(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop(broken=object())
    with pytest.raises(WorkerError, match="is no worker"):
        asked(loop, health.find()[0])


def test_the_socket_goes_with_the_worker(make_loop: Callable[..., Loop], folder: Path) -> None:
    make_loop().close()
    assert list(folder.iterdir()) == []


def test_a_socket_that_another_worker_put_there_stays(make_loop: Callable[..., Loop], folder: Path) -> None:
    loop = make_loop(path := str(folder.parent / "x.sock"))
    Path(path).unlink()
    second = make_loop(path)
    loop.socket.close()
    assert asked(second, path) == WELL


def test_a_socket_of_a_dead_worker_is_replaced(make_loop: Callable[..., Loop], folder: Path) -> None:
    path = str(folder.parent / "x.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    assert asked(make_loop(path), path) == WELL


def test_what_is_no_socket_is_left_alone(make_loop: Callable[..., Loop], folder: Path) -> None:
    file = folder.parent / "precious"
    file.write_text("x", "utf-8")
    make_loop(str(file)).close()
    assert file.read_text("utf-8") == "x"


def test_a_socket_in_use_is_left_alone(make_loop: Callable[..., Loop], folder: Path) -> None:
    path = str(folder.parent / "x.sock")
    first = make_loop(path, worker="first")
    make_loop(path, worker="second").close()
    first.turn()  # the look of the second one
    assert asked(first, path)["worker"] == "first"


def test_a_place_that_cannot_be_written_is_a_warning(
    make_loop: Callable[..., Loop], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("taskq"), "propagate", True)
    make_loop("/proc/none/x.sock")
    assert ["no health socket at '/proc/none/x.sock'" in text for text in caplog.messages] == [True]


def test_what_killed_workers_left_is_swept(make_loop: Callable[..., Loop], folder: Path) -> None:
    folder.mkdir(mode=0o700)
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    left = folder / f"worker-x.{int(ended.stdout)}.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(left))
    make_loop()
    assert not left.exists()


def test_a_directory_open_to_others_is_not_used(make_loop: Callable[..., Loop], folder: Path) -> None:
    folder.mkdir(mode=0o755)
    make_loop()
    assert (list(folder.iterdir()), health.find()) == ([], [])


@pytest.mark.parametrize("text", ["", "off"])
def test_no_path_is_no_socket(text: str) -> None:
    assert health.check_path("--health-socket", text) == ""


@pytest.mark.parametrize("text", ["/" + "x" * 100, "a\0b"])
def test_a_path_that_no_socket_can_have_is_refused(text: str) -> None:
    with pytest.raises(InvalidOption, match=r"TASKQ_HEALTH_SOCKET .* at most 100 bytes"):
        health.check_path("TASKQ_HEALTH_SOCKET", text)


def test_who_does_not_answer_is_given_up(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(path := str(folder.parent / "x.sock"))
        stuck.listen()
        with pytest.raises(WorkerError, match=r"did not answer within 0\.05 s: it is stuck"):
            health.ask(path, 0.05)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n", b"[" * 60_000, b"", b"{}\n", b"5\n", b"\xff\n"])
def test_what_answers_otherwise_is_no_worker(folder: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as other, ThreadPoolExecutor(1) as pool:
        other.bind(path := str(folder.parent / "x.sock"))
        other.listen()
        asking = pool.submit(health.ask, path, PATIENCE)
        with other.accept()[0] as asker:
            asker.sendall(answer)
        with pytest.raises(WorkerError, match="is no worker"):
            asking.result()


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def said(
    make_loop: Callable[..., Loop], folder: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Ask a worker that tells something; returns the exit code and what was printed."""

    def call(*options: str, **told: Any) -> tuple[int, str]:
        loop = make_loop(path := str(folder.parent / "x.sock"), **told)
        with ThreadPoolExecutor(1) as pool:
            code = pool.submit(run, ["health", "--socket", path, *options])
            loop.turn()
            return code.result(), capsys.readouterr().out

    return call


def test_a_ready_worker_is_well(said: Callable[..., tuple[int, str]]) -> None:
    assert said() == (0, "ready: worker w.1.x, running, 1 of 1 children up\n")


def test_a_worker_that_is_not_ready_says_why(said: Callable[..., tuple[int, str]]) -> None:
    assert said(ready=False, reason="no child is up") == (1, "not ready: no child is up\n")


def test_a_worker_that_is_not_ready_lives(said: Callable[..., tuple[int, str]]) -> None:
    code, line = said("--live", ready=False, reason="no child is up")
    assert (code, line.startswith("live: ")) == (0, True)


def test_json_has_all_that_is_told(said: Callable[..., tuple[int, str]]) -> None:
    code, line = said("--json")
    assert (code, json.loads(line)) == (0, {"live": True} | WELL)


def test_without_a_worker_it_is_not_well(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["health"])
    said = capsys.readouterr()
    assert (code, "no worker of user" in said.out, said.out.count("\n"), said.err) == (1, True, 1, "")


def test_several_workers_are_named(
    make_loop: Callable[..., Loop], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.mkdir(mode=0o700)
    paths = [str(folder / f"worker-{name}.{os.getpid()}.sock") for name in "ab"]
    for path in paths:
        make_loop(path)
    assert (run(["health"]), ", ".join(paths) in capsys.readouterr().err) == (2, True)


def test_the_variable_names_the_socket(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TASKQ_HEALTH_SOCKET", "/nowhere/x.sock")
    assert (run(["health"]), "'/nowhere/x.sock': No such file" in capsys.readouterr().out) == (1, True)


def test_the_project_names_the_socket(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("pyproject.toml").write_text("[tool.taskq.worker]\nhealth_socket = '/nowhere/y.sock'\n", "utf-8")
    assert (run(["health"]), "/nowhere/y.sock" in capsys.readouterr().out) == (1, True)


@pytest.mark.parametrize("seconds", ["0", "nan", "soon", "61"])
def test_a_timeout_out_of_range_is_refused(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert (run(["health", "--timeout", seconds]), "--timeout" in capsys.readouterr().err) == (2, True)


@pytest.mark.parametrize("module", ["redis", "hiredis", "rich", "asyncio", "taskq.app", "taskq.broker", "taskq.client"])
def test_it_imports_little(module: str) -> None:
    code = "import sys; from taskq.cli.main import run; run(['health', '--socket', '/nowhere']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert module not in done.stdout.split()
