"""relay.lua: follow-ups of other queues' jobs are accepted once each, also after they have ended."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import NOW, Kit, data, job

from taskq.broker import jobs
from taskq.broker.jobs import MARK_MS
from taskq.model.discipline import Discipline
from taskq.model.job import Job


def test_an_undeclared_queue_takes_nothing(kit: Kit):
    assert kit.run(jobs.relay(kit.keys, [job("a")])) == "U"
    assert kit.snapshot() == {}


@pytest.mark.parametrize(
    ("discipline", "scores"),
    [("fifo", {"a": NOW, "b": NOW + 1}), ("lifo", {"a": -NOW, "b": -NOW - 1}), ("priority", {"a": -0.5, "b": 0})],
)
def test_follow_ups_become_ready_or_delayed(kit: Kit, discipline, scores):
    kit.declare(Discipline(discipline))
    batch = [job("a", "1", priority=-0.5), job("b", "2"), job("c", "3", delay_ms=7)]
    assert kit.run(jobs.relay(kit.keys, batch)) == "AAA"
    assert kit.snapshot() == {
        "meta": {"discipline": discipline, "maxsize": "0", "seq": str(NOW + 1), "enqueued": "3"},
        "jobs": {"a": data("1", priority=-0.5), "b": data("2"), "c": data("3")},
        "ready": scores,
        "delayed": {"c": NOW + 7000},
        "wake": ["1"],
        "m:a": "1",
        "m:b": "1",
        "m:c": "1",
    }


def test_the_mark_is_kept_for_minutes(kit: Kit):
    kit.declare()
    kit.run(jobs.relay(kit.keys, [job("a")]))
    assert MARK_MS - 60_000 < kit.ttl("m:a") <= MARK_MS


def test_follow_ups_pass_the_bound(kit: Kit):
    kit.declare(maxsize=1)
    assert kit.run(jobs.relay(kit.keys, [job("a"), job("b")])) == "AA"


@pytest.mark.parametrize("known", [{"jobs": {"a": data("other")}}, {"result_a": "record"}, {"mark_a": "1"}])
def test_a_known_id_is_not_accepted_again(kit: Kit, known):
    kit.declare()
    kit.seed(**known)
    before = kit.snapshot()
    assert kit.run(jobs.relay(kit.keys, [job("a")])) == "D"
    assert kit.snapshot() == before


def test_a_repeated_relay_changes_nothing(kit: Kit):
    kit.declare()
    call = jobs.relay(kit.keys, [job("a"), job("b", delay_ms=5)])
    kit.run(call)
    before = kit.snapshot()
    assert kit.run(call) == "DD"
    assert kit.snapshot() == before


@pytest.mark.fault(39)
def test_a_repeated_relay_changes_nothing_after_the_job_is_done(kit: Kit):
    kit.declare()
    call = jobs.relay(kit.keys, [job("a")])
    kit.run(call)
    kit.command("DEL", kit.keys.key("jobs"), kit.keys.key("ready"))
    assert kit.run(call) == "D"
    assert kit.read("ready") is None


def test_a_paused_queue_wakes_nobody(kit: Kit):
    kit.declare()
    kit.seed(meta={"paused": "1"})
    kit.run(jobs.relay(kit.keys, [job("a")]))
    assert kit.read("wake") is None


@pytest.mark.parametrize(
    "bad",
    [
        Job("a", b"", 0), Job("a", b"0;;;;\nx"), Job("a", b"1000;;;;\nx"), Job("a b", b"2;;;;\nx"),
        Job("a", b"2;;;;\nx", "soon"), Job("a b", b"1;;;;\nx"), Job("a", b"1;;;;nan\nx"),
        Job("a", b"1;;;;\nx", "soon"), Job("a", b"1;x;;;\nx"),
    ],
)  # fmt: skip
def test_a_malformed_message_does_not_hold_up_the_others(kit: Kit, bad):
    kit.declare()
    assert kit.run(jobs.relay(kit.keys, [job("b"), bad, job("c")])) == "AXA"
    assert set(kit.read("jobs")) == {"b", "c"}
    assert kit.counters() == {"enqueued": 2}


@pytest.mark.parametrize("change", ["keys", "arguments", "mark"])
def test_keys_and_values_that_do_not_fit_are_refused(kit: Kit, change):
    kit.declare()
    call = jobs.relay(kit.keys, [job("a"), job("b")])
    if change == "keys":
        call = dataclasses.replace(call, keys=call.keys[:-1])
    elif change == "arguments":
        call = dataclasses.replace(call, arguments=call.arguments[:-1])
    else:
        call = dataclasses.replace(call, arguments=[0, *call.arguments[1:]])
    kit.refused(call, "TASKQ_ARGS")


@pytest.mark.parametrize("name", ["meta", "jobs", "ready", "delayed", "wake"])
def test_a_key_of_a_wrong_type_is_noticed_before_the_first_write(kit: Kit, name):
    kit.declare()
    kit.command("DEL", kit.keys.key(name))
    kit.seed(**{name: "text"})
    kit.refused(jobs.relay(kit.keys, [job("a")]), "WRONGTYPE")


def test_two_hundred_follow_ups_fit_one_call(kit: Kit):
    kit.declare()
    assert kit.run(jobs.relay(kit.keys, [job(f"j{n}") for n in range(600)])) == "A" * 600
