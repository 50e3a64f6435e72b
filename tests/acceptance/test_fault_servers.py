"""Faults of the server, of its disk and of clocks; docs/faults.py has the table."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from chaos.proxy import Proxy
from fault_kit import APP, Make, Recovered, health_of, send, there
from servers import TestServer, valkey_program
from worker_kit import Bench, bench, wait_until

from taskq import TaskQ
from taskq.errors import BrokerFull, BrokerReadOnly, BrokerUnavailable, Indeterminate

# --- the server ---------------------------------------------------------------------------------------------------


@pytest.mark.fault(7)
def test_a_restart_of_the_server_runs_nothing_twice_and_workers_go_on_in_seconds(
    start_server: Make, namespace: str, tmp_path: Path, recovered: Recovered
) -> None:
    server = start_server(appendonly="yes", appendfsync="always")
    with bench(server.url, namespace, tmp_path) as rig:
        workers = [rig.start("thread", *APP) for _ in range(2)]
        with TaskQ("here", server.url, namespace) as app:
            results = [send(app, "nap", key, 0.1) for key in range(100)]
            wait_until(lambda: len(rig.noted("end")) > 20, "load runs")
            server.terminate()
            server.start()
            back = time.monotonic()
            assert send(app, "sane", 1000).result(timeout=20) == 1000
            assert recovered(back) < 5.0
            assert [result.result(timeout=20) for result in results] == list(range(100))
        assert set(rig.counts("start").values()) == {1}
        assert "are back" not in "".join(worker.lines() for worker in workers)


def nothing(key: int) -> None:
    """Stand for a task that only workers have."""


def enqueue_until_killed(server: TestServer, app: TaskQ, seconds: float) -> tuple[list[tuple[float, str]], float]:
    """Enqueue in two threads while the server is killed; return the accepted jobs with their times, and its time."""
    accepted: list[tuple[float, str]] = []
    over = threading.Event()

    def produce() -> None:
        while not over.is_set():
            jobs = app.tasks["mark"].delay_many(range(20)) if len(accepted) % 3 else [app.tasks["mark"].delay(1)]
            now = time.monotonic()
            accepted.extend((now, job.id) for job in jobs)

    threads = [threading.Thread(target=produce) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    server.kill()
    killed = time.monotonic()
    server.start()
    over.set()
    for thread in threads:
        thread.join(30)
    return accepted, killed


@pytest.mark.fault(8)
@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_what_was_accepted_is_there_after_a_kill_of_the_server(start_server: Make, namespace: str, fsync: str) -> None:
    server = start_server(appendonly="yes", appendfsync=fsync)
    with TaskQ("here", server.url, namespace) as app:
        app.task(name="mark")(nothing)
        app.Queue("default").qsize()
        accepted, killed = enqueue_until_killed(server, app, 1.0)
        with server.client() as client:
            there = {unique.decode() for unique in client.hkeys(f"{namespace}:{{default}}:jobs")}
    lost = [at for at, job in accepted if job.partition("/")[2] not in there]
    assert len(accepted) > 100
    assert lost == [] if fsync == "always" else min(lost, default=killed) > killed - 2.5


@pytest.mark.fault(10)
@pytest.mark.parametrize("stall", ["sleep", "pause all", "pause write"])
def test_a_server_that_stalls_longer_than_a_lease_runs_nothing_twice(
    start_server: Make, namespace: str, tmp_path: Path, stall: str, recovered: Recovered
) -> None:
    server = start_server()
    with bench(server.url, namespace, tmp_path) as rig:
        rig.start("thread", *APP)
        with TaskQ("here", server.url, namespace) as app, server.client() as client:
            results = [send(app, "nap", key, 0.2) for key in range(40)]
            wait_until(lambda: len(rig.noted("end")) >= 10, "load runs")
            if stall == "sleep":
                client.execute_command("DEBUG", "SLEEP", "1.2")  # answers when it is over
            else:
                client.execute_command("CLIENT", "PAUSE", 1200, stall.split()[1].upper())
                time.sleep(1.2)
            over = time.monotonic()
            assert [result.result(timeout=30) for result in results] == list(range(40))
            recovered(over)
        assert rig.counts("start") == {str(key): 1 for key in range(40)}


@pytest.mark.fault(16)
def test_a_server_without_room_for_connections_is_waited_for(
    start_server: Make, namespace: str, tmp_path: Path, recovered: Recovered
) -> None:
    server = start_server()
    with bench(server.url, namespace, tmp_path) as rig, server.client() as client:
        worker = rig.start("thread", *APP)
        with TaskQ("here", server.url, namespace) as app:
            send(app, "sane", 0).result(timeout=20)
        client.config_set("maxclients", 1)
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        wait_until(lambda: "lost" in worker.lines(), worker.lines())
        late = TaskQ("late", server.url, namespace, call_deadline=1)
        with late, pytest.raises((BrokerUnavailable, Indeterminate)) as told:
            send(late, "sane", 1)
        assert "TLS" not in str(told.value)
        client.config_set("maxclients", 1000)
        room = time.monotonic()
        with TaskQ("here", server.url, namespace) as app:
            assert send(app, "sane", 2).result(timeout=20) == 2
        assert recovered(room) < 5.0


OUT_OF_DESCRIPTORS = """
import os, resource, sys
from taskq import TaskQ
from taskq.errors import BrokerUnavailable
def nothing(key: int) -> None: ...
with TaskQ("here", sys.argv[1], sys.argv[2], call_deadline=1) as app:
    app.task(name="sane")(nothing)
    app.tasks["sane"].delay(0)  # all modules are there
    app.broker.close()
    free = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 2, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    files = []
    try:
        while True:
            files.append(open(os.devnull))
    except OSError:
        pass
    try:
        app.tasks["sane"].delay(1)
    except BrokerUnavailable as error:
        print(error)
    files.clear()
    print(app.tasks["sane"].delay(1).id)
