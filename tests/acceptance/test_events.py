"""``taskq events`` as a person and a script use it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cli_kit import Cli, interrupt
from worker_kit import Bench

FOLLOWING = "taskq: following 4 queues; Ctrl-C ends\n"  # those that the app of the rig declares
PATIENCE = 60.0  # seconds; a loaded machine starts a process in one


@pytest.fixture
def taskq(rig: Bench) -> Cli:
    """The command line with the app of the rig, and no worker yet."""
    return Cli({**rig.environment(), "TASKQ_APP": "apps.acceptance:app"}, rig.folder)


@pytest.fixture
def start(taskq: Cli) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start ``taskq events``; it follows when this returns."""
    with contextlib.ExitStack() as stack:

        def begin(*options: str, said: str = FOLLOWING) -> subprocess.Popen[str]:
            process = taskq.popen("events", *options, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            stack.callback(process.communicate)
            stack.callback(process.kill)
            assert process.stderr is not None
            assert process.stderr.readline() == said
            return process

        yield begin


def finish(process: subprocess.Popen[str]) -> tuple[int, list[str], str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out.splitlines(), err


def facts(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    code, lines, err = finish(process)
    assert (code, err) == (0, "")
    return [json.loads(line) for line in lines]


def test_a_line_has_time_kind_job_task_and_worker(rig: Bench, start: Any) -> None:
    following = start("--limit", "3", "--kind", "enqueued", "--kind", "started", "--kind", "succeeded")
    rig.start("thread")
    job = rig.app.add.delay(1, 2)
    code, lines, err = finish(following)
    assert (code, err) == (0, "")
    assert [line.split()[1:4] for line in lines] == [
        [kind, job.id, "apps.acceptance.add"] for kind in ("enqueued", "started", "succeeded")
    ]
    assert all(len(line.split()[0]) == len("12:00:01.234") for line in lines)
    assert [len(line.split()) for line in lines] == [5, 5, 5]


def test_json_is_one_object_a_line(rig: Bench, start: Any) -> None:
    following = start("--json", "--limit", "2", "--kind", "failed", "--kind", "dead")
    rig.start("thread")
    job = rig.app.boom.delay("no\nway")
    failed, dead = facts(following)
    assert failed.pop("at") > 0
    assert failed.pop("worker")
    assert failed == {
        "kind": "failed", "queue": "default", "id": job.id, "task": "apps.acceptance.boom", "attempt": 1, "delivery": 1,
        "error_type": "RuntimeError", "error_message": "no\nway",
    }  # fmt: skip
    assert (dead["kind"], dead["id"]) == ("dead", job.id)


def test_a_worker_comes_and_goes(rig: Bench, start: Any) -> None:
    following = start("--json", "--limit", "2", "--kind", "worker-up", "--kind", "worker-down")
    rig.start("thread", "-Q", "urgent").stop()
    up, down = facts(following)
    assert (up["pool"], up["queues"], down["worker"], down["vanished"]) == ("thread", ["urgent"], up["worker"], False)


def test_a_line_cannot_steer_the_terminal(rig: Bench, start: Any) -> None:
    following = start("--limit", "1", "--kind", "failed")
    rig.start("thread")
    rig.app.boom.delay("no\n\x1b[31mway")
    line = finish(following)[1]
    assert [each.partition("RuntimeError: ")[2] for each in line] == ["no \N{REPLACEMENT CHARACTER}[31mway"]


@pytest.mark.parametrize("pattern", ["add", "apps.acceptance.add", "*.add"])
def test_a_task_is_chosen_by_its_name_its_ending_or_a_pattern(rig: Bench, start: Any, pattern: str) -> None:
    following = start("--limit", "1", "--task", pattern)
    rig.app.aadd.delay(1, 2)
    job = rig.app.add.delay(1, 2)
    assert [line.split()[2] for line in finish(following)[1]] == [job.id]


def test_a_queue_is_chosen_by_its_name(rig: Bench, start: Any) -> None:
    following = start("--limit", "1", "--queue", "urgent", said="taskq: following 1 queue; Ctrl-C ends\n")
    rig.app.add.delay(1, 2)
    job = rig.app.hurry.delay(1)
    assert [line.split()[2] for line in finish(following)[1]] == [job.id]


def test_it_ends_after_its_time(taskq: Cli) -> None:
    done = taskq("events", "--for", "0.1")
    assert (done.code, done.out, done.err) == (0, "", FOLLOWING)


def test_ctrl_c_ends_it(start: Any) -> None:
    assert interrupt(start()) == (130, "", "")


def test_it_ends_where_nobody_reads_any_more(rig: Bench, start: Any) -> None:
    following = start()
    following.stdout.close()
    rig.app.add.delay(1, 2)
    assert following.wait(PATIENCE) == 141
    assert following.stderr.read() == ""


def test_an_event_is_printed_before_the_next_one_comes(rig: Bench, start: Any) -> None:
    following = start()
    job = rig.app.add.delay(1, 2)
    assert following.stdout.readline().split()[2] == job.id
    following.send_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("events --kind starte", "kind 'starte' of events is unknown; did you mean 'started'? there are enqueued,"),
        ("events --task ad", "did you mean apps.acceptance.add?"),
        ("events --queue a{b}", "queue name 'a{b}'"),
        ("events --limit 0", "--limit 0 must be a whole number from 1"),
        ("events --limit x", "--limit 'x' must be a whole number from 1"),
        ("events --for nan", "--for 'nan' must be a number of seconds"),
        ("events --for -1", "--for -1 must be a number of seconds"),
    ],
)
def test_what_cannot_be_followed_is_refused(taskq: Cli, line: str, words: str) -> None:
    refused = taskq(*line.split())
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert words in refused.err


def test_a_server_that_is_not_there_is_one_line(taskq: Cli) -> None:
    gone = taskq("events", TASKQ_URL=f"unix://{taskq.folder}/none")
    assert (gone.code, gone.out, gone.err.count("\n")) == (4, "", 1)


def test_without_an_app_it_follows_the_settings(rig: Bench, taskq: Cli, start: Any) -> None:
    rig.app.add.delay(1, 2)
    done = taskq("events", "--for", "0", "--task", "anything", TASKQ_APP="")
    assert (done.code, done.err) == (0, "taskq: following 1 queue; Ctrl-C ends\n")
