"""Measure the CPU that a job takes beside a bare loop over Redis: ``python -m benchmarks.pace``.

Seconds of CPU, of all processes that take part, not of a clock; on one core, so that nobody else's turn makes a call
dearer; in short slices by turns, of which the median counts. So the ratios hold on a busy machine within some percent.
``python -m benchmarks --record`` writes them down, and this compares: a ratio below two thirds of the recorded one, or
half for one process alone, is measured again, and again, before it is told.
"""

from __future__ import annotations

import ctypes
import datetime as dt
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.__main__ import floor_drain, pipeline
from benchmarks.rig import Rig, descendants, machine, rig

RECORDED = Path(__file__).parent / "recorded.json"
LEAST = 2 / 3  # of a recorded ratio
LEAST_OF_PART = 1 / 2  # of that of one process alone: how large the batches are moves work between them
TRIES = 3
SLICES = 5
CALLS = 500  # of one by one in a slice: some 50 ms
JOBS = 3_000  # of a drain, and of enqueuing in bulk, in a slice: some 60 ms
DRAINS = {"gevent": ("noop", "answer"), "process": ("noop",)}  # the tasks; the second one has results
SLOTS = {"gevent": "100", "process": "1"}  # two processes on one core would measure their turns

Clock = Callable[[], float]
Costs = dict[str, float]  # of one slice: the floor's divided by ours, by what was measured


class _Process:
    """The CPU clock of a process with all of its threads, in seconds."""

    def __init__(self, pid: int) -> None:
        found = ctypes.c_int()
        if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(found)):
            raise ProcessLookupError(f"no process {pid}")
        self._clock = found.value

    def __call__(self) -> float:
        return time.clock_gettime(self._clock)


def cpu_of(*pids: int) -> Clock:
    """Return a clock of the CPU seconds of these processes."""
    clocks = [_Process(pid) for pid in pids]
    return lambda: sum(clock() for clock in clocks)


def measure(least: Mapping[str, float], slices: int = SLICES) -> Costs:
    """Return the ratios; what falls below ``least`` is measured up to three times, and the best counts."""
    os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])  # servers and workers inherit it
    found: Costs = {}
    with rig() as bare, rig() as ours:
        for group in (enqueuing(bare, ours), *(draining(bare, ours, pool) for pool in DRAINS)):
            for measured in group:
                found |= _best(measured, least, slices)
    return found


def _best(measured: Callable[[], Costs], least: Mapping[str, float], slices: int) -> Costs:
    best: Costs = {}
    for _ in range(TRIES):
        taken = [measured() for _ in range(slices)]
        for name in taken[0]:
            best[name] = max(best.get(name, 0.0), statistics.median(one[name] for one in taken))
        if all(ratio >= least.get(name, 0.0) for name, ratio in best.items()):
            break
    return best


def enqueuing(bare: Rig, ours: Rig) -> Iterator[Callable[[], Costs]]:
    """Yield what measures one slice of each way to enqueue."""
    from benchmarks.app import noop

    floor, queue = (cpu_of(os.getpid(), _server(one)) for one in (bare, ours))

    def start() -> None:
        for one in (bare, ours):
            one.reset()
        noop.delay(0)

    def single() -> Costs:
        start()
        pushed = _spent(floor, lambda: [bare.client.lpush("floor", b"x" * 40) for _ in range(CALLS)])
        return {"enqueue one by one": pushed / _spent(queue, lambda: [noop.delay(number) for number in range(CALLS)])}

    def bulk() -> Costs:
        start()
        pushed = _spent(floor, lambda: pipeline(bare.client, JOBS))
        return {"enqueue in bulk": pushed / _spent(queue, lambda: noop.delay_many(range(JOBS)))}

    yield from (single, bulk)


def draining(bare: Rig, ours: Rig, pool: str) -> Iterator[Callable[[], Costs]]:
    """Yield what measures one slice of each drain, by one worker of ``pool``."""
    from benchmarks import app

    floor = cpu_of(os.getpid(), _server(bare))
    ours.reset()
    queue = app.app.Queue("bench")
    with ours.worker(pool, "-c", SLOTS[pool]) as process:
        ours.wait_ready()
        children = set(descendants(process.pid))
        parts = {"server": cpu_of(_server(ours)), "supervisor": cpu_of(process.pid), "child": cpu_of(*children)}

        def drain(task: Any, name: str) -> Costs:
            alone = floor_drain(bare, JOBS, floor)
            ours.log.write_bytes(b"")
            queue.pause()
            task.delay_many(range(JOBS))
            before = {part: clock() for part, clock in parts.items()}
            queue.resume()
            ours.wait(JOBS)
            while ours.client.exists("taskq:{bench}:jobs"):
                time.sleep(0.001)
            spent = {part: clock() - before[part] for part, clock in parts.items()}
            ours.check(JOBS)
            if results := ours.client.keys("taskq:{bench}:r:*"):
                ours.client.delete(*results)  # or each slice would find a larger server
            return {name: alone / sum(spent.values())} | {f"{name}: {part}": alone / s for part, s in spent.items()}

        for task in DRAINS[pool]:
            name = f"drain, {pool}" + (", with results" if task == "answer" else "")
            measured = lambda task=task, name=name: drain(getattr(app, task), name)  # noqa: E731
            measured()  # the worker learns how long such jobs take
            yield measured


def _server(bench: Rig) -> int:
    return int(bench.client.info("server")["process_id"])


def _spent(clock: Clock, work: Callable[[], object]) -> float:
    started = clock()
    work()
    return clock() - started


def record() -> None:
    """Measure at length and write it down."""
    ratios = {name: round(ratio, 3) for name, ratio in measure({}, slices=5 * SLICES).items()}
    about = {"date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}", "machine": json.loads(machine()), "ratios": ratios}
    RECORDED.write_text(json.dumps(about, indent=2) + "\n")
    print(RECORDED.read_text(), end="")


def main() -> None:
    """Print each ratio beside the recorded one; exit 1 if one is too low."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of whoever stops the servers and the workers
    recorded = json.loads(RECORDED.read_text("utf-8"))["ratios"]
    least = {name: ratio * (LEAST_OF_PART if ":" in name else LEAST) for name, ratio in recorded.items()}
    found = measure(least)
    slower = {name for name, ratio in found.items() if ratio < least.get(name, 0.0)}
    print(f"{'CPU of the floor / ours':40} now   recorded")
    for name, ratio in found.items():
        print(f"{name:40} {ratio:.3f} {recorded.get(name, 0.0):.3f}{'  too low' if name in slower else ''}")
    if found.keys() != recorded.keys():
        sys.exit(f"{RECORDED.name} is of other measurements: python -m benchmarks --record")
    sys.exit(bool(slower))


if __name__ == "__main__":
    main()
