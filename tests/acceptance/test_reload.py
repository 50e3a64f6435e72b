"""A worker in development: its children follow the app's sources, and running jobs end as they began."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cli_kit import Cli
from servers import TestServer
from worker_kit import PATIENCE, POOLS, TESTS, Worker, wait_until

from taskq import AsyncResult, TaskQ

SOON = 2.0  # seconds from the change of a file to a result of the new code
REFUSED = "until a file changes"
SHOP = """
import os, time
from taskq import TaskQ

VERSION = {version}
app = TaskQ("shop")


def note(line):
    with open("notes", "a") as file:
        file.write(line + "\\n")


@app.task(name="version")
def version() -> int:
    return VERSION


@app.task(name="hold")
def hold(key: str) -> int:
    note(f"start {{key}}")
    while not os.path.exists(key):
        time.sleep(0.01)
    return VERSION


@app.task(name="shaky")
def shaky(key: str) -> int:
    if not os.path.exists(key):
        open(key, "x").close()
        os._exit(1)
    return VERSION
"""


@dataclass
class Shop:
    """An app in a directory of its own, a client of it, and its workers."""

    client: TaskQ
    cli: Cli
    workers: list[Worker] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.cli.folder

    def write(self, version: object) -> float:
        """Write the app with an expression for its version; return the monotonic time of that."""
        (self.folder / "shop.py").write_text(SHOP.format(version=version), "utf-8")
        return time.monotonic()

    def start(self, *options: str, ready: bool = True, reload: bool = True) -> Worker:
        log = self.folder / f"{len(self.workers)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "taskq", "worker", "-A", "shop", *(["--reload"] if reload else []), *options],
                cwd=self.folder, env=self.cli.merged({}), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        worker = Worker(process, log)
        self.workers.append(worker)
        if ready:
            self.until_ready(worker)
        return worker

    def until_ready(self, worker: Worker) -> None:
        wait_until(lambda: " is ready: pool" in worker.lines() or worker.process.poll() is not None, "worker up")
        assert worker.process.poll() is None, worker.lines()

    def send(self, name: str, *arguments: object) -> AsyncResult[int]:
        return self.client.send_task(name, arguments, send_by_name=True)

    def call(self, name: str, *arguments: object) -> int:
        result: int = self.send(name, *arguments).result(timeout=PATIENCE)
        return result

    def until(self, version: int) -> None:
        wait_until(lambda: self.call("version") == version, f"version {version}: {self.workers[-1].lines()}")

    def until_settled(self, worker: Worker, **counts: int) -> None:
        """Wait until the app's queue has so many jobs of each kind."""

        def found() -> bool:
            info = self.client.inspect.queues()[0]
            return all(getattr(info, kind) == count for kind, count in counts.items())

        wait_until(found, f"{counts}: {self.client.inspect.queues()[0]}, {worker.lines()}", 2 * SOON)

    def starts(self, key: str) -> int:
        notes = self.folder / "notes"
        return notes.read_text("utf-8").splitlines().count(f"start {key}") if notes.exists() else 0


@pytest.fixture
def shop(server: TestServer, namespace: str, tmp_path: Path) -> Iterator[Shop]:
    environment = {
        "TASKQ_URL": server.url,
        "TASKQ_NAMESPACE": namespace,
        "TASKQ_HEARTBEAT": "0.1",
        "TASKQ_LEASE": "0.6",
        "TASKQ_HEALTH_SOCKET": "off",
        "PYTHONPATH": str(TESTS.parent),
    }
    client = TaskQ("client", url=server.url, namespace=namespace)
    made = Shop(client, Cli(environment, tmp_path))
    made.write(1)
    yield made
    for worker in made.workers:
        if worker.process.poll() is None:
            worker.process.kill()
            worker.wait()
    client.close()


def test_a_change_is_used_soon_and_what_runs_ends_as_it_began(shop: Shop, pool: str) -> None:
    worker = shop.start(*POOLS[pool])
    old = set(worker.children())
    held = shop.send("hold", "go")
    wait_until(lambda: shop.starts("go") == 1, f"it runs: {worker.lines()}")
    changed = shop.write(2)
    shop.until(2)
    took = time.monotonic() - changed
    (shop.folder / "go").touch()
    assert held.result(timeout=PATIENCE) == 1
    assert took < SOON, f"{pool}: {took:.2f} s until the new code ran"
    wait_until(lambda: not old & set(worker.children()), f"the old children have left: {worker.lines()}")
    assert shop.starts("go") == 1
    assert worker.stop() == 0


