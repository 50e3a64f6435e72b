"""``taskq worker stop``, ``pause`` and ``resume`` against real workers: nothing is lost, and nothing runs twice."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_kit import Cli, Run
from servers import TestServer
from worker_kit import PATIENCE, Bench, Worker, bench, wait_until

from taskq.client.workers import WorkerInfo, list_workers

Make = Callable[..., TestServer]


def command_line(rig: Bench) -> Cli:
    return Cli({**rig.environment(), "TASKQ_APP": "apps.acceptance:app"}, rig.folder)


@pytest.fixture
def taskq(rig: Bench) -> Cli:
    """The command line with the app of the rig."""
    return command_line(rig)


@pytest.fixture
def slow(server: TestServer, namespace: str, tmp_path: Path) -> Iterator[Bench]:
    """A rig whose workers beat as slowly as they do by default."""
    with bench(server.url, namespace, tmp_path, heartbeat=5.0, lease=25.0) as made:
        yield made


def info(rig: Bench, label: str) -> WorkerInfo:
    """What the one worker of this name says of itself."""

    def look() -> WorkerInfo | None:
        found = [one for one in list_workers(rig.app.app.broker) if one.label == label and not one.vanished]
        return found[0] if len(found) == 1 else None

    # A card lives for some beats of a tenth of a second: a loaded machine may be late with one.
    return wait_until(look, f"worker {label} is there")


def processor_time(pid: int) -> float:
    """Seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def runners(rig: Bench, word: str, keys: set[str]) -> set[int]:
    """Process ids of the children that noted ``word`` for these keys."""
    lines = [line.split() for line in rig.notes.read_text("utf-8").splitlines()]
    return {int(pid) for noted, key, pid, _ in lines if noted == word and key in keys}


def assert_done(run: Run, said: str) -> None:
    assert (run.code, run.err) == (0, ""), run
    assert run.out.endswith(said), run


def assert_refused(run: Run, code: int, said: str) -> None:
    assert (run.code, run.out, run.err.splitlines()[-1:]) == (code, "", [f"taskq: {said}"]), run


def fill(rig: Bench, worker: Worker, seconds: float) -> None:
    """Have a worker of two slots run a job in each for so long, and give it more to do."""
    for key in (1000, 1001):
        rig.app.nap.delay(key, seconds)
    wait_until(lambda: len(rig.noted("start")) == 2, worker.lines())
    for key in range(100):
        rig.app.mark.delay(key)


MARKS = {str(key) for key in range(100)}


# --- pausing --------------------------------------------------------------------------------------------------------


def test_what_a_paused_worker_has_not_started_runs_elsewhere_and_what_it_runs_goes_on(
    rig: Bench, taskq: Cli, pool: str
) -> None:
    first = rig.start(pool, "-c", "2", "--name", "first")
    fill(rig, first, 3.0)
    children = set(first.children())  # now: a worker is ready before the last of them has started
    assert_done(taskq("worker", "pause", "first"), ": paused\n")
    rig.start("thread", "--name", "second")
    wait_until(lambda: set(rig.noted("end")) >= MARKS, "the other worker ran them")
    before = runners(rig, "end", MARKS)
    wait_until(lambda: {"1000", "1001"} <= set(rig.noted("end")), "the jobs that were running ended")
    assert (before & children, runners(rig, "end", {"1000", "1001"}) <= children) == (set(), True)
    assert set(rig.counts("start").values()) == {1}
    assert info(rig, "first").state == "paused"


def test_a_paused_worker_runs_nothing_until_it_is_resumed(rig: Bench, taskq: Cli, pool: str) -> None:
    worker = rig.start(pool, "--name", "mill")
    assert_done(taskq("worker", "pause", "mill"), ": paused\n")
    for key in range(20):
        rig.app.mark.delay(key)
    seen = info(rig, "mill")
    wait_until(lambda: rig.app.default.info().rate_in is not None, "it has beaten for a second", 10)
    assert (rig.noted("start"), rig.app.default.info().ready) == ([], 20)
    assert_done(taskq("worker", "resume", "mill"), ": running\n")
    wait_until(lambda: len(rig.noted("end")) == 20, worker.lines())
    assert (seen.state, set(rig.counts("end").values())) == ("paused", {1})


