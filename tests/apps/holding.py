"""Jobs that hold locks, semaphores and items. Each makes a file when it does, and waits for another to go on."""

from __future__ import annotations

import asyncio
import os
import re
import time
from pathlib import Path

from taskq import TaskQ
from taskq.errors import LeaseLost

app = TaskQ("holding")
LEASE = 20.0  # seconds: far longer than any test, so that what is free sooner was freed
SHORT = 0.5  # seconds


def await_file(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.005)


def report(path: str, text: object) -> None:
    draft = Path(f"{path}.draft")
    draft.write_text(str(text))
    draft.rename(path)


@app.task(name="hold_lock")
def hold_lock(name: str, held: str) -> None:
    with app.Lock(name, lease=LEASE):
        report(held, os.getpid())
        await_file("/nonexistent")


@app.task(name="ahold_lock")
async def ahold_lock(name: str, held: str) -> None:
    async with app.Lock(name, lease=LEASE):
        report(held, os.getpid())
        await asyncio.sleep(60)


@app.task(name="hold_permit")
def hold_permit(name: str, held: str) -> None:
    with app.Semaphore(name, 1, lease=LEASE):
        report(held, os.getpid())
        await_file("/nonexistent")


@app.task(name="hold_item")
def hold_item(name: str, held: str) -> None:
    with app.Queue(name).claim(lease=LEASE):
        report(held, os.getpid())
        await_file("/nonexistent")


@app.task(name="hog")
def hog(name: str, held: str, seconds: float) -> int:
    """Hold a lock and never let another thread of this process run; returns the fence at the end."""
    lock = app.Lock(name, lease=SHORT)
    with lock:
        report(held, os.getpid())
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            re.match(r"(a*)*b", "a" * 25)  # some hundred milliseconds in C, which keep the interpreter
        return lock.fence or 0


@app.task(name="look_at_fence")
def look_at_fence(name: str, held: str, go: str) -> str:
    lock = app.Lock(name, lease=SHORT)
    lock.acquire()
    report(held, os.getpid())
    await_file(go)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            assert lock.fence
        except LeaseLost:
            return "lost"
        time.sleep(0.01)
    return "held"
