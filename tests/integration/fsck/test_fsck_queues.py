"""fsck finds queues and keys that somebody damaged by hand, and puts right what needs no guess."""

from __future__ import annotations

import pytest
from coordination_kit import until
from fsck_kit import mended, only, told
from handworker import HandWorker

from taskq.broker import fsck, jobs, workers
from taskq.broker.findings import MAX_DEAD, MAX_QUARANTINE

pytestmark = pytest.mark.corrupts


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
    [
        ("maxsize", "many", "counters 17"),
        ("discipline", "random", "leftover 18"),
        ("schema", "99", "leftover 18"),
        ("refusal", "by hand", "leftover 18"),
    ],
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
