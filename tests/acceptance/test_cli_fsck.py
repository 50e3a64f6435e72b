"""``taskq fsck`` as a command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_kit import Cli
from client_kit import client_app
from servers import TestServer
from worker_kit import Bench

from taskq.broker.fsck import check

pytestmark = pytest.mark.corrupts


@pytest.fixture
def taskq(tmp_path: Path, server: TestServer, namespace: str) -> Cli:
    """The command line without an app, on a queue with one job."""
    with client_app("client", server.url, namespace) as app:
        app.tasks["add"].delay(1)
    environment = {"TASKQ_URL": server.url, "TASKQ_NAMESPACE": namespace, "TASKQ_EMBEDDED": "0"}
    return Cli({**environment, "PYTHONPATH": str(Path(__file__).parents[1])}, tmp_path)


@pytest.fixture
def client(server: TestServer) -> Iterator[Any]:
    """A connection to the server."""
    with server.client() as client:
        yield client


def test_a_namespace_in_order_has_no_finding(taskq: Cli) -> None:
    done = taskq("fsck", "--strict")
    assert (done.code, done.out, done.err) == (0, "nothing is wrong\n", "")
    assert taskq("fsck", "--json").out == ""


def test_what_is_found_is_told_and_stays(taskq: Cli, client: Any, namespace: str) -> None:
    client.zadd(f"{namespace}:{{default}}:ready", {"ghost": 1})
    client.set(f"{namespace}:\x1b[2J", "x")
    done = taskq("fsck")
    assert done.code == 1
    first, second, last = done.out.splitlines()
    assert first.startswith("leftover 18")
    assert "\x1b" not in first
    assert second.startswith("partition 1      job default/ghost is not stored (ready); could be repaired: ")
    assert last == "2 left"
    assert client.zscore(f"{namespace}:{{default}}:ready", "ghost") is not None


def test_what_needs_no_guess_is_repaired(taskq: Cli, client: Any, namespace: str) -> None:
    client.zadd(f"{namespace}:{{default}}:ready", {"ghost": 1})
    done = taskq("fsck", "--repair")
    assert done.code == 0
    assert "; repaired: put into quarantine\n" in done.out
    assert done.out.endswith("\n0 left, 1 repaired\n")
    assert taskq("fsck", "--repair").out == "nothing is wrong\n"


def test_what_needs_a_person_is_left(taskq: Cli, client: Any, namespace: str) -> None:
    client.hset(f"{namespace}:{{default}}:meta", "schema", "99")
    done = taskq("fsck", "--repair", "--json")
    assert done.code == 1
    text = "queue default has schema '99', this taskq knows 1; upgrade it"
    assert [json.loads(line) for line in done.out.splitlines()] == [
        {
            "invariant": "leftover 18",
            "queue": "default",
            "id": "schema",
            "text": text,
            "repair": None,
            "repaired": False,
        }
    ]


def test_damage_everywhere_gives_lines_and_no_traceback(taskq: Cli, client: Any, namespace: str) -> None:
    for name in client.keys(f"{namespace}:*"):
        client.delete(name)
        client.sadd(name, b"\xff")
    done = taskq("fsck")
    assert (done.code, done.err) == (1, "")
    assert all(line.startswith("leftover 18") for line in done.out.splitlines()[:-1])


def test_a_queue_that_is_unknown_is_a_usage_error(taskq: Cli) -> None:
    done = taskq("fsck", "defualt")
    assert (done.code, done.out) == (2, "")
    assert "did you mean 'default'" in done.err
    assert taskq("fsck", "default").code == 0


def test_a_server_that_is_away_is_one_line(taskq: Cli) -> None:
    done = taskq("fsck", TASKQ_URL="redis://127.0.0.1:1", TASKQ_CALL_DEADLINE="0.2")
    assert (done.code, done.out, done.err.count("\n")) == (4, "", 1)


def test_nothing_is_left_over_once_the_workers_have_stopped(rig: Bench, pool: str) -> None:
    worker = rig.start(pool)
    good = [rig.app.add.delay(number, 1) for number in range(50)]
    bad = rig.app.boom.delay("no way")
    assert [result.get(20) for result in good] == [*range(1, 51)]
    assert bad.exception(20) is not None
    assert check(rig.app.app.broker) == []
    assert worker.stop() == 0
    assert check(rig.app.app.broker, strict=True) == []
