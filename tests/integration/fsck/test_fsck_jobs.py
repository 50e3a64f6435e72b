"""fsck finds jobs that somebody damaged by hand, and puts right what needs no guess."""

from __future__ import annotations

import math

import pytest
from fsck_kit import mended, only, told

pytestmark = pytest.mark.corrupts
HALF_HOUR = 1800.0  # seconds


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
