"""What watches the supervisor's loop."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from taskq.worker.watchdog import EX_SOFTWARE, Watchdog

PATIENCE = 10.0  # seconds


@pytest.fixture
def ended(caplog: pytest.LogCaptureFixture) -> threading.Event:
    caplog.set_level(logging.CRITICAL, "taskq.worker")
    return threading.Event()


def test_a_loop_that_stands_still_ends_the_process_with_where_it_stands(ended, caplog) -> None:
    codes = []
    dog = Watchdog(0.06, lambda code: (codes.append(code), ended.set()))
    dog.start()
    assert ended.wait(PATIENCE)
    assert codes == [EX_SOFTWARE]
    assert "STUCK: the loop has stood still for 0.06 s" in caplog.text
    assert "assert ended.wait(PATIENCE)" in caplog.text


def test_a_loop_that_turns_is_left_alone(ended) -> None:
    dog = Watchdog(0.6, lambda code: ended.set())
    dog.start()
    over = time.monotonic() + 0.9
    while time.monotonic() < over:
        dog.turn()
        time.sleep(0.005)
    assert not ended.is_set()
    dog.stop()


def test_a_watch_that_was_ended_ends_nothing(ended) -> None:
    dog = Watchdog(0.06, lambda code: ended.set())
    dog.start()
    dog.stop()
    assert not ended.wait(0.3)
