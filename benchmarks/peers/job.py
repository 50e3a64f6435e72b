"""What the jobs of every system do: note that they ran, sleep, or burn CPU. Standard library only, any Python >= 3.11.

A job appends one record to a file in memory, with one write: 1 µs, safe across processes, threads and greenlets, and
no traffic to the server that is measured. The runner sees from the file's size how many have run, and checks each.
"""

from __future__ import annotations

import asyncio
import os
import struct
import time

RECORD = struct.Struct("<qqdd")  # job, process, start and end by time.time()

URL = os.environ.get("BENCH_URL", "redis://127.0.0.1:6379/0")
# Where a system takes the size of redis-py's pool from its URL alone: since version 8 that is 100, fewer than some have
# jobs at once.
WIDE_URL = f"{URL}?max_connections=20000"
RESULTS = os.environ.get("BENCH_RESULTS") == "1"
POOL = os.environ.get("BENCH_POOL", "process")
SLOTS = int(os.environ.get("BENCH_SLOTS", "1"))
CONCURRENCY = int(os.environ.get("BENCH_CONCURRENCY", SLOTS))  # of one worker, where its app is told instead of its CLI
VARIANT = os.environ.get("BENCH_VARIANT", "")
WORKLOAD = os.environ.get("BENCH_WORKLOAD", "")
IN_WORKER = os.environ.get("BENCH_SIDE") == "worker"  # and not in the producer, which nothing may patch
# Whether jobs are short: some systems advise another prefetch for long ones.
SHORT = WORKLOAD not in {"sleep", "crowd", "cpu", "mixed"}
QUEUES = tuple(name for name in os.environ.get("BENCH_QUEUES", "").split(",") if name)  # besides the usual one
PAYLOAD = 100_000  # characters of a large argument
KEPT = 600  # seconds that results are kept, where they are

_log = os.environ.get("BENCH_LOG", "")
_file = os.open(_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if _log else -1


def ran(number: int) -> int:
    """Do nothing else."""
    now = time.time()
    _note(number, now)
    return number


def slept(number: int, seconds: float) -> int:
    started = time.time()
    time.sleep(seconds)
    _note(number, started)
    return number


async def aslept(number: int, seconds: float) -> int:
    started = time.time()
    await asyncio.sleep(seconds)
    _note(number, started)
    return number


def burned(number: int, loops: int) -> int:
    started = time.time()
    spin(loops)
    _note(number, started)
    return number


def carried(number: int, text: str) -> int:
    """Note it only if all of the text has come."""
    if len(text) != PAYLOAD:
        raise ValueError(f"{len(text)} characters instead of {PAYLOAD}")
    return ran(number)


def spin(loops: int) -> None:
    """Use the CPU in pure Python."""
    total = 0
    for step in range(loops):
        total += step & 7


def loops_for(seconds: float) -> int:
    """Return how many loops of ``spin`` take so long here: the quickest of several tries, as others only slow it."""
    best, tried = float("inf"), 100_000
    for _ in range(20):
        started = time.perf_counter()
        spin(tried)
        best = min(best, time.perf_counter() - started)
    return max(1, round(tried * seconds / best))


def _note(number: int, started: float) -> None:
    os.write(_file, RECORD.pack(number, os.getpid(), started, time.time()))
