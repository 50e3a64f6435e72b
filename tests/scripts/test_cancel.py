"""cancel.lua: a waiting job is taken out, one with a worker is marked revoked."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import NOW, Kit, data, job

from taskq.broker import jobs, queues, work

DAY_MS = 86_400_000
WAITING = {"ready": {"a": 5}, "delayed": {"a": NOW}, "suspect": {"a": NOW}}


@pytest.mark.parametrize("place", WAITING)
@pytest.mark.parametrize("options", [{}, {"revoke": True}, {"terminate": True}])
def test_a_waiting_job_is_taken_out(kit: Kit, place, options):
    kit.seed(jobs={"a": data(), "b": data()}, **{place: WAITING[place] | {"b": NOW * 2}})
    assert kit.run(jobs.cancel(kit.keys, "a", **options)) == "C"
    assert kit.snapshot() == {
        "jobs": {"a": data(), "b": data()}, place: {"b": NOW * 2}, "ended": {"a": "cancelled"},
    }  # fmt: skip


@pytest.mark.parametrize(("options", "mark"), [({}, None), ({"revoke": True}, "r"), ({"terminate": True}, "t")])
def test_a_job_with_a_worker_is_marked_if_asked(kit: Kit, options, mark):
    kit.seed(jobs={"a": data()}, lease_w={"a": "1;5;0;0"})
    before = kit.snapshot()
    assert kit.run(jobs.cancel(kit.keys, "a", **options)) == "L"
    assert kit.snapshot() == before | ({"revoked": {"a": mark}} if mark else {})


def test_a_mark_is_gone_after_a_day(kit: Kit):
    kit.seed(jobs={"a": data()}, lease_w={"a": "1;5;0;0"})
    kit.run(jobs.cancel(kit.keys, "a", revoke=True))
    assert DAY_MS - 60_000 < kit.ttl("revoked") <= DAY_MS


@pytest.mark.parametrize(("first", "second"), [("revoke", "terminate"), ("terminate", "revoke")])
def test_terminate_is_the_stronger_mark(kit: Kit, first, second):
    kit.seed(jobs={"a": data()}, lease_w={"a": "1;5;0;0"})
    kit.run(jobs.cancel(kit.keys, "a", **{first: True}))
    kit.run(jobs.cancel(kit.keys, "a", **{second: True}))
    assert kit.read("revoked") == {"a": "t"}


@pytest.mark.parametrize("place", [{"dead": {"a": NOW}}, {"quarantine": {"a": NOW}}, {"ended": {"a": "expired"}}])
@pytest.mark.parametrize("options", [{}, {"revoke": True}, {"terminate": True}])
def test_a_job_that_has_ended_stays_as_it_is(kit: Kit, place, options):
    kit.seed(jobs={"a": data()}, **place)
    before = kit.snapshot()
    assert kit.run(jobs.cancel(kit.keys, "a", **options)) == "E"
    assert kit.snapshot() == before


@pytest.mark.parametrize("options", [{}, {"revoke": True}, {"terminate": True}])
def test_an_unknown_job_leaves_no_mark(kit: Kit, options):
    assert kit.run(jobs.cancel(kit.keys, "a", **options)) == "N"
    assert kit.snapshot() == {}


@pytest.mark.parametrize("place", [*WAITING.items(), ("lease_w", {"a": "1;5;0;0"})])
def test_a_repeated_call_has_the_first_answer(kit: Kit, place):
    kit.seed(jobs={"a": data()}, **dict([place]))
    kit.replays(jobs.cancel(kit.keys, "a", terminate=True))


def test_of_two_cancels_one_takes_the_job_out(kit: Kit):
    kit.seed(jobs={"a": data()}, ready={"a": 5})
    answers = [kit.run(jobs.cancel(kit.keys, "a"), session=name) for name in ("one", "two")]
    assert answers == ["C", "E"]


def test_a_cancelled_job_is_claimed_by_nobody(kit: Kit):
    kit.declare()
    kit.worker()
    kit.run(jobs.enqueue(kit.keys, [job("a"), job("b")]))
    kit.run(jobs.cancel(kit.keys, "a"))
    assert kit.claim() == [("b", "1")]


def test_a_claimed_job_cannot_be_taken_out(kit: Kit):
    kit.declare()
    kit.worker()
    kit.run(jobs.enqueue(kit.keys, [job("a")]))
    kit.claim()
    assert kit.run(jobs.cancel(kit.keys, "a")) == "L"
    kit.run(work.step(kit.keys, "w", work.StepRequest(plain=["a", "1"])))
    assert kit.counters() == {"enqueued": 1, "done": 1}


def test_a_revoked_job_that_comes_back_ends_at_the_next_claim(kit: Kit):
    kit.declare()
    kit.worker()
    kit.run(jobs.enqueue(kit.keys, [job("a"), job("b")]))
    kit.claim(1)
    kit.run(jobs.cancel(kit.keys, "a", revoke=True))
    kit.run(work.release(kit.keys, "w", [("a", "1", 0)]))
    assert kit.claim() == [("b", "1")]
    assert kit.read("ended") == {"a": "cancelled"}


def test_a_purged_job_cannot_be_cancelled_any_more(kit: Kit):
    kit.seed(jobs={"a": data()}, ready={"a": 5})
    kit.run(queues.purge(kit.keys))
    assert kit.run(jobs.cancel(kit.keys, "a")) == "E"


def test_an_unknown_way_to_revoke_is_refused(kit: Kit):
    kit.seed(jobs={"a": data()}, lease_w={"a": "1;5;0;0"})
    call = jobs.cancel(kit.keys, "a", revoke=True)
    kit.refused(dataclasses.replace(call, arguments=("a", "x")), "TASKQ_ARGS")


@pytest.mark.parametrize("name", ["jobs", "ended", "dead", "quarantine", "ready", "delayed", "suspect"])
def test_a_key_of_a_wrong_type_is_noticed_before_the_first_write(kit: Kit, name):
    kit.seed(jobs={"a": data()}) if name != "jobs" else None
    kit.seed(**{name: ["x"]})
    kit.refused(jobs.cancel(kit.keys, "a", revoke=True), "WRONGTYPE")
