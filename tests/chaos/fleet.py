"""The processes of a chaos run: the server, the proxy before it, producers and workers."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from chaos.plan import PRODUCERS, QUEUES
from chaos.proxy import NONE, Proxy
from servers import TestServer
from worker_kit import TESTS, Worker, wait_until

BEAT, LEASE = 0.4, 2.4  # seconds; long enough that a loaded machine delays no heartbeat for so long
POOLS = {
    "process": ("--pool", "process", "-c", "2"),
    "thread": ("--pool", "thread", "-c", "6"),
    "gevent": ("--pool", "gevent", "-c", "10"),
    "asyncio": ("--pool", "asyncio", "-c", "10"),
}
READY = " is ready: pool"
UNREACHABLE = 4  # exit code of a worker that found no server when it started, and leaves it to its supervisor to retry
BEHIND_PROXY = {"process", "gevent", "producer-1", "producer-2"}


class Member:
    """A worker or producer that is started again under another number when it was killed."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.number = 0
        self.process: Worker | None = None
        self.stopped = False

    @property
    def name(self) -> str:
        """What it is called in the logs."""
        return f"{self.kind}.{self.number}"

    @property
    def running(self) -> Worker:
        """The process."""
        assert self.process is not None
        return self.process


class Fleet:
    """All processes; none outlives the ``with`` block."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self._dice = random.Random(seed)
        self.server = TestServer(appendonly="yes", appendfsync="always")
        self.proxy = Proxy(self.server.socket)
        self.workers = [Member(pool) for pool in POOLS]
        self.producers = [Member(f"producer-{number}") for number in range(PRODUCERS)]
        self.namespace = "chaos"
        self.jobs_log = folder / "jobs.log"
        self.ended_early: list[str] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.server)
            stack.enter_context(self.proxy)
            stack.callback(self._kill_all)
            for member in self.workers:
                self.start(member)
            for member in self.workers:
                self._await_ready(member.running)
            for member in self.producers:
                self.start(member)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def producer_logs(self) -> list[Path]:
        """Return the logs of all producers, dead ones included."""
        return sorted(self.folder.glob("producer-*.sent"))

    def start(self, member: Member) -> None:
        """Start a member, not waiting until it is ready."""
        member.number += 1
        member.stopped = False
        if member.kind in POOLS:
            command = ["taskq", "worker", "-A", "chaos.app:app", *POOLS[member.kind], "-Q", ",".join(QUEUES)]
        else:
            log = self.folder / f"{member.name}.sent"
            command = ["chaos.producer", member.name, str(self._dice.randrange(10**6)), str(log)]
        output = self.folder / f"{member.name}.log"
        with output.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=self._environment(member),
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
            )
        member.process = Worker(process, output)

    def _environment(self, member: Member) -> dict[str, str]:
        return {
            **os.environ,
            "TASKQ_URL": self.proxy.url if member.kind in BEHIND_PROXY else self.server.url,
            "TASKQ_NAMESPACE": self.namespace,
            "TASKQ_HEARTBEAT": str(BEAT),
            "TASKQ_LEASE": str(LEASE),
            "CHAOS_LOG": str(self.jobs_log),
            "CHAOS_WORKER": member.name,
            "PYTHONPATH": str(TESTS),
        }

    def kill(self, member: Member) -> None:
        """Kill a member and start its successor."""
        self._note_end(member)
        if member.running.process.poll() is None:
            member.running.signal(signal.SIGKILL)
            member.running.wait()
        self.start(member)

    def _note_end(self, member: Member) -> None:
        """Write down a member that ended although nobody killed it; one that could not start for a fault may."""
        code = member.running.process.poll()
        if code is not None and not (code == UNREACHABLE and READY not in member.running.lines()):
            self.ended_early.append(f"{member.name} ended by itself with {code}: {member.running.lines()[-500:]}")

    @staticmethod
    def _await_ready(worker: Worker) -> None:
        wait_until(
            lambda: READY in worker.lines() or worker.process.poll() is not None,
            f"worker up: {worker.lines()}",
        )
        assert worker.process.poll() is None, worker.lines()

    # --- the end

    def heal(self) -> None:
        """Let every process go on and be reached; start those that are missing."""
        self.proxy.always = NONE
        self.proxy.listen()
        self.proxy.cut()
        if not self.server.running:
            self.server.start()
        for member in self.workers:
            if member.stopped:
                member.running.signal(signal.SIGCONT)
                member.stopped = False
            self._note_end(member)
            if member.running.process.poll() is not None:
                self.start(member)

    def end_producers(self) -> None:
        """Have the producers end; fail if one does not."""
        for member in self.producers:
            if member.running.process.poll() is None:
                member.running.signal(signal.SIGTERM)
        for member in self.producers:
            assert member.running.wait(60) == 0, member.running.lines()

    def end_workers(self) -> list[str]:
        """Have the workers end; return what they said who did not end well."""
        for member in self.workers:
            if member.running.process.poll() is None:
                member.running.signal(signal.SIGTERM)
        found = []
        for member in self.workers:
            code = member.running.wait(30)
            if code != 0:
                found.append(f"worker {member.name} ended with {code}: {member.running.lines()[-500:]}")
        return found

    def fenced(self) -> list[str]:
        """Return the names of the workers that lost a lease."""
        return sorted(log.stem for log in self.folder.glob("*.log") if b"was taken away; going on" in log.read_bytes())

    def tracebacks(self) -> list[str]:
        """Return the names of logs that show an unhandled error."""
        return sorted(log.name for log in self.folder.glob("*.log") if b"Traceback (most recent" in log.read_bytes())

    def _kill_all(self) -> None:
        for member in (*self.workers, *self.producers):
            if member.process is not None and member.process.process.poll() is None:
                member.process.process.kill()
                member.process.process.wait()


def pause_until(moment: float) -> None:
    """Sleep until a monotonic time."""
    time.sleep(max(0.0, moment - time.monotonic()))
