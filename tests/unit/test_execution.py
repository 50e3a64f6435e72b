"""The steps that run one job, each alone."""

from __future__ import annotations

import asyncio

import pytest
from childdriver import job_data

from taskq.app import TaskQ
from taskq.client.context import current_job
from taskq.errors import BadArguments, ResultTooLarge, Retry, SchemaTooNew, SerializationError
from taskq.model.outcome import Verdict, decode_errors, decode_record
from taskq.worker.attempt import SHORT, Attempt, Batch, Known, Stage, Strike
from taskq.worker.execution import Execution, outcome_of, parse
from taskq.worker.judge import describe, retry_delay
from taskq.worker.protocol import DEFERRED, Ended, JobFrame

BATCH = Batch(5_000_000, 7, 1.0)


@pytest.fixture
def app():
    app = TaskQ("unit", url="redis://127.0.0.1:1/0", max_result=1024)

    @app.task(name="add")
    def add(a: int, b: int = 0) -> int:
        return a + b

    @app.task(name="quiet", ignore_result=True)
    def quiet() -> object:
        return object()

    @app.task(name="limited", time_limit=5.0, max_retries=1, retry_on=(ValueError, OSError), backoff=3.0, jitter=0.0)
    def limited() -> None:
        raise ValueError("the reason")

    @app.task(name="bound", bind=True)
    async def bound(context: object) -> list[bool]:
        return [context is current_job.get()]

    @app.task(name="result")
    def result(size: int) -> object:
        return b"x" * size if size else object()

    return app


@pytest.fixture(autouse=True)
def _own_context():
    """A run leaves its job in the context, which a pool makes anew for each job and pytest does not."""
    token = current_job.set(None)
    yield
    current_job.reset(token)


@pytest.fixture
def execution(app):
    return Execution(app, "w1", 42, ("default",))


def frame(task, *args, state=b"", **options):
    return JobFrame(9, "q", "u", 1, state, job_data(task, *args, **options))


@pytest.fixture
def prepare(execution):
    return lambda *args, **options: execution.prepare(frame(*args, **options), BATCH)


def ended(execution, attempt, error=None, stage=Stage.RUN):
    attempt.error, attempt.stage = error, stage
    return execution.settle(attempt, 3, 2.0, 2.5)


def test_parse_reads_header_body_and_state():
    attempt = Attempt(frame("add", 1, reply="chan", state=b"3;1;0;0;2\n"), BATCH)
    parse(attempt)
    found = (attempt.header.reply, attempt.body.task, attempt.state.attempts, attempt.number, attempt.job_id)
    assert found == ("chan", "add", 1, 2, "q/u")


@pytest.mark.parametrize("data", [b"", b"x", b"1;1;;;;\n", b"1;1;;;;\n\xc1"])
def test_parse_refuses_what_is_no_envelope(data):
    with pytest.raises(Exception, match=r".") as caught:
        parse(Attempt(JobFrame(1, "q", "u", 1, b"", data), BATCH))
    assert not isinstance(caught.value, SchemaTooNew)


def test_parse_tells_a_newer_envelope_from_a_damaged_one():
    data = job_data("add", 1).replace(b";1;", b";2;", 1)
    with pytest.raises(SchemaTooNew, match="version 2"):
        parse(Attempt(JobFrame(1, "q", "u", 1, b"", data), BATCH))


def test_prepare_refuses_an_unknown_task_for_a_while(prepare):
    refusal = prepare("nothing", state=b"1;0;0;0;1\n").refusal
    assert (refusal.handle, refusal.verdict, refusal.delay_ms) == (9, DEFERRED, 2_000)
    assert decode_errors(refusal.errors)[0].type == "UnknownTask"


def test_prepare_waits_no_longer_than_a_minute_for_an_unknown_task(prepare):
    assert prepare("nothing", state=b"1;0;0;0;5000\n").refusal.delay_ms == 60_000


@pytest.mark.parametrize("limit", [0, -1, "long", float("nan"), True])
def test_prepare_refuses_a_limit_that_is_none(prepare, limit):
    refusal = prepare("add", 1, meta={"time_limit": limit}).refusal
    assert decode_record(refusal.record).error.type == "CorruptEnvelope"


def test_prepare_takes_the_limit_of_the_call_before_the_tasks(prepare):
    assert (prepare("limited").limit, prepare("limited", meta={"time_limit": 2}).limit) == (5.0, 2.0)


def test_prepare_looks_each_task_up_once(prepare):
    assert prepare("add", 1).known is prepare("add", 2).known


def test_run_decodes_calls_and_encodes(execution, prepare):
    attempt = prepare("add", 1, b=2)
    execution.run(attempt)
    assert (attempt.payload, attempt.stage) == (b"\x03", Stage.ENCODE)


def test_run_encodes_nothing_where_the_result_is_ignored(execution, prepare):
    attempt = prepare("quiet")
    execution.run(attempt)
    assert attempt.payload == b""


def test_run_async_awaits_and_gives_the_context(execution, prepare):
    attempt = prepare("bound")
    asyncio.run(execution.run_async(attempt))
    assert attempt.payload == b"\x91\xc3"