def test_code_that_cannot_be_imported_leaves_the_old_in_place(shop: Shop, pool: str) -> None:
    worker = shop.start(*POOLS[pool])
    wanted = 2 if pool == "process" else 1
    wait_until(lambda: len(re.findall(r"child \d+ is ready", worker.lines())) == wanted, "all children are up")
    children = set(worker.children())
    shop.write("1 +")
    wait_until(lambda: REFUSED in worker.lines(), worker.lines())
    assert shop.call("version") == 1
    line = next(line for line in worker.lines().splitlines() if REFUSED in line)
    assert "importing 'shop' failed: SyntaxError: invalid syntax" in line
    assert line.endswith(f"({shop.folder}/shop.py, line 5); the old code is used until a file changes")
    assert (worker.lines().count(REFUSED), children <= set(worker.children())) == (1, True)
    shop.write(2)
    shop.until(2)


def test_a_second_change_does_not_end_what_runs_since_before_the_first(shop: Shop) -> None:
    shop.start(*POOLS["thread"])
    held = shop.send("hold", "go")
    wait_until(lambda: shop.starts("go") == 1, "it runs")
    for version in (2, 3):
        shop.write(version)
        shop.until(version)
    (shop.folder / "go").touch()
    assert (held.result(timeout=PATIENCE), shop.starts("go")) == (1, 1)


def test_what_waits_behind_a_long_job_runs_with_the_new_code(shop: Shop) -> None:
    shop.start("--pool", "process", "-c", "1")
    for _ in range(20):  # it is believed to be short, so that others are given to the child behind it
        shop.call("version")
    shop.send("hold", "go")
    wait_until(lambda: shop.starts("go") == 1, "it runs")
    waiting = [shop.send("version") for _ in range(5)]
    shop.write(2)
    assert [result.result(timeout=PATIENCE) for result in waiting] == [2] * 5


def test_the_child_of_suspects_is_replaced_too(shop: Shop) -> None:
    shop.start("--pool", "thread", "-c", "2")
    assert shop.call("shaky", "a") == 1
    shop.write(2)
    shop.until(2)
    assert shop.call("shaky", "b") == 2


def test_a_child_that_has_run_its_share_is_replaced_with_the_new_code(shop: Shop) -> None:
    worker = shop.start("--pool", "thread", "-c", "1", "--max-jobs-per-child", "1")
    assert [shop.call("version") for _ in range(3)] == [1, 1, 1]
    shop.write(2)
    shop.until(2)
    assert [shop.call("version") for _ in range(3)] == [2, 2, 2]
    assert worker.stop() == 0


def test_a_first_start_that_fails_waits_for_a_change(shop: Shop) -> None:
    shop.write("missing")
    worker = shop.start("--pool", "thread", ready=False)
    wait_until(lambda: f"no job is run {REFUSED}" in worker.lines(), worker.lines())
    shop.write(2)
    shop.until_ready(worker)
    assert shop.call("version") == 2


def test_an_app_that_ends_its_process_at_import_waits_for_a_change(shop: Shop) -> None:
    worker = shop.start("--pool", "thread")
    shop.write("os._exit(3)")
    wait_until(lambda: REFUSED in worker.lines(), worker.lines())
    assert "exited with code 3 before the app was imported; the old code is used" in worker.lines()
    assert shop.call("version") == 1


def test_the_death_of_the_last_old_child_tells_that_nothing_runs(shop: Shop) -> None:
    worker = shop.start("--pool", "thread")
    shop.write("1 +")
    wait_until(lambda: REFUSED in worker.lines(), worker.lines())
    os.kill(worker.children()[0], signal.SIGKILL)
    wait_until(lambda: f"no job is run {REFUSED}" in worker.lines(), worker.lines())


def test_a_worker_that_waits_for_a_change_stops_in_good_order(shop: Shop) -> None:
    shop.write("missing")
    worker = shop.start("--pool", "thread", ready=False)
    wait_until(lambda: REFUSED in worker.lines(), worker.lines())
    assert worker.stop() == 0


