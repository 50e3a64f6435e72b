"""What tracing makes of hooks, without a server."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from childdriver import Driver
from opentelemetry import trace
from opentelemetry.semconv._incubating.attributes import messaging_attributes
from opentelemetry.semconv.attributes import error_attributes, exception_attributes
from opentelemetry.semconv.schemas import Schemas
from trace_kit import Traces

from taskq import JobContext, TaskQ
from taskq.client.hooks import Sending
from taskq.contrib import otel
from taskq.errors import ConfigError, InvalidOption
from taskq.model.outcome import ErrorInfo, Outcome, Verdict, add_error

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DAY = 86_400
SENT = {
    "messaging.system": "taskq",
    "messaging.destination.name": "q",
    "messaging.operation.name": "send",
    "messaging.operation.type": "send",
    "messaging.message.id": "q/1",
    "taskq.task": "t",
}


@pytest.fixture
def app():
    return TaskQ("traced", "redis://127.0.0.1:1")


@pytest.fixture
def traces(app, tmp_path):
    traces = Traces(tmp_path / "none")
    otel.instrument(app, traces.provider)
    return traces


@pytest.fixture
def run(app, traces):
    """Run a job as far as hooks see it; return its span."""

    def run(context, outcome=Outcome(Verdict.DONE)):  # noqa: B008 (it is frozen)
        app.hooks.before_run.run(context)
        app.hooks.after_outcome.run(context, outcome)
        (span,) = traces.named("process t")
        return span

    return run


@pytest.fixture
def send(app, traces):
    """Send a call as far as hooks see it; return its span."""

    def send(error=None):
        sending = Sending("t", "q", "q/1", (), {})
        app.hooks.sent([sending] if app.hooks.headers_for(sending) else [], error)
        (span,) = traces.spans()
        return span

    return send


def aged(seconds, *, ahead=0):
    """Return the context of a job that a server accepted so long ago, whose clock is ``ahead`` of this one."""
    clock_us = (time.time_ns() - time.monotonic_ns()) // 1000 + ahead * 1_000_000
    enqueued_ms = time.time_ns() // 1_000_000 + round((ahead - seconds) * 1000)
    return JobContext("q/1", "t", "q", _enqueued_ms=enqueued_ms, _clock_us=clock_us)


def seconds(text):
    """Read a time as the SDK writes it."""
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (otel.SYSTEM, messaging_attributes.MESSAGING_SYSTEM),
        (otel.DESTINATION, messaging_attributes.MESSAGING_DESTINATION_NAME),
        (otel.OPERATION, messaging_attributes.MESSAGING_OPERATION_NAME),
        (otel.OPERATION_TYPE, messaging_attributes.MESSAGING_OPERATION_TYPE),
        (otel.MESSAGE_ID, messaging_attributes.MESSAGING_MESSAGE_ID),
        (otel.CONVERSATION, messaging_attributes.MESSAGING_MESSAGE_CONVERSATION_ID),
        (otel.CLIENT, messaging_attributes.MESSAGING_CLIENT_ID),
        (otel.ERROR_TYPE, error_attributes.ERROR_TYPE),
        (otel.EXCEPTION_TYPE, exception_attributes.EXCEPTION_TYPE),
        (otel.EXCEPTION_MESSAGE, exception_attributes.EXCEPTION_MESSAGE),
        (otel.EXCEPTION_STACKTRACE, exception_attributes.EXCEPTION_STACKTRACE),
    ],
)
def test_names_are_those_of_the_semantic_conventions(ours, theirs):
    assert ours == theirs


def test_the_version_of_the_conventions_is_one_that_there_is():
    assert otel.SCHEMA in {schema.value for schema in Schemas}


@pytest.mark.parametrize("operation", ["create", "send", "process"])
def test_types_of_operation_are_those_of_the_conventions(operation):
    assert operation in {one.value for one in messaging_attributes.MessagingOperationTypeValues}


def test_the_producers_span_tells_what_is_sent_where(send):
    span = send()
    assert (span["name"], span["kind"], span["attributes"]) == ("send q", "SpanKind.PRODUCER", SENT)


def test_a_call_that_is_refused_is_an_error_of_its_span(send):
    span = send(ValueError("full"))
    assert (span["status"]["status_code"], span["attributes"]["error.type"]) == ("ERROR", "ValueError")


def test_the_context_travels_in_the_headers_of_w3c(app, traces):
    sending = Sending("t", "q", "q/1", (), {}, {"own": 1})
    headers = app.hooks.headers_for(sending)
    app.hooks.sent([sending], None)
    ids = traces.named("send q")[0]["context"]
    assert headers["traceparent"].startswith(f"00-{ids['trace_id'][2:]}-{ids['span_id'][2:]}-")


def test_a_job_of_many_has_a_span_of_its_making_that_ends_at_once(app, traces):
    app.hooks.headers_for(Sending("t", "q", "q/1", (), {}, many=True))
    (span,) = traces.spans()
    assert (span["name"], span["attributes"]["messaging.operation.type"]) == ("create q", "create")


def test_the_span_of_a_run_tells_what_ran_and_where(run):
    span = run(JobContext("q/1", "t", "q", 2, 3, {"traceparent": TRACEPARENT}, root="q/0", worker="w"))
    assert span["attributes"] == {
        **SENT,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.message.conversation_id": "q/0",
        "messaging.client.id": "w",
        "taskq.attempt": 2,
        "taskq.delivery": 3,
        "taskq.outcome": "done",
    }


def test_the_span_of_a_run_is_the_consumers_and_a_child_of_the_producers(run):
    span = run(JobContext("q/1", "t", "q", headers={"traceparent": TRACEPARENT}))
    read = (span["kind"], span["context"]["trace_id"], span["parent_id"])
    assert read == ("SpanKind.CONSUMER", f"0x{TRACEPARENT[3:35]}", f"0x{TRACEPARENT[36:52]}")


@pytest.mark.parametrize("headers", [{"traceparent": 5}, {"traceparent": "nonsense"}, {"tracestate": ["x"]}])
def test_headers_that_are_no_trace_begin_one(run, headers):
    assert run(JobContext("q/1", "t", "q", headers=headers))["parent_id"] is None


def test_a_run_that_succeeds_is_no_error(run):
    assert run(JobContext("q/1", "t", "q"))["status"] == {"status_code": "UNSET"}


def test_a_job_that_was_revoked_is_no_error(run):
    span = run(JobContext("q/1", "t", "q"), Outcome(Verdict.CANCELLED))
    assert (span["status"]["status_code"], span["attributes"]["taskq.outcome"]) == ("UNSET", "cancelled")


@pytest.mark.parametrize("verdict", [Verdict.RETRY, Verdict.DEAD])
def test_a_run_that_raised_is_an_error_of_that_type(run, verdict):
    errors = add_error(add_error(b"", ErrorInfo("OSError", "first")), ErrorInfo("ValueError", "last"))
    span = run(JobContext("q/1", "t", "q"), Outcome(verdict, errors=errors))
    assert (span["status"]["description"], span["attributes"]["error.type"]) == ("ValueError: last", "ValueError")


@pytest.mark.parametrize("ahead", [0, DAY, -DAY])
def test_a_job_knows_its_age_by_the_servers_clock(ahead):
    assert 7.0 <= aged(7.0, ahead=ahead).age < 8.0


def test_a_job_is_never_of_negative_age():
    assert aged(-5.0).age == 0.0


def test_outside_of_a_job_there_is_no_age():
    assert JobContext.outside("t").age == 0.0


@pytest.mark.parametrize("ahead", [0, DAY, -DAY])
def test_a_wait_is_as_long_as_the_servers_clock_says(run, traces, ahead):
    run(aged(7.0, ahead=ahead))
    (wait,) = traces.named("wait q")
    assert 7.0 <= seconds(wait["end_time"]) - seconds(wait["start_time"]) < 8.0


@pytest.mark.parametrize("ahead", [0, DAY, -DAY])
def test_a_wait_ends_where_the_run_begins(run, traces, ahead):
    span = run(aged(7.0, ahead=ahead))
    assert traces.named("wait q")[0]["end_time"] == span["start_time"]


def test_a_further_attempt_has_no_wait(run, traces):
    run(JobContext("q/1", "t", "q", 2))
    assert traces.named("wait q") == []


def test_outside_of_a_run_nothing_is_left_of_its_trace(run):
    run(JobContext("q/1", "t", "q"))
    assert not trace.get_current_span().get_span_context().is_valid


def test_an_app_is_instrumented_once(app, traces):
    with pytest.raises(ConfigError, match="'traced' is instrumented already"):
        otel.instrument(app, traces.provider)


def test_what_is_no_app_is_refused():
    with pytest.raises(InvalidOption, match="'app'"):
        otel.instrument("app")


def test_without_a_provider_nothing_travels():
    code = (
        "from taskq import TaskQ\nfrom taskq.client.hooks import Sending\nfrom taskq.contrib.otel import instrument\n"
        "app = TaskQ('a', 'redis://x')\ninstrument(app)\n"
        "print(app.hooks.headers_for(Sending('t', 'q', 'q/1', (), {})))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{}\n", "")


def test_a_missing_package_is_told_with_the_way_out():
    code = f"import sys\nsys.path.insert(0, {str(Path(__file__).parents[1] / 'apps')!r})\nimport untraceable"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "taskq.errors.MissingDependency: taskq.contrib.otel needs opentelemetry-api, which is not installed: "
        "pip install 'taskq[otel]'"
    )


def test_a_worker_without_the_package_says_so_in_one_line():
    with Driver("thread", app="untraceable") as driver:
        assert "pip install 'taskq[otel]'" in driver.hello().error
