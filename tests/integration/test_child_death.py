"""What becomes of a child's jobs and processes when it or its supervisor dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from childdriver import APPS, POOLS, SHARED, Driver, alive, eventually, job_data, value_of

from taskq.model.outcome import decode_record
from taskq.worker.guard import Guard

SUPERVISOR = """
import os, sys, time
from childdriver import Driver, value_of
from taskq.worker.guard import Guard
pool, guarded = sys.argv[1], sys.argv[2] == "guarded"
driver = Driver(pool)
guard = Guard() if guarded else None
if guarded:
    guard.add(driver.child.pid)
driver.started()
print(driver.child.pid, driver.value("sleeper"), guard.pid if guarded else 0, flush=True)
if len(sys.argv) > 3:
    driver.send("deaf", sys.argv[3])
time.sleep(60)
"""


@pytest.fixture(params=POOLS)
def pool(request):
    return request.param


def collect(driver):
    """Wait for the end of the child and take what it left; returns the handles that ran."""
    driver.exit_code()
    frames, running = driver.child.collect()
    for frame in frames:
        driver.take(*frame)
    return running


@pytest.mark.parametrize("die", ["die", "adie"])
def test_death_tells_the_job_that_ran_from_those_that_did_not(pool, die):
    with Driver(pool, slots=1) as driver:
        driver.started().run("aadd", 1, 2)  # known from now on: its answers may wait for others
        frames = [driver.frame(job_data(task, *args)) for task, args in (("aadd", (1, 2)), (die, ()), ("aadd", (3, 4)))]
        driver.give(frames)
        first, dead, never = (frame.handle for frame in frames)
        assert collect(driver) == [dead]
        assert value_of(driver.ended[first]) == 3
        assert driver.given == {dead, never}


@pytest.mark.parametrize("pool", SHARED)
def test_death_takes_all_running_neighbours(pool, tmp_path):
    with Driver(pool, slots=3) as driver:
        driver.started()
        held = []
        for n in range(2):
            started = tmp_path / str(n)
            held.append(driver.send("hold", str(started), str(tmp_path / "never")))
            eventually(started.exists, "start of the job")
        dead = driver.send("die")
        assert sorted(collect(driver)) == [*held, dead]


def test_answers_sent_before_death_are_all_there(pool):
    with Driver(pool, slots=1) as driver:
        driver.started()
        results = [driver.frame(job_data("echo", b"x" * 10_000)) for _ in range(10)]
        driver.give([*results, driver.frame(job_data("die"))])
        collect(driver)
        assert {decode_record(driver.ended[frame.handle].record).ending for frame in results} == {"succeeded"}


def test_idle_child_that_is_killed_ran_nothing(pool):
    with Driver(pool) as driver:
        assert driver.started().value("add", 1, 2) == 3
        driver.child.kill()
        assert collect(driver) == []


def test_child_exits_with_the_code_of_its_job(pool):
    with Driver(pool) as driver:
        driver.started().send("die", 7)
        assert driver.exit_code() == 7


@pytest.mark.fault(31)
def test_programs_of_jobs_die_with_the_child(pool):
    with Driver(pool) as driver:
        grandchild = driver.started().value("sleeper")
        assert alive(grandchild)
        driver.send("die")
        collect(driver)
        eventually(lambda: not alive(grandchild), "end of the grandchild")


def test_end_of_the_socket_ends_the_child_and_its_group(pool):
    with Driver(pool) as driver:
        grandchild = driver.started().value("sleeper")
        driver.child._socket.close()
        assert driver.exit_code() == -signal.SIGKILL
        eventually(lambda: not alive(grandchild), "end of the grandchild")


def test_end_of_the_socket_ends_a_child_that_is_busy(pool):
    with Driver(pool) as driver:
        driver.started().send("hold", "/dev/null", "/nowhere")
        eventually(driver.child.table.running, "start of the job")
        driver.child._socket.close()
        assert driver.exit_code() == -signal.SIGKILL


@pytest.mark.fault(31)
def test_end_of_a_child_is_seen_though_a_fork_of_a_job_lives_on(pool):
    with Driver(pool) as driver:
        fork = driver.started().value("daemonize")
        driver.child.process.kill()
        try:
            eventually(lambda: driver.child.read_frames() or driver.child.ended, "end of the socket")
            assert alive(fork)
        finally:
            os.kill(fork, signal.SIGKILL)


@pytest.mark.fault(32)
def test_broken_frame_ends_the_child(pool):
    with Driver(pool) as driver:
        driver.started()
        driver.child.send(b"\xff\xff\xff\xff\x01junk")
        assert driver.exit_code() == -signal.SIGKILL


def run_supervisor(*arguments):
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(APPS).parent), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, *arguments], stdout=subprocess.PIPE, text=True, env=environ
    )
    pids = process.stdout.readline().split()
    process.stdout.close()
    return process, *map(int, pids)


def test_killed_supervisor_takes_its_children_along(pool):
    process, child, grandchild, _ = run_supervisor(pool, "alone")
    try:
        process.kill()
        process.wait()
        eventually(lambda: not alive(child), "end of the child", 2.0)
    finally:
        os.kill(grandchild, signal.SIGKILL)


@pytest.mark.fault(2)
def test_killed_supervisor_takes_a_child_along_that_hears_nothing(pool, tmp_path):
    process, child, grandchild, _ = run_supervisor(pool, "alone", str(tmp_path / "started"))
    try:
        eventually((tmp_path / "started").exists, "start of the job")
        process.kill()
        process.wait()
        eventually(lambda: not alive(child), "end of the child", 2.0)
    finally:
        os.kill(grandchild, signal.SIGKILL)


@pytest.mark.fault(2, 31)
def test_guard_kills_what_the_jobs_of_a_killed_supervisor_started(pool):
    process, child, grandchild, guard = run_supervisor(pool, "guarded")
    process.kill()
    process.wait()
    eventually(lambda: not any(map(alive, (child, grandchild, guard))), "end of all", 2.0)


def test_guard_survives_signals_to_everybody():
    guard = Guard()
    with subprocess.Popen(["sleep", "60"], process_group=0) as sleeper:
        guard.add(sleeper.pid)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(guard.pid, number)
        guard.add(12)
        guard.remove(12)
        assert alive(sleeper.pid)
        guard.close()
        assert sleeper.wait(5) == -signal.SIGKILL


def test_guard_leaves_alone_what_it_was_told_to_forget():
    guard = Guard()
    with (
        subprocess.Popen(["sleep", "60"], process_group=0) as kept,
        subprocess.Popen(["sleep", "60"], process_group=0) as watched,
    ):
        for process in (kept, watched):
            guard.add(process.pid)
        guard.remove(kept.pid)
        guard.close()
        assert watched.wait(5) == -signal.SIGKILL
        assert kept.poll() is None
        kept.kill()


def test_supervisor_without_a_shell_works_with_a_warning(monkeypatch, caplog):
    monkeypatch.setattr("taskq.worker.guard.SHELL", "/no/such/shell")
    guard = Guard()
    guard.add(1)
    guard.close()
    assert [record.action for record in caplog.records] == ["no_guard"]


def test_guard_that_died_is_missed_with_a_warning(caplog):
    guard = Guard()
    os.kill(guard.pid, signal.SIGKILL)
    eventually(lambda: not alive(guard.pid), "end of the guard")
    guard.add(1)
    guard.add(2)
    assert [record.action for record in caplog.records] == ["no_guard"]