"""


@pytest.mark.fault(16)
def test_a_client_without_descriptors_says_so_and_works_once_it_has_some(url: str, namespace: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", OUT_OF_DESCRIPTORS, url, namespace],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    said = done.stdout.splitlines()
    assert len(said) == 2, done
    assert "cannot be reached: Too many open files" in said[0]
    assert said[1].startswith("default/")


@pytest.mark.fault(17)
def test_running_jobs_are_settled_by_a_server_whose_memory_is_full(
    start_server: Make, namespace: str, tmp_path: Path
) -> None:
    server = start_server()
    with bench(server.url, namespace, tmp_path) as rig, server.client() as client:
        rig.start("thread", *APP)
        with TaskQ("here", server.url, namespace) as app:
            results = [send(app, "nap", key, 0.1) for key in range(100)]
            wait_until(lambda: rig.noted("end"), "load runs")
            client.config_set("maxmemory", 1)
            with pytest.raises(BrokerFull):
                send(app, "sane", 1000)
            assert [result.result(timeout=20) for result in results] == list(range(100))
            client.config_set("maxmemory", 0)
            assert send(app, "sane", 1000).result(timeout=20) == 1000
        assert rig.counts("end")["1000"] == 1


@pytest.mark.fault(18)
def test_a_server_that_begins_to_evict_is_told_loudly(
    start_server: Make, namespace: str, tmp_path: Path, recovered: Recovered
) -> None:
    server = start_server()
    with (
        bench(server.url, namespace, tmp_path) as rig,
        server.client() as client,
        tempfile.TemporaryDirectory(prefix="tq-", dir="/tmp") as folder,  # a socket's path is short
    ):
        path = f"{folder}/health.sock"
        worker = rig.start("thread", *APP, "--health-socket", path)
        client.config_set("maxmemory-policy", "allkeys-lru")
        changed = time.monotonic()
        wait_until(lambda: "ALARM: jobs are in danger: maxmemory-policy is 'allkeys-lru'" in worker.lines(), "alarm")
        recovered(changed)
        wait_until(lambda: b"jobs are in danger" in health_of(path), "it is not ready")
        client.config_set("maxmemory-policy", "noeviction")
        wait_until(lambda: b'"ready": true' in health_of(path), "it is ready again")
        assert "safe again" in worker.lines()


@pytest.mark.fault(19)
def test_nobody_notices_that_the_server_forgets_the_scripts(rig: Bench, faulty: TaskQ) -> None:
    worker = rig.start("thread", *APP)
    faulty.task(name="sane")(nothing)
    results: list[Any] = []
    over = time.monotonic() + 1.0
    with redis.Redis.from_url(rig.url) as client:
        while time.monotonic() < over:
            client.script_flush()
            results += [faulty.tasks["sane"].delay(len(results)), *faulty.tasks["sane"].delay_many(range(3))]
    assert len([result.result(timeout=20) for result in results]) == len(results)
    assert "ERROR" not in worker.lines()


@pytest.mark.fault(20)
def test_who_knows_a_stable_name_follows_it_to_the_new_master(
    start_server: Make, namespace: str, tmp_path: Path, recovered: Recovered
) -> None:
    """The old master goes on as a replica and ends no connection: the proxy is the name that moves."""
    old, new = (start_server(tcp=True) for _ in range(2))
    with (
        Proxy(old.socket) as proxy,
        bench(proxy.url, namespace, tmp_path) as rig,
        TaskQ("here", proxy.url, namespace) as app,
        old.client() as first,
        new.client() as second,
    ):
        worker = rig.start("thread", *APP)
        results = [send(app, "nap", key, 0.05) for key in range(40)]
        second.replicaof("127.0.0.1", str(old.port))
        wait_until(lambda: second.info("replication")["master_link_status"] == "up", "the replica follows")
        first.execute_command("FAILOVER", "TO", "127.0.0.1", str(new.port))
        wait_until(lambda: second.info("replication")["role"] == "master", "the replica leads")
        proxy._server = new.socket
        moved = time.monotonic()
        assert send(app, "sane", 100).result(timeout=20) == 100
        recovered(moved)
        results += [send(app, "sane", key) for key in range(40, 50)]
        assert [result.result(timeout=30) for result in results] == list(range(50)), worker.lines()
        assert set(rig.counts("start").values()) == {1}


# --- clocks and disks ---------------------------------------------------------------------------------------------

WRONG_CLOCK = """
import time
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + 86_400
time.time_ns = lambda: _time_ns() + 86_400_000_000_000
"""
WRONG_PRODUCER = """
import sys, time
from taskq import TaskQ
with TaskQ("here", sys.argv[1], sys.argv[2]) as app:
    begun = time.monotonic()
    later = app.send_task("sane", (1,), countdown=0.5, send_by_name=True)
    soon = app.send_task("sane", (2,), expires=30, send_by_name=True)
    assert (soon.result(timeout=20), later.result(timeout=20)) == (2, 1)
    assert 0.5 <= time.monotonic() - begun < 10
