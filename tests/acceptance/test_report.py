"""``taskq report`` against jobs that real workers ran."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_kit import Cli
from fsck_kit import what_is_wrong
from report_kit import data_of
from servers import TestServer
from worker_kit import PATIENCE, Bench, bench, wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ran(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A namespace where two workers ran six jobs, of which one failed; they have left since."""
    folder = tmp_path_factory.mktemp("report")
    with bench(server.url, f"report{os.getpid()}", folder) as rig:
        workers = [rig.start("thread", "-Q", "default"), rig.start("process", "-Q", "urgent")]
        app = rig.app
        jobs = [*app.add.delay_many(range(3), range(3)), app.nap.delay(1, 0.3), app.told.delay("x", "k")]
        for job in [*jobs, app.boom.delay("no </script> way")]:
            job.exception(PATIENCE)
        for worker in workers:
            worker.stop()
        yield rig
    assert what_is_wrong(server.url, rig.namespace) == []


@pytest.fixture
def taskq(ran: Bench, tmp_path: Path) -> Cli:
    """The command line in an empty directory."""
    return Cli({**ran.environment(), "TASKQ_APP": "apps.acceptance:app"}, tmp_path)


def test_the_page_is_written_to_run_html_and_told_in_one_line(taskq: Cli) -> None:
    done = taskq("report")
    words = done.out.rpartition(", ")[0]
    assert (done.code, words, done.err) == (0, "run.html: 6 jobs of 4 tasks, 1 failed", "")
    assert len(data_of((taskq.folder / "run.html").read_text("ascii"))["jobs"]["id"]) == 6


def test_each_worker_has_the_lanes_of_its_slots(taskq: Cli) -> None:
    taskq("report")
    data = data_of((taskq.folder / "run.html").read_text("ascii"))
    assert (len(data["workers"]), {name.split()[0] for _, name, _ in data["lanes"]}) == (2, {"child"})


def test_the_file_is_the_one_that_is_named(taskq: Cli) -> None:
    assert taskq("report", "-o", "other.html").out.startswith("other.html: 6 jobs")
    assert [path.name for path in taskq.folder.iterdir()] == ["other.html"]


def test_an_earlier_file_is_replaced(taskq: Cli) -> None:
    (taskq.folder / "run.html").write_text("before")
    taskq("report")
    assert (taskq.folder / "run.html").read_text().startswith("<!doctype html>")


def test_what_a_link_leads_to_is_replaced_and_not_the_link(taskq: Cli) -> None:
    (taskq.folder / "run.html").symlink_to("there.html")
    taskq("report")
    assert (taskq.folder / "run.html").is_symlink()
    assert (taskq.folder / "there.html").stat().st_size > 1000


def test_a_device_is_written_to_and_not_replaced(taskq: Cli) -> None:
    pipe = taskq.folder / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        done = taskq("report", "-o", "pipe")
        assert reader.communicate(timeout=PATIENCE)[0].startswith(b"<!doctype html>")
    assert (done.code, pipe.is_fifo()) == (0, True)


def test_the_page_goes_to_standard_output_with_a_dash(taskq: Cli) -> None:
    done = taskq("report", "-o", "-")
    assert (done.code, done.out.startswith("<!doctype html>"), done.out.endswith("</html>\n")) == (0, True, True)
    assert list(taskq.folder.iterdir()) == []


def test_a_trace_is_written_to_run_json(taskq: Cli) -> None:
    assert taskq("report", "--format", "trace").out.startswith("run.json: 6 jobs")
    events = json.loads((taskq.folder / "run.json").read_text("ascii"))["traceEvents"]
    assert sum(event["ph"] == "X" for event in events) == 6


def test_json_tells_the_figures_of_each_task(taskq: Cli) -> None:
    said = taskq("report", "--json").json()
    nap = next(task for task in said["tasks"] if task["task"] == "apps.acceptance.nap")
    assert (said["file"], said["jobs"], said["failed"], said["workers"]) == ("run.html", 6, 1, 2)
    assert 0.3 <= nap["run_p50"] == nap["run_max"] < 3.0


def test_json_names_the_last_job_of_each_failure(taskq: Cli) -> None:
    (failure,) = taskq("report", "--json").json()["failures"]
    assert failure["error"] == "RuntimeError"
    assert taskq("result", failure["last"]).out == "failed\n"


