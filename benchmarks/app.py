"""The jobs that are measured. Each one appends a record to a file, so that every job is seen to have run once."""

from __future__ import annotations

import asyncio
import os
import struct
import time

from taskq import TaskQ

app = TaskQ("bench")
RECORD = struct.Struct("<qqdd")  # job, process, start, end
LOG = os.environ.get("BENCH_LOG", "")
_file = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if LOG else -1


def _note(number: int, started: float) -> None:
    os.write(_file, RECORD.pack(number, os.getpid(), started, time.time()))


@app.task(queue="bench", ignore_result=True)
def noop(number: int) -> None:
    _note(number, time.time())


@app.task(queue="bench", ignore_result=True)
async def anoop(number: int) -> None:
    _note(number, time.time())


@app.task(queue="bench")
def answer(number: int) -> int:
    _note(number, time.time())
    return number


@app.task(queue="bench")
async def aanswer(number: int) -> int:
    _note(number, time.time())
    return number


@app.task(queue="bench", ignore_result=True)
def nap(number: int, seconds: float) -> None:
    started = time.time()
    time.sleep(seconds)
    _note(number, started)


@app.task(queue="bench", ignore_result=True)
async def anap(number: int, seconds: float) -> None:
    started = time.time()
    await asyncio.sleep(seconds)
    _note(number, started)
