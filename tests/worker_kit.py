"""Runs real workers as subprocesses for acceptance tests, and reads what their jobs noted."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

TESTS = Path(__file__).parent
POOLS = {
    "process": ("--pool", "process", "-c", "2"),
    "thread": ("--pool", "thread", "-c", "10"),
    "gevent": ("--pool", "gevent", "-c", "20"),
    "asyncio": ("--pool", "asyncio", "-c", "20"),
}
PATIENCE = 30.0  # seconds; a loaded machine starts a process in one


def wait_until(condition: Callable[[], Any], what: str, timeout: float = PATIENCE) -> Any:
    """Return the first true value of ``condition``; fail with ``what`` after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(0.01)


@dataclass
class Worker:
    """One ``taskq worker`` process."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def children(self) -> list[int]:
        """Process ids of its pool children (not of its guard)."""
        found = []
        for pid in (Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()).split():
            with contextlib.suppress(OSError):
                if b"taskq.worker.child" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(int(pid))
        return found

    def lines(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        return self.process.wait(timeout)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait()


@dataclass
class Bench:
    """A namespace on a server, the app bound to it, and the workers of one test."""

    url: str
    namespace: str
    folder: Path
    app: ModuleType
    heartbeat: float = 0.1
    lease: float = 0.6
    workers: list[Worker] = field(default_factory=list)

    @property
    def notes(self) -> Path:
        return self.folder / "notes"

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "TASKQ_URL": self.url,
            "TASKQ_NAMESPACE": self.namespace,
            "TASKQ_HEARTBEAT": str(self.heartbeat),
            "TASKQ_LEASE": str(self.lease),
            "ACCEPTANCE_LOG": str(self.notes),
            "PYTHONPATH": str(TESTS),
        }

    def start(self, pool: str, *options: str, ready: bool = True) -> Worker:
        """Start a worker of ``pool`` and wait until it is ready."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        command = [sys.executable, "-m", "taskq", "worker", "-A", "apps.acceptance:app", *POOLS[pool], *options]
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, env=self.environment(), stdout=out, stderr=out, stdin=subprocess.DEVNULL
            )
        worker = Worker(process, log)
        self.workers.append(worker)
        if ready:
            wait_until(
                lambda: " is ready: pool" in worker.lines() or process.poll() is not None,
                f"worker up: {worker.lines()}",
            )
            assert process.poll() is None, worker.lines()
        return worker

    def noted(self, word: str) -> list[str]:
        """Keys of the notes that begin with ``word``, in order."""
        if not self.notes.exists():
            return []
        return [line.split()[1] for line in self.notes.read_text().splitlines() if line.startswith(word + " ")]

    def counts(self, word: str) -> Counter[str]:
        return Counter(self.noted(word))

    def close(self) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()


@contextlib.contextmanager
def bench(url: str, namespace: str, folder: Path, **settings: float) -> Iterator[Bench]:
    """Bind the app to ``url`` and ``namespace`` in this process too, afresh for each test."""
    made = Bench(url, namespace, folder, app=ModuleType("none"), **settings)
    before = {name: os.environ.get(name) for name in ("TASKQ_URL", "TASKQ_NAMESPACE")}
    os.environ |= {"TASKQ_URL": url, "TASKQ_NAMESPACE": namespace}
    sys.modules.pop("apps.acceptance", None)
    try:
        made.app = importlib.import_module("apps.acceptance")
        yield made
    finally:
        made.close()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        with contextlib.suppress(AttributeError):
            made.app.app.close()
