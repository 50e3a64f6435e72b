"""requeue.lua: dead jobs get back in line with a clean history; their delivery number goes on, their lives count."""

from __future__ import annotations

import pytest
from broker_kit import NOW, Kit, data

from taskq.broker import jobs
from taskq.model.discipline import Discipline


def seed(kit: Kit, discipline: Discipline = Discipline.FIFO) -> dict:
    kit.declare(discipline)
    kit.seed(
        jobs={"a": data(priority=-2.5), "b": data(), "c": data(), "l": data()},
        state={"a": "7;3;5;2;4\nerr", "b": "1;1;0;0;0\nerr"},
        dead={"a": NOW - 2, "b": NOW - 1, "c": NOW, "x": NOW},
        lease_w={"l": "1;5;0;0"},
    )
    return kit.snapshot()


@pytest.mark.parametrize(
    ("discipline", "scores"),
    [("fifo", {"b": NOW, "a": NOW + 1}), ("lifo", {"b": -NOW, "a": -NOW - 1}), ("priority", {"b": 0, "a": -2.5})],
)
def test_dead_jobs_become_ready_in_the_order_given(kit: Kit, discipline, scores):
    before = seed(kit, Discipline(discipline))
    assert kit.run(jobs.requeue(kit.keys, ["b", "a"])) == 2
    assert kit.snapshot() == before | {
        "meta": before["meta"] | {"seq": str(NOW + 1), "requeued": "2"},
        "state": {"a": "7;0;0;0;0;1", "b": "1;0;0;0;0;1"},
        "ready": scores,
        "dead": {"c": NOW, "x": NOW},
        "wake": ["1"],
    }


@pytest.mark.parametrize(("state", "after"), [("2;1;0;0;0;1\nerr", "2;0;0;0;0;2"), (None, "0;0;0;0;0;1")])
def test_each_life_is_counted(kit: Kit, state, after):
    seed(kit)
    kit.seed(jobs={"d": data()}, dead={"d": NOW}, **({"state": {"d": state}} if state else {}))
    assert kit.run(jobs.requeue(kit.keys, ["d"])) == 1
    assert kit.snapshot()["state"]["d"] == after


@pytest.mark.parametrize("unique", ["l", "nobody", "x"])
def test_what_is_not_dead_or_has_no_body_stays(kit: Kit, unique):
    before = seed(kit)
    assert kit.run(jobs.requeue(kit.keys, [unique])) == 0
    assert kit.snapshot() == before


def test_only_the_results_of_jobs_that_are_put_back_are_forgotten(kit: Kit):
    seed(kit)
    kit.seed(result_a="old", result_l="other", result_b="old")
    kit.run(jobs.requeue(kit.keys, ["a", "l"]))
    assert {name: kit.read(f"r:{name}") for name in "abl"} == {"a": None, "b": "old", "l": "other"}


def test_a_job_is_as_new_so_that_it_may_start(kit: Kit):
    kit.declare()
    kit.seed(jobs={"a": data(expires_ms=1000)}, dead={"a": NOW})
    kit.advance(60)
    kit.run(jobs.requeue(kit.keys, ["a"]))
    kit.worker()
    assert kit.claim(1) == [("a", "1")]


def test_a_counter_that_hands_made_no_number_counts_anew(kit: Kit):
    seed(kit)
    kit.seed(meta={"requeued": "many"})
    assert kit.run(jobs.requeue(kit.keys, ["a", "b"])) == 2
    assert kit.read("meta")["requeued"] == "2"
    assert set(kit.read("ready")) == {"a", "b"}


def test_an_id_given_twice_is_put_back_once(kit: Kit):
    seed(kit)
    assert kit.run(jobs.requeue(kit.keys, ["a", "a"])) == 1


def test_a_damaged_history_begins_anew(kit: Kit):
    seed(kit)
    kit.seed(state={"a": "garbage"})
    kit.run(jobs.requeue(kit.keys, ["a"]))
    assert kit.read("state")["a"] == "0;0;0;0;0;1"


def test_the_next_delivery_is_higher_than_any_before(kit: Kit):
    seed(kit)
    kit.worker()
    kit.run(jobs.requeue(kit.keys, ["a"]))
    assert kit.claim() == [("a", "8")]


def test_a_paused_queue_gets_no_token(kit: Kit):
    seed(kit)
    kit.seed(meta={"paused": "1"})
    kit.run(jobs.requeue(kit.keys, ["a"]))
    assert kit.read("wake") is None


def test_a_late_duplicate_does_not_run_a_job_once_more(kit: Kit):
    seed(kit)
    kit.replays(jobs.requeue(kit.keys, ["a", "b"]))
    assert kit.counters() == {"requeued": 2}


def test_more_than_a_hundred_are_refused(kit: Kit):
    seed(kit)
    kit.refused(jobs.requeue(kit.keys, [f"j{n}" for n in range(101)]), "TASKQ_ARGS")
    names = [f"j{n}" for n in range(100)]
    kit.seed(jobs=dict.fromkeys(names, data()), dead=dict.fromkeys(names, NOW))
    assert kit.run(jobs.requeue(kit.keys, names)) == 100


@pytest.mark.parametrize("name", ["meta", "jobs", "dead", "state", "ready"])
def test_a_key_of_a_wrong_type_leaves_the_job_dead(kit: Kit, name):
    seed(kit)
    kit.command("DEL", kit.keys.key(name))
    kit.seed(**{name: "text"})
    kit.refused(jobs.requeue(kit.keys, ["a"]), "WRONGTYPE")
