"""Exceptions raised in another thread's job, and nowhere else."""

from __future__ import annotations

import gc
import sys
import threading
from functools import partial

import pytest

from taskq.errors import TimeLimitExceeded
from taskq.worker.attempt import Attempt, Batch, Strike
from taskq.worker.interrupt import Interruptible, JobCancelled
from taskq.worker.protocol import JobFrame

FRAME = JobFrame(1, "q", "u", 1, b"", b"")
BATCH = Batch(0, 0, 0.0)


def spin_for(rounds, _attempt):
    for _ in range(rounds):
        pass


def spin(started):
    started.set()
    while True:
        pass


@pytest.mark.parametrize(("strike", "error"), [(Strike.LIMIT, TimeLimitExceeded), (Strike.CANCEL, JobCancelled)])
def test_running_code_is_interrupted(strike, error):
    code, started, found = Interruptible(), threading.Event(), []
    attempt = Attempt(FRAME, BATCH)
    thread = threading.Thread(target=lambda: found.append(code.run(attempt, lambda _: spin(started))))
    thread.start()
    started.wait(10)
    assert code.interrupt(attempt, strike)
    thread.join(10)
    assert isinstance(found[0], error)
    assert attempt.strike is strike


def test_code_that_is_not_running_is_left_alone():
    assert not Interruptible().interrupt(Attempt(FRAME, BATCH), Strike.LIMIT)


def test_other_code_of_the_thread_is_left_alone():
    code, started, end = Interruptible(), threading.Event(), threading.Event()

    def wait(_):
        started.set()
        end.wait(10)

    thread = threading.Thread(target=code.run, args=(Attempt(FRAME, BATCH), wait))
    thread.start()
    started.wait(10)
    assert not code.interrupt(Attempt(FRAME, BATCH), Strike.LIMIT)
    end.set()
    thread.join(10)


def test_what_the_code_raises_comes_back():
    def fail(_):
        raise SystemExit(3)

    assert isinstance(Interruptible().run(Attempt(FRAME, BATCH), fail), SystemExit)


@pytest.fixture
def restless():
    """Let threads change places all the time, and no finalizer swallow what was meant for the code it interrupts."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    gc.disable()
    yield
    gc.enable()
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless")
def test_interruptions_at_any_moment_stay_inside_their_code():
    """One thread runs short pieces as fast as it can, another strikes them at some moment of their life."""
    code, current, stop = Interruptible(), [None], threading.Event()
    outside, hits = [], 0

    def work():
        nonlocal hits
        try:
            while hits < 20:
                attempt = Attempt(FRAME, BATCH)
                current[0] = attempt
                error = code.run(attempt, partial(spin_for, hits % 30))
                assert error is None or isinstance(error, TimeLimitExceeded)
                assert error is None or attempt.strike is Strike.LIMIT
                hits += attempt.strike is not None
        except BaseException as error:
            outside.append(error)
        stop.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not stop.is_set():
        if current[0] is not None:
            code.interrupt(current[0], Strike.LIMIT)
    thread.join(10)
    assert outside == []
