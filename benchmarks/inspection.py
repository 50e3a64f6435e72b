"""Measure the commands that look with a million queued jobs in 50 queues: wall time of each process, slowest script."""

from __future__ import annotations

import argparse
import copy
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.rig import Rig, machine, rig
from taskq import TaskQ

RUNS = 9  # of which the median is shown, with the range
BAR = "300 ms"
SLOW = 5_000  # microseconds; the bar for any script
COMMANDS = (
    ("status", BAR),
    ("queues", "-"),
    ("jobs --limit 20", BAR),
    ("jobs --limit 20 --newest", "-"),
    ("jobs --limit 20 --state delayed", "-"),
    ("jobs --limit 20 --task nothing --queue queue00", "-"),
    ("workers", "-"),
)


def fill(url: str, queues: int, jobs: int) -> None:
    """Queue jobs, evenly over queues; a hundredth of them is delayed."""
    with TaskQ("inspection", url) as app:

        @app.task(name="count")
        def count(number: int) -> int:
            return number

        for number in range(queues):
            task: Any = copy.copy(count)
            task.queue = f"queue{number:02}"
            task._sender = task._declared = None
            task.delay_many(range(jobs // queues))
            for _ in range(jobs // queues // 100):
                count.apply_async((0,), countdown=3600, queue=task.queue)


def milliseconds(times: list[float]) -> str:
    return f"{statistics.median(times) * 1000:.0f} ms ({min(times) * 1000:.0f}-{max(times) * 1000:.0f})"


def timed(bench: Rig, command: str) -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "taskq", *command.split()],
        cwd=bench.folder,  # where no app is named: looking needs none
        env=bench.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inspection", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--queues", type=int, default=50)
    options = parser.parse_args()
    with rig() as bench:
        print(machine())
        fill(bench.url, options.queues, options.jobs)
        print(f"{options.jobs:,} jobs in {options.queues} queues, {RUNS} runs each, median and range")
        bench.client.config_set("slowlog-log-slower-than", SLOW)
        print(f"{'what':52} {'taskq':26} bar")
        print(
            f"{'taskq --version (starting Python)':52} {milliseconds([timed(bench, '--version') for _ in range(RUNS)])}"
        )
        for command, bar in COMMANDS:
            bench.client.slowlog_reset()
            times = [timed(bench, command) for _ in range(RUNS)]
            slow = [entry["duration"] for entry in bench.client.slowlog_get(128)]
            print(f"{f'taskq {command}':52} {milliseconds(times):26} {bar}", flush=True)
            if slow:
                print(f"  {len(slow)} commands of over {SLOW / 1000:.0f} ms, up to {max(slow) / 1000:.1f} ms")


if __name__ == "__main__":
    main()
