"""Workers that are cut off for long, or stand still: they come back, or make way."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_kit import Cli
from fault_kit import APP, Make, Recovered, send
from worker_kit import TESTS, Bench, bench, wait_until

from taskq import TaskQ

LEASES = 10  # for which the server is away
STUCK = """
import logging, os, sys, threading, time
from pathlib import Path
from taskq.broker.workers import LeaseTimes
from taskq.worker.options import WorkerOptions
from taskq.worker.supervisor import Supervisor
from taskq.worker.watchdog import Watchdog

def block():
    time.sleep(60)

def watch():
    while "start" not in Path(os.environ["ACCEPTANCE_LOG"]).read_text():
        time.sleep(0.01)
    worker.post(block)

logging.basicConfig(level="INFO", format="%(levelname)s %(message)s")
worker = Supervisor(WorkerOptions(app="apps.faulty:app", times=LeaseTimes(0.1, 0.6), sys_path=sys.argv[1]))
worker._watchdog = Watchdog(0.6)
threading.Thread(target=watch, daemon=True).start()
sys.exit(worker.run())
"""


@pytest.mark.fault(9)
def test_a_server_that_was_away_for_long_finds_its_workers_at_work_in_seconds(
    start_server: Make, namespace: str, tmp_path: Path, recovered: Recovered
) -> None:
    server = start_server(appendonly="yes", appendfsync="always")
    with bench(server.url, namespace, tmp_path) as rig, TaskQ("here", server.url, namespace) as app:
        workers = [rig.start("process", *APP, "-c", "1") for _ in range(2)]
        away = LEASES * rig.lease
        results = [send(app, "nap", key, away + 1.0) for key in range(2)]
        wait_until(lambda: len(rig.noted("start")) == 2, "both run one")
        server.kill()
        time.sleep(away)
        server.start()
        back = time.monotonic()
        assert [result.result(timeout=20) for result in results] == [0, 1]
        assert send(app, "sane", 2).result(timeout=20) == 2
        assert recovered(back) < 8.0  # the jobs go on for one second after the return
        assert rig.counts("start") == {"0": 1, "1": 1}
        for worker in workers:
            wait_until(lambda worker=worker: "the server is back after" in worker.lines(), worker.lines())
        status = Cli(rig.environment(), tmp_path)("status")
        assert status.out.count(": the server was away for ") == 2, status


def test_a_worker_whose_loop_stands_still_ends_and_others_take_its_jobs(
    rig: Bench, faulty: TaskQ, tmp_path: Path
) -> None:
    rig.notes.touch()
    program = tmp_path / "stuck.py"
    program.write_text(STUCK, "utf-8")
    stuck = subprocess.Popen(
        [sys.executable, str(program), str(TESTS)], env=rig.environment(), stderr=subprocess.PIPE, text=True
    )
    try:
        result = send(faulty, "nap", 1, 0.5)
        _, said = stuck.communicate(timeout=30)
    finally:
        stuck.kill()
        stuck.wait()
    assert stuck.returncode == 70, said
    assert "STUCK: the loop has stood still for 0.6 s" in said
    assert "in block" in said
    rig.start("process", *APP)
    assert result.result(timeout=20) == 1


def test_a_worker_that_was_stopped_for_longer_than_its_loop_may_stand_still_goes_on(tmp_path: Path) -> None:
    program = tmp_path / "stopped.py"
    program.write_text(
        "import time\nfrom taskq.worker.watchdog import Watchdog\n"
        "dog = Watchdog(1.0)\ndog.start()\nprint('up', flush=True)\n"
        "end = time.monotonic() + 2.5\nwhile time.monotonic() < end:\n    dog.turn()\n    time.sleep(0.05)\n",
        "utf-8",
    )
    stopped = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
    assert stopped.stdout is not None
    with stopped, stopped.stdout as out:
        assert out.readline() == "up\n"
        stopped.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        stopped.send_signal(signal.SIGCONT)
        assert stopped.wait(20) == 0
