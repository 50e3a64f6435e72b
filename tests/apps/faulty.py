"""Jobs that harm the process that runs them, each in its own way. Starts and ends are noted as in ``acceptance``."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import locale
import os
import random
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from taskq import TaskQ

app = TaskQ("faulty")
default = app.Queue("default")
_log = os.open(os.environ.get("ACCEPTANCE_LOG", os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
LIMIT = 0.4  # seconds


def note(word: str, key: object) -> None:
    os.write(_log, f"{word} {key} {os.getpid()} {time.time():.6f}\n".encode())


@app.task(name="sane")
def sane(key: int) -> int:
    note("end", key)
    return key


@app.task(name="nap")
def nap(key: int, seconds: float) -> int:
    note("start", key)
    time.sleep(seconds)
    note("end", key)
    return key


@app.task(name="anap")
async def anap(key: int, seconds: float) -> int:
    note("start", key)
    await asyncio.sleep(seconds)
    note("end", key)
    return key


@app.task(name="die")
def die(how: str) -> None:
    note("start", how)
    if how == "segfault":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        ctypes.string_at(0)
    elif how == "abort":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.abort()
    elif how == "killed":  # as the kernel does when the memory is used up
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(int(how))


# --- what does not end --------------------------------------------------------------------------------------------


@app.task(name="spin", time_limit=LIMIT)
def spin() -> None:
    note("start", "spin")
    while True:
        pass


@app.task(name="stubborn", time_limit=LIMIT)
def stubborn() -> None:
    """Catch whatever is raised to end it."""
    note("start", "stubborn")
    while True:
        try:
            while True:
                time.sleep(0.001)
        except BaseException:
            continue


@app.task(name="hog", time_limit=LIMIT)
def hog() -> None:
    """Stay in C code that keeps the interpreter's lock."""
    note("start", "hog")
    ctypes.PyDLL(None).sleep(60)


# --- what is used up ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def limited(kind: int, value: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def address_space() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()


@app.task(name="use_up")
def use_up(what: str) -> None:
    if what == "memory":
        with limited(resource.RLIMIT_AS, address_space() + (64 << 20)):
            bytearray(1 << 30)
    elif what == "descriptors":
        files = []
        with limited(resource.RLIMIT_NOFILE, 200), contextlib.ExitStack() as stack:
            while True:
                files.append(stack.enter_context(Path(os.devnull).open()))
    elif what == "threads":
        release = threading.Event()
        with limited(resource.RLIMIT_AS, address_space() + (128 << 20)):
            try:
                while True:
                    threading.Thread(target=release.wait, daemon=True).start()
            finally:
                release.set()
    else:
        with limited(resource.RLIMIT_FSIZE, 1 << 16), Path(what).open("wb", 0) as file:
            while True:
                file.write(bytes(1 << 14))


# --- what is given back -------------------------------------------------------------------------------------------


@app.task(name="answer")
def answer(kind: str) -> object:
    endless: list[object] = []
    endless.append(endless)
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    return {
        "huge": lambda: "x" * 100_000_000,
        "lock": threading.Lock,
        "endless": lambda: endless,
        "deep": lambda: deep,
        "generator": lambda: (number for number in range(3)),
    }[kind]()


@app.task(name="large")
def large(size: int) -> str:
    return "x" * size


class Hostile(Exception):
    """Can neither be printed nor copied nor made from its own arguments."""

    def __init__(self, first: object, *, second: object) -> None:
        super().__init__(first)
        self.second = second

    def __str__(self) -> str:
        raise RuntimeError("in __str__")

    __repr__ = __str__

    def __reduce__(self) -> str:
        raise RuntimeError("in __reduce__")


class NotAnException(BaseException):
    """Passes every ``except Exception``."""


RAISED = {
    "Hostile": lambda: Hostile(1, second=2),
    "NotAnException": NotAnException,
    "SystemExit": lambda: SystemExit(0),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "StopIteration": lambda: StopIteration(3),
}


@app.task(name="throw")
def throw(kind: str) -> None:
    make = RAISED[kind]
    raise make()


# --- what is left behind ------------------------------------------------------------------------------------------


@app.task(name="meddle")
def meddle() -> list[str]:
    """Change what belongs to the whole process; return what could not be changed here."""
    refused = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGALRM, signal.SIGUSR1):
        try:
            signal.signal(number, signal.SIG_DFL)
        except ValueError:  # not in the main thread
            refused.append(signal.Signals(number).name)
    os.chdir("/")
    os.umask(0o777)
    os.environ.clear()
    os.environ["TASKQ_URL"] = "redis://nowhere"
    locale.setlocale(locale.LC_ALL, "C")
    sys.path.clear()
    random.seed(0)
    return refused