def test_a_queue_that_is_new_in_the_app_asks_for_a_restart(shop: Shop) -> None:
    worker = shop.start("--pool", "thread")
    shop.write("2\nQUEUE = 'fresh'")
    file = shop.folder / "shop.py"
    file.write_text(file.read_text("utf-8").replace('name="version"', 'name="version", queue="fresh"'), "utf-8")
    wait_until(lambda: "the app has changed the queues fresh: start the worker again" in worker.lines(), worker.lines())


# --- children that cannot be replaced -------------------------------------------------------------------------------


@pytest.mark.parametrize("reload", [True, False])
def test_jobs_that_were_claimed_ahead_go_back_when_no_child_is_left(shop: Shop, reload: bool) -> None:
    worker = shop.start("--pool", "process", "-c", "1", reload=reload)
    for _ in range(20):  # it is believed to be short, so that many are claimed ahead
        shop.call("version")
    shop.write("1 +")
    if reload:
        wait_until(lambda: REFUSED in worker.lines(), worker.lines())
    shop.client.control.pause("default")
    for name in ["version"] * 100 + ["shaky"] + ["version"] * 200:
        shop.send(name, *(["key"] if name == "shaky" else []))
    shop.client.control.resume("default")
    wait_until(lambda: f"no job is run {REFUSED}" in worker.lines() or "cannot start" in worker.lines(), worker.lines())
    shop.until_settled(worker, running=0, ready=200, suspect=1)
    shop.write(2)
    shop.until_settled(worker, running=0, ready=0, suspect=0)


@pytest.mark.parametrize("reload", [True, False])
def test_a_suspect_goes_to_another_worker_while_its_child_cannot_start(
    shop: Shop, reload: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    worker = shop.start("--pool", "thread", "-c", "1", "--processes", "2", reload=reload)
    wait_until(lambda: len(re.findall(r"child \d+ is ready", worker.lines())) == 2, worker.lines())
    shop.write("1 +")
    if reload:
        wait_until(lambda: REFUSED in worker.lines(), worker.lines())
    crashed = shop.send("shaky", str(shop.folder / "key"))
    wait_until((shop.folder / "key").exists, "it crashed")
    assert [shop.call("version") for _ in range(3)] == [1, 1, 1]  # by the old code that is left
    other = Shop(shop.client, Cli(shop.cli.environment, tmp_path_factory.mktemp("other")), shop.workers)
    other.write(7)
    other.start("--pool", "thread", reload=False)
    assert crashed.result(timeout=PATIENCE) == 7


def test_a_child_that_dies_while_it_imports_what_started_before_is_replaced(shop: Shop) -> None:
    shop.write("1\nwhile os.path.exists('wait'):\n    time.sleep(0.01)")
    worker = shop.start("--pool", "process", "-c", "2")
    wait_until(lambda: len(re.findall(r"child \d+ is ready", worker.lines())) == 2, worker.lines())
    (shop.folder / "wait").touch()
    first = worker.children()
    os.kill(first[0], signal.SIGKILL)
    [second] = wait_until(lambda: set(worker.children()) - set(first), "a replacement")
    os.kill(second, signal.SIGKILL)
    (shop.folder / "wait").unlink()
    wait_until(lambda: len(re.findall(r"child \d+ is ready", worker.lines())) == 3, worker.lines())
    assert REFUSED not in worker.lines()


def test_old_children_that_are_left_are_counted(shop: Shop) -> None:
    worker = shop.start("--pool", "process", "-c", "2")
    wait_until(lambda: len(re.findall(r"child \d+ is ready", worker.lines())) == 2, worker.lines())
    shop.write("1 +")
    wait_until(lambda: REFUSED in worker.lines(), worker.lines())
    os.kill(worker.children()[0], signal.SIGKILL)
    wait_until(lambda: "1 child with the old code is left until a file changes" in worker.lines(), worker.lines())
    assert shop.call("version") == 1


def test_an_app_that_writes_a_source_while_it_is_imported_becomes_ready(shop: Shop) -> None:
    shop.write("1\nopen('gen.py', 'w').write('X = 1')\ntime.sleep(0.3)")
    worker = shop.start("--pool", "thread")
    assert shop.call("version") == 1
    assert worker.lines().count("gen.py has changed") <= 2, worker.lines()


def test_the_watching_says_nothing_of_its_own(shop: Shop) -> None:
    worker = shop.start("--pool", "thread")
    shop.write(2)
    shop.until(2)
    assert "detected" not in worker.lines()
