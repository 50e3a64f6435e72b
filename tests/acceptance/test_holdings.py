"""What jobs hold is renewed by the supervisor, and free as soon as their child dies."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from apps.holding import LEASE
from worker_kit import Bench, wait_until

from taskq import TaskQ
from taskq.broker.call import Command

APP = ("-A", "apps.holding:app")


@pytest.fixture
def app(rig: Bench):
    with TaskQ("here", rig.url, rig.namespace) as app:
        yield app


def begin(app: TaskQ, folder: Path, task: str, *args: object) -> int:
    """Start a job that holds something; return its process once it does."""
    held = folder / f"held-{task}"
    app.send_task(task, (args[0], str(held), *args[1:]), send_by_name=True)
    return int(wait_until(lambda: held.exists() and held.read_text(), f"{task} holds it"))


def test_lock_of_a_child_that_was_killed_is_free_at_once(rig: Bench, app: TaskQ, pool: str, tmp_path: Path) -> None:
    rig.start(pool, *APP)
    pid = begin(app, tmp_path, "ahold_lock" if pool == "asyncio" else "hold_lock", "l")
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    assert app.Lock("l", lease=LEASE).acquire(timeout=15)
    assert time.monotonic() - killed < LEASE / 4


@pytest.mark.parametrize(("task", "name"), [("hold_permit", "s"), ("hold_item", "q")])
def test_permits_and_items_too_are_free_at_once(rig: Bench, app: TaskQ, tmp_path: Path, task: str, name: str) -> None:
    app.Queue("q").put("the item")
    rig.start("thread", *APP)
    pid = begin(app, tmp_path, task, name)
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    if task == "hold_permit":
        assert app.Semaphore("s", 1, lease=LEASE).acquire(timeout=15)
    else:
        assert app.Queue("q").get(timeout=15) == "the item"
    assert time.monotonic() - killed < LEASE / 4


def test_job_that_keeps_its_interpreter_busy_keeps_its_lock(rig: Bench, app: TaskQ, pool: str, tmp_path: Path) -> None:
    rig.start(pool, *APP)
    begin(app, tmp_path, "hog", "l", 2.0)
    started = time.monotonic()
    with app.Lock("l", lease=0.5):
        assert time.monotonic() - started > 1.0, "it had the lock for four leases"


@pytest.mark.corrupts
def test_job_is_told_of_a_lock_that_it_lost(rig: Bench, app: TaskQ, tmp_path: Path) -> None:
    rig.start("thread", *APP)
    held, go = tmp_path / "held", tmp_path / "go"
    result = app.send_task("look_at_fence", ("l", str(held), str(go)), send_by_name=True)
    wait_until(held.exists, "it is held")
    app.broker.read(Command(("DEL", f"{rig.namespace}:{{lock:l}}:holders"), int))
    go.touch()
    assert result.result(timeout=20) == "lost"


def test_lock_of_a_job_that_ended_well_is_given_back(rig: Bench, app: TaskQ, tmp_path: Path) -> None:
    rig.start("thread", *APP)
    begin(app, tmp_path, "hog", "l", 0.1)
    assert app.Lock("l", lease=0.5).acquire(timeout=15)
