"""deregister.lua: a worker leaves; what it still holds is for any reaper."""

from __future__ import annotations

from broker_kit import NOW, SECOND, TIMES, Kit, data

from taskq.broker import workers

LEASES = {"a": "1;5;0;0", "b": "2;6;1;0"}


def test_a_worker_that_holds_nothing_is_gone(kit: Kit):
    kit.seed(workers={"w": NOW + SECOND, "other": NOW})
    assert kit.run(workers.deregister(kit.keys, "w")) == 0
    assert kit.snapshot() == {"workers": {"other": NOW}}


def test_a_worker_that_holds_jobs_is_over_at_once(kit: Kit):
    kit.seed(workers={"w": NOW + SECOND}, lease_w=LEASES)
    assert kit.run(workers.deregister(kit.keys, "w")) == 2
    assert kit.snapshot() == {"workers": {"w": 0}, "l:w": LEASES}


def test_a_worker_that_left_is_reaped_without_waiting_for_its_lease(kit: Kit):
    kit.declare()
    kit.seed(
        workers={"w": NOW + 1000 * SECOND},
        lease_w={"a": "1;5;0;0"},
        jobs={"a": data()},
        meta={"tick": str(NOW), "grace": str(NOW)},
    )
    kit.run(workers.deregister(kit.keys, "w"))
    assert kit.run(workers.reap(kit.keys, "w", TIMES)) == (1, 0)
    assert kit.read("ready") == {"a": 5}


def test_a_worker_that_is_not_registered_stays_so(kit: Kit):
    kit.seed(lease_w=LEASES)
    assert kit.run(workers.deregister(kit.keys, "w")) == 2
    assert kit.snapshot() == {"l:w": LEASES}


def test_a_repeated_call_changes_nothing(kit: Kit):
    kit.seed(workers={"w": NOW + SECOND, "v": NOW}, lease_w=LEASES)
    for worker in "vw":
        first = kit.run(workers.deregister(kit.keys, worker))
        before = kit.snapshot()
        assert kit.run(workers.deregister(kit.keys, worker)) == first
        assert kit.snapshot() == before
