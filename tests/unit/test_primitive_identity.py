"""One name is one object in a process, also for threads that ask for it at the same moment."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from taskq import TaskQ
from taskq.coordination import making

THREADS = 4
NAMES = 2000


@pytest.fixture
def app():
    with TaskQ("identity", "redis://127.0.0.1:1", "n") as app:
        yield app


@pytest.fixture
def hasty_threads():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.000_001)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_threads_that_ask_for_one_name_get_one_object(app):
    start = threading.Barrier(THREADS)
    found: list[list[object]] = [[] for _ in range(THREADS)]

    def ask(own: list[object]) -> None:
        for number in range(NAMES):
            if number % 50 == 0:
                start.wait()
            own.append(app.RLock(f"r{number}"))

    threads = [threading.Thread(target=ask, args=(own,)) for own in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len({id(each) for each in same}) for same in zip(*found, strict=True)] == [1] * NAMES


def test_a_fork_finds_its_objects_whatever_another_thread_did_then(app):
    lock = app.RLock("l")
    taken, forked = threading.Event(), threading.Event()

    def hold() -> None:
        with making.NAMING:
            taken.set()
            forked.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # ends it, should it wait for the lock
        try:
            os._exit(0 if app.RLock("l") is lock else 1)
        finally:
            os._exit(2)
    status = os.waitpid(child, 0)[1]
    forked.set()
    holder.join()
    assert os.waitstatus_to_exitcode(status) == 0
