"""mend_lease.lua: a worker with jobs and no lease is entered as one whose lease is over."""

from __future__ import annotations

from broker_kit import NOW, SECOND, TIMES, Kit, data

from taskq.broker import checking, workers


def test_its_jobs_are_reaped_then(kit: Kit):
    kit.seed(meta={"discipline": "fifo", "tick": str(NOW), "grace": "0"}, jobs={"a": data()}, lease_w={"a": "1;5;0;0"})
    assert kit.run(workers.reap(kit.keys, "w", TIMES)) == (0, -1)
    assert kit.run(checking.mend_lease(kit.keys, "w"))
    assert kit.run(workers.reap(kit.keys, "w", TIMES)) == (1, 0)
    assert kit.read("ready") == {"a": 5}


def test_a_worker_that_is_entered_keeps_its_lease(kit: Kit):
    kit.seed(lease_w={"a": "1;5;0;0"}, workers={"w": NOW + SECOND})
    assert not kit.run(checking.mend_lease(kit.keys, "w"))
    assert kit.read("workers") == {"w": NOW + SECOND}


def test_a_worker_without_jobs_is_not_entered(kit: Kit):
    assert not kit.run(checking.mend_lease(kit.keys, "w"))
    assert kit.snapshot() == {}
