"""refuse.lua: a queue refuses new jobs while a worker has lately seen that the server may evict them."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import NOW, NOW_MS, SECOND, Kit, data, job

from taskq.broker import jobs, queues
from taskq.broker.queues import Refusal
from taskq.model.discipline import Discipline

META = {"discipline": "fifo", "maxsize": "0"}
WHY = "maxmemory-policy is 'allkeys-lru'"
MARK = f"{NOW_MS} 60000 {NOW_MS} {WHY}"
NO_MARKS = [  # what is no refusal, or none any more
    "", "garbage", f"{NOW_MS} 60000 {NOW_MS}", f"{NOW_MS} 60000 {NOW_MS} ", f"x 60000 {NOW_MS} {WHY}",
    f"{NOW_MS} nan {NOW_MS} {WHY}", f"{NOW_MS} 43200001 {NOW_MS} {WHY}", f"{NOW_MS} 60000 {NOW_MS + 1} {WHY}",
    f"{NOW_MS} 60000 99999999999999999 {WHY}", f"{NOW_MS} 60000 {NOW_MS} two\nlines", f" {MARK}", f"-{MARK}",
    f"{NOW_MS - 180_001} 60000 0 {WHY}", f"{NOW_MS + 180_001} 60000 0 {WHY}",
]  # fmt: skip
BATCHES = [["n"], ["n", "o"], ["known", "n"]]


def test_the_mark_tells_when_a_worker_looked_until_when_and_why(kit: Kit):
    kit.declare()
    assert kit.run(queues.refuse(kit.keys, WHY, 60.0)) is True
    assert kit.snapshot() == {"meta": META | {"refusal": MARK}}


def test_the_mark_is_renewed_and_keeps_since_when(kit: Kit):
    kit.seed(meta=META | {"refusal": MARK})
    kit.advance(60)
    kit.run(queues.refuse(kit.keys, "other", 1.2))
    assert kit.read("meta")["refusal"] == f"{NOW_MS + 60_000} 1200 {NOW_MS} other"


@pytest.mark.parametrize("stored", NO_MARKS)
def test_what_is_no_mark_is_replaced(kit: Kit, stored):
    kit.seed(meta=META | {"refusal": stored})
    kit.run(queues.refuse(kit.keys, WHY, 60.0))
    assert kit.read("meta")["refusal"] == MARK


@pytest.mark.parametrize("stored", [None, MARK, "garbage"])
def test_it_is_taken_away(kit: Kit, stored):
    kit.seed(meta=META | ({} if stored is None else {"refusal": stored}))
    assert kit.run(queues.refuse(kit.keys, "", 60.0)) is False
    assert kit.snapshot() == {"meta": META}


def test_nothing_is_written_where_there_is_nothing(kit: Kit):
    kit.run(queues.refuse(kit.keys, "", 60.0))
    assert kit.snapshot() == {}


def test_a_queue_that_nobody_declared_refuses_and_leaves_nothing(kit: Kit):
    kit.run(queues.refuse(kit.keys, WHY, 10.0))
    assert 29_000 < kit.ttl("meta") <= 30_000
    kit.run(queues.declare(kit.keys, Discipline.FIFO, None, "me"))
    kit.refused(jobs.enqueue(kit.keys, [job("a")]), "TASKQ_REFUSED")
    assert kit.ttl("meta") > queues.META_TTL_MS - 60_000


@pytest.mark.parametrize(("before", "least"), [(1000, 29_000), (50_000, 49_000)])
def test_what_an_undeclared_queue_has_lives_as_long_as_the_longest(kit: Kit, before, least):
    kit.seed(meta={"tick": "1"})
    kit.command("PEXPIRE", kit.keys.key("meta"), before)
    kit.run(queues.refuse(kit.keys, WHY, 10.0))
    assert least < kit.ttl("meta") <= least + 1000


def test_settings_without_an_end_are_not_given_one(kit: Kit):
    kit.declare()
    kit.run(queues.refuse(kit.keys, WHY, 60.0))
    assert kit.ttl("meta") == -1


@pytest.mark.parametrize("every", [0, -1, 43_200_001, "nan", "", 1.5])
def test_a_time_that_cannot_be_is_refused(kit: Kit, every):
    kit.declare()
    call = queues.refuse(kit.keys, WHY, 1.0)
    kit.refused(dataclasses.replace(call, arguments=[every, WHY]), "TASKQ_ARGS")


@pytest.mark.parametrize("why", ["two\nlines", "\x1b[2J", "x" * 301])
def test_a_reason_that_is_no_line_is_refused(kit: Kit, why):
    kit.declare()
    kit.refused(queues.refuse(kit.keys, why, 1.0), "TASKQ_ARGS")


def test_a_key_of_a_wrong_type_is_refused(kit: Kit):
    kit.seed(meta="text")
    kit.refused(queues.refuse(kit.keys, WHY, 1.0), "WRONGTYPE")


# --- what it does to producers


@pytest.fixture
def refusing(kit: Kit) -> Kit:
    """A queue that refuses new jobs, and has two."""
    kit.seed(
        meta=META | {"refusal": MARK},
        jobs={"known": data(), "other": data("y")}, ready={"known": 1}, delayed={"other": NOW * 2},
    )  # fmt: skip
    return kit


@pytest.mark.parametrize("batch", BATCHES)
def test_new_jobs_are_refused_whole_with_the_reason(refusing: Kit, batch):
    call = jobs.enqueue(refusing.keys, [job(unique) for unique in batch])
    refusing.refused(call, f"^TASKQ_REFUSED {NOW_MS} {WHY}$")


def test_a_delayed_job_is_refused(refusing: Kit):
    refusing.refused(jobs.enqueue(refusing.keys, [job("n", delay_ms=5)]), "TASKQ_REFUSED")


def test_a_full_queue_refuses_at_once_since_waiting_would_not_help(refusing: Kit):
    refusing.seed(meta={"maxsize": "1"})
    refusing.refused(jobs.enqueue(refusing.keys, [job("n")]), "TASKQ_REFUSED")


@pytest.mark.parametrize(("batch", "letters"), [(["known"], "D"), (["other"], "C"), (["known", "other"], "DC")])
def test_what_was_accepted_before_is_known_all_the_same(refusing: Kit, batch, letters):
    assert refusing.run(jobs.enqueue(refusing.keys, [job(unique) for unique in batch])) == letters


@pytest.mark.parametrize("batch", BATCHES)
def test_what_jobs_send_to_their_own_queue_passes(refusing: Kit, batch):
    letters = refusing.run(jobs.enqueue(refusing.keys, [job(unique) for unique in batch], forced=True))
    assert letters == "".join("D" if unique == "known" else "A" for unique in batch)


def test_follow_ups_pass(refusing: Kit):
    assert refusing.run(jobs.relay(refusing.keys, [job("n"), job("o", delay_ms=5)])) == "AA"


def test_dead_jobs_that_come_back_pass(refusing: Kit):
    refusing.seed(jobs={"d": data()}, dead={"d": NOW})
    assert refusing.run(jobs.requeue(refusing.keys, ["d"])) == 1


def test_its_jobs_are_handed_out(refusing: Kit):
    refusing.worker()
    assert refusing.claim() == [("known", "1")]


@pytest.mark.parametrize("batch", BATCHES)
def test_a_call_that_was_answered_before_is_answered_again(kit: Kit, batch):
    kit.declare()
    call = jobs.enqueue(kit.keys, [job(unique) for unique in batch])
    assert kit.run(call, seq=5) == "A" * len(batch)
    kit.command("HDEL", kit.keys.key("jobs"), *batch)  # they have run
    kit.run(queues.refuse(kit.keys, WHY, 60.0))
    assert kit.run(call, seq=5) == "A" * len(batch)
    kit.refused(call, "TASKQ_STALE", seq=4)
    kit.refused(dataclasses.replace(call, first="else"), "TASKQ_MIXUP", seq=5)
    kit.refused(call, "TASKQ_REFUSED", seq=6)


@pytest.mark.parametrize("batch", BATCHES)
def test_a_refused_call_is_accepted_once_the_server_is_well(refusing: Kit, batch):
    call = jobs.enqueue(refusing.keys, [job(unique) for unique in batch])
    refusing.refused(call, "TASKQ_REFUSED", seq=5)
    refusing.run(queues.refuse(refusing.keys, "", 60.0))
    assert refusing.run(call, seq=5).endswith("A")


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("seconds", [180, -180])
def test_the_mark_holds_for_three_looks(refusing: Kit, batch, seconds):
    refusing.advance(seconds)
    refusing.refused(jobs.enqueue(refusing.keys, [job(unique) for unique in batch]), "TASKQ_REFUSED")


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("stored", NO_MARKS)
def test_a_mark_that_is_dead_or_damaged_goes_with_the_next_job(refusing: Kit, batch, stored):
    refusing.seed(meta={"refusal": stored})
    assert refusing.run(jobs.enqueue(refusing.keys, [job(unique) for unique in batch])).endswith("A")
    assert "refusal" not in refusing.read("meta")


# --- who looks


def test_it_is_told_who_looks(refusing: Kit):
    refusing.advance(170)
    assert refusing.run(queues.inspect(refusing.keys)).refusal == Refusal(WHY, NOW / SECOND)


@pytest.mark.parametrize("stored", NO_MARKS)
def test_what_enqueue_does_not_take_for_a_mark_is_not_told(refusing: Kit, stored):
    refusing.seed(meta={"refusal": stored})
    assert refusing.run(queues.inspect(refusing.keys)).refusal is None
