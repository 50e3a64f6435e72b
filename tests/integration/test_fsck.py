"""fsck finds what somebody damaged by hand and nothing else, and puts right what needs no guess."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from client_kit import client_app
from coordination_kit import until
from handworker import HandWorker

from taskq import TaskQ
from taskq.broker import fsck, jobs, workers
from taskq.broker.findings import MAX_DEAD, MAX_QUARANTINE, Finding
from taskq.errors import BrokerError, BrokerUnavailable, Indeterminate, InvalidQueueName, UnknownQueue

pytestmark = pytest.mark.corrupts
LOAD_SECONDS = 3.0  # a hundred looks, each at other moments of what runs
HALF_HOUR = 1800.0  # seconds


@pytest.fixture(autouse=True)
def _hasty(monkeypatch) -> None:
    """The second look follows soon, or the pauses were most of the time."""
    monkeypatch.setattr(fsck, "PAUSE", 0.05)


@pytest.fixture
def app(any_server, namespace) -> Iterator[TaskQ]:
    with client_app("client", any_server.url, namespace) as app:

        @app.task(name="fail", max_retries=0)
        def fail() -> None:
            raise ValueError

        yield app


class Hand:
    """Somebody who writes into Redis."""

    def __init__(self, app: TaskQ, client: redis.Redis) -> None:
        self.app = app
        self.client: Any = client

    def key(self, name: str, tag: str = "default") -> str:
        return f"{self.app.settings.namespace}:{{{tag}}}:{name}"

    def findings(self, *, strict: bool = False) -> list[tuple[str, str, str]]:
        return [(one.invariant, one.queue, one.id) for one in fsck.check(self.app.broker, strict=strict)]

    def repair(self, *, strict: bool = False) -> list[bool]:
        """Repair all that can be; returns whether each was."""
        return [self.app.control.repair(one) for one in self.app.inspect.fsck(strict=strict) if one.repair]


@pytest.fixture
def hand(app, any_server) -> Iterator[Hand]:
    with any_server.client() as client:
        yield Hand(app, client)


@pytest.fixture
def job(add) -> str:
    """The unique part of a job that waits."""
    return add.delay(1).unique


def count_surveys(
    app: TaskQ, monkeypatch: pytest.MonkeyPatch, before: Callable[[list[str]], object] = len
) -> list[str]:
    """Return a list that grows with each page that is read; ``before`` is called first."""
    seen, whole = list[str](), app.broker.run

    def run(call):
        if call.script.name == "survey":
            seen.append(call.script.name)
            before(seen)
        return whole(call)

    monkeypatch.setattr(app.broker, "run", run)
    return seen


def only(hand: Hand, invariant: str, queue: str, id_: str, *, strict: bool = False) -> Finding:
    """Return the one thing that is found."""
    found = fsck.check(hand.app.broker, strict=strict)
    assert [(one.invariant, one.queue, one.id) for one in found] == [(invariant, queue, id_)], found
    assert "\n" not in found[0].text
    return found[0]


def mended(hand: Hand, finding: Finding, *, strict: bool = False) -> None:
    """Repair what was found, after which nothing is."""
    assert finding.repair
    assert hand.app.control.repair(finding)
    assert fsck.check(hand.app.broker, strict=strict) == []


def told(hand: Hand, finding: Finding) -> None:
    """What was found needs a person."""
    assert not finding.repair
    assert not hand.app.control.repair(finding)


# --- nothing is wrong


def test_an_empty_namespace_is_in_order(hand):
    assert hand.findings(strict=True) == []


def test_jobs_in_every_place_are_in_order(hand, app, add, fail, worker):
    fail.delay()
    worker.run_all()  # dead
    add.delay(1)
    worker.claim_one()  # running
    add.apply_async((1,), countdown=HALF_HOUR)
    add.delay(2)
    app.AsyncResult(add.delay(3).id).cancel()  # ended
    assert hand.findings() == []


def test_a_system_at_rest_is_in_order(hand, add, worker):
    add.delay_many(range(700))
    worker.run_all()
    add.delay(1)
    assert hand.findings(strict=True) == []


def test_moved_jobs_are_counted(hand, app, add, fail, worker):
    app.Queue("other").qsize()
    dead = fail.delay()
    worker.run_all()
    waiting = add.delay(2)
    assert app.control.move(waiting.id, "other").now
    assert app.control.move(dead.id, "other").now
    assert app.Queue("default").info().counters["moved"] == 2
    assert hand.findings() == []


def test_what_is_held_and_waited_for_is_in_order(hand, app, threads):
    with app.Lock("a"), app.Semaphore("s", 2), app.Semaphore("s", 2), app.Condition("c"):
        assert hand.findings() == []
    items = app.Queue("items")
    items.put(1)
    items.put(2)
    with items.claim():
        assert hand.findings() == []
    barrier = app.Barrier("b", 2)
    waiting = threads.submit(barrier.wait, 20)
    until(lambda: barrier.n_waiting == 1)
    assert hand.findings() == []
    barrier.wait(20)
    waiting.result(20)
    assert hand.findings() == []


def test_no_false_alarm_while_jobs_come_and_run(hand, app, add, fail, worker):
    """Workers come and go, jobs fail, are delayed, cancelled and moved, locks change hands."""
    app.Queue("other").qsize()
    stop, errors = threading.Event(), list[BaseException]()

    def repeatedly(act) -> threading.Thread:
        def run() -> None:
            try:
                while not stop.is_set():
                    act()
            except BaseException as error:
                errors.append(error)
                raise

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def produce() -> None:
        add.delay_many(range(100))
        fail.delay()
        add.apply_async((1,), countdown=0.01)
        add.delay(1).cancel()
        app.control.move(add.delay(1).id, "other")

    def come_and_go() -> None:
        brief = HandWorker(app)
        for claimed in brief.claim(count=5):
            brief.run(claimed)
        brief.broker.run(workers.deregister(brief.broker.keys("default"), brief.id))
        brief.close()

    def hold() -> None:
        with app.Lock("busy"):
            pass

    running = [repeatedly(act) for act in (produce, come_and_go, hold, hold)]
    end, looks = time.monotonic() + LOAD_SECONDS, 0
    with worker.serving(), HandWorker(app, "other").serving():
        while time.monotonic() < end:
            assert hand.findings() == []
            looks += 1
        stop.set()
        for thread in running:
            thread.join(20)
    assert not errors
    assert looks > 3
    assert worker.settled > 100


# --- jobs


def test_an_id_without_a_job_goes_to_quarantine(hand, job):
    hand.client.zadd(hand.key("ready"), {"ghost": 1})
    mended(hand, only(hand, "partition 1", "default", "ghost"))
    assert hand.client.zscore(hand.key("quarantine"), "ghost") is not None


def test_a_job_in_no_place_goes_back_in_line_and_runs(hand, app, worker, add):
    first, second = add.delay(1), add.delay(2)
    hand.client.zrem(hand.key("ready"), first.unique)
    mended(hand, only(hand, "partition 1", "default", first.unique))
    worker.run_all()
    assert (first.get(10), second.get(10)) == (1, 2)


def test_a_job_that_a_worker_has_is_taken_out_of_the_line(hand, worker, job):
    worker.claim_one()
    hand.client.zadd(hand.key("ready"), {job: 1})
    mended(hand, only(hand, "partition 1", "default", job))
    assert hand.client.hexists(hand.key(f"l:{worker.id}"), job)


def test_a_job_in_two_lines_is_told(hand, job):
    hand.client.zadd(hand.key("delayed"), {job: 1})
    told(hand, only(hand, "partition 1", "default", job))


def test_a_job_with_two_workers_is_told(hand, worker, job):
    worker.claim_one()
    hand.client.hset(hand.key("l:other"), job, "1;1;0;0")
    hand.client.zadd(hand.key("workers"), {"other": 10**17})
    told(hand, only(hand, "partition 1", "default", job))


@pytest.mark.parametrize("stored", [b"", b"\xff\x00", b"1;1;;;;", b"1700000000000;255x;;;;\nbody"])
def test_a_damaged_job_goes_to_quarantine(hand, job, stored):
    hand.client.hset(hand.key("jobs"), job, stored)
    mended(hand, only(hand, "partition 1", "default", job))
    assert hand.client.zscore(hand.key("quarantine"), job) is not None


def test_an_id_that_could_steer_a_terminal_is_shown_without(hand, job):
    hand.client.zadd(hand.key("ready"), {"\x1b[2J\n": 1})
    finding = only(hand, "partition 1", "default", "\x1b[2J\n")
    assert "\x1b" not in finding.text
    mended(hand, finding)


@pytest.mark.parametrize("score", [math.inf, -math.inf])
def test_an_endless_due_time_goes_to_quarantine(hand, add, score):
    job = add.apply_async((1,), countdown=HALF_HOUR).unique
    hand.client.zadd(hand.key("delayed"), {job: score})
    mended(hand, only(hand, "partition 1", "default", job))


@pytest.mark.parametrize("state", ["", "garbage", "1;0;9;0;0"])
def test_a_damaged_history_goes_to_quarantine(hand, job, state):
    hand.client.hset(hand.key("state"), job, state)
    mended(hand, only(hand, "delivery 5", "default", job))


def test_a_suspect_among_others_goes_apart(hand, job):
    hand.client.hset(hand.key("state"), job, "1;0;1;0;0")
    mended(hand, only(hand, "delivery 5", "default", job))
    assert hand.client.zscore(hand.key("suspect"), job) is not None


@pytest.mark.parametrize(
    ("state", "lease", "invariant"), [(None, "mine", "lease 4"), ("9;0;0;0;0", None, "delivery 5")]
)
def test_a_damaged_lease_is_told(hand, worker, job, state, lease, invariant):
    worker.claim_one()
    if state is not None:
        hand.client.hset(hand.key("state"), job, state)
    if lease is not None:
        hand.client.hset(hand.key(f"l:{worker.id}"), job, lease)
    told(hand, only(hand, invariant, "default", job))


def test_a_history_without_a_job_is_removed(hand, job):
    hand.client.hset(hand.key("state"), "gone", "1;0;0;0;0")
    mended(hand, only(hand, "leftover 18", "default", "gone"))


def test_a_revoked_mark_without_a_job_is_removed(hand, job):
    hand.client.hset(hand.key("revoked"), "gone", "r")
    hand.client.expire(hand.key("revoked"), 100)
    mended(hand, only(hand, "leftover 18", "default", "gone"))


# --- queues


def test_jobs_of_a_worker_without_a_lease_come_back(hand, app, worker, add):
    result = add.delay(1)
    worker.claim_one()
    hand.client.zrem(hand.key("workers"), worker.id)
    mended(hand, only(hand, "lease 4", "default", worker.id))
    other = HandWorker(app)
    keys, times = app.broker.keys("default"), workers.LeaseTimes(0.01, 0.05)

    def reaped() -> bool:
        app.broker.run(workers.heartbeat(keys, other.id, times))
        return app.broker.run(workers.reap(keys, worker.id, times)) == (1, 0)

    until(reached=reaped)
    other.run_all()
    assert result.get(10) == 1
    other.close()


def test_a_missing_wake_token_is_set(hand, job):
    hand.client.delete(hand.key("wake"))
    assert hand.findings() == [], "a worker may have just taken it"
    mended(hand, only(hand, "wake 12", "default", "wake", strict=True), strict=True)
    assert hand.client.llen(hand.key("wake")) == 1


def test_a_paused_queue_needs_no_token(hand, app, job):
    app.control.pause("default")
    assert hand.findings(strict=True) == []


def test_tokens_beyond_one_are_removed(hand, job):
    hand.client.rpush(hand.key("wake"), "1", "1")
    mended(hand, only(hand, "wake 12", "default", "wake"))
    assert hand.client.llen(hand.key("wake")) == 1


def test_counters_that_do_not_fit_are_set(hand, job):
    hand.client.hincrby(hand.key("meta"), "enqueued", 5)
    mended(hand, only(hand, "counters 17", "default", "enqueued"))


@pytest.mark.parametrize(
    ("name", "value", "invariant"),
    [("maxsize", "many", "counters 17"), ("discipline", "random", "leftover 18"), ("schema", "99", "leftover 18")],
)
def test_settings_that_somebody_changed_are_told(hand, job, name, value, invariant):
    hand.client.hset(hand.key("meta"), name, value)
    told(hand, only(hand, invariant, "default", name))


def test_a_queue_of_a_newer_taskq_is_left_alone(hand, job):
    hand.client.hset(hand.key("meta"), "schema", "99")
    hand.client.zadd(hand.key("ready"), {"ghost": 1})
    only(hand, "leftover 18", "default", "schema")


@pytest.mark.parametrize(("place", "most"), [("dead", MAX_DEAD), ("quarantine", MAX_QUARANTINE)])
def test_more_than_a_cap_is_told(hand, job, place, most):
    hand.client.zadd(hand.key(place), {f"j{number}": number for number in range(most + 1)})
    assert ("leftover 18", "default", place) in hand.findings()


def test_a_queue_that_nobody_sees_is_listed(hand, app, job):
    hand.client.srem(f"{app.settings.namespace}:queues", "default")
    mended(hand, only(hand, "leftover 18", "default", ""))
    assert app.broker.read(jobs.queue_names(app.settings.namespace)) == ["default"]


@pytest.mark.parametrize("place", ["ended", "outbox", "leased"])
def test_what_must_be_empty_at_rest_is_told_by_strict_alone(hand, app, worker, job, place):
    if place == "ended":
        app.control.check_queue("default")
        app.AsyncResult(f"default/{job}").cancel()
        hand.client.hset(hand.key("ended"), "x", "expired")
        hand.client.hset(hand.key("jobs"), "x", b"1700000000000;1;;;;\nx")
        hand.client.hincrby(hand.key("meta"), "enqueued", 1)
    elif place == "outbox":
        hand.client.hset(hand.key("outbox"), "default/x", b"0\n1;;;;\nx")
    else:
        worker.claim_one()
    assert hand.findings() == []
    told(hand, only(hand, "rest 3", "default", place, strict=True))


# --- keys


@pytest.mark.parametrize("name", ["r:x", "s:x", "m:x"])
def test_a_key_without_a_time_to_live_gets_one(hand, job, name):
    hand.client.set(hand.key(name), "x")
    mended(hand, only(hand, "leftover 18", "default", hand.key(name)))
    assert hand.client.pttl(hand.key(name)) > 0


@pytest.mark.parametrize("name", ["meta", "revoked"])
def test_settings_and_marks_get_their_time_to_live(hand, worker, job, name):
    worker.claim_one()
    hand.client.hset(hand.key("revoked"), job, "r")
    hand.client.expire(hand.key("revoked"), 100)
    hand.client.persist(hand.key(name))
    mended(hand, only(hand, "leftover 18", "default", hand.key(name)))


@pytest.mark.parametrize(
    "name", ["{default}:bogus", "{default}:z:x", "{a b}:meta", "bogus", "{lock:a}:r:x", "{x:a}:meta"]
)
def test_a_key_that_taskq_does_not_make_is_told(hand, app, job, name):
    key = f"{app.settings.namespace}:{name}"
    hand.client.set(key, "x", ex=100)
    assert [one.id for one in fsck.check(app.broker)] == [key]
    assert hand.repair() == []


def test_a_name_that_is_no_text_is_told(hand, app, job):
    hand.client.set(f"{app.settings.namespace}:".encode() + b"\xff\n\x1b", "x")
    (finding,) = fsck.check(app.broker)
    assert finding.text.isprintable()


@pytest.mark.parametrize(
    "name", ["meta", "jobs", "state", "ready", "delayed", "dead", "ended", "workers", "wake", "r:x", "l:w", "items"]
)
def test_a_key_of_a_wrong_type_is_told(hand, job, name):
    hand.client.delete(hand.key(name))
    hand.client.sadd(hand.key(name), "x")
    hand.client.expire(hand.key(name), 100)
    told(hand, only(hand, "leftover 18", "default", hand.key(name)))


def test_a_registry_of_a_wrong_type_is_told(hand, app, job):
    registry = f"{app.settings.namespace}:queues"
    hand.client.set(registry, "x")
    told(hand, only(hand, "leftover 18", "", registry))


def test_a_worker_whose_name_is_no_text_is_looked_at(hand, job):
    hand.client.hset(hand.key("l:").encode() + b"\xff", "x", "1;1;0;0")
    assert [(one[0], one[1]) for one in hand.findings()] == [("lease 4", "default"), ("partition 1", "default")]
    assert hand.repair() == [True]
    assert [one[0] for one in hand.findings()] == ["partition 1"]


# --- locks, barriers, conditions, data queues


def shared(hand: Hand, tag: str, **keys: dict[str, Any]) -> None:
    for name, content in keys.items():
        key = hand.key(name, tag)
        if any(isinstance(value, str) for value in content.values()):
            hand.client.hset(key, mapping=content)
        else:
            hand.client.zadd(key, content)
        hand.client.expire(key, 100)


def test_more_holders_than_permits_are_told(hand):
    shared(hand, "lock:a", permits={"limit": "1"}, holders={"p/1": 1, "p/2": 2}, fences={"p/1": "1", "p/2": "2"})
    told(hand, only(hand, "coordination 19", "lock:a", "holders"))


def test_a_holder_without_a_number_is_told(hand):
    shared(hand, "semaphore:a", permits={"limit": "1"}, holders={"p/1": 1})
    told(hand, only(hand, "coordination 19", "semaphore:a", "p/1"))


def test_a_number_without_a_holder_is_removed(hand):
    shared(hand, "rlock:a", permits={"limit": "1"}, fences={"p/1": "1"})
    mended(hand, only(hand, "coordination 19", "rlock:a", "p/1"))


def test_a_holder_that_waits_is_taken_out_of_the_line(hand):
    shared(hand, "lock:a", permits={"limit": "1"}, holders={"p/1": 1}, fences={"p/1": "1"}, line={"p/1": 1})
    mended(hand, only(hand, "coordination 19", "lock:a", "p/1"))


def test_a_lease_of_a_party_that_does_not_wait_is_removed(hand):
    shared(hand, "barrier:a", barrier={"parties": "2", "next": "1"}, deadlines={"p/1": 1})
    mended(hand, only(hand, "coordination 19", "barrier:a", "p/1"))


@pytest.mark.parametrize(
    ("barrier", "id_"), [({"parties": "2", "next": "1"}, "next"), ({"parties": "two", "next": "9"}, "parties")]
)
def test_a_barrier_whose_numbers_do_not_fit_is_told(hand, barrier, id_):
    shared(hand, "barrier:a", barrier=barrier, arrived={"p/1": 1})
    told(hand, only(hand, "coordination 19", "barrier:a", id_))


@pytest.mark.parametrize("name", ["waiting", "seen"])
def test_a_waiter_of_a_condition_that_is_half_there_is_put_right(hand, name):
    shared(hand, "condition:a", condition={"lock": "x"}, **{name: {"p/1": 1}})
    mended(hand, only(hand, "coordination 19", "condition:a", "p/1"))


def test_a_claim_without_an_item_is_removed(hand, app):
    app.Queue("items").put("x")
    shared(hand, "items", claims={"7": 10**17})
    hand.client.persist(hand.key("claims", "items"))
    mended(hand, only(hand, "coordination 19", "items", "7"))


def test_a_claimed_item_without_a_lease_comes_back(hand, app):
    items = app.Queue("items")
    items.put("x")
    claim = items.claim(lease=0.5)
    claim.__enter__()
    hand.client.delete(hand.key("claims", "items"))
    name = hand.client.hkeys(hand.key("claimed", "items"))[0].decode()
    mended(hand, only(hand, "coordination 19", "items", name))
    assert items.get(timeout=20) == "x"


def test_a_tally_that_is_to_be_forgotten_is_told(hand, app):
    app.Queue("items").put("x")
    hand.client.expire(hand.key("tally", "items"), 100)
    told(hand, only(hand, "coordination 19", "items", "tally"))


def test_a_primitive_without_a_time_to_live_gets_one(hand, app):
    app.Event("go").set()
    key = hand.key("event", "event:go")
    hand.client.persist(key)
    mended(hand, only(hand, "leftover 18", "event:go", key))


def test_what_is_held_at_rest_is_told_by_strict_alone(hand, app):
    with app.Lock("a"):
        assert hand.findings() == []
        told(hand, only(hand, "rest 3", "lock:a", "holders", strict=True))


# --- the methods


def test_only_the_named_queues_are_looked_at(hand, app, job):
    app.Queue("other").qsize()
    hand.client.zadd(hand.key("ready"), {"ghost": 1})
    assert list(app.inspect.fsck(queue="other")) == []
    assert len(list(app.inspect.fsck(queue=["other", "default"]))) == 1


def test_a_queue_that_is_unknown_is_refused(app, job):
    with pytest.raises(UnknownQueue, match="did you mean 'default'"):
        app.inspect.fsck(queue="defualt")
    with pytest.raises(InvalidQueueName):
        app.inspect.fsck(queue="a b")


def test_what_was_put_right_meanwhile_is_not_repaired_again(hand, app, job):
    hand.client.zadd(hand.key("ready"), {"ghost": 1})
    (finding,) = app.inspect.fsck()
    assert app.control.repair(finding)
    assert not app.control.repair(finding)


def test_a_coroutine_looks_and_repairs(hand, app, job):
    hand.client.zadd(hand.key("ready"), {"ghost": 1})

    async def mend() -> list[bool]:
        return [await app.control.aio.repair(one) async for one in app.inspect.aio.fsck(strict=True)]

    assert asyncio.run(mend()) == [True]
    assert hand.findings(strict=True) == []


def test_every_job_of_a_large_queue_is_looked_at(hand, add):
    sent = add.delay_many(range(3000))
    lost = [result.unique for result in sent][::3]
    hand.client.zrem(hand.key("ready"), *lost)
    assert {id_ for _, _, id_ in hand.findings()} == set(lost)
    assert hand.repair() == [True] * 1000
    assert hand.findings() == []


def test_the_calls_do_not_grow_with_the_workers(hand, app, add, monkeypatch):
    add.delay_many(range(2000))
    seen = count_surveys(app, monkeypatch)
    assert hand.findings() == []
    alone = len(seen)
    hand.client.zadd(hand.key("workers"), {f"w{number}": 10**17 for number in range(1000)})
    assert hand.findings() == []
    assert len(seen) - alone <= alone


def test_a_worker_between_each_two_pages_does_not_end_the_look(hand, app, add, monkeypatch):
    """Each page is read at its second try, and their sum is more than one page may have."""
    monkeypatch.setattr(fsck, "TRIES", 3)
    add.delay_many(range(3000))

    def enter(seen: list[str]) -> None:
        hand.client.zadd(hand.key("workers"), {f"w{len(seen) // 2}": 10**17})

    seen = count_surveys(app, monkeypatch, enter)
    assert hand.findings() == []
    assert len(seen) > 2 * fsck.TRIES


def test_a_job_is_repaired_although_a_worker_came_meanwhile(hand, app, job):
    hand.client.zadd(hand.key("ready"), {"ghost": 1})
    (finding,) = app.inspect.fsck()
    hand.client.zadd(hand.key("workers"), {"new": 10**17})
    assert app.control.repair(finding)
    assert hand.findings() == []


def test_a_repair_for_which_workers_come_too_fast_is_refused(hand, app, job, monkeypatch):
    hand.client.zadd(hand.key("ready"), {"ghost": 1})
    (finding,) = app.inspect.fsck()
    monkeypatch.setattr(fsck, "TRIES", 3)
    seen = list[str]()
    whole = app.broker.run

    def run(call):
        seen.append(call.script.name)
        hand.client.zadd(hand.key("workers"), {f"w{len(seen)}": 10**17})
        return whole(call)

    monkeypatch.setattr(app.broker, "run", run)
    with pytest.raises(BrokerError, match="come and go too fast"):
        app.control.repair(finding)
    assert seen == ["mend"] * 3


def test_a_producer_on_a_slow_link_gives_no_false_alarm(hand, app, job, monkeypatch):
    """It has declared its queue, and lists it a round trip later."""
    monkeypatch.undo()
    hand.client.srem(f"{app.settings.namespace}:queues", "default")
    late = threading.Timer(0.3, lambda: app.broker.read(jobs.register_queue(app.settings.namespace, "default")))
    late.start()
    assert hand.findings() == []
    late.join()


def test_a_server_that_is_away_is_told(namespace, start_server):
    server = start_server()
    with client_app("client", server.url, namespace, call_deadline=0.2) as app:
        app.tasks["add"].delay(1)
        server.kill()
        with pytest.raises((BrokerUnavailable, Indeterminate)):
            list(app.inspect.fsck())