@pytest.mark.parametrize(
    ("options", "jobs"),
    [
        (("--task", "add"), 3),
        (("--task", "add", "--task", "apps.acceptance.nap"), 4),
        (("--queue", "urgent"), 1),
        (("--queue", "urgent", "--queue", "default"), 6),
        (("--queue", "default", "--task", "add"), 3),
        (("--since", "1h"), 6),
        (("--since", "3600", "--until", "0"), 6),
        (("--since", "2000-01-01T00:00Z"), 6),
        (("--since", "1w", "--until", "2099-01-01"), 6),
    ],
)
def test_only_jobs_that_are_asked_for_are_shown(taskq: Cli, options: tuple[str, ...], jobs: int) -> None:
    assert taskq("report", "--json", *options).json()["jobs"] == jobs


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--until", "1h"),
            "none of the 6 jobs whose results are kept is among those asked for; ask for more with --since",
        ),
        (("--task", "ad"), "--task 'ad' is none of them; did you mean apps.acceptance.add?"),
        (("--task", "zzz"), "--task 'zzz' is none of them"),
        (("--queue", "urgnt"), "there is no queue urgnt in namespace"),
        (("--queue", "urgnt"), "did you mean urgent?"),
    ],
)
def test_nothing_found_is_one_line_with_its_reason_and_no_file(
    taskq: Cli, options: tuple[str, ...], words: str
) -> None:
    done = taskq("report", *options)
    assert (done.code, done.out, done.err.count("\n"), words in done.err) == (1, "", 1, True), done.err
    assert list(taskq.folder.iterdir()) == []


def test_a_namespace_without_results_says_why_that_may_be(taskq: Cli, namespace: str) -> None:
    done = taskq("report", TASKQ_NAMESPACE=namespace)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert all(word in done.err for word in (namespace, "expired", "result_ttl", "ignore_result"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--since", "x"), "--since 'x' must be a time"),
        (("--since", "-5m"), "--since '-5m' must be a time"),
        (("--until", "2026-99-01"), "--until '2026-99-01' must be a time"),
        (("--since", "1m", "--until", "2m"), "since, 60 s ago, comes after until, 120 s ago"),
        (("--queue", "a{b}"), "queue name 'a{b}' cannot be used"),
        (("--format", "pdf"), "--format 'pdf' is unknown; choose one of html, trace"),
        (("-o", "-", "--json"), "--json prints to standard output, and so does -o -"),
        (("-o", "."), "--output '.' cannot be written: it is a directory"),
        (("-o", "none/run.html"), "--output 'none/run.html' cannot be written: there is no such directory"),
        (("-o", ""), "--output '' cannot be written"),
        (("-o", "x" * 300), "cannot be written: File name too long"),
        (("-o", "/dev/full"), "--output '/dev/full' cannot be written: No space left on device"),
    ],
)
def test_bad_input_is_one_line_that_names_it(taskq: Cli, options: tuple[str, ...], words: str) -> None:
    done = taskq("report", *options)
    assert (done.code, done.out, done.err.count("\n"), words in done.err) == (2, "", 1, True), done.err
    assert list(taskq.folder.iterdir()) == []


def test_a_server_that_is_away_is_one_line(taskq: Cli) -> None:
    done = taskq("report", TASKQ_URL="unix:///nowhere/redis.sock", TASKQ_CALL_DEADLINE="0.2")
    assert (done.code, done.out, done.err.count("\n")) == (4, "", 1)


def test_the_demo_ends_with_the_timeline_of_its_own_jobs(server: TestServer, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    for number in range(3):
        (tmp_path / "tree" / f"m{number}.py").write_text("x = 1\n")
    command = [
        sys.executable,
        "-m",
        "workers.demo",
        "--root",
        str(tmp_path / "tree"),
        "--db",
        str(tmp_path / "db.sqlite"),
    ]
    done = subprocess.run(
        [*command, "--logs", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=99, check=False,
        env={**os.environ, "TASKQ_URL": server.url, "TASKQ_NAMESPACE": namespace},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == f"the timeline of the run: {tmp_path / 'db.html'}", done.stdout + done.stderr
    data: Any = data_of((tmp_path / "db.html").read_text("ascii"))
    tasks = {name.rpartition(".")[2] for name in data["tasks"]}
    assert tasks >= {"crawl", "fetch_page", "measure_page", "store_finding", "check"}


def test_a_group_is_a_job_and_all_that_came_from_it(rig: Bench, tmp_path: Path) -> None:
    rig.start("thread")
    last = rig.app.add.si(5, 6)
    first = rig.app.add.apply_async((1, 2), link=rig.app.nap.si(3, 0.0), job_id="first")
    other = rig.app.add.apply_async((1, 2), link_error=last)
    for job in (first, other):
        job.result(PATIENCE)
    taskq = Cli({**rig.environment(), "TASKQ_APP": "apps.acceptance:app"}, tmp_path)
    wait_until(lambda: taskq("report", "--json").json()["jobs"] == 3, "the follow-up has ended")
    told = taskq("report", "--group", "first", "--json").json()
    assert {one["task"]: one["jobs"] for one in told["tasks"]} == {"apps.acceptance.add": 1, "apps.acceptance.nap": 1}


def test_a_group_that_is_no_job_is_told(taskq: Cli) -> None:
    done = taskq("report", "--group", "nobody")
    assert (done.code, done.err.count("\n"), "nobody" in done.err) == (1, 1, True)