@pytest.mark.parametrize(
    ("call", "stage", "error"),
    [
        (("add", "one"), Stage.DECODE, BadArguments),
        (("limited",), Stage.RUN, ValueError),
        (("result", 0), Stage.ENCODE, SerializationError),
        (("result", 2_000), Stage.ENCODE, ResultTooLarge),
    ],
)
def test_run_leaves_a_mark_where_it_failed(execution, prepare, call, stage, error):
    attempt = prepare(*call)
    with pytest.raises(error):
        execution.run(attempt)
    assert attempt.stage is stage


def test_settle_of_a_success_keeps_the_value_with_server_times(execution, prepare):
    attempt = prepare("add", 1)
    attempt.payload = b"\x01"
    record = decode_record(ended(execution, attempt).record)
    assert (record.payload, record.slot, record.worker, record.child) == (b"\x01", 3, "w1", 42)
    assert (record.claimed_us, record.started_us, record.finished_us) == (7, 7_000_000, 7_500_000)


def test_settle_of_an_ignored_success_says_nothing(execution, prepare):
    assert ended(execution, prepare("quiet")) is None


def test_settle_of_an_ignored_success_still_tells_who_asked(execution, prepare):
    assert ended(execution, prepare("quiet", reply="chan")).reply == "chan"


def test_settle_of_a_failure_retries_what_the_policy_allows(execution, prepare):
    found = ended(execution, prepare("limited"), ValueError("x"))
    assert (found.verdict, found.delay_ms) == (Verdict.RETRY, 3_000)


def test_settle_forgets_the_exception_and_its_frames(execution, prepare):
    attempt = prepare("limited")
    ended(execution, attempt, ValueError("x"))
    assert attempt.error is None


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()])
def test_settle_of_an_exit_is_a_failure(execution, prepare, error):
    assert ended(execution, prepare("limited"), error).verdict == Verdict.DEAD


def test_settle_of_a_job_over_its_limit_names_the_limit(execution, prepare):
    attempt = prepare("limited", state=b"1;1;0;0;0\n")
    attempt.strike = Strike.LIMIT
    error = decode_record(ended(execution, attempt).record).error
    assert (error.type, error.message) == ("TimeLimitExceeded", "limited ran longer than its time_limit of 5 s")


def test_settle_of_a_revoked_job_that_finished_all_the_same_is_a_success(execution, prepare):
    attempt = prepare("add", 1)
    attempt.strike = Strike.CANCEL
    assert ended(execution, attempt).verdict == Verdict.DONE


def test_settle_of_a_revoked_job_is_cancelled_without_a_follow_up(execution, prepare):
    attempt = prepare("add", 1, meta={"link_error": [("q", "e", 0, b"d")]})
    attempt.strike = Strike.CANCEL
    found = ended(execution, attempt, ValueError())
    assert (found.verdict, found.follow_ups, decode_record(found.record).ending) == ("x", [], "cancelled")


@pytest.mark.parametrize(
    ("error", "stage", "state", "delay"),
    [
        (ValueError(), Stage.RUN, b"", 3.0),
        (TimeoutError(), Stage.RUN, b"", 3.0),  # a kind of OSError
        (KeyError(), Stage.RUN, b"", None),
        (ValueError(), Stage.RUN, b"1;1;0;0;0\n", None),
        (ValueError(), Stage.DECODE, b"", None),
        (ValueError(), Stage.ENCODE, b"", None),
        (Retry(), Stage.RUN, b"", 3.0),
        (Retry(countdown=0), Stage.RUN, b"", 0.0),
        (Retry(countdown=1e300), Stage.RUN, b"", 315_360_000.0),
        (Retry(countdown=-1), Stage.RUN, b"", None),
        (Retry(countdown=float("nan")), Stage.RUN, b"", None),
        (Retry(countdown=1), Stage.RUN, b"1;1;0;0;0\n", None),
    ],
)
def test_retry_delay(prepare, error, stage, state, delay):
    attempt = prepare("limited", state=state)
    attempt.stage = stage
    assert retry_delay(attempt, error) == delay


def test_traceback_begins_with_the_jobs_own_code(execution, prepare):
    attempt = prepare("limited")
    with pytest.raises(ValueError) as caught:
        execution.run(attempt)
    caught.value.__traceback__ = caught.value.__traceback__.tb_next  # without this test's own frame
    shown = describe(attempt, caught.value).traceback
    assert shown.splitlines()[1].endswith("in limited")


def test_hooks_are_shown_a_success_without_a_record_too():
    assert outcome_of(None).verdict is Verdict.DONE
    assert outcome_of(Ended(1, "f", b"r", 0, 5)).ttl_ms == 5


def test_task_is_known_to_be_short_after_one_short_run_only(app):
    known = Known(app.tasks["add"])
    before = known.short
    known.observe(SHORT / 2)
    assert (before, known.short) == (False, True)


def test_task_that_turns_long_is_not_short_any_more(app):
    known = Known(app.tasks["add"])
    known.observe(SHORT / 2)
    known.observe(SHORT * 10)
    assert not known.short
    for _ in range(20):
        known.observe(0.0)
    assert known.short
