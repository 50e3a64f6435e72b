"""Traces go from a producer through real workers, and back together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from trace_kit import Traces
from worker_kit import Bench, Worker

from taskq import TaskQ

TRACED = ("-A", "apps.traced:app")


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Traces:
    monkeypatch.setenv("TRACED_SPANS", str(tmp_path / "spans"))
    return Traces(tmp_path / "spans")


@pytest.fixture
def app(rig: Bench, traces: Traces) -> Iterator[TaskQ]:
    """The producer."""
    with traces.app() as app:
        yield app


def finish(worker: Worker, *results: object) -> None:
    """Wait for ``results``, then stop the worker, which exports what is left."""
    for result in results:
        result.result(timeout=20)  # type: ignore[attr-defined]
    assert worker.stop() == 0


@pytest.mark.parametrize("task", ["nap", "anap"])
def test_jobs_that_run_side_by_side_have_a_trace_each(
    rig: Bench, traces: Traces, app: TaskQ, pool: str, task: str
) -> None:
    worker = rig.start(pool, *TRACED)
    results = []
    for _ in range(8):
        with traces.tracer.start_as_current_span("request"):
            results.append(app.tasks[task].delay())
    finish(worker, *results)
    run = (f"process {task}", ["inner"])
    assert traces.trees() == [("request", [("send default", [run, "wait default"])])] * 8


@pytest.mark.parametrize("task", ["quick", "flaky"])
def test_short_jobs_in_a_row_leave_no_trace_to_the_next(
    rig: Bench, traces: Traces, app: TaskQ, pool: str, task: str
) -> None:
    results = [app.tasks[task].delay() for _ in range(30)]
    finish(rig.start(pool, *TRACED), *results)
    runs = [("process quick", ["inner"])] if task == "quick" else ["process flaky", "process flaky"]
    assert traces.trees() == [("send default", [*runs, "wait default"])] * 30


def test_a_trace_goes_on_in_jobs_of_jobs_and_in_those_that_follow(rig: Bench, traces: Traces, app: TaskQ) -> None:
    send, quick = app.tasks["send"], app.tasks["quick"]
    worker = rig.start("thread", *TRACED)
    sent = send.apply_async(link=quick.si())
    finish(worker, sent, app.AsyncResult(sent.get(20)), app.AsyncResult(f"{sent.id}.l0"))
    run = ("process quick", ["inner"])
    inner = ("process send", [("send default", [run, "wait default"])])
    assert traces.trees() == [("send default", [run, inner, "wait default", "wait default"])]


def test_a_job_of_a_producer_without_traces_begins_one(rig: Bench, traces: Traces, url: str, namespace: str) -> None:
    with TaskQ("plain", url, namespace) as plain:
        finish(rig.start("thread", *TRACED), plain.send_task("quick", send_by_name=True))
    assert traces.trees() == [("process quick", ["inner", "wait default"])]


@pytest.fixture
def failed(rig: Bench, traces: Traces, app: TaskQ) -> Callable[[str], dict]:
    """Run a task that fails once; return what one reads of the span of that run."""
    finish(rig.start("thread", *TRACED), app.tasks["flaky"].delay())
    return traces.named("process flaky")[0].__getitem__


def test_a_failed_run_says_so(failed: Callable[[str], dict]) -> None:
    assert failed("status") == {"status_code": "ERROR", "description": "ValueError: the reason"}


def test_what_a_run_raised_is_told_as_data(failed: Callable[[str], dict]) -> None:
    (event,) = failed("events")
    told = event["attributes"]
    assert (event["name"], told["exception.type"], told["exception.message"]) == (
        "exception",
        "ValueError",
        "the reason",
    )
    assert 'raise ValueError("the reason")' in told["exception.stacktrace"]


def test_attempts_tell_their_number_and_what_became_of_them(rig: Bench, traces: Traces, app: TaskQ) -> None:
    finish(rig.start("thread", *TRACED), app.tasks["flaky"].delay())
    read = [span["attributes"] for span in traces.named("process flaky")]
    assert [(one["taskq.attempt"], one["taskq.outcome"]) for one in read] == [(1, "retry"), (2, "done")]
