"""The crawl's opening scene: connect jobs, in threads and in processes, wait for the Event of one check job.

The check asks the site until it answers and then sets the Event, which it was given as an argument. Each connect job
waits for it with a timeout and a limited number of tries.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from taskq.coordination.event import Event
from workers.app import app, checks, findings, sources
from workers.head import head
from workers.web import DEFAULT_PORTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskq import AsyncResult

IN_THREADS, IN_PROCESSES = 3, 1  # connect jobs; the processes are two, and one of them stays free for the crawl
TRIES = 5
WAIT = 2.0  # seconds of each try: the workers of the other pools may still be starting
LATE = 15.0  # seconds after which the scene is given up: all tries, and a slow start
PAUSE = 0.1  # seconds between two questions to a site that does not answer


@dataclass
class Connected:
    """One connect job's end: in which process, at which try, and how long it had waited, in seconds."""

    process: int
    tries: int
    waited: float


@app.task(queue=checks)
async def check(url: str, ready: Event, tries: int = 50) -> int:
    """Ask a site until it answers, then set the Event; returns how often it was asked.

    Raises:
        OSError: it did not answer within so many tries.
    """
    for number in range(1, tries + 1):
        answer = await head(url)
        if answer.status:
            await ready.aio.set()
            return number
        await asyncio.sleep(PAUSE)
    raise OSError(f"{url} does not answer: {answer.error}")


def connect(url: str, ready: Event, tries: int = TRIES, timeout: float = WAIT) -> Connected:
    """Wait for the check's Event, then open a connection to the site.

    Raises:
        TimeoutError: the Event was not set within so many tries.
    """
    started = time.monotonic()
    for number in range(1, tries + 1):
        if ready.wait(timeout):
            parts = urlsplit(url)
            with socket.create_connection((parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme]), timeout):
                return Connected(os.getpid(), number, time.monotonic() - started)
    raise TimeoutError(f"{url} was not checked within {tries} tries of {timeout:g} s")


connect_in_thread = app.task(name="workers.scene.connect_in_thread", queue=findings)(connect)
connect_in_process = app.task(name="workers.scene.connect_in_process", queue=sources)(connect)


def play(url: str, run: str) -> str:
    """Play the scene with the workers that run; returns what happened as a line for people.

    Raises:
        TaskqError, OSError: what made a job fail; TimeoutError where it took too long.
    """
    ready = app.Event(f"crawl.ready.{run}")
    waiting: Sequence[AsyncResult[Connected]] = [
        *(connect_in_thread.delay(url, ready) for _ in range(IN_THREADS)),
        *(connect_in_process.delay(url, ready) for _ in range(IN_PROCESSES)),
    ]
    asked = check.delay(url, ready)
    ends = [result.result(timeout=LATE) for result in waiting]
    number = asked.result(timeout=LATE)
    longest = max(end.waited for end in ends)
    return (
        f"{IN_THREADS} connect jobs in threads and {IN_PROCESSES} in a process waited up to {longest:.2f} s for the "
        f"check's Event (site asked {number} time{'s' if number > 1 else ''}); all connected"
    )
