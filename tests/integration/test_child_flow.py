"""In which order, how many at once and how promptly a real child runs and answers what it is given."""

from __future__ import annotations

import json
import signal
import time

import pytest
from childdriver import POOLS, SHARED, Driver, eventually, job_data, value_of

from taskq.worker.protocol import Frame

HOLDS = ("hold", "ahold")
MANY = 2_000


@pytest.fixture(params=POOLS)
def pool(request):
    return request.param


def send_many(driver, task, count, *args):
    frames = [driver.frame(job_data(task, *args)) for _ in range(count)]
    driver.give(frames)
    return [frame.handle for frame in frames]


def make_known(driver, task):
    """Let the child learn that the jobs of a task are short."""
    handles = send_many(driver, task, 20)
    driver.until(lambda: all(handle in driver.ended for handle in handles), "short jobs")


class Hold:
    """A job that runs until it is released."""

    def __init__(self, driver, tmp_path, task="hold", name="1"):
        self.started, self._release = tmp_path / f"started{name}", tmp_path / f"release{name}"
        self.handle = driver.send(task, str(self.started), str(self._release))

    def running(self):
        eventually(self.started.exists, "start of the job")
        return self

    def release(self):
        self._release.touch()


def test_every_job_of_a_large_batch_is_answered_once(pool):
    with Driver(pool) as driver:
        handles = send_many(driver.started(), "add", MANY, 1, 2)
        driver.until(lambda: not driver.given, "all answers")
        assert {value_of(driver.ended[handle]) for handle in handles} == {3}


def test_short_jobs_are_answered_many_in_a_frame(pool):
    with Driver(pool) as driver:
        make_known(driver.started(), "noop")
        before = len(driver.frames)
        send_many(driver, "noop", MANY)
        driver.until(lambda: not driver.given, "all answers")
        assert len(driver.frames) - before < MANY / 20


def test_run_time_is_reported_with_the_answers(pool):
    with Driver(pool) as driver:
        driver.started().run("nap", 0.1)
        assert sum(payload.run_us for kind, payload in driver.frames if kind is Frame.DONE) >= 100_000


@pytest.mark.parametrize("task", HOLDS)
def test_recall_is_answered_while_a_job_runs(pool, task, tmp_path):
    with Driver(pool, slots=1) as driver:
        hold = Hold(driver.started(), tmp_path, task).running()
        waiting = send_many(driver, "add", 3, 1, 2)
        driver.tell(Frame.RECALL)
        driver.until(lambda: driver.returned, "recalled jobs")
        assert driver.returned == waiting
        hold.release()
        assert value_of(driver.wait(hold.handle)) == "held"


@pytest.mark.parametrize("task", ["brief", "abrief"])
def test_recall_is_answered_in_the_middle_of_a_flood_of_short_jobs(pool, task):
    with Driver(pool) as driver:
        make_known(driver.started(), task)
        handles = send_many(driver, task, 1_000)  # 0.3 s
        driver.until(lambda: handles[0] in driver.ended, "the first answer")
        driver.tell(Frame.RECALL)
        driver.until(lambda: not driver.given, "answers for all")
        assert len(driver.returned) > 500


def test_recall_of_nothing_is_answered_too(pool):
    with Driver(pool) as driver:
        driver.started().tell(Frame.RECALL)
        driver.until(lambda: (Frame.BACK, []) in driver.frames, "an empty answer")


@pytest.mark.parametrize("pool", SHARED)
@pytest.mark.parametrize("task", HOLDS)
def test_slots_run_their_jobs_at_the_same_time(pool, task, tmp_path):
    with Driver(pool, slots=5) as driver:
        driver.started()
        holds = [Hold(driver, tmp_path, task, str(n)) for n in range(5)]
        for hold in holds:
            hold.running()
        for hold in holds:
            hold.release()
        assert {value_of(driver.wait(hold.handle)) for hold in holds} == {"held"}


