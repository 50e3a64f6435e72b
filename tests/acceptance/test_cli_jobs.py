"""``taskq enqueue``, ``result`` and ``status`` against a real worker."""

from __future__ import annotations

import subprocess

import pytest
from cli_kit import Cli, interrupt
from worker_kit import Bench, wait_until


@pytest.fixture
def taskq(rig: Bench) -> Cli:
    """The command line with the app of the rig, and no worker yet."""
    return Cli({**rig.environment(), "TASKQ_APP": "apps.acceptance:app"}, rig.folder)


def test_enqueue_wait_prints_the_result_in_every_pool(rig: Bench, taskq: Cli, pool: str) -> None:
    rig.start(pool)
    done = taskq("enqueue", "add", "20", "22", "--wait", "--timeout", "30")
    assert (done.code, done.out, done.err) == (0, "42\n", "")


def test_enqueue_prints_the_id_under_which_result_finds_the_value(rig: Bench, taskq: Cli) -> None:
    job_id = taskq("enqueue", "add", "1", "2").out.strip()
    rig.start("thread")
    done = taskq("result", job_id, "--wait", "--timeout", "30")
    assert (done.code, done.out) == (0, "succeeded\n3\n")


def test_a_job_is_found_by_the_unique_part_of_its_id(taskq: Cli) -> None:
    taskq("enqueue", "add", "1", "2", "--id", "mine")
    assert taskq("result", "mine").out == "ready\n"


def test_negative_numbers_are_arguments(rig: Bench, taskq: Cli) -> None:
    rig.start("thread")
    assert taskq("enqueue", "add", "-1", "-2", "--wait", "--timeout", "30").out == "-3\n"


def test_what_follows_two_dashes_is_an_argument(rig: Bench, taskq: Cli) -> None:
    rig.start("thread")
    failed = taskq("enqueue", "boom", "--wait", "--timeout", "30", "--", "--json")
    assert failed.err.endswith("RuntimeError: --json\n")


def test_keyword_arguments_reach_the_task(rig: Bench, taskq: Cli) -> None:
    rig.start("thread")
    assert taskq("enqueue", "add", "--kwarg", "x=5", "--kwarg", "y=6", "--wait", "--timeout", "30").out == "11\n"


def test_a_failed_job_is_one_line_on_standard_error_and_exit_1(rig: Bench, taskq: Cli) -> None:
    rig.start("thread")
    failed = taskq("enqueue", "boom", "no\x1b[31m way", "--wait", "--timeout", "30")
    assert (failed.code, failed.out, failed.err.count("\n")) == (1, "", 1)
    assert failed.err.endswith("failed: RuntimeError: no\N{REPLACEMENT CHARACTER}[31m way\n")


def test_a_failed_job_shows_its_traceback_when_asked(rig: Bench, taskq: Cli) -> None:
    rig.start("thread")
    failed = taskq("enqueue", "boom", "no", "--wait", "--traceback", "--timeout", "30")
    assert "raise RuntimeError(text)" in failed.err


def test_json_tells_all_of_a_job_that_succeeded(rig: Bench, taskq: Cli) -> None:
    rig.start("thread")
    said = taskq("enqueue", "add", "1", "2", "--id", "one", "--wait", "--json", "--timeout", "30").json()
    expected = {"id": "default/one", "task": "apps.acceptance.add", "state": "succeeded", "result": 3, "attempt": 1}
    assert expected.items() <= said.items()


def test_json_tells_all_of_a_job_that_failed(rig: Bench, taskq: Cli) -> None:
    rig.start("thread")
    failed = taskq("enqueue", "boom", "no", "--wait", "--json", "--timeout", "30")
    error = failed.json()["error"]
    assert (failed.code, failed.err, error["type"], error["message"]) == (1, "", "RuntimeError", "no")


def test_a_job_that_does_not_end_in_time_is_told_with_its_id(taskq: Cli) -> None:
    late = taskq("enqueue", "add", "1", "2", "--id", "late", "--wait", "--timeout", "0.2")
    assert (late.code, late.out) == (1, "")
    assert late.err.startswith("taskq: job default/late has not ended in time")


def test_a_job_that_does_not_end_in_time_has_its_state_in_json(taskq: Cli) -> None:
    late = taskq("result", taskq("enqueue", "add", "1", "2").out.strip(), "--wait", "--timeout", "0.2", "--json")
    assert (late.code, late.json()["state"]) == (1, "ready")


def test_a_delayed_job_waits(taskq: Cli) -> None:
    job_id = taskq("enqueue", "add", "1", "2", "--delay", "600").out.strip()
    assert taskq("result", job_id, "--json").json() == {"id": job_id, "state": "delayed"}


