"""release.lua: claimed jobs go back uncounted, to their exact place or, where the task is unknown, after a delay."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import NOW, SECOND, Kit, data, job

from taskq.broker import jobs, work
from taskq.model.discipline import Discipline

META = {"discipline": "fifo", "maxsize": "0"}


def seed(kit: Kit, leases: dict[str, str], **more: dict) -> None:
    kit.seed(meta=META, workers={"w": NOW}, lease_w=leases, jobs=dict.fromkeys(leases, data()), **more)


def release(kit: Kit, *given: tuple[str, str, int], worker: str = "w") -> str:
    return kit.run(work.release(kit.keys, worker, given))


def test_a_job_goes_back_with_its_delivery_used(kit: Kit):
    seed(kit, {"a": "3;5.5;1;0", "b": "1;6;0;0"}, state={"a": "2;1;0;1;4\nerr"})
    assert release(kit, ("a", "3", 0)) == "A"
    assert kit.snapshot() == {
        "meta": META,
        "workers": {"w": NOW},
        "jobs": {"a": data(), "b": data()},
        "l:w": {"b": "1;6;0;0"},
        "state": {"a": "3;1;0;1;4\nerr"},
        "ready": {"a": 5.5},
        "wake": ["1"],
    }


@pytest.mark.parametrize("discipline", Discipline)
def test_a_job_goes_back_to_its_exact_place(kit: Kit, discipline):
    kit.declare(discipline)
    kit.worker()
    ranks = [3.0, -1.0, 0.25, -1.0, 0.0]
    kit.run(jobs.enqueue(kit.keys, [job(f"j{n}", priority=rank) for n, rank in enumerate(ranks)]))
    before = kit.read("ready")
    order = kit.claim(5)
    assert release(kit, *[(unique, delivery, 0) for unique, delivery in order[1:4]]) == "AAA"
    release(kit, (*order[0], 0), (*order[4], 0))
    assert kit.read("ready") == before
    assert [unique for unique, _ in kit.claim(5)] == [unique for unique, _ in order]


@pytest.mark.parametrize(
    ("unique", "delivery"), [("a", "2"), ("a", "11"), ("a", ""), ("b", "1"), ("c", "1"), ("a", "0")]
)
def test_what_is_not_held_stays(kit: Kit, unique, delivery):
    seed(kit, {"a": "1;5;0;0"})
    kit.seed(lease_v={"b": "1;6;0;0"})
    before = kit.snapshot()
    call = work.release(kit.keys, "w", [(unique, delivery, 0)])
    if delivery == "":
        kit.refused(call, "TASKQ_ARGS")
    else:
        assert kit.run(call) == "S"
    assert kit.snapshot() == before


def test_a_suspect_waits_apart_again(kit: Kit):
    seed(kit, {"a": "2;5;0;1"}, state={"a": "1;0;1;0;0"})
    assert release(kit, ("a", "2", 0)) == "A"
    assert kit.read("suspect") == {"a": NOW}
    assert kit.read("ready") is None
    assert kit.read("wake") is None


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        (None, "1;0;0;0;1", {"delayed": {"a": NOW + 1500_000}, "wake": ["1"]}),
        ("0;2;0;1;18\ne", "1;2;0;1;19\ne", {"delayed": {"a": NOW + 1500_000}, "wake": ["1"]}),
        ("0;0;0;0;19", "1;0;0;0;20", {"delayed": {"a": NOW + 1500_000}, "wake": ["1"]}),
        ("0;0;0;0;20", "1;0;0;0;21", {"ended": {"a": "unknown"}}),
        ("0;0;1;0;0", "1;0;1;0;1", {"suspect": {"a": NOW + 1500_000}, "wake": ["1"]}),
        ("0;0;0;2;0", "1;0;0;2;1", {"suspect": {"a": NOW + 1500_000}, "wake": ["1"]}),
    ],
)
def test_a_deferred_job_waits_and_after_twenty_times_ends(kit: Kit, before, after, place):
    seed(kit, {"a": "1;5;0;0"}, **({"state": {"a": before}} if before else {}))
    assert release(kit, ("a", "1", 1500)) == "A"
    assert kit.snapshot() == {
        "meta": META, "workers": {"w": NOW}, "jobs": {"a": data()}, "state": {"a": after}, **place,
    }  # fmt: skip


def test_the_delivery_grows_over_release_claim_and_deferral(kit: Kit):
    kit.declare()
    kit.worker()
    kit.run(jobs.enqueue(kit.keys, [job("a")]))
    deliveries = []
    for defer in (0, 5, 0, 0, 5):
        [(unique, delivery)] = kit.claim(1)
        deliveries.append(delivery)
        release(kit, (unique, delivery, defer))
        kit.advance(1)
    assert deliveries == ["1", "2", "3", "4", "5"]


def test_a_repeated_call_changes_nothing(kit: Kit):
    seed(kit, {"a": "1;5;0;0", "b": "1;6;0;0"})
    release(kit, ("a", "1", 0), ("b", "1", 7))
    before = kit.snapshot()
    assert release(kit, ("a", "1", 0), ("b", "1", 7)) == "SS"
    assert kit.snapshot() == before


def test_a_late_duplicate_does_not_take_a_later_claim(kit: Kit):
    kit.declare()
    kit.worker()
    kit.run(jobs.enqueue(kit.keys, [job("a")]))
    assert kit.claim() == [("a", "1")]
    release(kit, ("a", "1", 0))
    assert kit.claim() == [("a", "2")]
    assert release(kit, ("a", "1", 0)) == "S"
    assert kit.read("l:w") == {"a": f"2;{NOW};0;0"}


def test_a_paused_queue_gets_no_token_for_ready_jobs(kit: Kit):
    seed(kit, {"a": "1;5;0;0"})
    kit.seed(meta={"paused": "1"})
    release(kit, ("a", "1", 0))
    assert kit.read("wake") is None


def test_a_damaged_lease_goes_to_quarantine(kit: Kit):
    seed(kit, {"a": "1;there"})
    assert release(kit, ("a", "1", 0)) == "A"
    assert kit.snapshot() == {
        "meta": META | {"quarantined": "1"}, "workers": {"w": NOW}, "jobs": {"a": data()}, "quarantine": {"a": NOW},
    }  # fmt: skip


@pytest.mark.parametrize("bad", [("a", "1", -1), ("a", "1", "nan"), ("a", "x", 0), ("a", "1")])
def test_malformed_arguments_are_refused_with_the_whole_call(kit: Kit, bad):
    seed(kit, {"a": "1;5;0;0", "b": "1;6;0;0"})
    call = work.release(kit.keys, "w", [("b", "1", 0)])
    kit.refused(dataclasses.replace(call, arguments=[*call.arguments, *bad]), "TASKQ_ARGS")


def test_jobs_of_another_worker_cannot_be_released(kit: Kit):
    seed(kit, {"a": "1;5;0;0"})
    assert release(kit, ("a", "1", 0), worker="v") == "S"
    assert kit.read("l:w") == {"a": "1;5;0;0"}


def test_deferral_is_counted_by_the_servers_clock(kit: Kit):
    seed(kit, {"a": "1;5;0;0"})
    release(kit, ("a", "1", 1000))
    kit.advance(0.999999)
    assert kit.claim() == []
    kit.advance(0.000001)
    assert kit.claim() == [("a", "2")]
    assert kit.now == NOW + SECOND
