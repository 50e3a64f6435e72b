"""Jobs that run too long, or are revoked, in a real child."""

from __future__ import annotations

import time

import pytest
from childdriver import POOLS, SHARED, Driver, eventually, job_data, value_of

from taskq.model.outcome import decode_errors, decode_record
from taskq.worker.protocol import Frame

SPINS = ("spin", "aspin")  # a function that comes back to Python now and then, and a coroutine
REACH = {  # what each pool can interrupt
    "thread": (*SPINS, "busy"),
    "gevent": SPINS,
    "asyncio": (*SPINS, "busy"),
}


@pytest.fixture(params=SHARED)
def driver(request):
    with Driver(request.param, slots=4) as driver:
        yield driver.started()


def ending(ended):
    record = decode_record(ended.record)
    return ended.verdict, record.ending, record.error.type


@pytest.mark.parametrize(("pool", "task"), [(pool, task) for pool, tasks in REACH.items() for task in tasks])
def test_job_over_its_limit_is_interrupted_and_fails(pool, task):
    with Driver(pool) as driver:
        assert ending(driver.started().run(task)) == ("f", "failed", "TimeLimitExceeded")
        assert driver.value("add", 1, 2) == 3


def test_limit_of_the_call_comes_before_the_tasks(driver):
    record = decode_record(driver.run("aspin", meta={"time_limit": 0.05}).record)
    assert record.error.message == "aspin ran longer than its time_limit of 0.05 s"
    assert record.finished_us - record.started_us < 200_000


def test_limit_is_judged_by_the_retry_policy(driver):
    ended = driver.run("retried_spin")
    assert (ended.verdict, ended.delay_ms, decode_errors(ended.errors)[-1].type) == ("r", 3_000, "TimeLimitExceeded")
    assert driver.run("retried_spin", state=b"1;1;0;0;0\n").verdict == "f"


def test_limit_holds_for_a_job_that_catches_it_and_returns(driver):
    assert ending(driver.run("stubborn")) == ("f", "failed", "TimeLimitExceeded")


def test_limit_holds_on_every_slot(driver):
    handles = [driver.send("aspin") for _ in range(8)]
    assert {ending(driver.wait(handle)) for handle in handles} == {("f", "failed", "TimeLimitExceeded")}


def test_late_interruption_never_hits_the_next_job(driver):
    """Limits that end together with their jobs, with other jobs close behind, many times."""
    frames = []
    for n in range(500):
        limit = {"time_limit": 0.001 + n % 50 * 0.00001}
        frames.append(driver.frame(job_data("nap" if n % 2 else "anap", 0.001, meta=limit)))
        frames.append(driver.frame(job_data("add", n, 1)))
    driver.give(frames)
    driver.until(lambda: not driver.given, "all answers")
    sums = [value_of(driver.ended[frame.handle]) for frame in frames[1::2]]
    assert sums == list(range(1, 501))
    naps = {driver.ended[frame.handle].verdict for frame in frames[::2]}
    assert naps <= {"o", "f"}


def test_limit_that_meets_the_end_of_its_job_harms_nobody(driver):
    """The same, with nothing behind, so that the slot goes to rest at that moment."""
    for n in range(300):
        assert driver.run("nap", 0.001, meta={"time_limit": 0.001 + n % 30 * 0.00001}).verdict in {"o", "f"}
    assert driver.value("add", 1, 2) == 3


@pytest.mark.parametrize("task", SPINS)
def test_revoked_job_that_runs_is_cancelled(driver, task, tmp_path):
    started = tmp_path / "started"
    handle = driver.send(task, str(started), meta={"time_limit": 60.0})
    eventually(started.exists, "start of the job")
    driver.tell(Frame.CANCEL, [handle])
    assert ending(driver.wait(handle)) == ("x", "cancelled", "CancelledError")
    assert driver.value("add", 1, 2) == 3


@pytest.mark.parametrize("pool", POOLS)
def test_revoked_job_that_waits_never_starts_and_the_others_keep_their_order(pool, tmp_path):
    with Driver(pool, slots=1) as driver:
        held = driver.started().send("hold", str(tmp_path / "started"), str(tmp_path / "release"))
        eventually((tmp_path / "started").exists, "start of the job")
        waiting = [driver.send("add", n, 0) for n in range(4)]
        driver.tell(Frame.CANCEL, waiting[1:3])
        assert [ending(driver.wait(handle))[0] for handle in waiting[1:3]] == ["x", "x"]
        (tmp_path / "release").touch()
        driver.until(lambda: not driver.given, "the others")
        assert [handle for handle in driver.ended if handle in {held, waiting[0], waiting[3]}] == [
            held,
            waiting[0],
            waiting[3],
        ]


def test_revoked_job_that_ended_already_is_no_matter(driver):
    handle = driver.send("add", 1, 2)
    driver.wait(handle)
    driver.tell(Frame.CANCEL, [handle, 4711])
    assert driver.value("add", 1, 2) == 3


def test_revoking_at_any_moment_gives_one_answer_each(driver):
    calls = [("add", (1, 2)), ("nap", (0.0,)), ("anap", (0.0,))]
    kept, revoked = [], []
    for _ in range(12):
        batch = [driver.frame(job_data(task, *args)) for task, args in calls * 16]
        handles = [frame.handle for frame in batch]
        driver.give(batch)
        driver.tell(Frame.CANCEL, handles[::4])
        revoked += handles[::4]
        kept += [handle for handle in handles if handle not in handles[::4]]
        driver.until(lambda: len(driver.given) < 40, "some answers")
    driver.until(lambda: not driver.given, "all answers")
    assert {driver.ended[handle].verdict for handle in kept} == {"o"}
    assert {driver.ended[handle].verdict for handle in revoked} <= {"o", "x"}


def test_process_child_leaves_the_limit_to_its_supervisor():
    with Driver("process") as driver:
        begun = time.monotonic()
        handle = driver.started().send("busy")
        running = eventually(driver.child.table.running, "the job in the slot table")
        assert [(row[0], round(row[2] - row[1], 3)) for row in running] == [(handle, 0.2)]
        assert begun < running[0][1] < time.monotonic()