@pytest.mark.parametrize("pool", SHARED)
def test_functions_and_coroutines_share_the_slots(pool, tmp_path):
    with Driver(pool, slots=2) as driver:
        holds = [Hold(driver.started(), tmp_path, task, task).running() for task in HOLDS]
        third = Hold(driver, tmp_path, "ahold", "third")
        driver.tell(Frame.RECALL)
        driver.until(lambda: driver.returned, "the third job, back")
        assert (driver.returned, third.started.exists()) == ([third.handle], False)
        for hold in holds:
            hold.release()
            driver.wait(hold.handle)


@pytest.mark.parametrize("pool", SHARED)
@pytest.mark.parametrize("task", ["maybe_hold", "amaybe_hold"])
def test_short_task_that_turns_long_holds_nobody_up(pool, task, tmp_path):
    with Driver(pool, slots=3) as driver:
        make_known(driver.started(), task)
        make_known(driver, "add")
        hold = Hold(driver, tmp_path, task)
        others = send_many(driver, "add", 10, 1, 2)
        driver.until(lambda: all(handle in driver.ended for handle in others), "neighbours of a long job")
        assert hold.handle not in driver.ended
        hold.release()
        driver.wait(hold.handle)


@pytest.mark.parametrize("task", HOLDS)
def test_answers_leave_before_a_job_of_an_unknown_task_starts(pool, task, tmp_path):
    with Driver(pool, slots=1) as driver:
        make_known(driver.started(), "aadd")
        started, release = tmp_path / "started", tmp_path / "release"
        frames = [driver.frame(job_data("aadd", 1, 2)), driver.frame(job_data(task, str(started), str(release)))]
        driver.give(frames)
        assert value_of(driver.wait(frames[0].handle)) == 3
        assert frames[1].handle not in driver.ended
        release.touch()
        driver.wait(frames[1].handle)


def test_answers_leave_while_a_job_that_seemed_short_hangs(pool, tmp_path):
    with Driver(pool, slots=1) as driver:
        make_known(driver.started(), "maybe_hold")
        release = tmp_path / "release"
        frames = [
            driver.frame(job_data("maybe_hold")),
            driver.frame(job_data("maybe_hold", str(tmp_path / "started"), str(release))),
        ]
        driver.give(frames)
        driver.wait(frames[0].handle)
        assert frames[1].handle not in driver.ended
        release.touch()
        driver.wait(frames[1].handle)


@pytest.mark.parametrize("pool", SHARED)
def test_short_jobs_that_wait_are_spread_over_the_slots(pool):
    with Driver(pool, slots=50) as driver:
        driver.started()
        send_many(driver, "short_naps", 50, 0.0)
        driver.until(lambda: not driver.given, "all answers")
        begun = time.monotonic()
        send_many(driver, "short_naps", 40, 0.1)
        driver.until(lambda: not driver.given, "all answers")
        assert time.monotonic() - begun < 2.0  # one after the other: 4 s


def test_stop_ends_the_child_after_all_answers(pool):
    with Driver(pool) as driver:
        send_many(driver.started(), "add", 300, 1, 2)
        driver.tell(Frame.STOP)
        assert driver.exit_code() == 0
        frames, running = driver.child.collect()
        for frame in frames:
            driver.take(*frame)
        assert (driver.given, running) == (set(), [])


def test_stop_lets_a_running_job_finish(pool, tmp_path):
    with Driver(pool) as driver:
        hold = Hold(driver.started(), tmp_path).running()
        driver.tell(Frame.STOP)
        hold.release()
        assert value_of(driver.wait(hold.handle)) == "held"
        assert driver.exit_code() == 0


def test_idle_child_stops_at_once(pool):
    with Driver(pool) as driver:
        driver.started().tell(Frame.STOP)
        assert driver.exit_code() == 0


