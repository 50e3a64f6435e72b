"""What shells are told to offer after Tab."""

from __future__ import annotations

import shutil

import pytest
from cli_kit import Cli
from worker_kit import Bench


@pytest.fixture
def taskq(rig: Bench) -> Cli:
    """The command line with the app of the rig."""
    return Cli({**rig.environment(), "TASKQ_APP": "apps.acceptance:app"}, rig.folder)


def offered(taskq: Cli, line: str, **changes: str) -> list[str]:
    """Return the words that bash is told to offer at the end of a line."""
    words = f"taskq {line}"
    done = taskq(
        _TASKQ_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(len(words.split(" ")) - 1), **changes
    )
    assert done.err == ""
    return [one.partition(",")[2] for one in done.out.split()]


def test_commands_are_offered(taskq: Cli) -> None:
    assert offered(taskq, "re") == ["report", "result", "resume", "retry", "revoke"]


def test_tasks_are_offered_by_name(taskq: Cli) -> None:
    assert offered(taskq, "enqueue apps.acceptance.ad") == ["apps.acceptance.add"]
    assert offered(taskq, "enqueue apps.acceptance.aa") == ["apps.acceptance.aadd"]


@pytest.mark.parametrize("command", ["enqueue", "jobs --task", "events --task", "dead retry --task", "report --task"])
def test_the_unique_ending_of_a_task_is_completed_to_its_name(taskq: Cli, command: str) -> None:
    assert offered(taskq, f"{command} bo") == ["apps.acceptance.boom"]


def test_an_ending_that_means_several_tasks_is_left_as_it_is(taskq: Cli) -> None:
    assert offered(taskq, "enqueue m") == []


def test_queues_are_offered(rig: Bench, taskq: Cli) -> None:
    rig.app.add.delay(1, 2)
    rig.app.add.apply_async((1, 2), queue="urgent")
    assert offered(taskq, "pause ") == ["default", "urgent"]
    assert offered(taskq, "jobs --queue u") == ["urgent"]
    assert offered(taskq, "events --queue u") == ["urgent"]
    assert offered(taskq, "worker -Q default,u") == ["default,urgent"]


def test_kinds_of_events_are_offered(taskq: Cli) -> None:
    assert offered(taskq, "events --kind worker-") == ["worker-up", "worker-down"]


def test_pools_are_offered(taskq: Cli) -> None:
    assert offered(taskq, "worker --pool g") == ["gevent"]
    assert offered(taskq, "worker -P ") == ["process", "thread", "gevent", "asyncio"]


def test_ids_of_jobs_are_offered(rig: Bench, taskq: Cli) -> None:
    rig.app.add.apply_async((1, 2), job_id="mine")
    assert offered(taskq, "cancel default/m") == ["default/mine"]


def test_dead_jobs_are_offered_to_be_retried(rig: Bench, taskq: Cli) -> None:
    rig.start("thread")
    failed, waiting = rig.app.boom.delay("no"), rig.app.add.apply_async((1, 2), countdown=100)
    failed.exception(30)
    found = offered(taskq, "retry default/")
    assert (failed.id in found, waiting.id in found) == (True, False)


def test_workers_are_offered(rig: Bench, taskq: Cli) -> None:
    rig.start("thread", "--name", "mine")
    (found,) = offered(taskq, "worker pause m")
    assert found.startswith("mine.")


def test_states_are_offered_after_a_comma(taskq: Cli) -> None:
    assert offered(taskq, "jobs --state dead,su") == ["dead,suspect", "dead,succeeded"]


def test_a_server_that_is_away_offers_nothing(taskq: Cli) -> None:
    assert offered(taskq, "pause ", TASKQ_URL="redis://127.0.0.1:1") == []


def test_an_app_that_cannot_be_imported_offers_nothing(taskq: Cli) -> None:
    assert offered(taskq, "enqueue a", TASKQ_APP="nosuch:app") == []


@pytest.mark.parametrize(("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")])
def test_a_shell_understands_what_it_is_told(taskq: Cli, shell: str, check: str) -> None:
    done = taskq("completion", shell)
    assert (done.code, "_TASKQ_COMPLETE" in done.out) == (0, True)
    if shutil.which(shell):
        (taskq.folder / "script").write_text(done.out)
        assert taskq.shell(f"{shell} {check} script").err == ""


def test_another_shell_is_refused(taskq: Cli) -> None:
    done = taskq("completion", "cmd")
    assert (done.code, done.err) == (2, "taskq: shell 'cmd' is none of bash, zsh, fish\n")
