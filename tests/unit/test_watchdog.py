"""What watches the supervisor's loop."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

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
    assert f'File "{__file__}"' in caplog.text
    assert "in test_a_loop_that_stands_still_ends_the_process_with_where_it_stands" in caplog.text


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


@pytest.fixture
def deaf_log() -> Iterator[None]:
    """A log that takes a line and does not come back, until the test ends."""
    heard = threading.Event()
    handler = logging.Handler()
    handler.emit = lambda _: heard.wait(PATIENCE) and None
    logger = logging.getLogger("taskq.worker")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)
    heard.set()


def test_a_loop_that_stands_still_in_its_log_is_ended(ended, deaf_log) -> None:
    Watchdog(0.06, lambda code: ended.set()).start()
    assert ended.wait(PATIENCE / 2)


def test_a_loop_whose_source_cannot_be_read_is_ended_with_where_it_stands(ended, caplog, tmp_path: Path) -> None:
    source = tmp_path / "stalled.py"
    os.mkfifo(source)  # to open it waits, as on a disk that stands still
    found = {}
    exec(compile("def wait(ended, seconds): return ended.wait(seconds)", str(source), "exec"), found)
    Watchdog(0.06, lambda code: ended.set()).start()
    assert found["wait"](ended, PATIENCE / 2)
    assert f'File "{source}", line 1, in wait' in caplog.text


def test_a_process_that_can_start_no_thread_is_ended(ended, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    dog = Watchdog(0.6, lambda code: ended.set())
    dog.start()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert ended.wait(PATIENCE)
