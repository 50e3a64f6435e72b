"""How jobs end in a real child, in every pool alike."""

from __future__ import annotations

import time

import pytest
from childdriver import POOLS, Driver, job_data, value_of

from taskq.model.outcome import decode_errors, decode_record
from taskq.worker.protocol import DEFERRED

FAILED_ONCE = b"1;1;0;0;0\n"  # delivery 1, attempts 1
FAILED_TWICE = b"1;2;0;0;0\n"


@pytest.fixture(scope="module", params=POOLS)
def driver(request):
    """One child per pool for all tests here: each must leave it as good as new."""
    with Driver(request.param) as driver:
        yield driver.started()


@pytest.mark.parametrize("task", ["add", "aadd"])
def test_functions_and_coroutines_return_their_value(driver, task):
    assert driver.value(task, 2, 3) == 5


def test_record_tells_where_and_when_by_the_servers_clock(driver):
    before = time.monotonic_ns() // 1000 + driver.offset_us
    record = driver.record("add", 1, 1, state=FAILED_ONCE)
    after = time.monotonic_ns() // 1000 + driver.offset_us
    assert (record.task, record.worker, record.child, record.attempt) == ("add", "w1", driver.child.pid, 2)
    assert record.enqueued_us == 1_700_000_000_000_000
    assert before <= record.claimed_us <= record.started_us <= record.finished_us <= after


def test_record_is_kept_as_long_as_the_task_says(driver):
    assert driver.run("add", 1, 1).ttl_ms == 3_600_000


def test_call_decides_how_long_the_record_is_kept(driver):
    assert driver.run("add", 1, 1, meta={"result_ttl": 7.5}).ttl_ms == 7_500


@pytest.mark.parametrize("task", ["noop", "anoop"])
def test_ignored_result_is_no_more_than_a_handle(driver, task):
    assert driver.run(task).record == b""


def test_result_is_ignored_where_the_call_asks_for_it(driver):
    assert driver.run("add", 1, 2, flags="i").record == b""


def test_failure_is_recorded_even_where_the_result_is_ignored(driver):
    assert driver.record("boom_quiet").error.type == "ValueError"


def test_reply_channel_comes_back_with_the_end(driver):
    assert driver.run("add", 1, 2, reply="chan").reply == "chan"


def test_exception_that_is_not_retried_ends_the_job_with_its_traceback(driver):
    ended = driver.run("boom", "KeyError", reply="chan")
    record = decode_record(ended.record)
    assert (ended.verdict, record.ending, record.error.type, ended.reply) == ("f", "failed", "KeyError", "chan")
    assert "childapp.py" in record.error.traceback
    assert "taskq/worker" not in record.error.traceback


def test_exception_that_is_retried_comes_back_with_the_backoff(driver):
    ended = driver.run("boom", state=FAILED_ONCE)
    assert (ended.verdict, ended.delay_ms, ended.record) == ("r", 8_000, b"")
    assert decode_errors(ended.errors)[-1].message == "the reason"


def test_job_is_dead_when_its_retries_are_used_up(driver):
    assert driver.run("boom", state=FAILED_TWICE).verdict == "f"


def test_job_may_ask_for_another_attempt_at_a_time_of_its_own(driver):
    ended = driver.run("again", 1.5)
    assert (ended.verdict, ended.delay_ms) == ("r", 1_500)


def test_job_that_asks_without_a_time_gets_the_backoff(driver):
    assert driver.run("again", None).delay_ms == 4_000


def test_job_that_asks_once_too_often_is_dead(driver):
    record = driver.record("again", 1.5, state=FAILED_TWICE)
    assert record.error.message == "later (asked for another attempt after all 2 retries)"


@pytest.mark.parametrize("countdown", [-1, float("nan"), float("inf"), "soon", True])
def test_countdown_that_is_no_time_ends_the_job(driver, countdown):
    assert driver.record("again", countdown).error.type == "InvalidDelay"


@pytest.mark.fault(29)
@pytest.mark.parametrize("task", ["leave", "aleave"])
@pytest.mark.parametrize(
    "kind", ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError", "StopIteration"]
)
def test_exit_is_a_failure_and_harms_nobody_else(driver, task, kind):
    ended = driver.run(task, kind)
    assert (ended.verdict, decode_record(ended.record).ending) == ("f", "failed")
    assert driver.value("add", 1, 1) == 2


@pytest.mark.fault(28)
def test_exception_that_cannot_be_printed_is_reported_all_the_same(driver):
    assert driver.record("explode").error.type == "childapp.Exploding"


@pytest.mark.parametrize(("task", "args"), [("add", ()), ("add", (1, 2, 3)), ("aadd", ("one", 2))])
def test_arguments_that_do_not_fit_end_the_job_without_a_retry(driver, task, args):
    ended = driver.run(task, *args)
    assert (ended.verdict, decode_record(ended.record).error.type) == ("f", "BadArguments")


