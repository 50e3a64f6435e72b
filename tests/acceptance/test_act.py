"""Commands that change something: cancel, revoke, retry, move, purge, pause, resume, dead."""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import CancelledError

import pytest
from cli_kit import Cli, interrupt
from worker_kit import Bench, wait_until

from taskq.client.result import AsyncResult


@pytest.fixture
def taskq(rig: Bench) -> Cli:
    """The command line with the app of the rig, and no worker yet."""
    return Cli({**rig.environment(), "TASKQ_APP": "apps.acceptance:app"}, rig.folder)


def make_dead(rig: Bench, count: int = 1) -> list[AsyncResult[None]]:
    """Have jobs fail for good; no worker is left."""
    worker = rig.start("thread")
    found = [rig.app.boom.delay(f"no {number}") for number in range(count)]
    for job in found:
        job.exception(30)
    worker.stop()
    return found


def test_cancelled_jobs_do_not_run_and_their_waiters_are_told(rig: Bench, taskq: Cli) -> None:
    first, second = rig.app.mark.delay(1), rig.app.add.delay(1, 2)
    done = taskq("cancel", first.id, second.id)
    assert (done.code, done.out) == (0, f"{first.id}: cancelled\n{second.id}: cancelled\n")
    with pytest.raises(CancelledError):
        second.result(30)


def test_a_running_job_is_not_cancelled_but_stopped_by_revoke(rig: Bench, taskq: Cli) -> None:
    rig.start("process")
    job = rig.app.nap.delay(1, 60)
    wait_until(lambda: rig.noted("start"), "it runs")
    refused = taskq("cancel", job.id)
    assert (refused.code, refused.err) == (1, f"taskq: job {job.id} is with a worker; see taskq revoke\n")
    done = taskq("revoke", job.id, "--terminate")
    assert (done.code, done.out) == (0, f"{job.id}: its worker is asked to stop it\n")
    with pytest.raises(CancelledError):
        job.result(30)


def test_what_has_ended_or_is_unknown_cannot_be_cancelled(rig: Bench, taskq: Cli) -> None:
    rig.start("thread")
    job = rig.app.add.delay(1, 2)
    job.result(30)
    done = taskq("cancel", job.id, "default/nobody")
    assert (done.code, done.out) == (1, "")
    ended, unknown = done.err.splitlines()
    assert ended == f"taskq: job {job.id} has ended: succeeded"
    assert unknown.startswith("taskq: job default/nobody is unknown")


def test_ids_come_from_standard_input(rig: Bench, taskq: Cli) -> None:
    for number in range(3):
        rig.app.mark.delay(number)
    done = taskq.shell("taskq jobs --ids --limit 2 | taskq cancel - --json | wc -l")
    assert (done.code, done.out.strip()) == (0, "2")
    assert rig.app.default.info().ready == 1


def test_dead_jobs_run_again_by_id(rig: Bench, taskq: Cli) -> None:
    (job,) = make_dead(rig)
    done = taskq("retry", job.id)
    assert (done.code, done.out) == (0, f"{job.id}: back in line\n")
    assert taskq("result", job.id).out == "ready\n", "its old result is forgotten"


def test_what_is_not_dead_is_not_retried(rig: Bench, taskq: Cli) -> None:
    job = rig.app.add.delay(1, 2)
    done = taskq("retry", job.id)
    assert (done.code, done.err) == (1, f"taskq: job {job.id} is not dead: ready\n")


def test_dead_jobs_are_listed_with_their_errors_newest_first(rig: Bench, taskq: Cli) -> None:
    jobs = make_dead(rig, 2)
    lines = taskq("dead", "list").out.splitlines()[1:]
    assert {line.split()[0] for line in lines} == {job.id for job in jobs}
    assert all("RuntimeError: no " in line for line in lines)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--all"], 3),
        (["--task", "boom"], 3),
        (["--task", "add"], 0),
        (["--older", "1h"], 0),
        (["--older", "0"], 3),
        (["--queue", "default"], 3),
    ],
)
def test_dead_jobs_are_chosen_by_task_queue_or_age(rig: Bench, taskq: Cli, options: list[str], count: int) -> None:
    make_dead(rig, 3)
    assert taskq("dead", "retry", *options, "--dry-run", "--json").json() == {"would_retry": count}
    assert taskq("dead", "retry", *options, "--yes", "--json").json() == {"retried": count}
    assert rig.app.default.info().ready == count


def test_nothing_is_dropped_unless_somebody_agrees(rig: Bench, taskq: Cli) -> None:
    make_dead(rig, 2)
    refused = taskq("dead", "drop", "--all")
    assert (refused.code, refused.err.splitlines()[-1]) == (
        2,
        "taskq: drop 2 dead jobs? say --yes, or --dry-run to see what would be done",
    )
    assert rig.app.default.info().dead == 2
    assert taskq("dead", "drop", "--all", "--yes").out == "2 dead jobs dropped\n"
    assert rig.app.default.info().dead == 0


def test_what_to_retry_must_be_said_in_one_way(rig: Bench, taskq: Cli) -> None:
    for options in ((), ("default/x", "--all"), ("--task", "boom", "--all")):
        done = taskq("dead", "retry", *options)
        assert (done.code, "name jobs by ID, or some by --queue" in done.err) == (2, True)


def test_a_person_on_a_terminal_is_asked_with_the_number(rig: Bench, taskq: Cli) -> None:
    make_dead(rig, 2)
    done = taskq.on_terminal("dead", "drop", "--all", answer="n\n")
    assert "drop 2 dead jobs? [y/N]" in done.out
    assert (done.code, rig.app.default.info().dead) == (1, 2)


