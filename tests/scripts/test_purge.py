"""purge.lua: waiting jobs end, up to 100 a call; a supervisor makes their results."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import NOW, Kit, data

from taskq.broker import queues


def test_all_that_waits_ends_and_nothing_else(kit: Kit):
    kit.declare()
    kit.seed(
        jobs=dict.fromkeys("abcdef", data()),
        state={"c": "3;0;1;0;0"},
        ready={"a": 5},
        delayed={"b": NOW * 2},
        suspect={"c": NOW},
        dead={"d": NOW},
        lease_w={"e": "1;5;0;0"},
        ended={"f": "expired"},
        wake=["1"],
    )
    before = kit.snapshot()
    assert kit.run(queues.purge(kit.keys)) == (3, 0)
    for gone in ("ready", "delayed", "suspect", "wake"):
        del before[gone]
    before["ended"] |= {"a": "purged", "b": "purged", "c": "purged"}
    assert kit.snapshot() == before


@pytest.mark.parametrize(("limit", "ended", "left"), [(0, 0, 5), (2, 2, 3), (4, 4, 1), (5, 5, 0), (10**6, 5, 0)])
def test_the_limit_goes_over_ready_then_delayed(kit: Kit, limit, ended, left):
    kit.seed(ready={"a": 1, "b": 2, "c": 3}, delayed={"d": NOW, "e": NOW + 1})
    assert kit.run(queues.purge(kit.keys, limit)) == (ended, left)
    assert list(kit.read("ended") or {}) == list("abcde")[:ended]


def test_a_call_ends_at_most_a_hundred(kit: Kit):
    kit.seed(ready={f"r{n}": n for n in range(150)}, delayed={f"d{n}": n for n in range(60)}, wake=["1"])
    assert kit.run(queues.purge(kit.keys, 1000)) == (100, 110)
    assert kit.read("wake") == ["1"]
    assert kit.run(queues.purge(kit.keys, 1000)) == (100, 10)
    assert kit.read("wake") == ["1"]
    assert kit.run(queues.purge(kit.keys, 1000)) == (10, 0)
    assert kit.read("wake") is None


def test_a_repeated_call_ends_no_more(kit: Kit):
    kit.seed(ready={f"r{n}": n for n in range(5)})
    kit.replays(queues.purge(kit.keys, 2))


@pytest.mark.parametrize("limit", [-1, "all", "nan", "1e2", 2.5])
def test_a_limit_that_is_no_number_is_refused(kit: Kit, limit):
    kit.seed(ready={"a": 1})
    kit.refused(dataclasses.replace(queues.purge(kit.keys), arguments=[limit]), "TASKQ_ARGS")


@pytest.mark.parametrize("name", ["ready", "ended"])
def test_a_key_of_a_wrong_type_loses_no_job(kit: Kit, name):
    kit.seed(ready={"a": 1})
    kit.seed(delayed={"b": 1}, jobs={"a": data(), "b": data()})
    kit.command("DEL", kit.keys.key(name))
    kit.seed(**{name: "text"})
    kit.refused(queues.purge(kit.keys), "WRONGTYPE")
