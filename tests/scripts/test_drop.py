"""drop.lua: dead and quarantined jobs are forgotten for good."""

from __future__ import annotations

import pytest
from broker_kit import NOW, Kit, data

from taskq.broker import browsing


def test_dead_and_quarantined_jobs_are_gone_and_nothing_else(kit: Kit):
    kit.seed(
        jobs=dict.fromkeys("abcd", data()),
        state={"a": "1;1;0;0;0", "c": "2;0;0;0;0"},
        dead={"a": NOW, "d": NOW},
        quarantine={"b": NOW},
        ready={"c": 1},
        result_a="record",
    )
    before = kit.snapshot()
    assert kit.run(browsing.drop(kit.keys, ["a", "b", "c", "unknown"])) == 2
    before["jobs"] = {"c": data(), "d": data()}
    before["state"] = {"c": "2;0;0;0;0"}
    before["dead"] = {"d": NOW}
    del before["quarantine"]
    assert kit.snapshot() == before


def test_a_job_in_order_that_came_back_under_a_damaged_ones_id_stays(kit: Kit):
    places = {"ready": {"a": 1}, "delayed": {"b": 1}, "suspect": {"c": 1}, "ended": {"d": "expired"}}
    kit.seed(jobs=dict.fromkeys("abcdef", data()), quarantine=dict.fromkeys("abcdef", NOW), **places)
    kit.seed(lease_w={"e": "1;5;0;0"})
    assert kit.run(browsing.drop(kit.keys, list("abcdef"), ["v", "w"])) == 6
    places = {
        place: {one: score if place == "ended" else 1.0 for one, score in jobs.items()}
        for place, jobs in places.items()
    }
    assert kit.snapshot() == {"jobs": dict.fromkeys("abcde", data()), "l:w": {"e": "1;5;0;0"}, **places}


def test_a_repeated_call_drops_no_more(kit: Kit):
    kit.seed(jobs={"a": data()}, dead={"a": NOW})
    kit.replays(browsing.drop(kit.keys, ["a"]))


def test_more_than_a_hundred_are_refused(kit: Kit):
    kit.refused(browsing.drop(kit.keys, [f"j{number}" for number in range(101)]), "TASKQ_ARGS")


@pytest.mark.parametrize("count", [0, 100])
def test_up_to_a_hundred_are_taken(kit: Kit, count):
    kit.seed(dead={f"j{number}": NOW for number in range(100)})
    assert kit.run(browsing.drop(kit.keys, [f"j{number}" for number in range(count)])) == count