def test_result_that_is_no_data_ends_the_job(driver):
    assert driver.record("result", "object").error.type == "SerializationError"


def test_result_that_is_too_large_ends_the_job(driver):
    assert driver.record("result", "large").error.type == "ResultTooLarge"


def test_unknown_task_is_handed_back_for_later(driver):
    ended = driver.run("no such task", state=b"1;0;0;0;3\n")
    assert (ended.verdict, ended.delay_ms) == (DEFERRED, 8_000)


def test_importable_name_that_is_no_task_is_not_imported(driver):
    assert driver.run("os.getcwd").verdict == DEFERRED


def test_newer_envelope_is_handed_back_for_later(driver):
    frame = driver.frame(job_data("add", 1, 2).replace(b";1;", b";9;", 1))
    driver.give([frame])
    assert driver.wait(frame.handle).verdict == DEFERRED


@pytest.mark.parametrize("data", [b"", b"\n", b"no header", b"1;1;;;;\n\xff\xff", b"x;y;;;;\n\x92", b"1;1;;;\n\x90"])
def test_damaged_envelope_ends_the_job(driver, data):
    frame = driver.frame(data)
    driver.give([frame])
    assert decode_record(driver.wait(frame.handle).record).error.type == "CorruptEnvelope"


def test_serializer_that_is_not_allowed_is_refused_before_it_decodes(driver):
    assert driver.record("echo", 1, codec="pickle").error.type == "SerializationError"


@pytest.mark.parametrize("task", ["who", "awho"])
def test_job_knows_itself(driver, task):
    meta = {"headers": {"k": "v"}, "root": "q/r", "parent": "q/p"}
    found = driver.value(task, state=FAILED_ONCE, meta=meta)
    assert found == [task, "default", 2, 1, {"k": "v"}, "q/r", "q/p", ["default", "urgent"]]


@pytest.mark.parametrize("task", ["stain", "astain"])
def test_context_of_a_job_does_not_reach_the_next(driver, task):
    frames = [driver.frame(job_data(task)) for _ in range(50)]
    driver.give(frames)
    assert {value_of(driver.wait(frame.handle)) for frame in frames} == {"clean"}


def test_links_follow_a_success(driver):
    ended = driver.run("add", 1, 2, meta={"link": [("q", "u", 5, b"data")], "link_error": [("q", "e", 0, b"other")]})
    assert ended.follow_ups == [("q", "u", 5, b"data")]


def test_links_follow_a_success_without_a_result(driver):
    assert driver.run("noop", meta={"link": [("q", "u", 5, b"data")]}).follow_ups == [("q", "u", 5, b"data")]


def test_error_links_follow_a_failure(driver):
    ended = driver.run("boom", "KeyError", meta={"link_error": [("q", "e", 0, b"other")]})
    assert ended.follow_ups == [("q", "e", 0, b"other")]


def test_error_links_do_not_follow_a_retry(driver):
    assert driver.run("boom", meta={"link_error": [("q", "e", 0, b"other")]}).follow_ups == []


def test_damaged_links_are_left_out(driver):
    ended = driver.run("add", 1, 2, meta={"link": [("q", 1)]})
    assert (ended.verdict, ended.follow_ups) == ("o", [])


def test_hooks_see_start_and_end_and_cannot_harm(driver):
    assert "before hooked" in driver.value("hooked")
    assert "after hooked o" in driver.value("seen")


def test_exit_in_a_greenlet_of_a_job_harms_nobody():
    with Driver("gevent") as driver:
        assert driver.started().value("exit_in_greenlet") == "done"
        assert driver.value("add", 1, 1) == 2


def test_asyncio_tasks_that_a_job_leaves_behind_harm_nobody(driver):
    assert driver.value("orphan_tasks") == "done"
    assert driver.value("aadd", 1, 1) == 2


@pytest.mark.parametrize("pool", ["process", "thread", "gevent"])
def test_asyncio_tasks_that_a_job_leaves_behind_end_with_it(pool):
    with Driver(pool, slots=1) as driver:
        driver.started().run("orphan_tasks")
        assert driver.value("fate_of_orphans") == [False, True]  # the first one had ended by itself


def test_asyncio_task_that_a_job_keeps_and_cancels_later_harms_nobody(driver):
    calls = [("keep_task", ()), ("cancel_kept_task", ()), ("aadd", (1, 1))]
    for task, args in calls:  # from now on they are known to be short, and share what can be shared
        driver.run(task, *args)
    frames = [driver.frame(job_data(task, *args)) for task, args in calls * 30]
    driver.give(frames)
    assert {value_of(driver.wait(frame.handle)) for frame in frames[2::3]} == {2}
