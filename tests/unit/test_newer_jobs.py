"""Jobs whose envelope is newer than this package: nothing in it is read, and whoever meets one goes on."""

from __future__ import annotations

import logging

import pytest
from childdriver import job_data

from taskq.app import TaskQ
from taskq.broker.finishing import finish_of, finishes
from taskq.broker.keys import QueueKeys
from taskq.broker.work import EndedJob
from taskq.errors import SchemaTooNew
from taskq.model.job import VERSION, newer_version, peek, split_data
from taskq.model.outcome import Verdict, decode_errors, decode_record
from taskq.worker import verdicts
from taskq.worker.attempt import Attempt, Batch
from taskq.worker.execution import Execution, parse
from taskq.worker.joblog import JobLog
from taskq.worker.leases import Lease, ServedQueue
from taskq.worker.options import QueueChoice
from taskq.worker.protocol import DEFERRED, JobFrame

BATCH = Batch(5_000_000, 7, 1.0)
ALIKE = job_data("add", 1, reply="chan", flags="ix").replace(b";1;", b";2;", 1)
NEWER = [ALIKE, b"1700000000000;2;", b"1;10;{}\xff\x00", b"1;999;\n\n\n", b"1;2;ix;;;\n\x91\xa1t"]


@pytest.fixture
def execution():
    app = TaskQ("unit", url="redis://127.0.0.1:1/0")

    @app.task(name="add")
    def add(a: int) -> int:
        return a

    return Execution(app, "w1", 42)


def frame(data: bytes, state: bytes = b"") -> JobFrame:
    return JobFrame(9, "q", "u", 1, state, data)


def lease(data: bytes, state: bytes = b"3;1;0;0;2") -> Lease:
    return Lease(ServedQueue(QueueChoice("q"), QueueKeys("ns", "q"), "w"), "u", "3", state, data, "w", 5)


@pytest.mark.parametrize(
    ("data", "version"),
    [
        (b"1;2;", 2), (b"1700000000000;999;x", 999), (b"1;1;;;;\n", None), (b"1;0;;;;\n", None), (b"1;02;", None),
        (b"1;1000;", None), (b"1;2", None), (b";2;", None), (b"1;-2;", None), (b"1;2.0;", None), (b" 1;2;", None),
        (b"", None), ("\u0661;2;".encode(), None), ("1;\u0662;".encode(), None),
    ],
)  # fmt: skip
def test_a_newer_version_is_a_number_of_three_digits_after_the_time(data, version):
    assert newer_version(data) == version


@pytest.mark.parametrize("data", NEWER)
def test_a_newer_header_is_not_split(data):
    with pytest.raises(ValueError, match=rf"version {newer_version(data)}, and {VERSION} is the newest"):
        split_data(data)


def test_only_the_time_of_a_newer_job_is_known():
    assert peek(ALIKE) == (1_700_000_000_000, "")


@pytest.mark.parametrize("data", NEWER)
def test_the_version_is_seen_before_anything_else(data):
    attempt = Attempt(frame(data), BATCH)
    with pytest.raises(SchemaTooNew, match=f"version {newer_version(data)} and this worker reads {VERSION}: start"):
        parse(attempt)
    assert (attempt.name, attempt.root, hasattr(attempt, "header")) == ("?", "", False)


@pytest.mark.parametrize("data", NEWER)
@pytest.mark.parametrize(("defers", "delay_ms"), [(0, 1_000), (1, 2_000), (5, 32_000), (6, 60_000), (5000, 60_000)])
def test_it_is_given_back_for_longer_and_longer_up_to_a_minute(execution, data, defers, delay_ms):
    refusal = execution.prepare(frame(data, b"1;0;0;0;%d" % defers), BATCH).refusal
    assert (refusal.verdict, refusal.delay_ms, refusal.record) == (DEFERRED, delay_ms, b"")
    assert decode_errors(refusal.errors)[0].type == "SchemaTooNew"


@pytest.mark.parametrize("version", [b"0", b"1000", b"x"])
def test_what_has_no_version_at_all_ends_as_corrupt(execution, version):
    refusal = execution.prepare(frame(job_data("add", 1).replace(b";1;", b";%s;" % version, 1)), BATCH).refusal
    assert (refusal.verdict, decode_record(refusal.record).error.type) == (Verdict.DEAD, "CorruptEnvelope")


def test_one_that_is_revoked_in_a_child_is_given_back_for_the_server_to_end_it(execution):
    attempt = execution.prepare(frame(ALIKE), BATCH)
    assert execution.cancelled(attempt).verdict == DEFERRED


def test_the_log_names_both_versions_and_the_way_out_in_one_line(execution, caplog):
    attempt = execution.prepare(frame(ALIKE), BATCH)
    with caplog.at_level(logging.WARNING, "taskq.job"):
        JobLog(worker="w1").refused(attempt, attempt.refusal)
    [record] = caplog.records
    assert record.getMessage() == (
        "job q/u is given back for 1.0 s: SchemaTooNew: its envelope has version 2 and this worker reads 1: "
        "start workers of the newer taskq, which take it, and stop this one"
    )
    assert (record.action, record.job_id, record.queue) == ("job_deferred", "q/u", "q")


@pytest.mark.parametrize("data", NEWER)
def test_its_crash_keeps_the_history(data):
    found = verdicts.crashed(lease(data), "it was killed")
    assert (found.unique, found.delivery, found.verdict) == ("u", "3", Verdict.CRASHED)
    assert decode_errors(found.errors)[-1].type == "JobCrashed"


@pytest.mark.parametrize("data", NEWER)
def test_its_revocation_has_a_record_and_no_reader(data):
    """Its flags and reply channel are unknown; whoever waits reads the record."""
    found = verdicts.revoked(lease(data), "w", 9)
    record = decode_record(found.record)
    assert (found.verdict, found.reply, record.ending, record.attempt) == (Verdict.CANCELLED, "", "cancelled", 2)


@pytest.mark.parametrize("data", NEWER)
def test_its_time_limit_has_no_follow_up(data):
    found = verdicts.over_limit(lease(data), 3.0, {}, "w", 9)
    assert (found.follow_ups, found.reply, decode_record(found.record).task) == ([], "", "")


@pytest.mark.parametrize("data", NEWER)
@pytest.mark.parametrize("reason", ["expired", "crashed", "lost", "unknown", "moved other fresh 0", "by hand"])
def test_its_end_waits_for_those_who_know_what_follows(data, reason):
    old = EndedJob("old", reason, b"", job_data("add", 1))
    assert [one.unique for one in finishes([EndedJob("new", reason, b"", data), old], 9, "q")] == ["old"]


@pytest.mark.parametrize("data", NEWER)
@pytest.mark.parametrize("reason", ["cancelled", "purged"])
def test_its_cancellation_is_finished_here(data, reason):
    job = EndedJob("new", reason, b"2;1;0;0;6", data)
    [made] = finishes([job], 9, "q")
    record = decode_record(made.record)
    assert (record.ending, record.task, made.reply, made.dead, list(made.follow_ups)) == (
        "cancelled",
        "",
        "",
        False,
        [],
    )
    assert made == finish_of(job, 9, "q")
