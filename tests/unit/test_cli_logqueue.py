"""Logging of a supervisor never waits for whoever reads the log."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator

import pytest

from taskq.cli.logqueue import bounded_logging

logger = logging.getLogger("taskq.test")


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    named = [logging.getLogger("taskq"), logging.getLogger()]
    before = [(one, one.handlers[:], one.level, one.propagate) for one in named]
    yield
    for one, handlers, level, propagate in before:
        one.handlers[:], one.propagate = handlers, propagate
        one.setLevel(level)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    os.close(read)
    os.close(write)


def test_records_arrive_in_order(pipe: tuple[int, int]) -> None:
    with bounded_logging("INFO", "text", pipe[1]):
        logger.info("first %d", 1)
        logger.info("second")
    lines = os.read(pipe[0], 65_536).decode().splitlines()
    assert [line.split(": ", 1)[1] for line in lines] == ["first 1", "second"]


def test_a_message_is_what_it_was_when_it_was_logged(pipe: tuple[int, int]) -> None:
    items = [1]
    with bounded_logging("INFO", "text", pipe[1]):
        logger.info("items %s", items)
        items.append(2)
    assert "items [1]\n" in os.read(pipe[0], 65_536).decode()


def test_json_keeps_extra_fields_and_the_exception(pipe: tuple[int, int]) -> None:
    with bounded_logging("INFO", "json", pipe[1]):
        try:
            int("boom")
        except ValueError:
            logger.exception("failed", extra={"action": "tested"})
    line = os.read(pipe[0], 65_536).decode()
    assert '"action": "tested"' in line
    assert "ValueError: invalid literal" in line


def test_a_reader_that_stopped_reading_stops_nobody(pipe: tuple[int, int]) -> None:
    with bounded_logging("INFO", "text", pipe[1], capacity=100) as handler:
        for _ in range(2_000):  # far more than pipe and queue hold together
            logger.info("x" * 1_000)
        dropped = handler.dropped
        drained = os.read(pipe[0], 1 << 20)  # lets the writing thread end
    assert dropped > 1_000
    assert drained


def test_the_log_says_how_much_was_dropped(pipe: tuple[int, int]) -> None:
    with bounded_logging("INFO", "text", pipe[1], capacity=10) as handler:
        for _ in range(2_000):
            logger.info("x" * 1_000)
        text = b""
        while not text.endswith(b": after\n"):
            text += os.read(pipe[0], 65_536)
            if handler.records.empty() and b": after" not in text:
                logger.info("after")
    told = re.findall(rb"(\d+) log records were dropped: nobody read the log", text)
    assert sum(map(int, told)) == handler.dropped > 0


def test_an_end_with_a_blocked_log_is_short(pipe: tuple[int, int]) -> None:
    with bounded_logging("INFO", "text", pipe[1], capacity=10) as handler:
        for _ in range(2_000):
            logger.info("x" * 1_000)
    os.read(pipe[0], 1 << 20)
    assert handler.dropped > 0  # reaching this line is the point: nobody read until the end


def test_loggers_are_left_without_our_handlers(pipe: tuple[int, int]) -> None:
    with bounded_logging("INFO", "text", pipe[1]) as handler:
        assert handler in logging.getLogger("taskq").handlers
    assert handler not in logging.getLogger("taskq").handlers + logging.getLogger().handlers
