"""A real worker runs jobs in every pool kind: results, failures, retries, limits, order, delay, revocation."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError

import pytest
from worker_kit import Bench, wait_until

from taskq.errors import RemoteError, TimeLimitExceeded


def test_results_come_back_in_every_pool(rig: Bench, pool: str) -> None:
    rig.start(pool)
    results = [rig.app.add.delay(i, 1) for i in range(50)] + [rig.app.aadd.delay(i, 1) for i in range(50)]
    assert [r.result(timeout=20) for r in results] == [*range(1, 51), *range(1, 51)]


def test_a_failure_comes_back_as_its_class_with_the_remote_traceback(rig: Bench, pool: str) -> None:
    rig.start(pool)
    with pytest.raises(RuntimeError, match=r"^no way$") as caught:
        rig.app.boom.delay("no way").result(timeout=20)
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteError)
    assert "raise RuntimeError(text)" in cause.traceback


def test_a_failing_job_is_tried_again_until_it_succeeds(rig: Bench, pool: str) -> None:
    rig.start(pool)
    assert rig.app.fail_until.delay(1, 2).result(timeout=20) == 3
    assert rig.counts("start")["1"] == 3


def test_a_job_that_asks_for_retries_for_ever_ends_after_max_retries(rig: Bench) -> None:
    rig.start("thread")
    result = rig.app.retry_at_once.delay(1)
    with pytest.raises(RemoteError, match="again"):
        result.result(timeout=20)
    assert rig.counts("start")["1"] == 3


def test_a_job_over_its_time_limit_fails_and_its_neighbours_do_not(rig: Bench, pool: str) -> None:
    rig.start(pool)
    task = rig.app.alimited if pool == "asyncio" else rig.app.limited
    neighbours = [(rig.app.anap if pool == "asyncio" else rig.app.nap).delay(i, 0.6) for i in range(1, 6)]
    with pytest.raises(TimeLimitExceeded, match=r"0\.3 s"):
        task.delay(0, 20).result(timeout=20)
    assert [r.result(timeout=20) for r in neighbours] == [1, 2, 3, 4, 5]
    assert rig.counts("end") == {str(i): 1 for i in range(1, 6)}


@pytest.mark.fault(26)
def test_a_busy_loop_over_its_time_limit_is_ended(rig: Bench, pool: str) -> None:
    rig.start(pool)
    with pytest.raises(TimeLimitExceeded):
        rig.app.spin.delay(1).result(timeout=20)
    assert rig.app.add.delay(1, 1).result(timeout=20) == 2


def test_a_delayed_job_starts_when_it_is_due_and_not_before(rig: Bench) -> None:
    rig.start("thread")
    sent = time.time()
    rig.app.mark.apply_async((1,), countdown=0.5)
    wait_until(lambda: rig.noted("start"), "delayed job started")
    started = float(rig.notes.read_text().split()[3])
    assert 0.499 <= started - sent < 1.0


def test_queues_are_served_in_strict_order(rig: Bench) -> None:
    for i in range(40):
        rig.app.mark.delay(i)
        rig.app.hurry.delay(1000 + i)
    rig.start("process", "-c", "1", "-Q", "urgent,default")
    wait_until(lambda: len(rig.noted("start")) == 80, "all ran")
    assert rig.noted("start") == [*(str(1000 + i) for i in range(40)), *(str(i) for i in range(40))]


def test_weighted_queues_share_the_worker(rig: Bench) -> None:
    for i in range(200):
        rig.app.mark.delay(i)
        rig.app.hurry.delay(1000 + i)
    rig.start("process", "-c", "1", "-Q", "urgent:3,default:1")
    wait_until(lambda: len(rig.noted("start")) == 400, "all ran")
    order = rig.noted("start")
    assert set(order[:100]) & {str(i) for i in range(200)}, "the lower weight is not starved"


def test_disciplines_order_the_starts(rig: Bench) -> None:
    for i in range(30):
        rig.app.pile.delay(i)
        rig.app.rank.apply_async((i,), priority=-i)
    rig.start("process", "-c", "1", "-Q", "stack")
    wait_until(lambda: len(rig.noted("start")) == 30, "stack ran")
    assert rig.noted("start") == [str(i) for i in reversed(range(30))]
    rig.workers[0].stop()
    rig.start("process", "-c", "1", "-Q", "ranked")
    wait_until(lambda: len(rig.noted("start")) == 60, "ranked ran")
    assert rig.noted("start")[30:] == [str(i) for i in reversed(range(30))]


def test_a_waiting_job_is_cancelled_and_a_running_one_terminated(rig: Bench, pool: str) -> None:
    nap = rig.app.anap if pool == "asyncio" else rig.app.nap
    waiting = nap.delay(1, 0)
    assert waiting.cancel() is True
    assert waiting.cancelled()
    rig.start(pool)
    running = nap.delay(2, 60)
    wait_until(lambda: rig.noted("start") == ["2"], "job 2 runs")
    assert running.cancel() is False
    running.revoke(terminate=True)
    with pytest.raises(CancelledError):
        running.result(timeout=20)
    assert rig.noted("start") == ["2"]
    assert rig.noted("end") == []


def test_an_unknown_task_waits_for_a_worker_that_knows_it(rig: Bench) -> None:
    worker = rig.start("thread")
    rig.app.app.send_task("nobody.knows", (1,), send_by_name=True)
    assert rig.app.add.delay(1, 2).result(timeout=20) == 3
    wait_until(lambda: "nobody.knows" in worker.lines(), "the worker says so")


def test_a_worker_drains_and_exits(rig: Bench, pool: str) -> None:
    for i in range(500):
        rig.app.mark.delay(i)
    worker = rig.start(pool, "--drain", ready=False)
    assert worker.wait() == 0, worker.lines()
    assert rig.counts("end") == {str(i): 1 for i in range(500)}


def test_a_child_is_replaced_after_max_jobs(rig: Bench, pool: str) -> None:
    worker = rig.start(pool, "--max-jobs-per-child", "10")
    for i in range(100):
        rig.app.mark.delay(i)
    wait_until(lambda: len(rig.noted("end")) == 100, "all ran")
    pids = {line.split()[2] for line in rig.notes.read_text().splitlines()}
    assert len(pids) >= 5, worker.lines()
    assert rig.counts("end") == {str(i): 1 for i in range(100)}
