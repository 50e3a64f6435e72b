"""Nothing is lost when a process dies: children, supervisors and servers are killed under real load."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from servers import TestServer
from worker_kit import Bench, bench, wait_until

from taskq.errors import JobCrashed


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def naps(rig: Bench, pool: str, count: int, seconds: float) -> list:
    task = rig.app.anap if pool == "asyncio" else rig.app.nap
    return [task.delay(i, seconds) for i in range(count)]


@pytest.mark.fault(1)
def test_a_killed_child_is_replaced_and_its_job_runs_again_long_before_a_lease_ends(rig: Bench) -> None:
    rig.heartbeat, rig.lease = 5.0, 25.0
    worker = rig.start("process", "-c", "1")
    result = rig.app.nap.delay(1, 1.0)
    wait_until(lambda: rig.noted("start"), "job runs")
    child = worker.children()[0]
    os.kill(child, signal.SIGKILL)
    killed = time.monotonic()
    wait_until(lambda: len(rig.noted("start")) == 2, "job runs again")
    assert time.monotonic() - killed < 5.0  # `make bench` has the figure on a machine that is not busy with tests
    assert result.result(timeout=20) == 1
    wait_until(lambda: worker.children() and child not in worker.children(), "child replaced")


@pytest.mark.fault(1)
def test_jobs_in_flight_survive_a_killed_child(rig: Bench, pool: str) -> None:
    worker = rig.start(pool)
    rig.app.mark.delay_many(range(10_000))
    wait_until(lambda: len(rig.noted("end")) > 500, "load runs")
    os.kill(worker.children()[0], signal.SIGKILL)
    wait_until(lambda: len(rig.counts("end")) == 10_000, "all ran")


@pytest.mark.fault(2)
def test_children_of_a_killed_supervisor_are_gone_in_two_seconds_and_its_jobs_run_elsewhere(
    rig: Bench, pool: str, recovered: Callable[[float], float]
) -> None:
    worker = rig.start(pool)
    results = naps(rig, pool, 4, 1.0)
    rig.app.mark.delay_many(range(100, 10_100))
    wait_until(lambda: rig.noted("start"), "jobs run")
    children = worker.children()
    worker.signal(signal.SIGKILL)
    killed = time.monotonic()
    wait_until(lambda: not any(is_alive(pid) for pid in children), "children gone")
    assert time.monotonic() - killed < 2.0
    rig.start(pool)
    wait_until(lambda: max(rig.counts("start").values()) > 1, "a job that ran runs again")
    recovered(killed)
    assert [r.result(timeout=30) for r in results] == [0, 1, 2, 3]
    wait_until(lambda: len(rig.counts("end")) == 10_004, "all ran")


@pytest.mark.fault(4)
def test_sigterm_lets_running_jobs_finish_and_gives_the_rest_back(rig: Bench, pool: str) -> None:
    worker = rig.start(pool)
    naps(rig, pool, 2, 0.5)
    wait_until(lambda: len(rig.noted("start")) == 2, "jobs run")
    rig.app.mark.delay_many(range(100, 10_100))
    assert worker.stop() == 0, worker.lines()
    assert rig.counts("end")["0"] == rig.counts("end")["1"] == 1
    assert rig.counts("start") == rig.counts("end")
    rig.start(pool)
    wait_until(lambda: len(rig.noted("end")) >= 10_002, "the rest ran")
    assert max(rig.counts("end").values()) == 1


def test_sigterm_while_the_app_is_imported_ends_the_worker_with_0(rig: Bench) -> None:
    worker = rig.start("process", ready=False)
    wait_until(lambda: worker.process.poll() is not None or worker.children(), "its child starts")
    assert worker.stop() == 0, worker.lines()


@pytest.mark.fault(4)
def test_a_second_signal_gives_running_jobs_back_at_once(rig: Bench) -> None:
    worker = rig.start("process", "-c", "1", "--grace", "20")
    result = rig.app.nap.delay(1, 2.0)
    wait_until(lambda: rig.noted("start"), "job runs")
    worker.signal(signal.SIGTERM)
    wait_until(lambda: "stopping" in worker.lines(), "first signal")
    asked = time.monotonic()
    worker.signal(signal.SIGINT)
    assert worker.wait() == 0
    assert time.monotonic() - asked < 2.0
    rig.start("process")
    assert result.result(timeout=20) == 1


@pytest.mark.fault(24)
def test_a_job_that_kills_its_child_dies_after_five_crashes_and_harms_nobody(rig: Bench, pool: str) -> None:
    worker = rig.start(pool)
    good = naps(rig, pool, 50, 0.05)
    bad = rig.app.die.delay(1000)
    task = rig.app.anap if pool == "asyncio" else rig.app.nap
    good += [task.delay(i, 0.05) for i in range(50, 99)]
    assert [r.result(timeout=40) for r in good] == list(range(99))
    with pytest.raises(JobCrashed, match="died 5 times"):
        bad.result(timeout=40)
    assert rig.counts("start")["1000"] == 5, worker.lines()
    # Neighbours in the child that died run again, also one whose end was not yet reported. It happens once: from the
    # first crash on the job runs apart.
    most = 1 if pool == "process" else 2
    assert {rig.counts("end")[str(i)] for i in range(99)} <= set(range(1, most + 1)), worker.lines()


@pytest.mark.fault(24)
def test_a_poison_job_delays_no_other_job(rig: Bench, pool: str) -> None:
    rig.start(pool)
    bad = rig.app.die.delay(1000)
    wait_until(lambda: rig.counts("start")["1000"] >= 2, "the suspect runs apart")
    while not bad.done():
        sent = time.monotonic()
        rig.app.add.delay(1, 1).result(timeout=20)
        assert time.monotonic() - sent < 1.0  # the shortest time that a suspect waits for its third run
        time.sleep(0.02)


@pytest.mark.fault(8)
def test_nothing_is_lost_when_the_server_is_killed_and_restarted(start_server, namespace: str, tmp_path: Path) -> None:
    server: TestServer = start_server(appendonly="yes", appendfsync="always")
    with bench(server.url, namespace, tmp_path) as rig:
        rig.start("thread")
        rig.app.mark.delay_many(range(10_000))
        wait_until(lambda: len(rig.noted("end")) > 500, "load runs")
        server.kill()
        server.restart()
        extra = rig.app.add.delay(1, 2)
        wait_until(lambda: len(rig.counts("end")) == 10_000, "all ran", 60)
        assert extra.result(timeout=20) == 3


@pytest.mark.fault(9)
def test_an_outage_longer_than_the_lease_runs_nothing_twice(start_server, namespace: str, tmp_path: Path) -> None:
    server: TestServer = start_server()
    with bench(server.url, namespace, tmp_path) as rig:
        rig.start("process", "-c", "2")
        results = [rig.app.nap.delay(i, 2.0) for i in range(2)]
        wait_until(lambda: len(rig.noted("start")) == 2, "jobs run")
        os.kill(server.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: len(rig.noted("end")) == 2, "jobs end during the outage")
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert [r.result(timeout=30) for r in results] == [0, 1]
        assert rig.counts("start") == {"0": 1, "1": 1}


@pytest.mark.fault(5)
def test_a_stopped_worker_is_fenced_and_its_job_runs_elsewhere(rig: Bench, recovered: Callable[[float], float]) -> None:
    first = rig.start("process", "-c", "1")
    result = rig.app.nap.delay(1, 1.5)
    wait_until(lambda: rig.noted("start"), "job runs")
    pids = [first.pid, *first.children()]
    stopped = time.monotonic()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        rig.start("process", "-c", "1")
        wait_until(lambda: len(rig.noted("start")) == 2, "the second worker has it")
        recovered(stopped)
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)
    assert result.result(timeout=20) == 1
    wait_until(lambda: "taken away" in first.lines(), "the first one knows")
    assert rig.app.add.delay(1, 1).result(timeout=20) == 2
