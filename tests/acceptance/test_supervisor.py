"""A worker stays useful, idle and stoppable whatever is wrong around it: the server, a queue's keys, a child."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import redis
from servers import TestServer
from worker_kit import Bench, bench, wait_until

from taskq.broker.broker import Broker
from taskq.broker.work import StepRequest, step

WINDOW = 1.0  # seconds over which processor time is measured
IDLE = 0.3  # share of a processor: far above what an idle worker takes, far below a loop that does not sleep
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_share(pid: int) -> float:
    """The share of one processor that a process takes in the next WINDOW seconds."""

    def used() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before, start = used(), time.monotonic()
    time.sleep(WINDOW)
    return (used() - before) / TICKS / (time.monotonic() - start)


def test_a_worker_sleeps_while_the_server_is_away_and_a_job_is_due(
    start_server, namespace: str, tmp_path: Path
) -> None:
    server: TestServer = start_server()
    with bench(server.url, namespace, tmp_path, heartbeat=5.0, lease=25.0) as rig:  # it still wants jobs
        worker = rig.start("thread")
        rig.app.mark.apply_async((1,), countdown=1.0)
        with server.client() as client:
            token = f"{namespace}:{{default}}:wake"
            wait_until(lambda: not client.exists(token), "the worker has seen when the job is due")
        time.sleep(0.2)
        server.kill()
        time.sleep(1.0)  # until the job is due
        assert cpu_share(worker.pid) < IDLE


def test_a_worker_sleeps_while_a_call_has_waited_long_for_a_server_that_is_away(
    start_server, namespace: str, tmp_path: Path
) -> None:
    server: TestServer = start_server()
    with bench(server.url, namespace, tmp_path) as rig:
        worker = rig.start("thread")
        server.kill()
        time.sleep(5.5)  # the wait for a token is overdue after five
        assert cpu_share(worker.pid) < IDLE


@pytest.mark.corrupts
def test_a_queue_whose_lease_cannot_be_renewed_does_not_stop_the_others(rig: Bench, server: TestServer) -> None:
    worker = rig.start("thread", "-Q", "default,urgent")
    with redis.Redis.from_url(server.url) as client:
        key = f"{rig.namespace}:{{default}}:workers"
        client.delete(key)
        client.set(key, "by hand")
        wait_until(
            lambda: "heartbeat of queue default" in worker.lines() or "heartbeat failed" in worker.lines(), "beat"
        )
        time.sleep(2 * rig.lease)
        rig.app.hurry.delay(1)
        wait_until(lambda: rig.noted("start"), worker.lines(), 5)
        assert "lease on queue urgent" not in worker.lines()


def test_a_refused_wait_for_jobs_keeps_the_worker_neither_busy_nor_from_its_jobs(
    start_server, namespace: str, tmp_path: Path
) -> None:
    server: TestServer = start_server()
    with bench(server.url, namespace, tmp_path) as rig, server.client() as client:
        worker = rig.start("thread")
        client.execute_command("ACL", "SETUSER", "default", "-blpop")
        time.sleep(2.5)  # the wait under way ends by itself after two
        assert cpu_share(worker.pid) < IDLE
        rig.app.mark.delay(1)
        wait_until(lambda: rig.noted("start"), worker.lines(), 5)


def test_a_job_that_was_claimed_for_a_worker_which_does_not_know_of_it_is_given_back(rig: Bench) -> None:
    rig.start("process", "-c", "1")
    rig.app.nap.delay(1, 2.0)
    wait_until(lambda: rig.noted("start"), "the only slot is taken")
    rig.app.mark.delay(2)
    broker = Broker(rig.app.app.broker.address, rig.namespace)
    try:
        keys = broker.keys("default")
        with redis.Redis.from_url(rig.url) as client:
            worker = client.zrange(keys.key("workers"), 0, 0)[0].decode()
        assert broker.run(step(keys, worker, StepRequest(count=1))).claims, "the claim whose reply nobody gets"
    finally:
        broker.close()
    wait_until(lambda: rig.counts("end") == {"1": 1, "2": 1}, "both ran", 10)


def test_a_child_that_reached_max_jobs_keeps_no_job_waiting_for_its_long_one(rig: Bench) -> None:
    worker = rig.start("thread", "-c", "2", "--max-jobs-per-child", "3")
    rig.app.nap.delay(100, 6.0)
    wait_until(lambda: rig.noted("start"), "the long job runs")
    for i in range(20):
        rig.app.mark.delay(i)
    wait_until(lambda: len(rig.noted("end")) == 20, worker.lines(), 5)
    assert "100" not in rig.noted("end")


def test_a_stop_while_the_server_is_away_is_bounded(start_server, namespace: str, tmp_path: Path) -> None:
    server: TestServer = start_server()
    with bench(server.url, namespace, tmp_path, heartbeat=5.0, lease=25.0) as rig:
        worker = rig.start("thread", "-Q", "default,urgent,ranked")
        server.kill()
        wait_until(lambda: "lost" in worker.lines(), "noticed")
        asked = time.monotonic()
        assert worker.stop() == 0, worker.lines()
        assert time.monotonic() - asked < 9.0
