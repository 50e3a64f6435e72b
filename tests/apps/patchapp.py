"""Tells what is loaded in a child."""

from __future__ import annotations

import socket
import sys
import threading
import time

from taskq.app import TaskQ

app = TaskQ("patchapp", url="redis://127.0.0.1:1/0")
FOUND = [
    "gevent" in type(socket.socket).__module__ or "gevent" in socket.socket.__module__,
    "gevent" in type(threading.Lock()).__module__,
    "gevent" in time.sleep.__module__,
]


@app.task(name="patched")
def patched() -> list[bool]:
    return FOUND


@app.task(name="loaded")
def loaded(names: list[str]) -> list[str]:
    return [name for name in names if name in sys.modules]
