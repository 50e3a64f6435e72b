"""A server that somebody lets evict keys: producers are refused, what was accepted ends, and all heals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from cli_kit import Cli
from fault_kit import Make, Recovered
from worker_kit import Bench, bench, wait_until

from taskq.errors import WrongServer

TOLD = r"takes no new ones since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC: maxmemory-policy is 'allkeys-lru': .*; set it to"
LOOK = 12 * 0.1  # seconds between two looks, at the heartbeat of ``bench``


@pytest.fixture
def client(start_server: Make) -> Iterator[redis.Redis]:
    """The administrator of a server of one's own."""
    with start_server().client() as made:
        yield made


@pytest.fixture
def rig(client: redis.Redis, namespace: str, tmp_path: Path) -> Iterator[Bench]:
    """The app and its workers on that server."""
    with bench(f"unix://{client.connection_pool.connection_kwargs['path']}", namespace, tmp_path) as made:
        yield made


def refused(send: Callable[[], object]) -> bool:
    """Send a job; tell whether it was refused."""
    try:
        send()
    except WrongServer:
        return True
    return False


def mark(rig: Bench) -> Callable[[], object]:
    return lambda: rig.app.mark.delay(0)


def enqueued(rig: Bench) -> int:
    return sum(one.counters.get("enqueued", 0) for one in rig.app.app.inspect.queues())


@pytest.mark.fault(18)
def test_producers_are_refused_until_the_server_evicts_no_more(
    rig: Bench, client: redis.Redis, recovered: Recovered
) -> None:
    rig.start("thread", "-Q", "urgent,default")
    client.config_set("maxmemory-policy", "allkeys-lru")
    wait_until(lambda: refused(mark(rig)), "producers are refused")
    before = enqueued(rig)
    sends: tuple[Callable[[], object], ...] = (
        lambda: rig.app.add.delay(1, 2),
        lambda: rig.app.add.apply_async((1, 2), countdown=1),
        lambda: rig.app.add.delay_many([1, 2], [3, 4]),
        lambda: asyncio.run(rig.app.add.aio.delay(1, 2)),
        lambda: asyncio.run(rig.app.add.aio.delay_many([1], [2])),
        lambda: rig.app.told.delay(1, "x"),
    )
    for send in sends:
        with pytest.raises(WrongServer, match=TOLD):
            send()
    assert enqueued(rig) == before
    client.config_set("maxmemory-policy", "noeviction")
    changed = time.monotonic()
    wait_until(lambda: not refused(mark(rig)), "jobs are accepted again")
    recovered(changed)
    assert rig.app.add.delay(1, 2).result(30) == 3


@pytest.mark.fault(18)
def test_what_was_accepted_ends_and_what_follows_from_it_too(rig: Bench, client: redis.Redis) -> None:
    rig.start("thread", "-Q", "urgent,default")
    accepted = [rig.app.nap.delay(key, 0.3) for key in range(100)]
    linked = rig.app.nap.apply_async((100, 3 * LOOK), link=rig.app.told.s("after"))
    retried = rig.app.fail_until.apply_async((101, 3))
    client.config_set("maxmemory-policy", "allkeys-lru")
    wait_until(lambda: refused(mark(rig)), "producers are refused")
    assert [result.result(30) for result in accepted] == list(range(100))
    linked.result(30)
    assert retried.result(30) == 4
    assert refused(lambda: rig.app.add.delay(1, 2))
    wait_until(lambda: rig.noted("told") == ["after:100"], "the follow-up runs")


@pytest.mark.fault(18)
def test_a_refusal_dies_when_no_worker_is_left(rig: Bench, client: redis.Redis) -> None:
    worker = rig.start("thread")
    client.config_set("maxmemory-policy", "allkeys-lru")
    wait_until(lambda: refused(mark(rig)), "producers are refused")
    worker.process.kill()
    worker.wait()
    client.config_set("maxmemory-policy", "noeviction")
    killed = time.monotonic()
    wait_until(lambda: not refused(mark(rig)), "jobs are accepted again")
    assert time.monotonic() - killed < 3 * LOOK + 1


def test_a_worker_that_starts_on_a_server_that_is_well_lets_jobs_in(rig: Bench, client: redis.Redis) -> None:
    rig.heartbeat, rig.lease = 2.0, 10.0
    rig.app.mark.delay(0)
    now = int(time.time() * 1000)
    client.hset(f"{rig.namespace}:{{default}}:meta", "refusal", f"{now} 60000 {now} maxmemory-policy was bad")
    assert refused(mark(rig))
    rig.start("thread")
    began = time.monotonic()
    wait_until(lambda: not refused(mark(rig)), "jobs are accepted again")
    assert time.monotonic() - began < 12 * rig.heartbeat / 2  # seconds; long before its first look


def test_the_command_line_shows_it_and_exits_3(rig: Bench, client: redis.Redis) -> None:
    taskq = Cli({**rig.environment(), "TASKQ_APP": "apps.acceptance:app"}, rig.folder)
    rig.start("thread")
    client.config_set("maxmemory-policy", "allkeys-lru")
    wait_until(lambda: refused(mark(rig)), "producers are refused")
    sent = taskq("enqueue", "apps.acceptance.add", "1", "2")
    assert (sent.code, sent.out, sent.err.count("\n")) == (3, "", 1), sent
    assert "set it to noeviction; workers look again every 1.2 s" in sent.err
    for command in ("queues", "status"):
        lines = taskq(command).out.splitlines()
        assert any(line.startswith("default") and line.endswith("refusing") for line in lines), lines
        assert lines[-1].startswith("default: no new jobs: maxmemory-policy is 'allkeys-lru'")
    taskq("pause", "default")
    assert "paused, refusing" in taskq("queues").out
    found = taskq("queues", "--json").json()["refusal"]
    assert found["why"].startswith("maxmemory-policy is 'allkeys-lru'")
    assert 0 <= time.time() - found["since"] < 60
    assert taskq("fsck").code == 0