"""


@pytest.mark.fault(35)
def test_a_clock_of_workers_and_producers_that_is_wrong_by_a_day_has_no_effect(
    rig: Bench, faulty: TaskQ, tmp_path: Path
) -> None:
    folder = tmp_path / "wrong"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WRONG_CLOCK, "utf-8")
    environment = rig.environment()
    environment["PYTHONPATH"] = f"{folder}{os.pathsep}{environment['PYTHONPATH']}"
    rig.environment = lambda: environment  # type: ignore[method-assign]
    worker = rig.start("thread", *APP)
    done = subprocess.run(
        [sys.executable, "-c", WRONG_PRODUCER, rig.url, rig.namespace],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    last = send(faulty, "sane", 3)
    assert last.result(timeout=20) == 3
    found = faulty.inspect.job(last.id)
    assert abs((found.finished or 0.0) - time.time()) < 60, "records have the server's time"
    assert "taken away" not in worker.lines()


FULL_DISK = """#!/bin/sh
trap '' XFSZ
ulimit -S -f 512
exec {program} "$@"
"""


@pytest.fixture
def small_disk(tmp_path: Path, start_server: Make) -> Callable[[str], TestServer]:
    """Start a server none of whose files can grow beyond 256 KiB: what it is told then is what a full disk tells."""

    def start(fsync: str) -> TestServer:
        program = tmp_path / "server"
        program.write_text(FULL_DISK.format(program=valkey_program()), "utf-8")
        program.chmod(0o755)
        return start_server(str(program), appendonly="yes", appendfsync=fsync)

    return start


def fill(faulty: TaskQ, accepted: list[str]) -> None:
    """Enqueue until the server refuses; note what it accepted."""
    while len(accepted) < 2_000:
        accepted.append(send(faulty, "sane", "x" * 1_000).unique)


@pytest.mark.fault(36)
def test_a_full_disk_refuses_jobs_until_there_is_room(small_disk, namespace: str, recovered: Recovered) -> None:
    server = small_disk("everysec")
    with TaskQ("here", server.url, namespace, call_deadline=0.5) as app:
        app.Queue("default").qsize()
        with pytest.raises(BrokerReadOnly, match="MISCONF"):
            fill(app, [])
        before = there(server, namespace)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        room = time.monotonic()
        with TaskQ("patient", server.url, namespace, call_deadline=20) as patient:
            last = send(patient, "sane", 1).unique
        assert recovered(room) < 10.0
        server.terminate()
        server.restart()
        assert there(server, namespace) == before | {last}


@pytest.mark.fault(36)
def test_a_full_disk_ends_a_server_that_syncs_always_and_loses_nothing(small_disk, namespace: str) -> None:
    server = small_disk("always")
    accepted: list[str] = []
    with TaskQ("here", server.url, namespace, call_deadline=0.5) as app:
        app.Queue("default").qsize()
        with pytest.raises((BrokerUnavailable, Indeterminate)):
            fill(app, accepted)
    wait_until(lambda: not server.running, "the server ends")
    server.program = valkey_program()
    server.restart()
    assert set(accepted) <= there(server, namespace)


@pytest.mark.fault(37)
def test_a_server_with_a_torn_file_has_whole_scripts_only(start_server: Make, namespace: str) -> None:
    server = start_server(appendonly="yes", appendfsync="always")
    with TaskQ("here", server.url, namespace) as app:
        sent = [send(app, "sane", key).unique for key in range(50)]
        server.kill()
        file = max((server.directory / "appendonlydir").glob("*.incr.aof"), key=lambda one: one.stat().st_size)
        with file.open("r+b") as torn:
            torn.truncate(file.stat().st_size - 37)
        server.restart()
        assert there(server, namespace) == set(sent[:-1])
        with server.client() as client:
            key = f"{namespace}:{{default}}:"
            assert client.zcard(key + "ready") == 49
            assert client.hget(key + "meta", "enqueued") == b"49"