def test_priority_decides_who_leaves_first(rig: Bench, taskq: Cli) -> None:
    for number in ("5", "-1.5", "0"):
        taskq("enqueue", "rank", number.partition(".")[0], "--priority", number)
    rig.start("process", "-c", "1", "-Q", "ranked")
    wait_until(lambda: len(rig.noted("start")) == 3, "three jobs ran")
    assert rig.noted("start") == ["-1", "0", "5"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("enqueue ad 1 2", "did you mean apps.acceptance.add?"),
        ("enqueue add 1", "apps.acceptance.add"),
        ("enqueue add 1 x", "expects int, got 'x'"),
        ("enqueue add 1 2 --priority 3", "priority"),
        ("enqueue add 1 2 --delay -1", "-1"),
        ("enqueue add 1 2 --delay nan", "nan"),
        ("enqueue add 1 2 --expires 0", "expires 0"),
        ("enqueue add 1 2 --queue a{b}", "queue name 'a{b}'"),
        ("enqueue add 1 2 --id a*", "job id 'a*'"),
        ("result a*", "a*"),
    ],
)
def test_a_call_that_cannot_become_a_job_is_refused(taskq: Cli, line: str, words: str) -> None:
    refused = taskq(*line.split())
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert words in refused.err


@pytest.mark.parametrize("job_id", ["default/nothing", "nothing"])
def test_an_unknown_job_is_exit_1(taskq: Cli, job_id: str) -> None:
    unknown = taskq("result", job_id)
    assert (unknown.code, unknown.out, unknown.err.count("\n")) == (1, "", 1)


def test_waiting_for_an_unknown_job_ends(taskq: Cli) -> None:
    unknown = taskq("result", "default/nothing", "--wait")
    assert (unknown.code, unknown.err.count("\n")) == (1, 1)


def test_the_same_id_with_other_content_is_refused(taskq: Cli) -> None:
    taskq("enqueue", "add", "1", "2", "--id", "same")
    assert (
        taskq("enqueue", "add", "1", "2", "--id", "same").code,
        taskq("enqueue", "add", "9", "9", "--id", "same").code,
    ) == (
        0,
        2,
    )


def test_ctrl_c_while_waiting_is_silent(taskq: Cli) -> None:
    waiting = taskq.popen(
        "enqueue", "add", "1", "2", "--id", "x", "--wait", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_until(lambda: taskq("result", "default/x").code == 0, "the job is there")
    assert interrupt(waiting) == (130, "", "")


def test_status_shows_workers_and_queues(rig: Bench, taskq: Cli) -> None:
    taskq("enqueue", "rank", "1", "--priority", "1")
    rig.start("thread", "-Q", "default", "--name", "mill")
    said = wait_until(lambda: (found := taskq("status", "--json").json())["workers"] and found, "a worker")
    worker, queues = said["workers"][0], {one["name"]: one for one in said["queues"]}
    assert (worker["pool"], worker["slots"], worker["queues"]) == ("thread", 10, ["default"])
    assert worker["name"].startswith("mill.")
    assert worker["age"] < 30
    assert (queues["ranked"]["discipline"], queues["ranked"]["ready"]) == ("priority", 1)


def test_status_in_a_pipe_is_plain_columns(taskq: Cli) -> None:
    taskq("enqueue", "rank", "1", "--priority", "1")
    rows = [line.split() for line in taskq("status").out.splitlines()]
    assert rows[2][:3] == ["NAME", "ORDER", "READY"]
    assert rows[3][:3] == ["ranked", "priority", "1"]


def test_status_on_a_terminal_is_a_table(taskq: Cli) -> None:
    assert "Queues" in taskq.on_terminal("status").out


def test_no_color_is_honoured(taskq: Cli) -> None:
    waiting = ("enqueue", "add", "1", "2", "--wait", "--timeout", "1")
    shown = taskq.on_terminal(*waiting).out, taskq.on_terminal(*waiting, NO_COLOR="1").out
    assert ["\x1b[32m" in text for text in shown] == [True, False]


def test_enqueue_wait_on_a_terminal_shows_that_it_waits(taskq: Cli) -> None:
    shown = taskq.on_terminal("enqueue", "add", "1", "2", "--id", "t", "--wait", "--timeout", "1")
    assert "waiting for job default/t" in shown.out


def test_a_worker_runs_the_queues_of_the_command_line_only(rig: Bench, taskq: Cli) -> None:
    rig.start("thread", "-Q", "urgent")
    job_id = taskq("enqueue", "add", "1", "2").out.strip()
    taskq("enqueue", "hurry", "7")
    wait_until(lambda: rig.noted("start") == ["7"], "the urgent job ran")
    assert taskq("result", job_id).out == "ready\n"


def test_drain_ends_the_worker_when_nothing_is_left(rig: Bench, taskq: Cli) -> None:
    job_id = taskq("enqueue", "add", "1", "2").out.strip()
    assert rig.start("thread", "--drain", ready=False).wait() == 0
    assert taskq("result", job_id).out == "succeeded\n3\n"