def test_a_moved_job_runs_in_the_other_queue_and_its_waiter_is_told(rig: Bench, taskq: Cli) -> None:
    rig.app.add.apply_async((0, 0), queue="urgent")  # it is known then
    job = rig.app.add.delay(20, 22)
    said = taskq("move", job.id, "--to", "urgent", "--json").json()
    assert (said["id"], said["problem"]) == (job.id, None)
    with pytest.raises(CancelledError, match=f"moved, it is job {said['now']} now"):
        job.result(30)
    rig.start("thread", "-Q", "urgent")
    assert rig.app.app.AsyncResult(said["now"]).result(30) == 42


def test_a_running_job_stays_where_it_is(rig: Bench, taskq: Cli) -> None:
    rig.app.add.apply_async((0, 0), queue="urgent")
    rig.start("thread", "-Q", "default")
    job = rig.app.nap.delay(1, 60)
    wait_until(lambda: rig.noted("start"), "it runs")
    done = taskq("move", job.id, "--to", "urgent")
    assert (done.code, done.err) == (1, f"taskq: job {job.id} is with a worker\n")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("ugrent", "did you mean 'urgent'?"),
        ("no such", "cannot be used"),
        ("default", "is in queue 'default' already"),
        ("letters", "holds items"),
    ],
)
def test_a_job_moves_only_to_another_queue_of_jobs(rig: Bench, taskq: Cli, target: str, reason: str) -> None:
    rig.app.add.apply_async((0, 0), queue="urgent")
    rig.app.app.Queue("letters").put("a")
    job = rig.app.add.delay(1, 2)
    done = taskq("move", job.id, "--to", target)
    assert (done.code, done.err.count("\n"), reason in done.err) == (2, 1, True)
    assert job.state == "ready"


def test_a_purge_cancels_what_waits_after_somebody_agreed(rig: Bench, taskq: Cli) -> None:
    jobs = [rig.app.add.delay(1, number) for number in range(250)]
    assert taskq("purge", "default", "--dry-run").out == "default: 250 would be purged\n"
    assert taskq("purge", "default").code == 2
    assert taskq("purge", "default", "--yes").out == "default: 250 purged\n"
    with pytest.raises(CancelledError):
        jobs[-1].result(30)


def test_a_purge_drops_the_items_of_a_data_queue(rig: Bench, taskq: Cli) -> None:
    queue = rig.app.app.Queue("letters")
    queue.put_many("abc")
    assert taskq("purge", "letters", "--yes").out == "letters: 3 purged\n"
    assert queue.empty()


def test_a_paused_queue_keeps_its_jobs_until_it_is_resumed(rig: Bench, taskq: Cli) -> None:
    rig.app.add.delay(0, 0)
    assert taskq("pause", "default").out == "default: paused; taskq resume lets it go on\n"
    rig.start("thread")
    rig.app.add.apply_async((0, 0), queue="urgent").result(30)
    assert rig.app.default.info().ready == 1
    assert taskq("resume", "default").out == "default: open\n"
    wait_until(lambda: rig.app.default.info().ready == 0, "it goes on")


@pytest.mark.parametrize("command", ["pause", "resume", "purge"])
def test_an_unknown_queue_is_named_with_the_nearest(rig: Bench, taskq: Cli, command: str) -> None:
    rig.app.add.delay(0, 0)
    done = taskq(command, "defualt")
    assert (done.code, done.err) == (
        2,
        f"taskq: queue 'defualt' is unknown in namespace {rig.namespace!r}, did you mean 'default'?\n",
    )


def test_a_dry_run_by_id_counts_only_what_is_dead(rig: Bench, taskq: Cli) -> None:
    (job,) = make_dead(rig)
    done = taskq("dead", "drop", job.id, "default/nobody", "--dry-run")
    assert (done.code, done.out) == (1, "1 dead job would be dropped\n")


def test_an_unknown_id_does_not_keep_the_others_from_being_retried(rig: Bench, taskq: Cli) -> None:
    (job,) = make_dead(rig)
    done = taskq("retry", "nobody", job.id)
    assert (done.code, done.out, done.err) == (
        1,
        f"{job.id}: back in line\n",
        "taskq: job nobody is not dead: unknown\n",
    )


def test_a_question_that_is_left_is_no_error(rig: Bench, taskq: Cli) -> None:
    make_dead(rig)
    done = taskq.on_terminal("dead", "drop", "--all", answer="\x04")
    assert (done.code, "Abort" in done.out, rig.app.default.info().dead) == (130, False, 1)


@pytest.mark.leaves
def test_an_interrupted_purge_says_how_much_is_done(rig: Bench, taskq: Cli) -> None:
    rig.app.mark.delay_many(range(60_000))
    process = taskq.popen("purge", "default", "--yes", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: rig.app.default.info().ready < 60_000, "it has begun")
    code, out, err = interrupt(process)
    assert (code, out) == (130, "")
    assert re.fullmatch(r"taskq: interrupted: [\d,]+ purged before\n", err)


def test_numbers_that_json_does_not_know_are_null(rig: Bench, taskq: Cli) -> None:
    job = rig.app.add.apply_async((1, 2), headers={"x": float("nan"), "y": [float("inf"), 1]})
    assert taskq("job", job.id, "--json").json()["headers"] == {"x": None, "y": [None, 1]}