def test_a_pause_outlives_a_restart_of_the_server(start_server: Make, namespace: str, tmp_path: Path) -> None:
    server = start_server(appendonly="yes", appendfsync="always")
    with bench(server.url, namespace, tmp_path) as rig:
        taskq = command_line(rig)
        worker = rig.start("thread", "--name", "mill")
        assert_done(taskq("worker", "pause", "mill"), ": paused\n")
        server.restart()
        rig.app.mark.delay(1)
        wait_until(lambda: [one.state for one in list_workers(rig.app.app.broker)] == ["paused"], worker.lines())
        assert rig.noted("start") == []
        assert_done(taskq("worker", "resume", "mill"), ": running\n")
        wait_until(lambda: rig.noted("end") == ["1"], worker.lines())


def test_a_paused_worker_sleeps_while_jobs_wait_and_become_due(slow: Bench, server: TestServer) -> None:
    taskq = command_line(slow)
    worker = slow.start("thread", "--name", "mill")
    for key in range(10):
        slow.app.mark.apply_async((key,), countdown=2.0)
    with server.client() as client:
        wait_until(lambda: not client.exists(f"{slow.namespace}:{{default}}:wake"), "it knows when they are due")
    assert_done(taskq("worker", "pause", "mill"), ": paused\n")
    for key in range(10, 20):
        slow.app.mark.delay(key)
    wait_until(lambda: slow.app.default.info().ready == 20, "it still says which are due")
    before, began = processor_time(worker.pid), time.monotonic()
    time.sleep(1.0)  # the measure, not a wait
    assert (processor_time(worker.pid) - before) / (time.monotonic() - began) < 0.3  # a loop that spins takes all
    assert slow.noted("start") == []


def test_a_paused_worker_keeps_its_lease_and_ends_at_a_signal(rig: Bench, taskq: Cli) -> None:
    worker = rig.start("thread", "-c", "1", "--name", "mill")
    rig.app.nap.delay(1, 2.5)
    wait_until(lambda: rig.noted("start"), worker.lines())
    assert_done(taskq("worker", "pause", "mill"), ": paused\n")
    rig.start("thread", "-c", "1", "--name", "other")  # would take the job, were the lease of 0.6 s over
    wait_until(lambda: rig.noted("end"), worker.lines())
    assert rig.counts("start") == {"1": 1}
    assert worker.stop() == 0


# --- stopping -------------------------------------------------------------------------------------------------------


def test_a_stop_lets_running_jobs_finish_and_gives_the_rest_back(rig: Bench, taskq: Cli, pool: str) -> None:
    worker = rig.start(pool, "-c", "2", "--name", "mill")
    fill(rig, worker, 2.0)
    assert_done(taskq("worker", "stop", "mill", "--wait"), ": stopped\n")
    assert worker.wait() == 0, worker.lines()
    ended = rig.noted("end")
    assert "1000" in ended
    assert rig.counts("start") == rig.counts("end")
    queue = rig.app.default.info()
    assert (queue.ready, queue.running) == (100 - len(MARKS & set(ended)), 0)
    rig.start("thread")
    wait_until(lambda: set(rig.noted("end")) >= MARKS, "the rest runs elsewhere")
    assert set(rig.counts("start").values()) == {1}


def test_a_second_stop_is_no_second_signal(rig: Bench, taskq: Cli) -> None:
    worker = rig.start("process", "-c", "1", "--name", "mill")
    rig.app.nap.delay(1, 3.0)
    wait_until(lambda: rig.noted("start"), worker.lines())
    for _ in range(2):
        assert_done(taskq("worker", "stop", "mill"), ": stopping\n")
    assert (worker.wait(), rig.counts("end"), "stopping now" in worker.lines()) == (0, {"1": 1}, False)


def test_a_worker_that_is_stopping_cannot_be_resumed(rig: Bench, taskq: Cli) -> None:
    worker = rig.start("thread", "--name", "mill")
    rig.app.nap.delay(1, 3.0)
    wait_until(lambda: rig.noted("start"), worker.lines())
    worker.signal(signal.SIGTERM)
    wait_until(lambda: info(rig, "mill").state == "stopping", "a signal shows as well")
    assert_refused(
        taskq("worker", "resume", "mill"), 1, f"worker {info(rig, 'mill').id} is stopping and did not resume"
    )


