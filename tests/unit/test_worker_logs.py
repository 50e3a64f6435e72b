"""Lines about jobs, and how records become lines."""

from __future__ import annotations

import json
import logging
import os

import pytest
from childdriver import job_data

from taskq.app import TaskQ
from taskq.errors import InvalidOption
from taskq.model.outcome import ErrorInfo
from taskq.worker.attempt import Batch
from taskq.worker.execution import Execution
from taskq.worker.joblog import LINES_PER_SECOND, JobLog
from taskq.worker.logs import (
    DescriptorHandler,
    JsonFormatter,
    TextFormatter,
    check_level,
    clean,
    make_formatter,
    one_line,
)
from taskq.worker.protocol import Ended, JobFrame


def record_of(message="text", *args, **extra):
    record = logging.LogRecord("taskq.job", logging.INFO, "f.py", 1, message, args, None)
    vars(record).update(extra)
    return record


@pytest.fixture
def attempt():
    app = TaskQ("unit", url="redis://127.0.0.1:1/0")
    app.task(name="add")(_add)
    return Execution(app, "w", 1).prepare(JobFrame(1, "q", "u", 1, b"", job_data("add", 1)), Batch(0, 0, 0.0))


def _add(a: int) -> int:
    return a


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "taskq.job")
    return lambda: [record.getMessage() for record in caplog.records]


def test_text_line_says_when_how_bad_which_process_and_what():
    words = TextFormatter().format(record_of("job %s", "q/u")).split()
    assert words[2:] == ["INFO", str(os.getpid()), "taskq.job:", "job", "q/u"]


def test_text_line_has_no_characters_that_steer_a_terminal():
    assert "\x1b" not in TextFormatter().format(record_of("\x1b[2J\u202egone"))


def test_json_line_has_the_extra_fields():
    fields = json.loads(JsonFormatter().format(record_of("job %s", "q/u", action="job_started", odd=object)))
    assert (fields["message"], fields["action"], fields["odd"]) == ("job q/u", "job_started", "<class 'object'>")
    assert fields["time"].endswith("Z")


def test_json_line_is_one_line_with_the_exception():
    record = record_of(exc_info=(ValueError, ValueError("a\nb"), None))
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert "ValueError" in json.loads(line)["exception"]


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\n  b  \n\n", "b"), ("", ""), ("x" * 300, "x" * 199 + "…"), ("a\x1b[0mb", "a\ufffd[0mb"), ("\ud800", "\ufffd")],
)
def test_one_line_is_the_last_one_cleaned_and_bounded(text, line):
    assert one_line(text) == line


def test_line_feeds_and_tabs_stay():
    assert clean("a\n\tb") == "a\n\tb"


def test_handler_writes_each_record_as_one_line():
    read, write = os.pipe()
    handler = DescriptorHandler(write)
    handler.setFormatter(TextFormatter())
    handler.handle(record_of("one"))
    handler.handle(record_of("two"))
    os.close(write)
    with os.fdopen(read) as stream:
        assert [line.split()[-1] for line in stream] == ["one", "two"]


def test_handler_of_a_closed_descriptor_harms_nobody():
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    DescriptorHandler(write).handle(record_of())


def test_level_is_taken_in_any_case():
    assert check_level("debug") == "DEBUG"


@pytest.mark.parametrize("level", ["loud", "", None, 10])
def test_unknown_level_is_refused(level):
    with pytest.raises(InvalidOption, match="log level"):
        check_level(level)


def test_unknown_format_is_refused():
    with pytest.raises(InvalidOption, match="log format 'xml' is none of text, json"):
        make_formatter("xml")


def test_first_jobs_of_a_second_have_lines_and_the_others_a_number(attempt, lines):
    log = JobLog()
    log.tick(100.0)
    for _ in range(LINES_PER_SECOND + 1_234):
        log.ended(attempt, None, 0.001)
    assert log.tick(100.5) == 101.0
    assert log.tick(101.0) is None
    assert lines()[-2:] == ["add q/u succeeded in 1.0 ms", "1,234 more jobs succeeded in the last second"]
    assert len(lines()) == LINES_PER_SECOND + 1


def test_next_second_has_lines_again(attempt, lines):
    log = JobLog()
    log.tick(100.0)
    for _ in range(LINES_PER_SECOND + 1):
        log.started(attempt)
    log.tick(101.0)
    log.started(attempt)
    assert len(lines()) == LINES_PER_SECOND + 1


def test_jobs_without_a_line_are_counted_before_the_child_leaves(attempt, lines):
    log = JobLog()
    log.tick(100.0)
    for _ in range(LINES_PER_SECOND + 5):
        log.ended(attempt, None, 0.001)
    log.close()
    assert lines()[-1] == "5 more jobs succeeded in the last second"


def test_failures_are_never_left_out(attempt, lines):
    log = JobLog(routine=False)
    attempt.info = ErrorInfo("ValueError", "many\nlines")
    for _ in range(2 * LINES_PER_SECOND):
        log.started(attempt)
        log.ended(attempt, Ended(1, "f"), 2.0)
    assert set(lines()) == {"add q/u failed after 2.0 s: lines"}
    assert len(lines()) == 2 * LINES_PER_SECOND


def test_refused_jobs_are_told_up_to_a_bound(attempt, lines):
    log = JobLog()
    attempt.info = ErrorInfo("UnknownTask", "no task")
    for _ in range(2 * LINES_PER_SECOND):
        log.refused(attempt, Ended(1, "u", delay_ms=2_000))
    assert set(lines()) == {"job q/u is given back for 2.0 s: UnknownTask: no task"}
    assert len(lines()) == LINES_PER_SECOND


def test_a_line_about_a_job_says_to_machines_which_queue_and_worker(attempt, caplog):
    with caplog.at_level(logging.INFO, "taskq.job"):
        JobLog(worker="w.1.abc").ended(attempt, None, 0.001)
    (record,) = caplog.records
    assert (record.queue, record.worker, record.job_id) == ("q", "w.1.abc", "q/u")
