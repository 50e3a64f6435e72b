"""Fixtures of the integration tests; each module makes an ``app`` of its own."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor as StandardExecutor
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from client_kit import DEADLINE
from coordination_kit import BOTH_SERVERS, Board, Program, own_server, until
from handworker import HandWorker
from servers import TestServer, redis_program, require_redis, valkey_program
from worker_kit import TESTS

from taskq import Executor, TaskQ, embedded
from taskq.client import signals
from taskq.client.importable import CALL_TASK
from taskq.errors import EmbeddedServerError
from taskq.worker.importing import install


@pytest.fixture
def other(app: TaskQ) -> Iterator[TaskQ]:
    """Another app, as another process has one."""
    with TaskQ("other", app.settings.url, app.settings.namespace) as other:
        yield other


# -- tasks and their results ---


@pytest.fixture
def add(app: TaskQ) -> Any:
    """The app's task ``add``."""
    return app.tasks["add"]


@pytest.fixture
def fail(app: TaskQ) -> Any:
    """The app's task ``fail``."""
    return app.tasks["fail"]


@pytest.fixture
def worker(app: TaskQ) -> Iterator[HandWorker]:
    """A worker of the default queue that runs jobs when it is told to."""
    app.Queue("default").qsize()
    worker = HandWorker(app)
    yield worker
    worker.close()


@pytest.fixture
def listening(add: Any, worker: HandWorker) -> None:
    """The listener's subscription stands when the test begins."""
    waited = add.delay(0)
    worker.run_all()
    waited.get(DEADLINE)
    until(lambda: add.app._listener.epoch is not None, "it listens", DEADLINE)


@pytest.fixture
def executor(app: TaskQ) -> Executor:
    """An executor of the app."""
    return app.Executor()


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of functions that no app knows."""
    monkeypatch.syspath_prepend(str(TESTS / "apps"))
    from calls import plain

    return plain


@pytest.fixture
def allowed(worker: HandWorker) -> Iterator[None]:
    """The hand worker allows the module of plain functions."""
    install(worker.app, ("calls.*",))
    yield
    worker.app.tasks.pop(CALL_TASK)


# -- data queues ---


@pytest.fixture(params=["Queue", "LifoQueue", "PriorityQueue"])
def make_queue(request: pytest.FixtureRequest, app: TaskQ) -> Callable[..., Any]:
    """Makes a data queue of each kind; numbers are items that all of them take."""
    return lambda maxsize=0: getattr(app, request.param)("q", maxsize)


# -- coordination ---


@pytest.fixture
def threads() -> Iterator[StandardExecutor]:
    """Threads in which others wait."""
    with ThreadPoolExecutor(16) as pool:
        yield pool


@pytest.fixture
def spawn(url: str, namespace: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start programs that get url and namespace; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, *args: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-c", program, url, namespace, *map(str, args)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def deaf(app: TaskQ, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Nothing that is told reaches the app's waiters until it is called: as when their connection was away."""
    app._listener.start()
    until(lambda: app._listener.epoch is not None, "the listener listens")
    deliver = signals.Signals.deliver
    mine = app._listener.signals
    monkeypatch.setattr(signals.Signals, "deliver", lambda self, *told: None if self is mine else deliver(self, *told))

    def hear_again() -> None:
        monkeypatch.undo()
        app._listener.signals.alarm()

    return hear_again


@pytest.fixture(scope="module", params=BOTH_SERVERS)
def lone_server(request: pytest.FixtureRequest) -> Iterator[TestServer]:
    """Valkey, then Redis, with nobody else's connections."""
    with own_server(request.param) as server:
        yield server


@pytest.fixture
def board(lone_server: TestServer, namespace: str) -> Iterator[Board]:
    """What ``lone_server`` has of the test's primitives."""
    with lone_server.client() as client:
        yield Board(client, namespace)


@pytest.fixture
def start_program(lone_server: TestServer, namespace: str) -> Iterator[Callable[..., Program]]:
    """Start programs that use ``lone_server``; ended with the test."""
    programs: list[Program] = []

    def start(source: str, *arguments: object) -> Program:
        programs.append(Program(source, lone_server.url, namespace, *arguments))
        return programs[-1]

    yield start
    for program in programs:
        program.close()


# -- the embedded server ---


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project root whose embedded server ends with the test, even if the test process is killed."""
    # Sockets need a short path, and those of another test must not be seen.
    runtime = tempfile.mkdtemp(prefix="taskq-test-", dir="/tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    monkeypatch.setenv("TASKQ_EMBEDDED", "1")
    monkeypatch.setenv("TASKQ_EMBEDDED_QUIET", "1")
    monkeypatch.delenv("TASKQ_EMBEDDED_SERVER", raising=False)
    monkeypatch.delenv("TASKQ_EMBEDDED_FSYNC", raising=False)
    folder = tmp_path / "project"
    folder.mkdir()
    script = 'read _; kill -9 $(head -qn 1 "$1"/.taskq/server.pid "$1"/*/.taskq/server.pid) 2>/dev/null'
    guard = subprocess.Popen(["/bin/sh", "-c", script, "sh", str(folder)], stdin=subprocess.PIPE)
    with guard:
        yield folder
        guard.kill()
    for project in (folder, *(data.parent for data in folder.glob("*/.taskq"))):
        with contextlib.suppress(EmbeddedServerError):
            embedded.stop(project)
    shutil.rmtree(runtime)


@pytest.fixture(params=["valkey", "redis7"])
def program(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, root: Path) -> str:
    """Both programs of an embedded server, chosen by the environment."""
    found = valkey_program() if request.param == "valkey" else redis_program()
    if found is None:
        (pytest.fail if require_redis() else pytest.skip)("no redis-server on PATH")
    monkeypatch.setenv("TASKQ_EMBEDDED_SERVER", found)
    return request.param
