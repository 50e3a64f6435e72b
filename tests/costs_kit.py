"""Counts what jobs cost: commands and bytes at the server, calls and blocks of memory in the processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import redis
from apps import counted
from worker_kit import TESTS, Worker, wait_until

from taskq import TaskQ

NAMESPACE = "t12345678"  # on a server of our own, as long as any: it is part of what is sent
BEAT = 60.0  # seconds: no other call comes into a measurement
WAITING = 2  # connections on which an idle worker blocks: for a token, and for orders
OURS = {
    "info",
    "client|list",
    "client|id",
    "keys",
    "scan",
    "memory|usage",
}  # what we ask, and taskq does not

Calls = Counter[str]


@dataclass(frozen=True)
class Work:
    """What the server did for others than us, or by ``-`` did between two looks."""

    calls: Calls  # of commands by name, those within scripts too
    sent: int  # bytes, to the server
    received: int

    def __sub__(self, before: Work) -> Work:
        return Work(self.calls - before.calls, self.sent - before.sent, self.received - before.received)


@dataclass
class Till:
    """A server that nobody else uses, a producer of no-ops, and at most one worker with thread -c 10."""

    client: redis.Redis
    app: TaskQ
    folder: Path
    not_counted: set[int] = field(default_factory=set)  # clients whose bytes are not
    worker: Worker | None = None

    def __post_init__(self) -> None:
        self.noop = self.app.task(ignore_result=True)(counted.noop.function)
        self.answer = self.app.task(counted.answer.function)
        self.tell_blocks = self.app.task(ignore_result=True)(counted.tell_blocks.function)
        self._log, self._blocks = self.folder / "log", self.folder / "blocks"
        self._log.touch()
        self._blocks.touch()

    def task(self, *, results: bool) -> Any:
        return self.answer if results else self.noop

    def work(self) -> Work:
        """Return what the server has done; bytes only for the clients that are connected."""
        stats = self.client.info("commandstats")
        calls = Calls({name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items()})
        others = [one for one in self.client.client_list() if int(one["id"]) not in self.not_counted | {self._id()}]
        sent, received = (sum(int(one[name]) for one in others) for name in ("tot-net-in", "tot-net-out"))
        return Work(Calls({name: count for name, count in calls.items() if name not in OURS}), sent, received)

    def of(self, action: Callable[[], object]) -> Work:
        """Return what the server does for ``action``."""
        before = self.work()
        action()
        return self.work() - before

    def memory(self) -> int:
        """Return the bytes that all keys take."""
        return sum(self.client.memory_usage(key, samples=0) for key in self.client.scan_iter())

    def start_worker(self) -> None:
        """Start the worker, and let it run a job; from now on the bytes of its connections alone count."""
        self.noop.delay_many([0])
        self.not_counted = {int(one["id"]) for one in self.client.client_list()}
        env = {
            **os.environ,
            "TASKQ_URL": self.app.settings.url,
            "TASKQ_NAMESPACE": NAMESPACE,
            "TASKQ_HEARTBEAT": str(BEAT),
            "TASKQ_LEASE": str(5 * BEAT),
            "COUNTED_LOG": str(self._log),
            "COUNTED_BLOCKS": str(self._blocks),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH")))),
        }
        command = [sys.executable, "-m", "apps.counted", "worker", "-A", "apps.counted:app", "--name", "counted"]
        log = self.folder / "worker.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*command, "--pool", "thread", "-c", "10"], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        self.worker = worker = Worker(process, log)
        wait_until(lambda: "is ready" in worker.lines() or process.poll() is not None, "worker up")
        assert process.poll() is None, worker.lines()
        wait_until(lambda: self._log.stat().st_size, "it runs a job")
        self.wait_idle()

    def drain(self, send: Callable[[], object], count: int) -> None:
        """Send so many jobs; return when the worker has settled all and waits for more."""
        before = self._log.stat().st_size
        send()
        wait_until(lambda: self._log.stat().st_size == before + count, "all ran")
        self.wait_idle()

    def wait_idle(self) -> None:
        wait_until(self._is_idle, "the worker is idle")

    def costs_of_delay(self, *, results: bool, warm: int, jobs: int) -> dict[str, float]:
        """Return what a producer that does nothing else counts of its calls, after ``warm`` of them."""
        numbers = {"COUNTING_WARM": str(warm), "COUNTING_JOBS": str(jobs)}
        env = {**os.environ, **numbers, "TASKQ_URL": self.app.settings.url, "TASKQ_NAMESPACE": NAMESPACE}
        command = [sys.executable, "-m", "apps.counting", "results" if results else "nothing"]
        done = subprocess.run(command, env=env | {"PYTHONPATH": str(TESTS)}, capture_output=True, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout)
        return found

    def held(self) -> tuple[int, int]:
        """Return how many blocks of memory the supervisor and the child hold."""
        return self._told(lambda: self.worker.signal(signal.SIGUSR1)), self._told(self.tell_blocks.delay)

    def process_ids(self) -> int:
        """Return the bytes of the processes' numbers in a result's record, which they make longer or shorter."""
        return len(str(self.worker.pid)) + sum(len(msgspec.msgpack.encode(child)) for child in self.worker.children())

    def close(self) -> None:
        if self.worker is not None:
            try:
                self.worker.stop()
            finally:
                self.worker.process.kill()
                self.worker.wait()

    def _told(self, ask: Callable[[], object]) -> int:
        before = self._blocks.stat().st_size
        ask()
        wait_until(lambda: self._blocks.stat().st_size > before, "blocks told")
        self.wait_idle()
        return int(self._blocks.read_text().split()[-1])

    def _is_idle(self) -> bool:
        clients = self.client.client_list()
        blocked = sum("b" in one["flags"] for one in clients)
        return blocked == WAITING and not self.client.keys(f"{NAMESPACE}:{{default}}:jobs")

    def _id(self) -> int:
        return int(self.client.client_id())


@contextlib.contextmanager
def till(url: str, folder: Path) -> Iterator[Till]:
    """Open all, and close it."""
    with redis.Redis.from_url(url) as client, TaskQ("counting", url, NAMESPACE) as app:
        made = Till(client, app, folder)
        try:
            yield made
        finally:
            made.close()
