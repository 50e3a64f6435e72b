"""A private server, workers as processes, and the file of records that the jobs write."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import redis

RECORD = 32  # bytes of benchmarks.app.RECORD
PATIENCE = 120.0  # seconds for any one measurement


@dataclass
class Rig:
    """What a measurement needs: the server, a folder, and the log of the jobs."""

    folder: Path
    url: str
    client: redis.Redis = field(init=False)

    def __post_init__(self) -> None:
        self.client = redis.Redis.from_url(self.url)

    @property
    def log(self) -> Path:
        return self.folder / "records"

    def reset(self) -> None:
        """Empty the server and the log."""
        self.client.execute_command("FLUSHALL", "SYNC")  # the default is lazy: memory would shrink meanwhile
        self.log.write_bytes(b"")

    def count(self) -> int:
        return self.log.stat().st_size // RECORD

    def wait(self, count: int) -> None:
        """Wait until ``count`` jobs have run."""
        deadline = time.monotonic() + PATIENCE
        while self.count() < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.count()} of {count} jobs ran within {PATIENCE:.0f} s")
            time.sleep(0.01)

    def records(self) -> list[tuple[int, int, float, float]]:
        from benchmarks import app

        return list(app.RECORD.iter_unpack(self.log.read_bytes()))

    def check(self, count: int) -> float:
        """Check that jobs 0 to ``count`` ran once each; return the seconds from the first start to the last end."""
        rows = self.records()
        numbers = sorted(row[0] for row in rows)
        if numbers != list(range(count)):
            raise AssertionError(f"{count} jobs, {len(numbers)} runs, {len(set(numbers))} different ones")
        return max(row[3] for row in rows) - min(row[2] for row in rows)

    @contextlib.contextmanager
    def worker(self, pool: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run ``taskq worker`` at its default log level, its lines going to a file as under a service manager."""
        command = [sys.executable, "-m", "taskq", "worker", "-A", "benchmarks.app:app", "--pool", pool, *options]
        with (self.folder / "worker.log").open("ab") as log:
            process = subprocess.Popen(command, env=self.environment(), stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def environment(self) -> dict[str, str]:
        return {**os.environ, "TASKQ_URL": self.url, "BENCH_LOG": str(self.log)}

    def wait_ready(self) -> None:
        """Wait until a worker has signed in."""
        deadline = time.monotonic() + PATIENCE
        while not self.client.zcard("taskq:workers"):
            if time.monotonic() > deadline:
                raise TimeoutError("no worker came up: " + self.last_lines())
            time.sleep(0.01)

    def last_lines(self) -> str:
        return (self.folder / "worker.log").read_text("utf-8", "replace")[-2000:]

    def dataset(self) -> int:
        """Bytes that the data takes, without buffers and connections."""
        return int(self.client.info("memory")["used_memory_dataset"])

    def wait_child(self, pid: int) -> int:
        """Wait until the worker ``pid`` has a child for jobs; return its process id."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for child in descendants(pid):
                with contextlib.suppress(OSError):
                    if b"taskq.worker.child" in Path(f"/proc/{child}/cmdline").read_bytes():
                        return child
            time.sleep(0.01)
        raise TimeoutError("the worker has no child")


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    """Start a private embedded server in a temporary folder; everything is gone afterwards."""
    from taskq import embedded

    folder = Path(tempfile.mkdtemp(prefix="taskq-bench-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    os.environ.setdefault("TASKQ_EMBEDDED_QUIET", "1")
    try:
        url = embedded.url(folder)
        os.environ |= {"TASKQ_URL": url, "BENCH_LOG": str(folder / "records")}
        yield Rig(folder, url)
    finally:
        embedded.stop(folder)
        subprocess.run(["rm", "-rf", str(folder)], check=False)


def tree_rss(pid: int) -> int:
    """Return the resident bytes of a process and all below it."""
    total = 0
    for each in [pid, *descendants(pid)]:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/statm").read_text().split()
            total += int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
    return total


def tree_cpu(pid: int) -> float:
    """Return the CPU seconds of a process and all below it."""
    total = 0
    for each in [pid, *descendants(pid)]:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """Return all processes below ``pid``."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def machine() -> str:
    """Return what a figure depends on, in one line."""
    return json.dumps({"cpus": os.cpu_count(), "python": sys.version.split()[0], "platform": sys.platform})
