"""One system at work: its server, its producer and its workers as processes, and the log of its jobs."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers.job import RECORD
from benchmarks.peers.server import Server
from benchmarks.peers.spec import Command, Plan, System
from benchmarks.peers.systems.taskq import ROOT
from benchmarks.rig import descendants, is_alive, tree_cpu

STARTING = 15.0  # seconds after which the next worker of a fleet is started, whatever the one before does
CALM = 3.0  # seconds without a new connection after which a fleet is up
LEAVING = 5.0  # seconds that a worker has to stop
STRAGGLERS = 0.5  # seconds in which a job that runs twice may do so before the count


class Failed(Exception):
    """A system did not do what it was asked to."""


@dataclass
class Bench:
    """Where one system is measured."""

    system: System
    home: Path  # its environment
    server: Server
    folder: Path
    patience: float  # seconds for any one measurement
    started: list[int] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.folder / "records"

    @property
    def worker_log(self) -> Path:
        return self.folder / "worker.log"

    def reset(self) -> None:
        """Empty the server and the logs."""
        self.server.reset()
        self.log.write_bytes(b"")
        self.worker_log.write_bytes(b"")

    def environment(self, plan: Plan, side: str) -> dict[str, str]:
        told = {
            "BENCH_URL": self.server.url,
            "BENCH_LOG": str(self.log),
            "BENCH_RESULTS": "1" if plan.results else "0",
            "BENCH_POOL": plan.pool,
            "BENCH_SLOTS": str(plan.slots),
            "BENCH_VARIANT": plan.variant,
            "BENCH_WORKLOAD": plan.workload,
            "BENCH_QUEUES": ",".join(plan.queues),
            "BENCH_SIDE": side,
            "TASKQ_URL": self.server.url,
            "PYTHONPATH": str(ROOT),
            "PATH": f"{self.home / 'bin'}:{os.environ.get('PATH', '')}",
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TASKQ_", "PYTHON"))}
        return kept | told

    @contextlib.contextmanager
    def agent(self, plan: Plan) -> Iterator[Agent]:
        """Run the producer."""
        command = [str(self.home / "bin/python"), "-m", "benchmarks.peers.agent", self.system.tasks]
        env = self.environment(plan, "producer") | dict(self.system.command(plan).env)
        with (self.folder / "agent.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=env, cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        try:
            yield Agent(process, self.folder / "agent.log")
        finally:
            process.kill()
            process.communicate()

    @contextlib.contextmanager
    def worker(self, plan: Plan) -> Iterator[list[int]]:
        """Run the worker; its processes are gone afterwards, whatever they answer to a signal."""
        command = self.system.command(plan)
        with self.worker_log.open("ab") as log:
            roots = [self._start(command, copy, plan, log) for copy in range(command.copies)]
        try:
            yield [root.pid for root in roots]
        finally:
            _stop(roots)

    @contextlib.contextmanager
    def fleet(self, plan: Plan) -> Iterator[list[int]]:
        """Run ``plan.workers`` workers, each started when the one before is connected: all at once would starve."""
        command, roots = self.system.command(plan), []
        with self.worker_log.open("ab") as log:
            try:
                for copy in range(plan.workers):
                    connected = self.server.connected()
                    roots.append(self._start(command, copy, plan, log))
                    deadline = time.monotonic() + STARTING
                    while self.server.connected() <= connected and time.monotonic() < deadline:
                        time.sleep(0.02)
                self._settled()
                yield [root.pid for root in roots]
            finally:
                _stop(roots)

    def _settled(self) -> None:
        """Wait until no more connections come."""
        deadline, seen, since = time.monotonic() + self.patience, -1, time.monotonic()
        while time.monotonic() < min(deadline, since + CALM):
            if (now := self.server.connected()) != seen:
                seen, since = now, time.monotonic()
            time.sleep(0.1)

    def _start(self, command: Command, copy: int, plan: Plan, log: Any) -> subprocess.Popen[bytes]:
        argv = [word.replace("%URL", self.server.url).replace("%COPY", str(copy)) for word in command.argv]
        argv[0] = str(self.home / "bin" / argv[0])
        env = self.environment(plan, "worker") | dict(command.env)
        return subprocess.Popen(argv, env=env, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)

    def fill(self, plan: Plan, task: str, count: int, extra: list[Any]) -> None:
        """Queue jobs 0 to ``count``, with a producer that is gone when they run."""
        with self.agent(plan) as agent:
            agent.enqueue(task, count, extra, bulk=agent.has_bulk)

    def count(self) -> int:
        return self.log.stat().st_size // RECORD.size

    def wait(self, count: int, roots: list[int]) -> None:
        """Wait until ``count`` jobs have run."""
        deadline = time.monotonic() + self.patience
        while self.count() < count:
            if time.monotonic() > deadline:
                raise Failed(f"{self.count():,} of {count:,} jobs ran within {self.patience:.0f} s{self.last_line()}")
            if not any(is_alive(root) for root in roots):
                raise Failed(f"the worker ended{self.last_line()}")
            time.sleep(0.005)

    def rows(self) -> list[tuple[int, int, float, float]]:
        """Return number, process, start and end of each job that ran."""
        return list(RECORD.iter_unpack(self.log.read_bytes()))

    def check(self, count: int, others: Collection[int] = ()) -> Ran:
        """Return when the jobs 0 to ``count``, and the others, ran, and which ran not once."""
        time.sleep(STRAGGLERS)
        rows = self.rows()
        runs = Counter(row[0] for row in rows)
        twice = sum(1 for runs_of in runs.values() if runs_of > 1)
        missing = sum(1 for number in itertools.chain(range(count), others) if number not in runs)
        seconds = max(row[3] for row in rows) - min(row[2] for row in rows)
        return Ran(seconds, twice, missing)

    def ended(self, first: int) -> float:
        """Return the seconds from the first start of any job to the last end of those numbered from ``first``."""
        rows = self.rows()
        return float(max(row[3] for row in rows if row[0] >= first) - min(row[2] for row in rows))

    def last_line(self) -> str:
        lines = self.worker_log.read_text("utf-8", "replace").strip().splitlines()
        return f": {lines[-1][-300:]}" if lines else ""


@dataclass(frozen=True)
class Ran:
    """How a number of jobs ran."""

    seconds: float  # from the first start to the last end
    twice: int
    missing: int

    @property
    def note(self) -> str:
        told = [f"{self.twice} ran twice"] * bool(self.twice) + [f"{self.missing} did not run"] * bool(self.missing)
        return ", ".join(told)


class Agent:
    """The runner's end of a producer."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process, self._log = process, log
        able = self.ask("hello")
        self.has_bulk: bool = able["bulk"]
        self.has_threads: bool = able["threads"]
        self.has_coroutines: bool = able["coroutines"]

    def tell(self, order: str, **options: Any) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the answer, or that there is none, says more
            self._process.stdin.write(json.dumps({"do": order, **options}) + "\n")
            self._process.stdin.flush()

    def hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"the producer ended: {self._log.read_text('utf-8', 'replace').strip()[-500:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(f"the producer: {answer['error']}")
        return answer["answer"]

    def ask(self, order: str, **options: Any) -> Any:
        self.tell(order, **options)
        return self.hear()

    def enqueue(self, task: str, count: int, extra: list[Any], *, bulk: bool, first: int = 0) -> dict[str, float]:
        """Send so many jobs, numbered from ``first``; return the seconds and the seconds of CPU that it took."""
        return dict(self.ask("enqueue", task=task, count=count, extra=extra, bulk=bulk, first=first))

    def trips(self, count: int, *, pause: float = 0.0, budget: float = 3600.0, first: int = 0) -> list[float]:
        """Return the seconds of each round trip."""
        return list(self.ask("trips", count=count, pause=pause, budget=budget, first=first))


