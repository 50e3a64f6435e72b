"""Numbers and data without end that somebody wrote into Redis by hand: they are told, and no worker dies of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis
from apps.forging import FORGERIES, Odd, take
from cli_kit import Cli
from servers import TestServer
from worker_kit import Bench, Worker, wait_until

from taskq import TaskQ
from taskq.broker.keys import QueueKeys
from taskq.errors import JobCrashed, RemoteError, TimeLimitExceeded
from taskq.model.job import encode_body
from taskq.model.serializer import Serializers
from taskq.model.signature import plain_signature

pytestmark = pytest.mark.corrupts

AT = b"1700000000000"
DEEP = b"\x91" * 100_000  # arrays in each other, to the end
HISTORY = b"1;1;0;0;0\n\x91\x94\xa1a\xa1b\xa1c" + DEEP  # whose errors are
Edit = Callable[[bytes], bytes]


class Hand:
    """Somebody with a Redis client and no care, at the default queue of the rig."""

    def __init__(self, client: redis.Redis, rig: Bench) -> None:
        self.client = client
        self.keys = QueueKeys(rig.namespace, "default")

    def put(self, unique: str, stored: bytes, state: bytes = b"") -> None:
        """Write a job in front of all others."""
        self.client.hset(self.keys.key("jobs"), unique, stored)
        if state:
            self.client.hset(self.keys.key("state"), unique, state)
        self.client.zadd(self.keys.key("ready"), {unique: 1.0})

    def members(self, name: str) -> set[str]:
        return {member.decode() for member in self.client.zrange(self.keys.key(name), 0, -1)}


@pytest.fixture
def hand(server: TestServer, rig: Bench) -> Iterator[Hand]:
    assert rig.app.default.qsize() == 0  # and the queue is known
    with server.client() as client:
        yield Hand(client, rig)


@pytest.fixture
def cli(rig: Bench) -> Cli:
    return Cli({**rig.environment(), "TASKQ_APP": "apps.acceptance:app"}, rig.folder)


def stored(task: str, *args: object, at: bytes = AT, expires: bytes = b"", **meta: object) -> bytes:
    """Return a job as a producer stores it, but for what is told otherwise."""
    payload = plain_signature("any").encode_arguments(Serializers().codec(""), args, {})
    flags = b"x" if expires else b""
    body = encode_body(f"apps.acceptance.{task}", payload, "", meta)
    return at + b";1;" + flags + b";;" + expires + b";\n" + body


def nested(task: str) -> bytes:
    """Return a job whose headers are nested deeper than anybody's stack."""
    body = encode_body(f"apps.acceptance.{task}", b"\x90", "", {"headers": {"x": None}})
    return AT + b";1;;;;\n" + body[:-1] + DEEP


def assert_goes_on(rig: Bench, worker: Worker, children: list[int]) -> None:
    assert rig.app.add.delay(20, 22).result(timeout=20) == 42
    assert worker.process.poll() is None, worker.lines()
    assert set(children) <= set(worker.children()), worker.lines()
    assert "taskq.worker.link: child ends at once" not in worker.lines()


ENDLESS = {
    "time": (stored("add", 1, 2, at=b"9" * 40), b""),
    "longer-time": (stored("add", 1, 2, at=b"9" * 400), b""),
    "expiry": (stored("add", 1, 2, expires=b"9" * 400), b""),
    "delivery": (stored("add", 1, 2), b"9" * 40 + b";0;0;0;0"),
    "infinite-delivery": (stored("add", 1, 2), b"9" * 400 + b";0;0;0;0"),
    "attempts": (stored("add", 1, 2), b"1;" + b"9" * 40 + b";0;0;0"),
    "defers": (stored("nothing"), b"1;0;0;0;" + b"9" * 400),
}


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_numbers_without_end_are_quarantined_and_the_worker_goes_on(rig: Bench, hand: Hand, kind: str) -> None:
    worker = rig.start(kind)
    children = worker.children()
    for unique, (data, state) in ENDLESS.items():
        hand.put(unique, data, state)
    assert_goes_on(rig, worker, children)
    assert hand.members("quarantine") == set(ENDLESS)


LIMITS = {
    "long-result": stored("add", 20, 22, result_ttl=1e300),
    "endless-result": stored("add", 20, 22, result_ttl=1.7e308),
    "long-limit": stored("add", 20, 22, time_limit=1e300),
    "longest-limit": stored("add", 20, 22, time_limit=1.7e308),
}


