"""The app of the acceptance tests: each task notes its starts and ends in a file that only grows."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from taskq import Retry, TaskQ

app = TaskQ("acceptance")
default = app.Queue("default")
urgent = app.Queue("urgent")
ranked = app.PriorityQueue("ranked")
stack = app.LifoQueue("stack")

_log = os.open(os.environ.get("ACCEPTANCE_LOG", os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def note(word: str, key: object) -> None:
    os.write(_log, f"{word} {key} {os.getpid()} {time.time():.6f}\n".encode())


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
async def aadd(x: int, y: int) -> int:
    await asyncio.sleep(0)
    return x + y


@app.task(ignore_result=True)
def mark(key: int) -> None:
    note("start", key)
    note("end", key)


@app.task
def nap(key: int, seconds: float) -> int:
    note("start", key)
    time.sleep(seconds)
    note("end", key)
    return key


@app.task
async def anap(key: int, seconds: float) -> int:
    note("start", key)
    await asyncio.sleep(seconds)
    note("end", key)
    return key


@app.task
def die(key: int, code: int = 1) -> None:
    note("start", key)
    os._exit(code)


@app.task(max_retries=3, retry_on=ValueError, backoff=0.01)
def fail_until(key: int, times: int) -> int:
    note("start", key)
    lines = Path(os.environ["ACCEPTANCE_LOG"]).read_text("utf-8").splitlines()
    starts = sum(line.startswith(f"start {key} ") for line in lines)
    if starts <= times:
        raise ValueError(f"try {starts}")
    return starts


@app.task(max_retries=2)
def retry_at_once(key: int) -> None:
    note("start", key)
    raise Retry("again", countdown=0.01)


@app.task(time_limit=0.3)
def limited(key: int, seconds: float) -> int:
    note("start", key)
    time.sleep(seconds)
    note("end", key)
    return key


@app.task(time_limit=0.3)
async def alimited(key: int, seconds: float) -> int:
    note("start", key)
    await asyncio.sleep(seconds)
    note("end", key)
    return key


@app.task(time_limit=0.5)
def spin(key: int) -> None:
    note("start", key)
    while True:
        pass


@app.task(queue=urgent, ignore_result=True)
def hurry(key: int) -> None:
    note("start", key)


@app.task(queue=ranked, ignore_result=True)
def rank(key: int) -> None:
    note("start", key)


@app.task(queue=stack, ignore_result=True)
def pile(key: int) -> None:
    note("start", key)


@app.task
def boom(text: str) -> None:
    raise RuntimeError(text)


@app.task(queue=urgent)
def told(value: object, key: str) -> str:
    note("told", f"{key}:{value}")
    return f"{key}:{value}"


@app.task(queue=urgent)
def mourn(failure: dict[str, str], key: str) -> str:
    note("mourn", f"{key}:{failure['ending']}:{failure['type']}:{failure['task']}:{failure['id']}")
    return failure["message"]