def test_a_stop_that_takes_longer_than_one_waits_is_told(rig: Bench, taskq: Cli) -> None:
    rig.start("thread", "--name", "mill")
    rig.app.nap.delay(1, 4.0)
    wait_until(lambda: rig.noted("start"), "it runs")
    worker = info(rig, "mill").id
    late = taskq("worker", "stop", "mill", "--wait", "--timeout", "0.5")
    assert_refused(late, 1, f"worker {worker} is still stopping after 0.5 s, and goes on with that")


def test_waiting_for_orders_delays_no_shutdown(slow: Bench) -> None:
    worker = slow.start("thread")
    began = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - began < 2.5  # a wait for an order lasts four seconds or five


# --- which workers --------------------------------------------------------------------------------------------------


def test_all_workers_are_meant_by_all(rig: Bench, taskq: Cli) -> None:
    for name in ("mill", "saw"):
        rig.start("thread", "--name", name)
    paused = taskq("worker", "pause", "--all")
    assert_done(paused, "2 workers paused\n")
    assert sorted(line.split(".")[0] for line in paused.out.splitlines()) == [
        "2 workers paused",
        "worker mill",
        "worker saw",
    ]
    assert {info(rig, name).state for name in ("mill", "saw")} == {"paused"}


def test_of_several_workers_those_that_are_named_are_meant(rig: Bench, taskq: Cli) -> None:
    for name in ("mill", "saw", "lathe"):
        rig.start("thread", "-c", "1", "--name", name)
    assert_done(taskq("worker", "pause", "mill", info(rig, "saw").id, "mill"), "2 workers paused\n")
    assert [info(rig, name).state for name in ("mill", "saw", "lathe")] == ["paused", "paused", "running"]


def test_no_worker_at_all_is_no_error_for_all(taskq: Cli) -> None:
    assert_done(taskq("worker", "stop", "--all"), "0 workers asked to stop\n")


def test_json_is_one_object_a_worker(rig: Bench, taskq: Cli) -> None:
    for name in ("mill", "saw"):
        rig.start("thread", "--name", name)
    done = taskq("worker", "pause", "--all", "--json")
    ids = {info(rig, name).id for name in ("mill", "saw")}
    said = [json.loads(line) for line in done.out.splitlines()]
    assert (done.code, done.err, {one.pop("worker") for one in said}) == (0, "", ids)
    assert said == 2 * [{"command": "pause", "state": "paused", "done": True}]


def test_an_unknown_worker_is_told_with_the_nearest_and_nothing_is_done(rig: Bench, taskq: Cli) -> None:
    rig.start("thread", "--name", "mill")
    assert_refused(taskq("worker", "pause", "mill", "mil1"), 1, "worker 'mil1' is unknown, did you mean 'mill'?")
    assert info(rig, "mill").state == "running"


def test_an_ambiguous_worker_is_told_with_the_candidates(rig: Bench, taskq: Cli) -> None:
    for _ in range(2):
        rig.start("thread", "--name", "mill")
    ids = " or ".join(one.id for one in list_workers(rig.app.app.broker))
    assert_refused(taskq("worker", "stop", "mill"), 2, f"worker 'mill' may be {ids}; write more of its id")


def test_a_worker_that_says_it_is_ready_is_listed(rig: Bench, pool: str) -> None:
    for name in ("one", "two", "three"):
        rig.start(pool, "--name", name, "-Q", "default,stack,ranked")
        assert name in [one.label for one in list_workers(rig.app.app.broker)]


def test_a_worker_that_was_killed_has_vanished(rig: Bench, taskq: Cli) -> None:
    worker = rig.start("thread", "--name", "mill")
    worker.signal(signal.SIGKILL)
    worker.wait()
    wait_until(lambda: list_workers(rig.app.app.broker)[0].vanished, "its card is gone")
    gone = taskq("worker", "stop", "mill")
    assert (gone.code, gone.out, gone.err.count("\n")) == (1, "", 1)
    assert "mill." in gone.err
    assert " has vanished: no sign of life for " in gone.err


