"""Commands that look: queues, workers, jobs, job, tasks, config, against real workers."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from typing import Any

import pytest
from cli_kit import Cli, Run
from worker_kit import Bench, wait_until

from taskq import TaskQ


@pytest.fixture
def taskq(rig: Bench) -> Cli:
    """The command line with the app of the rig, and no worker yet."""
    return Cli({**rig.environment(), "TASKQ_APP": "apps.acceptance:app"}, rig.folder)


def rows(done: Run) -> list[list[str]]:
    assert (done.code, done.err) == (0, "")
    return [line.split() for line in done.out.splitlines()]


def objects(done: Run) -> list[dict[str, Any]]:
    assert (done.code, done.err) == (0, "")
    return [json.loads(line) for line in done.out.splitlines()]


def ids(done: Run) -> list[str]:
    assert (done.code, done.err) == (0, "")
    return done.out.split()


def test_queues_are_listed_with_their_jobs_by_state(rig: Bench, taskq: Cli) -> None:
    rig.app.add.delay(1, 2)
    rig.app.add.apply_async((1, 2), countdown=100)
    rig.app.add.apply_async((1, 2), queue="ranked")
    head, default, ranked = rows(taskq("queues"))
    assert head[:6] == ["NAME", "ORDER", "READY", "DELAYED", "RUNNING", "SUSPECT"]
    assert default[:5] == ["default", "fifo", "1", "1", "0"]
    assert ranked[:3] == ["ranked", "priority", "1"]


def test_a_data_queue_is_listed_with_its_items(rig: Bench, taskq: Cli) -> None:
    rig.app.app.Queue("letters", 9).put_many("abc")
    (found,) = objects(taskq("queues", "--json"))
    assert (found["content"], found["ready"], found["maxsize"]) == ("items", 3, 9)


def test_the_rates_of_a_queue_tell_what_came_and_went(rig: Bench, taskq: Cli) -> None:
    rig.start("thread")
    for _ in range(20):
        rig.app.add.delay(1, 2)

    def rates() -> bool:
        (found,) = (one for one in objects(taskq("queues", "--json")) if one["name"] == "default")
        return bool(found["rate_in"] and found["rate_out"])

    wait_until(rates, "rates of the queue")


def test_workers_are_listed_with_pool_and_slots(rig: Bench, taskq: Cli, pool: str) -> None:
    worker = rig.start(pool, "--name", "mine")
    (found,) = objects(taskq("workers", "--json"))
    assert (found["pool"], found["state"], found["pid"]) == (pool, "running", worker.pid)
    assert found["name"].startswith("mine.")


def test_a_worker_that_was_killed_is_told_to_have_vanished(rig: Bench, taskq: Cli) -> None:
    worker = rig.start("thread")
    worker.signal(signal.SIGKILL)
    worker.wait()
    wait_until(lambda: "1 more vanished" in taskq("workers").out, "its card is gone")


def test_jobs_are_listed_where_they_are(rig: Bench, taskq: Cli) -> None:
    ready = rig.app.add.delay(1, 2)
    delayed = rig.app.add.apply_async((1, 2), countdown=100)
    found = {one["id"]: one for one in objects(taskq("jobs", "--json"))}
    assert {key: one["state"] for key, one in found.items()} == {ready.id: "ready", delayed.id: "delayed"}
    assert found[delayed.id]["due"] - found[delayed.id]["enqueued"] == pytest.approx(100, abs=1)
    assert found[ready.id]["task"] == "apps.acceptance.add"


def test_running_jobs_are_listed_with_who_runs_them(rig: Bench, taskq: Cli, pool: str) -> None:
    rig.start(pool)
    job = (rig.app.anap if pool == "asyncio" else rig.app.nap).delay(1, 30)
    wait_until(lambda: rig.noted("start"), "it runs")

    def told() -> dict[str, Any] | None:
        (found,) = objects(taskq("jobs", "--state", "running", "--json"))
        return found if found["since"] else None

    found = wait_until(told, "the worker's next sign of life")
    assert (found["id"], found["state"]) == (job.id, "running")
    assert found["worker"] == objects(taskq("workers", "--json"))[0]["id"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--queue", "ranked"], ["b"]),
        (["--task", "mark"], ["c"]),
        (["--task", "apps.acceptance.mark"], ["c"]),
        (["--state", "delayed"], ["d"]),
        (["--state", "delayed,ready", "--queue", "default"], ["d", "a", "c"]),
        (["--limit", "1"], ["a"]),
        (["--limit", "1", "--newest"], ["c"]),
        (["--since", "1h"], ["a", "c", "b", "d"]),
        (["--since", "2999-01-01"], []),
    ],
)
def test_a_list_of_jobs_is_narrowed(rig: Bench, taskq: Cli, options: list[str], expected: list[str]) -> None:
    rig.app.add.apply_async((1, 2), job_id="a")
    rig.app.add.apply_async((1, 2), job_id="b", queue="ranked")
    rig.app.mark.apply_async((1,), job_id="c")
    rig.app.add.apply_async((1, 2), job_id="d", countdown=100)
    assert [one.partition("/")[2] for one in ids(taskq("jobs", "--ids", *options))] == expected


MISTYPED = [
    ["jobs", "--task", "bom"],
    ["jobs", "--state", "dead", "--task", "bom", "--ids"],
    ["dead", "list", "--task", "bom", "--json"],
    ["dead", "retry", "--task", "bom"],
    ["dead", "drop", "--task", "apps.acceptance.bom", "--dry-run"],
]


@pytest.mark.parametrize("app", ["apps.acceptance:app", ""])
def test_a_mistyped_task_is_told_with_the_nearest(rig: Bench, taskq: Cli, app: str) -> None:
    rig.start("thread")
    rig.app.boom.delay("no").exception(30)
    rig.app.boom.apply_async(("no",), countdown=100)
    for command in MISTYPED:
        done = taskq(*command, TASKQ_APP=app)
        name = command[command.index("--task") + 1]
        said = f"taskq: there is no job of task '{name}', did you mean 'apps.acceptance.boom'?\n"
        assert (done.code, done.err) == (0, said), command


def test_a_task_that_is_known_and_has_no_job_is_an_empty_list(taskq: Cli) -> None:
    for command in (["jobs", "--task", "boom"], ["dead", "list", "--task", "apps.acceptance.boom"]):
        assert len(rows(taskq(*command))) == 1  # the heads


def test_a_task_of_which_nobody_knows_is_told_without_another(taskq: Cli) -> None:
    done = taskq("jobs", "--task", "bom", TASKQ_APP="")
    assert (done.code, done.err) == (0, "taskq: there is no job of task 'bom'\n")


def test_more_jobs_than_asked_for_are_told_of(rig: Bench, taskq: Cli) -> None:
    for _ in range(3):
        rig.app.add.delay(1, 2)
    done = taskq("jobs", "--limit", "2")
    assert (done.out.count("\n"), "there are more than 2" in done.err) == (3, True)


def test_ended_jobs_are_listed_newest_first(rig: Bench, taskq: Cli) -> None:
    rig.start("thread", "-c", "1")
    expected = [rig.app.add.delay(1, number) for number in range(3)]
    for job in expected:
        job.result(30)
    failed = rig.app.boom.delay("no")
    failed.exception(30)
    assert ids(taskq("jobs", "--state", "succeeded", "--ids")) == [job.id for job in reversed(expected)]
    (found,) = objects(taskq("jobs", "--state", "failed", "--json"))
    assert found["error"] == {"type": "RuntimeError", "message": "no"}


def test_a_job_is_shown_with_its_call_and_times(rig: Bench, taskq: Cli) -> None:
    job = rig.app.add.apply_async((20,), {"y": 22}, link=rig.app.mark.si(7), headers={"who": "me"}, job_id="one")
    waiting = taskq("job", job.id).out
    for text in ("state        ready", "call         apps.acceptance.add(20, y=22)", "followed by", '{"who": "me"}'):
        assert text in waiting
    worker = rig.start("thread")
    job.result(30)
    found = taskq("job", "one", "--json").json()
    assert (found["state"], found["result"], found["attempt"]) == ("succeeded", "42", 1)
    assert found["enqueued"] <= found["claimed"] <= found["started"] <= found["finished"]
    assert str(worker.pid) in found["worker"]


def test_a_dead_job_is_shown_with_the_errors_of_its_attempts(rig: Bench, taskq: Cli) -> None:
    rig.start("thread")
    job = rig.app.fail_until.delay(1, 99)
    job.exception(30)
    found = taskq("job", job.id, "--json").json()
    assert (found["state"], found["attempt"]) == ("dead", 4)
    assert [one["message"] for one in found["errors"]] == ["try 2", "try 3", "try 4"]
    assert 'raise ValueError(f"try {starts}")' in taskq("job", job.id).out


def test_a_job_is_shown_also_without_the_app(rig: Bench, taskq: Cli) -> None:
    job = rig.app.add.delay(1, 2)
    found = taskq("job", job.id, "--json", TASKQ_APP="").json()
    assert (found["state"], found["call"]) == ("ready", "apps.acceptance.add(1, 2)")


def test_arguments_that_cannot_be_read_are_told(rig: Bench, taskq: Cli) -> None:
    pickled = TaskQ("pickled", rig.url, rig.namespace, allow_pickle=True)

    @pickled.task(name="far", serializer="pickle")
    def far(value: object) -> None: ...

    job = far.delay(1)
    pickled.close()
    found = taskq("job", job.id, "--json").json()
    assert found["call"] == ""
    assert "its arguments cannot be read here" in found["problem"]
    assert "allow_pickle" in found["problem"]


def test_control_characters_of_a_job_are_not_printed(rig: Bench, taskq: Cli) -> None:
    rig.start("thread")
    job = rig.app.boom.delay("\x1b[31mred")
    job.exception(30)
    for command in (("job", job.id), ("jobs", "--state", "dead"), ("dead", "list")):
        assert "\x1b" not in taskq(*command).out


def test_a_list_on_a_narrow_terminal_leaves_out_columns_without_news(rig: Bench, taskq: Cli) -> None:
    rig.app.add.delay(1, 2)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", taskq.on_terminal("queues", COLUMNS="60").out)
    assert "ready" in shown
    assert "suspect" not in shown
    assert max(len(line) for line in shown.splitlines()) <= 60


@pytest.mark.parametrize("width", [60, 80, 100])
def test_tables_can_be_read_on_a_narrow_terminal(rig: Bench, taskq: Cli, width: int) -> None:
    queues = ",".join(["default", *(f"a-queue-of-many-{number}" for number in range(6))])
    rig.start("thread", "--name", "a-machine-with-a-name.example", "-Q", queues)
    failed = rig.app.boom.delay("a reason that is told at some length, with a :bug: in it")
    failed.exception(30)
    looks = ("workers", "status", "jobs --state dead", "dead list")
    for shown in (lines_on_terminal(taskq, look, width) for look in looks):
        assert max(len(line) for line in shown) <= width
    for look in looks[:2]:
        shown = lines_on_terminal(taskq, look, width)
        assert shown[3].startswith("a-machine-with")  # after title, heads and rule: one line a worker
        assert {"name", "state", "busy", "queues", "beat"} <= set(shown[1].split())
        assert "running" in shown[3].split()
    for look in looks[2:]:
        _, heads, _, row, *rest = lines_on_terminal(taskq, look, width)
        assert (heads.split()[0], row.split()[0], "".join(rest)) == ("id", failed.id, "")
        assert {"task", "state", "error"} <= set(heads.split())


def lines_on_terminal(taskq: Cli, look: str, width: int) -> list[str]:
    shown = re.sub(r"\x1b\[[0-9;]*m", "", taskq.on_terminal(*look.split(), COLUMNS=str(width)).out)
    return [line.rstrip() for line in shown.splitlines()]


def test_tasks_are_listed_with_signature_and_options(taskq: Cli) -> None:
    found = {one["name"]: one for one in objects(taskq("tasks", "--json", TASKQ_URL="redis://127.0.0.1:1"))}
    assert found["apps.acceptance.add"]["call"] == "apps.acceptance.add(x: int, y: int) -> int"
    assert found["apps.acceptance.mark"]["options"] == {"ignore_result": True}
    assert found["apps.acceptance.fail_until"]["options"] == {"max_retries": 3, "retry_on": "ValueError"}


def test_config_shows_where_each_setting_came_from(rig: Bench, taskq: Cli) -> None:
    found = {one["name"]: one for one in objects(taskq("config", "--json", TASKQ_MAX_BODY="4096"))}
    assert (found["max_body"]["value"], found["max_body"]["source"]) == (4096, "TASKQ_MAX_BODY")
    assert found["call_deadline"] == {"name": "call_deadline", "value": 60.0, "source": "default"}


def test_config_shows_no_password(taskq: Cli) -> None:
    done = taskq("config", TASKQ_URL="redis://somebody:canary@127.0.0.1:1/0")
    assert (done.code, "redis://127.0.0.1:1/0" in done.out) == (0, True)
    assert "canary" not in done.out + done.err
    assert "somebody" not in done.out + done.err


def test_status_is_shown_again_until_it_is_interrupted(rig: Bench, taskq: Cli) -> None:
    rig.app.add.delay(1, 2)
    process = taskq.popen("status", "--watch", "0.1", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    first, second = (json.loads(process.stdout.readline()) for _ in range(2))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert first["time"] < second["time"]
    assert (process.returncode, err) == (130, "")
