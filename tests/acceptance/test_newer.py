"""Rolling upgrades: a worker leaves jobs of a newer taskq to newer workers, and says so; all commands go on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from cli_kit import Cli
from servers import TestServer
from worker_kit import Bench, wait_until

from taskq.broker.keys import QueueKeys
from taskq.client.result import AsyncResult

NEWER_APP = ("-A", "apps.newer:app")  # its children know the next version; a later -A counts
STRANGE = b"1700000000000;255;{\xff}"  # a version of another form: nothing behind its number can be read


class Newer:
    """A producer of a newer taskq: writes jobs of its version into the queue ``default``."""

    def __init__(self, client: Any, rig: Bench) -> None:
        self.client = client
        self.rig = rig
        self.keys = QueueKeys(rig.namespace, "default")

    def send(self, *, to: str = "ready") -> tuple[AsyncResult[int], bytes]:
        """Send ``add(20, 22)``; return its result and what is stored."""
        sent = self.rig.app.add.apply_async((20, 22), countdown=1000)
        stored = self.client.hget(self.keys.key("jobs"), sent.unique).replace(b";1;", b";2;", 1)
        self.client.zrem(self.keys.key("delayed"), sent.unique)
        self.client.hincrby(self.keys.key("meta"), "enqueued", -1)
        self.put(sent.unique, stored, to=to)
        return sent, stored

    def put(self, unique: str, stored: bytes, *, to: str = "ready") -> None:
        """Write what a newer script would, with the token that wakes workers."""
        for counter in ("enqueued", "failed") if to == "dead" else ("enqueued",):
            self.client.hincrby(self.keys.key("meta"), counter, 1)
        self.client.hset(self.keys.key("jobs"), unique, stored)
        self.client.zadd(self.keys.key(to), {unique: 1.0})
        if to == "ready" and not self.client.exists(self.keys.key("wake")):
            self.client.rpush(self.keys.key("wake"), "1")

    def state(self, unique: str) -> str:
        """Return delivery;attempts;crashes;losses;defers."""
        return (self.client.hget(self.keys.key("state"), unique) or b"").partition(b"\n")[0].decode()

    def is_deferred(self, unique: str) -> bool:
        return self.client.zscore(self.keys.key("delayed"), unique) is not None

    def stored(self, unique: str) -> bytes | None:
        found: bytes | None = self.client.hget(self.keys.key("jobs"), unique)
        return found

    def lost(self) -> list[str]:
        """Return the places where none of these jobs may be that have something."""
        return [name for name in ("quarantine", "dead", "ended") if self.client.exists(self.keys.key(name))]


@pytest.fixture
def newer(server: TestServer, rig: Bench) -> Iterator[Newer]:
    with server.client() as client:
        yield Newer(client, rig)


@pytest.fixture
def cli(rig: Bench) -> Cli:
    return Cli({**rig.environment(), "TASKQ_APP": "apps.acceptance:app"}, rig.folder)


def test_a_worker_gives_a_newer_job_back_as_it_is_and_says_so(rig: Bench, newer: Newer, pool: str) -> None:
    worker = rig.start(pool)
    sent, stored = newer.send()
    newer.put("strange", STRANGE)
    for unique in (sent.unique, "strange"):
        wait_until(lambda unique=unique: newer.is_deferred(unique), f"{unique}: {worker.lines()}")
    assert rig.app.add.delay(1, 2).result(timeout=20) == 3
    assert (newer.stored(sent.unique), newer.stored("strange"), newer.lost()) == (stored, STRANGE, [])
    assert newer.state(sent.unique).endswith(";0;0;0;1")
    [line] = [line for line in worker.lines().splitlines() if f"job {sent.id} is given back for 1.0 s" in line]
    assert "version 2 and this worker reads 1: start workers of the newer taskq" in line


def test_it_waits_longer_each_time_and_is_no_attempt(rig: Bench, newer: Newer) -> None:
    worker = rig.start("thread")
    sent, _ = newer.send()
    wait_until(lambda: newer.state(sent.unique) == "3;0;0;0;3", worker.lines())
    assert [f"{sent.id} is given back for {s}.0 s" in worker.lines() for s in (1, 2, 4, 8)] == [True, True, True, False]


def test_it_ends_at_no_number_of_times(rig: Bench, newer: Newer) -> None:
    newer.put("strange", STRANGE)
    newer.client.hset(newer.keys.key("state"), "strange", "500;0;0;0;20")
    worker = rig.start("thread")
    wait_until(lambda: newer.is_deferred("strange"), worker.lines())
    assert (newer.state("strange"), newer.lost()) == ("501;0;0;0;6", [])
    assert "is given back for 60.0 s" in worker.lines()


@pytest.mark.parametrize("kind", ["process", "asyncio"])
def test_a_newer_worker_runs_it_at_once(rig: Bench, newer: Newer, kind: str) -> None:
    rig.start(kind, *NEWER_APP)
    sent, _ = newer.send()
    assert sent.result(timeout=20) == 42
    assert newer.stored(sent.unique) is None


def test_a_newer_worker_runs_what_the_old_one_gave_back(rig: Bench, newer: Newer) -> None:
    old = rig.start("thread")
    sent, _ = newer.send()
    wait_until(lambda: newer.is_deferred(sent.unique), old.lines())
    assert old.stop() == 0
    rig.start("thread", *NEWER_APP)
    assert sent.result(timeout=20) == 42
    assert sent.record is not None
    assert sent.record.attempt == 1


@pytest.mark.fault(42)
def test_a_rollout_runs_all_jobs_of_both_versions(rig: Bench, newer: Newer) -> None:
    first = rig.start("thread")
    rig.start("thread", "-c", "2", *NEWER_APP)
    old = [rig.app.add.delay(n, n) for n in range(5)]
    sent = [newer.send()[0] for _ in range(5)]
    assert [one.result(timeout=25) for one in old] == [0, 2, 4, 6, 8]  # by either: a newer worker knows both
    assert first.stop() == 0  # else it is chance who takes them, each time
    assert [one.result(timeout=25) for one in sent] == [42] * 5
    assert newer.lost() == []


def test_it_is_not_charged_with_the_crash_of_a_neighbour(rig: Bench, newer: Newer) -> None:
    newer.put("strange", STRANGE)
    rig.app.die.delay(1)
    worker = rig.start("thread")
    wait_until(lambda: newer.is_deferred("strange"), worker.lines())
    wait_until(lambda: rig.counts("start")["1"] >= 2, "the other ran again")
    assert newer.state("strange").split(";")[1:4] == ["0", "0", "0"]
    assert newer.stored("strange") == STRANGE


def test_it_comes_back_from_a_worker_that_was_killed_while_it_held_it(rig: Bench, newer: Newer) -> None:
    """Which has read nothing of it yet: it waits in a child that stands still."""
    first = rig.start("thread")
    [child] = first.children()
    os.kill(child, signal.SIGSTOP)
    sent, stored = newer.send()
    lease = newer.keys.key("ready")
    wait_until(lambda: not newer.client.exists(lease), "it is claimed")
    assert not newer.is_deferred(sent.unique)
    first.signal(signal.SIGKILL)
    os.kill(child, signal.SIGCONT)
    first.wait()
    second = rig.start("thread")
    wait_until(lambda: newer.is_deferred(sent.unique), second.lines())
    assert newer.state(sent.unique).split(";")[1:] == ["0", "0", "0", "1"]
    assert newer.stored(sent.unique) == stored


def test_cancelling_one_tells_who_waits_for_it(rig: Bench, newer: Newer) -> None:
    worker = rig.start("thread")
    sent, _ = newer.send()
    wait_until(lambda: newer.is_deferred(sent.unique), worker.lines())
    assert sent.cancel()
    assert sent.cancelled()
    assert newer.stored(sent.unique) is None


def test_one_that_was_revoked_ends_when_it_is_claimed_next(rig: Bench, newer: Newer) -> None:
    sent, _ = newer.send()
    newer.client.hset(newer.keys.key("revoked"), sent.unique, "r")
    worker = rig.start("thread")
    wait_until(lambda: newer.stored(sent.unique) is None, worker.lines())
    assert rig.app.app.AsyncResult(sent.id).state == "cancelled"


def test_every_command_that_looks_goes_on(rig: Bench, newer: Newer, cli: Cli) -> None:
    worker = rig.start("thread")
    sent, _ = newer.send()
    wait_until(lambda: newer.is_deferred(sent.unique), worker.lines())
    assert rig.app.add.delay(1, 2).result(timeout=20) == 3  # for a report to have something
    newer.put("strange", STRANGE, to="dead")
    newer.put("third", STRANGE.replace(b"255", b"3"), to="suspect")
    for line in ("status", "queues", "workers", "jobs", "dead list", "report", "doctor"):
        done = cli(*line.split())
        assert (done.code, "Traceback" in done.err) == (0, False), (line, done)
    listed = cli("jobs").out
    assert all(unique in listed for unique in (sent.unique, "third"))
    shown = cli("job", sent.id)
    assert shown.code == 0
    assert "its envelope has version 2, this taskq reads 1: look with the newer one" in shown.out
    assert "given back" in shown.out
    assert "damaged" not in shown.out


def test_a_dead_one_can_be_put_back_in_line_and_dropped(rig: Bench, newer: Newer, cli: Cli) -> None:
    newer.send()  # which makes the queue
    for unique in ("strange", "other"):
        newer.put(unique, STRANGE, to="dead")
    assert cli("dead", "retry", "default/strange").code == 0
    assert (newer.stored("strange") or b"").endswith(STRANGE[13:])
    assert cli("dead", "drop", "default/other").code == 0
    assert newer.stored("other") is None


def test_a_job_of_an_unknown_task_tells_how_often_it_was_given_back(rig: Bench, newer: Newer, cli: Cli) -> None:
    worker = rig.start("thread")
    sent = rig.app.app.send_task("app.deployed_later", send_by_name=True)
    wait_until(lambda: newer.state(sent.unique) == "2;0;0;0;2", worker.lines())
    assert "no task 'app.deployed_later' is registered with this worker's app" in worker.lines()
    assert "2 times by workers that cannot run it" in cli("job", sent.id).out