def test_child_ends_after_its_bound_of_jobs_and_hands_back_the_rest(pool):
    with Driver(pool, max_jobs=25) as driver:
        handles = send_many(driver.started(), "add", 100, 1, 2)
        driver.until(lambda: not driver.given, "answers and the rest")
        assert (len(driver.ended), sorted([*driver.ended, *driver.returned])) == (25, handles)
        assert driver.exit_code() == 0


def test_job_that_is_refused_does_not_count_for_the_bound(pool):
    with Driver(pool, max_jobs=1) as driver:
        driver.started().run("no such task")
        assert driver.value("add", 1, 2) == 3
        assert driver.exit_code() == 0


def test_child_ends_after_a_job_that_left_too_much_memory(pool):
    with Driver(pool, max_memory_kib=150 * 1024) as driver:
        assert driver.started().value("add", 1, 2) == 3
        driver.run("grow", 200)
        assert driver.exit_code() == 0


def test_signals_to_everybody_do_not_end_a_child(pool):
    with Driver(pool) as driver:
        driver.started()
        for number in (signal.SIGTERM, signal.SIGINT):
            driver.child.process.send_signal(number)
        assert driver.value("add", 1, 2) == 3


def test_programs_of_jobs_do_not_inherit_the_deaf_ear(pool):
    with Driver(pool) as driver:
        assert driver.started().value("signalled") == -signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_forks_of_jobs_do_not_inherit_the_deaf_ear(pool, number):
    with Driver(pool) as driver:
        assert driver.started().value("forked_signal", int(number)) == -number


@pytest.mark.fault(31)
@pytest.mark.parametrize(("how", "code"), [("return", 0), ("exit", 3)])
def test_fork_that_comes_back_from_a_job_ends_without_an_answer(pool, how, code, tmp_path):
    with Driver(pool) as driver:
        found = tmp_path / "code"
        ended = driver.started().run("fork_and_return", how, str(found))
        assert value_of(ended) > 0
        assert found.read_text() == str(code)
        assert driver.value("add", 1, 2) == 3  # Driver refuses a second answer


@pytest.mark.fault(32)
def test_junk_on_the_output_and_closed_descriptors_do_not_disturb(pool):
    with Driver(pool) as driver:
        assert driver.started().value("litter") < 21
        assert driver.value("add", 1, 2) == 3
        assert driver.value("aadd", 1, 2) == 3


def test_what_a_job_prints_appears_at_once(pool):
    with Driver(pool) as driver:
        driver.started().run("say", "hello there")
        assert driver.output() == "hello there\n"


def test_log_tells_start_success_retry_and_failure_of_a_job(pool):
    with Driver(pool, log_format="json") as driver:
        driver.started().run("add", 1, 2)
        driver.run("boom")
        driver.run("boom", "KeyError")
        lines = [json.loads(line) for line in driver.log().splitlines()]
        assert [(line["level"], line["action"]) for line in lines] == [
            ("INFO", "job_started"),
            ("INFO", "job_succeeded"),
            ("INFO", "job_started"),
            ("WARNING", "job_retry"),
            ("INFO", "job_started"),
            ("ERROR", "job_failed"),
        ]
        assert lines[3]["message"].endswith("failed at attempt 1 and is tried again in 4.0 s: ValueError: the reason")


def test_flood_of_jobs_is_counted_in_the_log_not_listed(pool):
    with Driver(pool) as driver:
        send_many(driver.started(), "noop", MANY)
        driver.until(lambda: not driver.given, "all answers")
        driver.tell(Frame.STOP)
        driver.exit_code()
        assert "more jobs succeeded in the last second" in driver.log()
        assert driver.log().count("\n") < 500


def test_routine_lines_can_be_switched_off(pool):
    with Driver(pool, job_logs=False) as driver:
        driver.started().run("add", 1, 2)
        driver.run("boom", "KeyError")
        assert [line.split()[2] for line in driver.log().splitlines()] == ["ERROR"]
