"""What somebody wrote into Redis by hand, sent by name or set wrongly stops no worker and is told in one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from cli_kit import Cli
from servers import TestServer, free_ports, valkey_program
from worker_kit import PATIENCE, POOLS, Bench, Worker, wait_until

from taskq import TaskQ
from taskq.broker.keys import QueueKeys
from taskq.errors import RemoteError, UnknownOrExpired
from taskq.model.job import encode_body

pytestmark = pytest.mark.corrupts

Make = Callable[..., TestServer]


class Hand:
    """Somebody with a Redis client and no care, at one queue of the rig."""

    def __init__(self, client: redis.Redis, rig: Bench, queue: str = "default") -> None:
        self.client = client
        self.rig = rig
        self.keys = QueueKeys(rig.namespace, queue)

    def stored_job(self) -> bytes:
        """Return header and body of ``add(1, 2)`` as a producer stores them; the queue is empty again."""
        sent = self.rig.app.add.delay(1, 2)
        stored: Any = self.client.hget(self.keys.key("jobs"), sent.unique)
        assert isinstance(stored, bytes)
        assert sent.cancel()
        return stored

    def put(self, unique: str | bytes, stored: bytes | None, score: float = 1.0, state: str = "") -> None:
        """Write a job, or a bare id, in front of all others."""
        if stored is not None:
            self.client.hset(self.keys.key("jobs"), unique, stored)
        if state:
            self.client.hset(self.keys.key("state"), unique, state)
        self.client.zadd(self.keys.key("ready"), {unique: score})

    def members(self, name: str) -> set[bytes]:
        found: Any = self.client.zrange(self.keys.key(name), 0, -1)
        return set(found)


@pytest.fixture
def hand(server: TestServer, rig: Bench) -> Iterator[Hand]:
    with server.client() as client:
        yield Hand(client, rig)


@pytest.fixture
def cli(rig: Bench) -> Cli:
    return Cli({**rig.environment(), "TASKQ_APP": "apps.acceptance:app"}, rig.folder)


def assert_goes_on(rig: Bench, worker: Worker, children: list[int]) -> None:
    """The worker still has the children that it had, and its log has no control characters."""
    assert rig.app.add.delay(20, 22).result(timeout=20) == 42
    assert worker.process.poll() is None, worker.lines()
    # more may have come: a worker is ready before the last of them has started
    assert set(children) <= set(worker.children()), worker.lines()
    assert worker.lines().replace("\n", "").isprintable(), worker.lines()


def corrupt(stored: bytes) -> dict[str, bytes]:
    """Return what the claiming script must refuse, by id."""
    at, rest = stored.split(b";", 1)
    return {
        "empty": b"",
        "truncated": stored[:20],
        "random": bytes(range(256)),
        "magic": b"{" + stored[1:],
        "version0": at + b";0" + rest[1:],
        "version1000": at + b";1000" + rest[1:],
        "text": b"hello",
    }


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_what_has_no_readable_header_is_quarantined_and_the_worker_goes_on(rig: Bench, hand: Hand, kind: str) -> None:
    wrong = corrupt(hand.stored_job())
    worker = rig.start(kind)
    children = worker.children()
    for unique, stored in wrong.items():
        hand.put(unique, stored)
    assert_goes_on(rig, worker, children)
    assert hand.members("quarantine") == {name.encode() for name in wrong}


def test_ids_scores_and_states_that_nobody_gave_are_quarantined_and_the_worker_goes_on(rig: Bench, hand: Hand) -> None:
    good = hand.stored_job()
    worker = rig.start("thread")
    children = worker.children()
    names = [b"a\nb", b"\x1b[31mred", b"<script>alert(1)</script>", b"../../x", b"\xff\xfe", b""]
    for name in names:
        hand.put(name, good)
    hand.put("endless", good, score=float("-inf"))
    hand.put("bodyless", None)
    hand.put("stateful", good, state="garbage")
    assert_goes_on(rig, worker, children)
    assert hand.members("quarantine") == {*names, b"endless", b"bodyless", b"stateful"}


BODIES = {
    "none": lambda body: b"",
    "cut": lambda body: body[:-3],
    "trailing": lambda body: body + b"\x00",
    "random": lambda body: b"\xc1" * 40,
    "nested": lambda body: b"\x91" * 100_000,
    "endless": lambda body: b"\xdd\xff\xff\xff\xff",
    "limit": lambda body: encode_body("apps.acceptance.add", b"", "", {"time_limit": float("nan")}),
    "codec": lambda body: encode_body("apps.acceptance.add", b"", "pickle"),
    "arguments": lambda body: encode_body("apps.acceptance.add", b"\xc1", ""),
}


@pytest.mark.parametrize("kind", ["process", "gevent"])
def test_a_damaged_body_ends_its_job_as_dead_and_the_worker_goes_on(rig: Bench, hand: Hand, kind: str) -> None:
    head, _, body = hand.stored_job().partition(b"\n")
    worker = rig.start(kind)
    children = worker.children()
    for unique, damage in BODIES.items():
        hand.put(unique, head + b"\n" + damage(body))
    assert_goes_on(rig, worker, children)
    wait_until(lambda: hand.members("dead") == {name.encode() for name in BODIES}, "all are dead")
    for unique in BODIES:
        with pytest.raises(RemoteError, match=r"corrupt envelope|SerializationError|InvalidOption") as raised:
            rig.app.app.AsyncResult(f"default/{unique}").result(timeout=20)
        assert "\n" not in str(raised.value)


def test_a_lease_of_a_job_that_is_not_there_does_no_harm_and_is_reaped_after_its_worker(rig: Bench, hand: Hand) -> None:
    worker = rig.start("thread")
    children = worker.children()
    lease = hand.keys.lease(next(iter(hand.members("workers"))).decode())
    hand.client.hset(lease, "nobody", "1;5;0;0")
    assert_goes_on(rig, worker, children)
    assert worker.stop() == 0
    rig.start("thread")
    wait_until(lambda: not hand.client.exists(lease), "the next worker reaps it")


def test_workers_that_nobody_started_stop_no_worker(rig: Bench, hand: Hand, cli: Cli) -> None:
    worker = rig.start("thread")
    children = worker.children()
    hand.client.zadd(hand.keys.key("workers"), {b"\xff": 1.0, "\x1b[31m\nred": 1.0, "": 1.0, "late": "inf"})
    hand.client.zadd(f"{rig.namespace}:workers", {b"\xff": 1.0, "\x1b[31m\nred": 4e9, "inf": "inf"})
    odd = '{"pool": ["\x1b[31m"], "queues": 7}'
    cards = {"garbage": "garbage", "empty": "{}", "odd": odd, "list": "[]", "nil": "null"}
    hand.client.zadd(f"{rig.namespace}:workers", dict.fromkeys(cards, 4e9))
    for name, card in cards.items():
        hand.client.set(f"{rig.namespace}:worker:{name}", card)
    wait_until(lambda: b"\x1b[31m\nred" not in hand.members("workers"), "it is reaped")
    assert_goes_on(rig, worker, children)
    shown = cli("status")
    assert (shown.code, shown.err, all(line.isprintable() for line in shown.out.splitlines())) == (0, "", True)


def test_a_job_that_is_not_there_can_be_neither_awaited_nor_cancelled(rig: Bench) -> None:
    for call in ("get", "cancel", "revoke"):
        with pytest.raises(UnknownOrExpired, match="job default/nobody is unknown: mistyped, or ended"):
            getattr(rig.app.app.AsyncResult("default/nobody"), call)()


def test_an_unknown_task_with_control_characters_is_given_back_and_logged_in_one_line(rig: Bench, hand: Hand) -> None:
    head = hand.stored_job().partition(b"\n")[0]
    worker = rig.start("thread")
    children = worker.children()
    hand.put("odd", head + b"\n" + encode_body("no\n\x1b[31msuch\u202e", b"\x80", ""))
    wait_until(lambda: hand.members("delayed") == {b"odd"}, worker.lines())
    assert_goes_on(rig, worker, children)
    assert "[31msuch" in worker.lines()


def test_arguments_that_do_not_fit_fail_at_the_worker_without_a_retry(rig: Bench) -> None:
    rig.start("thread")
    with TaskQ("elsewhere", rig.url, rig.namespace) as other:
        name = rig.app.fail_until.name
        for args in ((), ("x", 1), (1, 2, 3)):
            result = other.send_task(name, args, send_by_name=True)
            with pytest.raises(RemoteError, match="BadArguments: ") as raised:
                result.result(timeout=20)
            assert name in str(raised.value)
            assert result.record is not None
            assert result.record.attempt == 1
    assert rig.noted("start") == []


def test_a_key_of_a_wrong_type_stops_its_queue_only_until_it_is_gone(
    rig: Bench, hand: Hand, server: TestServer
) -> None:
    worker = rig.start("thread", "-Q", "urgent,default")
    children = worker.children()
    ready = QueueKeys(rig.namespace, "urgent").key("ready")
    hand.client.set(ready, "by hand")
    assert_goes_on(rig, worker, children)
    wait_until(lambda: "holds another type" in worker.lines(), "the worker says so")
    hand.client.delete(ready)
    rig.app.hurry.delay(7)
    wait_until(lambda: rig.noted("start") == ["7"], "the queue is served again")


@pytest.mark.parametrize("field", [("schema", "99"), ("schema", "text")])
def test_a_worker_does_not_serve_a_queue_of_another_schema(
    rig: Bench, hand: Hand, cli: Cli, field: tuple[str, str]
) -> None:
    hand.stored_job()
    hand.client.hset(hand.keys.key("meta"), *field)
    refused = cli("worker", "--pool", "thread")
    assert (refused.code, "Traceback" in refused.err) == (3, False)
    said = refused.err.splitlines()[-1]
    assert said.startswith("taskq: queues were written by a newer taskq: default has schema")
    assert said.endswith("upgrade it")


def test_a_worker_does_not_start_over_a_key_of_a_wrong_type(rig: Bench, hand: Hand, cli: Cli) -> None:
    hand.client.set(hand.keys.key("ready"), "by hand")
    refused = cli("worker", "--pool", "thread")
    assert (refused.code, "Traceback" in refused.err) == (3, False)
    assert hand.keys.key("ready") in refused.err.splitlines()[-1]


def test_a_worker_serves_a_queue_whose_numbers_were_changed_by_hand(rig: Bench, hand: Hand, cli: Cli) -> None:
    hand.stored_job()
    hand.client.hset(hand.keys.key("meta"), mapping={"maxsize": "x", "enqueued": "x", "seq": "x"})
    worker = rig.start("thread")
    assert_goes_on(rig, worker, worker.children())
    assert cli("status").code == 0


def test_status_shows_names_that_somebody_wrote_without_their_control_characters(
    rig: Bench, hand: Hand, cli: Cli
) -> None:
    hand.stored_job()
    hand.client.sadd(f"{rig.namespace}:queues", "x\x1b[31m\ny", "a{b}", b"\xff")
    hand.put("a\x1b[31m\nb", None)
    shown = cli("status")
    assert (shown.code, shown.err) == (0, "")
    assert all(line.isprintable() for line in shown.out.splitlines())
    assert "x\N{REPLACEMENT CHARACTER}[31m" in shown.out


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[str]:
    """The url of a Sentinel."""
    port = free_ports()[0]
    file = tmp_path / "sentinel.conf"
    file.write_text(f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor m 127.0.0.1 1 1\n", "utf-8")
    with subprocess.Popen([valkey_program(), str(file), "--sentinel"], stdout=subprocess.DEVNULL) as process:
        try:
            with redis.Redis(port=port) as client:
                wait_until(lambda: _answers(client), "the Sentinel is up")
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.kill()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def test_a_sentinels_url_is_answered_with_what_it_is(sentinel: str, cli: Cli) -> None:
    for line in ("status", "enqueue add 1 2", "result default/x", "worker --pool thread"):
        refused = cli(*line.split(), TASKQ_URL=sentinel)
        assert (refused.code, "Traceback" in refused.err) == (3, False), refused
        assert "Sentinel" in refused.err.splitlines()[-1]


def test_a_replicas_url_is_answered_with_whose_to_give(start_server: Make, cli: Cli) -> None:
    master, replica = start_server(tcp=True), start_server()
    with replica.client() as client:
        client.replicaof("127.0.0.1", master.port)
        wait_until(lambda: client.info("replication")["master_link_status"] == "up", "the replica follows")
    refused = cli("enqueue", "add", "1", "2", TASKQ_URL=replica.url, TASKQ_CALL_DEADLINE="0.5")
    assert (refused.code, refused.err.count("\n")) == (4, 1)
    assert "give its master's url" in refused.err


def test_a_worker_needs_neither_a_home_nor_a_time_zone_nor_a_locale(cli: Cli, rig: Bench) -> None:
    bare = {"HOME": "/nonexistent", "TZ": "", "LANG": "C", "LC_ALL": "C", "USER": "", "TERM": "", "XDG_RUNTIME_DIR": ""}
    result = rig.app.add.delay(20, 22)
    done = cli("worker", "--pool", "thread", "--drain", **bare)
    assert (done.code, "Traceback" in done.err, result.result(timeout=5)) == (0, False, 42), done.err


def test_a_worker_needs_no_standard_descriptors(cli: Cli, rig: Bench) -> None:
    result = rig.app.add.delay(20, 22)
    assert cli.shell("taskq worker --pool thread --drain <&- >&- 2>&-").code == 0
    assert result.result(timeout=5) == 42


def isolated(*flags: str) -> list[str]:
    """Return the beginning of a command line in namespaces of its own; skip the test where that is not allowed."""
    command = ["unshare", *flags]
    try:
        allowed = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("this user may make no namespaces")
    return command


@pytest.mark.parametrize(
    ("flags", "before"),
    [
        pytest.param(("--pid", "--fork", "--mount-proc", "--kill-child"), "", id="as-pid-1"),
        pytest.param(("--mount",), "mount -t tmpfs -o ro none /dev/shm && ", id="read-only-dev-shm"),
    ],
)
def test_a_worker_runs_in_a_bare_container(rig: Bench, flags: tuple[str, ...], before: str) -> None:
    result = rig.app.add.delay(20, 22)
    worker = [sys.executable, "-m", "taskq", "worker", "-A", "apps.acceptance:app", *POOLS["process"], "--drain"]
    done = subprocess.run(
        [*isolated(*flags), "/bin/sh", "-c", f'{before}exec "$@"', "sh", *worker],
        env=rig.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert result.result(timeout=5) == 42
