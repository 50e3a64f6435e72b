"""The services of docker-compose.yml as plain processes over TCP, each with its own environment, under faults."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from compose_kit import ROOT, Service, services
from servers import TestServer, free_ports
from worker_kit import wait_until

FILES = 300  # sources: at 0.1 s of latency and 50 at once the crawl goes on for long enough to be disturbed
SLOW = ("--latency", "0.1", "0.2")
BEAT, LEASE = "0.2", "1.5"  # seconds
PATIENCE = 90.0  # seconds for the whole crawl; undisturbed it takes five
HELD = """SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM pages WHERE kind = 'page')"""


@dataclass
class Stack:
    """The services as processes.

    Args:
        folder: stands for the volume, the secrets and /tmp.
        url: of the server.
        tree: what the site serves.
    """

    folder: Path
    url: str
    tree: Path
    port: int = field(default_factory=lambda: free_ports()[0])
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    @property
    def db(self) -> Path:
        return self.folder / "crawl.sqlite"

    def start(self, service: Service, *more: str) -> subprocess.Popen[bytes]:
        """Start a service with the words and variables of the file, names of the network replaced by those of here."""
        words = [sys.executable if word == "python" else self.local(word) for word in service.command] + [*more]
        if words[0] == "taskq":
            words[:1] = [sys.executable, "-m", "taskq"]
        self.names.append(service.name)
        with self.log(len(self.processes)).open("wb") as out:
            process = subprocess.Popen(
                words, cwd=ROOT, env=self.environment(service), stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        self.processes.append(process)
        return process

    def local(self, word: str) -> str:
        here = {"0.0.0.0": "127.0.0.1", "8799": str(self.port), "http://site:8799/": f"http://127.0.0.1:{self.port}/"}
        return here.get(word, word.replace("/data/", f"{self.folder}/"))

    def environment(self, service: Service) -> dict[str, str]:
        """Nothing but what the file sets, and what any process has: another TMPDIR is another container's /tmp."""
        own = self.folder / f"tmp-{len(self.processes)}"
        own.mkdir()
        found = {"PATH": os.environ["PATH"], "TMPDIR": str(own), "PYTHONUNBUFFERED": "1", **service.environment}
        if "TASKQ_METRICS_PORT" in found:  # containers have an address each
            found |= {"TASKQ_METRICS_PORT": "0", "TASKQ_METRICS_HOST": "127.0.0.1"}
        if "TASKQ_URL_FILE" in found:
            secret = self.folder / "taskq-url"
            secret.write_text(self.url + "\n")
            found["TASKQ_URL_FILE"] = str(secret)
        return found

    def log(self, number: int) -> Path:
        return self.folder / f"{number}-{self.names[number]}.log"

    def lines(self) -> str:
        return "\n".join(f"--- {name}\n{self.log(n).read_text('utf-8')}" for n, name in enumerate(self.names))

    def recorded(self) -> tuple[int, int]:
        """How many findings are accepted, and how many files were found."""
        if not self.db.exists():
            return 0, 0
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(self.db)) as store:
            (row,) = store.execute(HELD).fetchall()
            return int(row[0]), int(row[1])
        return 0, 0

    def site_is_up(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5):
            return True
        return False

    def close(self) -> None:
        """End what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait(30)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Sources in ten packages."""
    root = tmp_path / "tree"
    for number in range(FILES):
        file = root / f"p{number % 10}" / f"m{number}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"def f{number}(x):\n    return 1 if x else {number}\n")
    return root


@pytest.fixture
def stack(start_server: Callable[..., TestServer], tree: Path, tmp_path: Path) -> Iterator[Stack]:
    """The services, none of them started, with a server of their own: they all use the default namespace."""
    folder = tmp_path / "data"
    folder.mkdir()
    made = Stack(folder, start_server(tcp=True).url, tree)
    try:
        yield made
    finally:
        made.close()


def test_the_topology_completes_the_crawl_though_one_worker_is_killed_and_one_is_told_to_stop(stack: Stack) -> None:
    found = services({"TASKQ_HEARTBEAT": BEAT, "TASKQ_LEASE": LEASE})
    stack.start(found["site"], "--root", str(stack.tree), *SLOW)
    workers = {name: stack.start(one) for name, one in found.items() if name.startswith("worker-")}
    doomed, dismissed = stack.start(found["worker-gevent"]), stack.start(found["worker-process"])
    wait_until(stack.site_is_up, "the site is up")
    wait_until(lambda: stack.lines().count(" is ready: pool") == 6, f"all workers are up: {stack.lines()}")
    producer = stack.start(found["producer"], "--root", str(stack.tree))

    wait_until(lambda: stack.recorded()[0] > 0 or producer.poll() is not None, "the crawl is under way")
    doomed.kill()
    dismissed.send_signal(signal.SIGTERM)
    done, known = stack.recorded()
    assert done < FILES, f"too late to disturb: {done} of {known} were recorded"

    assert dismissed.wait(30) == 0, stack.lines()
    assert doomed.wait(30) == -signal.SIGKILL
    assert producer.wait(PATIENCE) == 0, stack.lines()
    assert stack.recorded() == (FILES, FILES)
    assert [name for name, worker in workers.items() if worker.poll() is not None] == []


def test_the_producer_fails_when_a_file_has_no_record(stack: Stack) -> None:
    found = services({"TASKQ_HEARTBEAT": BEAT, "TASKQ_LEASE": LEASE})
    more = stack.folder / "more"
    shutil.copytree(stack.tree, more)
    (more / "p0" / "unserved.py").write_text("")
    stack.start(found["site"], "--root", str(stack.tree), "--latency", "0", "0")
    for name in ("worker-gevent", "worker-process", "worker-thread", "worker-asyncio"):
        stack.start(found[name])
    wait_until(stack.site_is_up, "the site is up")
    producer = stack.start(found["producer"], "--root", str(more))
    assert producer.wait(PATIENCE) == 1, stack.lines()
    told = f"the crawl is incomplete: 1 of {FILES + 1} files were not found by the crawl, first /p0/unserved.py"
    assert told in stack.lines()
