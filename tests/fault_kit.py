"""What the tests of the table of faults share."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from servers import TestServer

from taskq import TaskQ

APP = ("-A", "apps.faulty:app")
Make = Callable[..., TestServer]
Recovered = Callable[[float], float]


def send(app: TaskQ, task: str, *args: object) -> Any:
    """Enqueue a job of ``apps.faulty``."""
    return app.send_task(task, args, send_by_name=True)


def nap(pool: str) -> str:
    """Return the task that sleeps as jobs of the pool do."""
    return "anap" if pool == "asyncio" else "nap"


def health_of(path: str) -> bytes:
    """Ask a worker how it is."""
    with socket.socket(socket.AF_UNIX) as asker:
        asker.connect(path)
        return asker.recv(65_536)


def there(server: TestServer, namespace: str) -> set[str]:
    """Return the ids of the jobs that the server has."""
    with server.client() as client:
        return {unique.decode() for unique in client.hkeys(f"{namespace}:{{default}}:jobs")}


def stand_still(pids: list[int], seconds: float) -> None:
    """Stop processes for a while, the supervisor first."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)