@pytest.mark.parametrize("kind", ["thread", "process", "gevent", "asyncio"])
def test_times_beyond_every_clock_are_as_long_as_can_be(rig: Bench, hand: Hand, kind: str) -> None:
    worker = rig.start(kind)
    children = worker.children()
    for unique, data in LIMITS.items():
        hand.put(unique, data)
    assert_goes_on(rig, worker, children)
    for unique in LIMITS:
        assert rig.app.app.AsyncResult(f"default/{unique}").result(timeout=20) == 42


def test_a_body_nested_without_end_ends_its_job_as_dead(rig: Bench, hand: Hand, cli: Cli) -> None:
    hand.put("deep", nested("add"))
    waiting = cli("job", "default/deep")
    assert (waiting.code, waiting.err) == (0, "")
    assert "the job is damaged" in waiting.out
    worker = rig.start("thread")
    assert_goes_on(rig, worker, worker.children())
    with pytest.raises(RemoteError, match="corrupt envelope"):
        rig.app.app.AsyncResult("default/deep").result(timeout=20)


def test_a_history_nested_without_end_is_dropped_where_its_job_fails(rig: Bench, hand: Hand) -> None:
    worker = rig.start("thread")
    children = worker.children()
    hand.put("deep", stored("boom", "why"), HISTORY)
    with pytest.raises(RuntimeError, match="why"):
        rig.app.app.AsyncResult("default/deep").result(timeout=20)
    assert_goes_on(rig, worker, children)


def test_a_history_nested_without_end_is_dropped_where_the_child_of_its_job_dies(rig: Bench, hand: Hand) -> None:
    worker = rig.start("thread")
    hand.put("deep", stored("die", 1), HISTORY)
    with pytest.raises(JobCrashed, match="died 5 times"):
        rig.app.app.AsyncResult("default/deep").result(timeout=40)
    assert rig.app.add.delay(20, 22).result(timeout=20) == 42
    assert worker.process.poll() is None, worker.lines()


def test_a_result_nested_without_end_is_told_as_damaged(rig: Bench, hand: Hand, cli: Cli) -> None:
    record = b"\xdc\x00\x10\x01\xa6failed\xc4\x00\xa0\xc0\xa0\xa0\x00\x00\x01\x00\x00\x00\x00\xa0" + DEEP
    hand.client.set(hand.keys.result("deep"), record)
    with pytest.raises(RemoteError, match="DamagedRecord"):
        rig.app.app.AsyncResult("default/deep").result(timeout=5)
    told = cli("result", "default/deep")
    assert (told.code, told.err.count("\n")) == (1, 1)


@pytest.mark.parametrize("name", sorted(FORGERIES))
def test_a_child_that_answers_what_no_child_may_costs_nobody_else_anything(rig: Bench, name: str) -> None:
    with TaskQ("here", rig.url, rig.namespace) as app:
        forged = app.send_task("apps.forging.forge", (name,), send_by_name=True)
        worker = rig.start("thread", "-A", "apps.forging:app")
        wait_until(lambda: "forge" in worker.lines(), "it has started")
        assert app.send_task("apps.forging.add", (20, 22), send_by_name=True).result(timeout=20) == 42
        if name != "holdings":
            wait_until(lambda: "; it is killed" in worker.lines(), "the child is killed")
            wait_until(lambda: f"job {forged.id} crashed" in worker.lines(), "its job counts as crashed")
        assert app.send_task("apps.forging.add", (20, 22), send_by_name=True).result(timeout=20) == 42
        assert worker.process.poll() is None, worker.lines()
        assert "TASKQ_ARGS" not in worker.lines(), worker.lines()
        assert "Traceback" not in worker.lines(), worker.lines()


ODD = {"hangs": TimeLimitExceeded, "exits": Exception, "raises": Exception}


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_class_that_makes_trouble_where_it_is_made_fails_its_job_alone(rig: Bench, kind: str) -> None:
    worker = rig.start(kind, "-A", "apps.forging:app")
    with TaskQ("here", rig.url, rig.namespace) as app:
        task = app.task(name="apps.forging.take")(take.function)
        sent = {how: task.delay(Odd(how)) for how in (*ODD, "goes badly")}
        for how, error in ODD.items():
            with pytest.raises(error, match=r"SystemExit|GeneratorExit|time_limit|ran longer"):
                sent[how].result(timeout=20)
        assert sent["goes badly"].result(timeout=20) == "goes badly"
        assert app.send_task("apps.forging.add", (20, 22), send_by_name=True).result(timeout=20) == 42
    assert worker.process.poll() is None, worker.lines()
    assert "crashed" not in worker.lines(), worker.lines()
