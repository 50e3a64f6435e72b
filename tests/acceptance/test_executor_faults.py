"""The executor's futures under the standard library's own waits, while workers die at random; and plain functions."""

from __future__ import annotations

import concurrent.futures
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

import pytest
from worker_kit import Bench, Worker, wait_until

from taskq.errors import CallRefused

FUTURES = 5_000
APPS = str(Path(__file__).parents[1] / "apps")
MODULES = "calls.*"


class Killer:
    """Kills children and whole workers of a rig at random, and puts new workers in place of those.

    Attributes:
        killed: what was killed.
    """

    def __init__(self, rig: Bench, pool: str, count: int, seed: int) -> None:
        self.killed: Counter[str] = Counter()
        self._rig, self._pool = rig, pool
        self._workers = [rig.start(pool) for _ in range(count)]
        self._dice = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="killer")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._dice.uniform(0.2, 0.5)):
            at = self._dice.randrange(len(self._workers))
            if self._dice.random() < 0.4:
                self._workers[at].signal(signal.SIGKILL)
                self._workers[at] = self._rig.start(self._pool, ready=False)
                self.killed["worker"] += 1
            else:
                self._kill_a_child(self._workers[at])

    def _kill_a_child(self, worker: Worker) -> None:
        try:
            os.kill(self._dice.choice(worker.children()), signal.SIGKILL)
        except (OSError, IndexError):
            return  # it has none at the moment, or is gone
        self.killed["child"] += 1


@pytest.mark.timeout(180)
def test_all_futures_complete_and_each_callback_is_called_once_while_workers_are_killed(rig: Bench) -> None:
    called: Counter[int] = Counter()
    executor = rig.app.app.Executor()
    with Killer(rig, "process", 2, seed=11) as killer:
        futures = {executor.submit(rig.app.nap, key, 0.004): key for key in range(FUTURES)}
        for future, key in futures.items():
            future.add_done_callback(lambda _, key=key: called.update([key]))
        done = [future.result() for future in concurrent.futures.as_completed(futures, timeout=120)]
    executor.shutdown()
    assert sorted(done) == list(range(FUTURES))
    wait_until(lambda: called.total() >= FUTURES, "all callbacks were called")
    assert set(called.values()) == {1}
    assert min(killer.killed["worker"], killer.killed["child"]) >= 3, killer.killed


def test_map_gives_all_results_in_order_while_workers_are_killed(rig: Bench) -> None:
    with Killer(rig, "thread", 2, seed=5) as killer, rig.app.app.Executor() as executor:
        started = time.monotonic()
        while time.monotonic() - started < 4 or not killer.killed:
            found = list(executor.map(rig.app.add, range(1_000), range(1_000), timeout=100, chunksize=100))
            assert found == [2 * number for number in range(1_000)]


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch):
    """A module of functions that the workers' app does not know."""
    monkeypatch.syspath_prepend(APPS)
    from calls import plain

    return plain


def start(rig: Bench, pool: str, *options: str, variable: str = "") -> Worker:
    environment = rig.environment() | {"TASKQ_ALLOW_IMPORT": variable}
    environment["PYTHONPATH"] += os.pathsep + APPS
    rig.environment = lambda: environment  # type: ignore[method-assign]
    return rig.start(pool, *options)


def test_plain_functions_run_where_their_module_is_allowed(rig: Bench, pool: str, plain) -> None:
    start(rig, pool, "--allow-import", MODULES)
    with rig.app.app.Executor() as executor:
        assert executor.submit(plain.double, 4, plus=1).result(timeout=20) == 9
        assert list(executor.map(plain.add, range(50), range(50), chunksize=20)) == [2 * i for i in range(50)]
        with pytest.raises(LookupError, match="here"):
            executor.submit(plain.fail, "here").result(timeout=20)


def test_the_variable_allows_them_too(rig: Bench, plain) -> None:
    start(rig, "thread", variable=f"other.*, {MODULES}")
    assert rig.app.app.Executor().submit(plain.double, 4).result(timeout=20) == 8


@pytest.mark.parametrize("options", [(), ("--allow-import", "other.*")], ids=["nothing allowed", "another allowed"])
def test_elsewhere_they_are_refused_at_once_with_the_option(rig: Bench, plain, options: tuple[str, ...]) -> None:
    worker = start(rig, "process", *options)
    future = rig.app.app.Executor().submit(plain.double, 4)
    with pytest.raises(CallRefused, match=r"'calls\.plain\.double' may not run here: .*--allow-import 'calls\.plain'"):
        future.result(timeout=20)
    assert rig.app.add.delay(1, 1).result(timeout=20) == 2
    assert worker.process.poll() is None


def test_a_name_that_was_written_by_hand_leads_to_no_other_function(rig: Bench) -> None:
    start(rig, "process", "--allow-import", "*")
    for module, name in [("os", "system"), ("os", "remove"), ("builtins", "eval"), ("subprocess", "Popen")]:
        sent = rig.app.app.send_task("taskq.call", (module, name, ["true"], {}), send_by_name=True)
        with pytest.raises(CallRefused, match="defines no plain function"):
            sent.result(timeout=20)
