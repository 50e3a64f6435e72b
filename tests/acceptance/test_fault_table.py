"""Faults of processes and of the network; docs/faults.py has the table."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest
from chaos.proxy import Fault, Proxy
from fault_kit import APP, Make, Recovered, nap, send, stand_still
from worker_kit import Bench, bench, wait_until

from taskq import TaskQ

# --- processes ----------------------------------------------------------------------------------------------------


@pytest.mark.fault(1)
def test_the_job_of_a_killed_child_runs_again_at_once(
    rig: Bench, faulty: TaskQ, pool: str, recovered: Recovered
) -> None:
    rig.heartbeat, rig.lease = 5.0, 25.0
    worker = rig.start(pool, *APP)
    result = send(faulty, nap(pool), 1, 0.3)
    child = int(wait_until(lambda: rig.notes.exists() and rig.notes.read_text().split()[2:3], "it runs")[0])
    os.kill(child, signal.SIGKILL)
    killed = time.monotonic()
    wait_until(lambda: "crashed:" in worker.lines(), "the verdict")
    assert time.monotonic() - killed < 2.0  # 0.02 s on a machine that does nothing else
    wait_until(lambda: len(rig.noted("start")) == 2, "it runs again")
    assert recovered(killed) < 5.0  # the lease is 25: nobody waited for its end
    assert result.result(timeout=20) == 1


@pytest.mark.fault(3)
def test_when_everything_was_killed_all_jobs_run_after_one_lease(
    start_server: Make, namespace: str, tmp_path: Path, recovered: Recovered
) -> None:
    server = start_server(appendonly="yes", appendfsync="always")
    with bench(server.url, namespace, tmp_path) as rig:
        workers = [rig.start(pool, *APP) for pool in ("thread", "process")]
        with TaskQ("here", server.url, namespace) as app:
            results = [send(app, "nap", key, 0.2) for key in range(40)]
            wait_until(lambda: len(rig.noted("end")) > 5, "load runs")
            for worker in workers:
                for pid in (worker.pid, *worker.children()):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            server.kill()
            server.restart()
            killed = time.monotonic()
            rig.start("thread", *APP)
            assert [result.result(timeout=30) for result in results] == list(range(40))
            recovered(killed)


@pytest.mark.fault(4)
def test_a_long_job_is_given_back_without_a_charge_when_the_grace_is_over(
    rig: Bench, faulty: TaskQ, recovered: Recovered
) -> None:
    worker = rig.start("process", *APP, "-c", "1", "--grace", "0.3")
    result = send(faulty, "nap", 1, 3.0)
    wait_until(lambda: rig.noted("start"), "it runs")
    asked = time.monotonic()
    assert worker.stop() == 0, worker.lines()
    assert recovered(asked) < 3.0
    found = faulty.inspect.job(result.id)
    assert (found.state, found.attempt, found.crashes, found.losses, found.delivery) == ("ready", 0, 0, 0, 1)


@pytest.mark.fault(6)
def test_a_worker_that_stands_still_for_half_a_lease_loses_nothing(rig: Bench, faulty: TaskQ) -> None:
    rig.heartbeat, rig.lease = 0.3, 3.0
    first, second = (rig.start("process", *APP, "-c", "1") for _ in range(2))
    results = [send(faulty, "nap", key, 2.0) for key in range(2)]
    wait_until(lambda: len(rig.noted("start")) == 2, "both run one")
    stand_still([first.pid, *first.children()], rig.lease / 2)
    assert [result.result(timeout=20) for result in results] == [0, 1]
    assert rig.counts("start") == {"0": 1, "1": 1}
    assert "taken away" not in first.lines() + second.lines()


# --- the network --------------------------------------------------------------------------------------------------


@pytest.mark.fault(13)
def test_a_slow_network_costs_time_and_no_lease(start_server: Make, namespace: str, tmp_path: Path) -> None:
    server = start_server()
    slow = Fault(delay=0.1, rate=10_000)
    with (
        Proxy(server.socket) as proxy,
        bench(proxy.url, namespace, tmp_path, heartbeat=1.0, lease=6.0) as rig,
        TaskQ("here", server.url, namespace) as app,
    ):
        worker = rig.start("thread", *APP)
        proxy.always = slow
        proxy.arm(slow)
        results = [send(app, "nap", key, 0.1) for key in range(8)]
        assert [result.result(timeout=30) for result in results] == list(range(8))
        assert rig.counts("start") == {str(key): 1 for key in range(8)}
        assert "could not be renewed" not in worker.lines()
        assert "taken away" not in worker.lines()


@pytest.mark.fault(14)
def test_a_wait_over_a_connection_that_went_silent_ends_and_the_job_runs(
    start_server: Make, namespace: str, tmp_path: Path, recovered: Recovered
) -> None:
    server = start_server()
    with (
        Proxy(server.socket) as proxy,
        bench(proxy.url, namespace, tmp_path, heartbeat=1.0, lease=6.0) as rig,
        TaskQ("here", server.url, namespace) as app,
        server.client() as client,
    ):
        rig.start("thread", *APP)
        assert send(app, "sane", 0).result(timeout=20) == 0
        wait_until(lambda: any(one["cmd"] == "blpop" and "b" in one["flags"] for one in client.client_list()), "idle")
        proxy.silence()
        silent = time.monotonic()
        assert send(app, "sane", 1).result(timeout=30) == 1
        assert recovered(silent) < 10.0  # 5 s without an answer, a wait of 2 whose token was lost, and a second