@pytest.mark.parametrize(("other", "goes_on"), [("", False), ("ranked", False), ("ranked,default", True)])
def test_a_vanished_worker_is_told_to_have_heirs_only_if_it_has(
    server: TestServer, namespace: str, tmp_path: Path, other: str, goes_on: bool
) -> None:
    with bench(server.url, namespace, tmp_path, lease=30.0) as rig:  # its jobs stay its own meanwhile
        rig.app.add.delay(1, 2)
        worker = rig.start("thread", "--name", "mill", "-Q", "default")
        if other:
            rig.start("thread", "--name", "saw", "-Q", other)
            wait_until(lambda: any(one.label == "saw" and one.queues for one in list_workers(rig.app.app.broker)), "up")
        worker.signal(signal.SIGKILL)
        worker.wait()
        wait_until(lambda: any(one.vanished for one in list_workers(rig.app.app.broker)), "its card is gone")
        gone = command_line(rig)("worker", "stop", "mill")
    assert (gone.code, gone.err.rstrip().endswith("; other workers take its jobs")) == (1, goes_on), gone


def test_a_worker_that_is_stuck_is_told_and_obeys_later(slow: Bench) -> None:
    taskq = command_line(slow)
    worker = slow.start("thread", "--name", "mill")
    wait_until(lambda: any(not one.vanished for one in list_workers(slow.app.app.broker)), "its card")
    worker.signal(signal.SIGSTOP)
    stuck = taskq("worker", "pause", "mill", "--timeout", "0.5")
    worker.signal(signal.SIGCONT)
    assert (stuck.code, stuck.out, stuck.err.count("\n")) == (1, "", 1)
    assert " has not answered within 0.5 s" in stuck.err
    wait_until(lambda: info(slow, "mill").state == "paused", worker.lines())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("worker stop", "give either the workers to stop, or --all for all of them"),
        ("worker pause x --all", "give either the workers to pause, or --all for all of them"),
        ("worker stop ''", "worker '' has no name; give an id, its beginning, a name or a host"),
        ("worker stop x --timeout nan", "--timeout 'nan' must be a number of seconds from 0 to 3.16224e+07"),
        ("worker -c 2 stop x", "--concurrency is for starting a worker; it has no meaning for 'stop'"),
        ("worker stpo x", "no such command: 'stpo'; did you mean 'stop'?"),
        ("worker pause x --wait", "No such option '--wait'."),
    ],
)
def test_wrong_usage_is_one_line(taskq: Cli, line: str, said: str) -> None:
    refused = taskq.shell(f"taskq {line}")
    assert_refused(refused, 2, said)


@pytest.mark.parametrize("command", ["stop", "pause", "resume"])
def test_a_server_that_is_away_is_one_line_within_five_seconds(tmp_path: Path, command: str) -> None:
    taskq = Cli({"TASKQ_URL": "redis://127.0.0.1:1"}, tmp_path)
    began = time.monotonic()
    away = taskq("worker", command, "x")
    assert (away.code, away.out, away.err.count("\n"), time.monotonic() - began < 6.0) == (4, "", 1, True)


# --- what workers tell ----------------------------------------------------------------------------------------------


def test_a_worker_tells_what_it_runs(rig: Bench, pool: str) -> None:
    worker = rig.start(pool, "--name", "mill")
    sent, before = rig.app.nap.delay(1, 2.0), time.time()
    job = wait_until(lambda: (found := info(rig, "mill").running) and found[0], worker.lines(), PATIENCE)
    assert (job.id, job.task, job.slot, job.attempt) == (sent.id, "apps.acceptance.nap", job.slot, 1)
    assert job.child in worker.children()
    assert abs(job.started - before) < 1.5
    wait_until(lambda: not info(rig, "mill").running, "it ended")


def test_the_coming_and_going_of_workers_is_announced(rig: Bench, server: TestServer) -> None:
    with server.client() as client, client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(f"{rig.namespace}:events")
        found: list[dict[str, Any]] = []

        def has_heard(count: int) -> bool:
            while (message := heard.get_message(timeout=0.05)) is not None:
                if message["data"].startswith(b"W\n"):
                    found.append(json.loads(message["data"][2:]))
            return len(found) >= count

        first = rig.start("thread", "--name", "first", "-Q", "default")
        assert first.stop() == 0
        second = rig.start("thread", "--name", "second", "-Q", "default")
        rig.start("thread", "--name", "third", "-Q", "default")
        second.signal(signal.SIGKILL)
        wait_until(lambda: has_heard(5), str(found))
    said = [(one["kind"], one["worker"].split(".")[0], one.get("vanished", False)) for one in found]
    assert said == [
        ("worker-up", "first", False), ("worker-down", "first", False), ("worker-up", "second", False),
        ("worker-up", "third", False), ("worker-down", "second", True),
    ]  # fmt: skip
