"""The app of the chaos run: every task notes its starts and ends in a log that is written through to the disk."""

from __future__ import annotations

import asyncio
import os
import random
import time

from chaos.plan import QUEUES

from taskq import TaskQ

app = TaskQ("chaos")
fifo = app.Queue(QUEUES[0])
stack = app.LifoQueue(QUEUES[1], maxsize=300)  # so that producers also wait for room
ranked = app.PriorityQueue(QUEUES[2])

_log = os.open(os.environ.get("CHAOS_LOG", os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_DSYNC, 0o600)
_worker = os.environ.get("CHAOS_WORKER", "-")


class Unlucky(Exception):
    """What the flaky task raises at every fourth attempt."""


def note(word: str, key: str) -> None:
    """Write one line: what happened, to which job, in which worker and child, and when."""
    os.write(_log, f"{word} {key} {_worker} {os.getpid()} {time.monotonic():.6f}\n".encode())


@app.task(queue=fifo, ignore_result=True)
def quick(key: str) -> None:
    note("start", key)
    note("end", key)


@app.task(queue=stack)
def slow(key: str, seconds: float) -> str:
    note("start", key)
    time.sleep(seconds)
    note("end", key)
    return key


@app.task(queue=ranked)
async def aslow(key: str, seconds: float) -> str:
    note("start", key)
    await asyncio.sleep(seconds)
    note("end", key)
    return key


@app.task(queue=ranked, max_retries=0)
def doomed(key: str) -> None:
    note("start", key)
    note("doom", key)
    raise Unlucky(key)


@app.task(queue=fifo, max_retries=30, retry_on=Unlucky, backoff=0.05, jitter=0)
def flaky(key: str) -> str:
    note("start", key)
    if random.random() < 0.25:
        note("fail", key)
        raise Unlucky(key)
    note("end", key)
    return key