def _stop(roots: list[subprocess.Popen[bytes]]) -> None:
    family = [(root.pid, *descendants(root.pid)) for root in roots]
    for root in roots:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(root.pid, signal.SIGTERM)
    deadline = time.monotonic() + LEAVING
    for root in roots:
        with contextlib.suppress(subprocess.TimeoutExpired):
            root.wait(max(0.0, deadline - time.monotonic()))
    for pid in (pid for pids in family for pid in pids):
        if is_alive(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    for root in roots:
        root.wait()


def memory(roots: list[int]) -> tuple[float, float]:
    """Return RSS and PSS in MB, summed over the processes and all below them."""
    rss = pss = 0
    for pid in (pid for root in roots for pid in (root, *descendants(root))):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Rss:", "Pss:")):
                    size = int(line.split()[1]) * 1024
                    rss, pss = (rss + size, pss) if line.startswith("Rss:") else (rss, pss + size)
    return rss / 1e6, pss / 1e6


def cpu(roots: list[int]) -> float:
    """Return the CPU seconds of the processes and all below them."""
    return sum(tree_cpu(root) for root in roots)


class Neighbours:
    """How much CPU others use while we measure: what the machine was busy with that was not ours."""

    def __init__(self) -> None:
        self._busy, self._ours, self._at = _busy(), _ours(), time.monotonic()

    def cores(self) -> float:
        """Return the cores that others used since."""
        others = (_busy() - self._busy) - (_ours() - self._ours)
        return max(0.0, others / (time.monotonic() - self._at))


def _busy() -> float:
    user, nice, system, _, _, irq, softirq, steal = (
        int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _ours() -> float:
    """CPU seconds of this process, of all below it, and of those below it that have ended."""
    total = 0
    for pid in (os.getpid(), *descendants(os.getpid())):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(word) for word in words[11:15])
    return total / os.sysconf("SC_CLK_TCK")
