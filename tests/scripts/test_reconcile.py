"""reconcile.lua: what is leased to a worker that does not hold it comes back; what it holds without a lease is told."""

from __future__ import annotations

import pytest
from broker_kit import NOW, Kit, data

from taskq.broker import workers
from taskq.errors import Fenced

META = {"discipline": "fifo", "maxsize": "0"}


def seed(kit: Kit, leases: dict[str, str]) -> None:
    kit.seed(meta=META, workers={"w": NOW}, lease_w=leases, jobs=dict.fromkeys(leases, data()))


def test_a_lost_claim_goes_back_to_its_place_uncounted(kit: Kit):
    seed(kit, {"a": "1;5;0;0", "b": "2;6;1;0", "c": "1;7;0;1"})
    kit.seed(state={"b": "1;1;0;0;0\nerr"})
    assert kit.run(workers.reconcile(kit.keys, "w", [])) == (3, [])
    assert kit.snapshot() == {
        "meta": META,
        "workers": {"w": NOW},
        "jobs": dict.fromkeys("abc", data()),
        "state": {"a": "1;0;0;0;0", "b": "2;1;0;0;0\nerr", "c": "1;0;0;0;0"},
        "ready": {"a": 5, "b": 6},
        "suspect": {"c": NOW},
        "wake": ["1"],
    }


@pytest.mark.parametrize(
    ("held", "answer", "left"),
    [
        (["a", "b"], (0, []), {"a", "b"}),
        (["b"], (1, []), {"b"}),
        (["b", "x", "y"], (1, ["x", "y"]), {"b"}),
        (["x"], (2, ["x"]), set()),
        (["a", "a", "b"], (0, []), {"a", "b"}),
    ],
)
def test_both_sides_are_compared(kit: Kit, held, answer, left):
    seed(kit, {"a": "1;5;0;0", "b": "1;6;0;0"})
    assert kit.run(workers.reconcile(kit.keys, "w", held)) == answer
    assert set(kit.read("l:w") or {}) == left


def test_a_worker_without_a_lease_is_fenced(kit: Kit):
    seed(kit, {"a": "1;5;0;0"})
    kit.command("DEL", kit.keys.key("workers"))
    before = kit.snapshot()
    with pytest.raises(Fenced):
        kit.run(workers.reconcile(kit.keys, "w", []))
    assert kit.snapshot() == before


@pytest.mark.parametrize("held", [[], ["a"], ["a", "x", "y"]])
def test_a_repeated_call_gives_back_no_later_claim(kit: Kit, held):
    seed(kit, {"a": "1;5;0;0", "b": "1;6;0;0"})
    kit.replays(workers.reconcile(kit.keys, "w", held))


def test_a_paused_queue_gets_no_token(kit: Kit):
    seed(kit, {"a": "1;5;0;0"})
    kit.seed(meta={"paused": "1"})
    kit.run(workers.reconcile(kit.keys, "w", []))
    assert kit.read("wake") is None


def test_a_lease_without_a_job_is_dropped(kit: Kit):
    seed(kit, {"a": "1;5;0;0"})
    kit.seed(state={"a": "1;0;0;0;0"})
    kit.command("DEL", kit.keys.key("jobs"))
    assert kit.run(workers.reconcile(kit.keys, "w", [])) == (1, [])
    assert kit.snapshot() == {"meta": META, "workers": {"w": NOW}}


@pytest.mark.parametrize("lease", ["garbage", "1;nan;0;0", ""])
def test_a_damaged_lease_goes_to_quarantine_with_its_job(kit: Kit, lease):
    seed(kit, {"a": lease})
    assert kit.run(workers.reconcile(kit.keys, "w", [])) == (1, [])
    assert kit.snapshot() == {
        "meta": META | {"quarantined": "1"}, "workers": {"w": NOW}, "jobs": {"a": data()}, "quarantine": {"a": NOW},
    }  # fmt: skip


def test_a_thousand_jobs_are_compared(kit: Kit):
    leases = {f"j{n}": f"1;{n};0;0" for n in range(2000)}
    seed(kit, leases)
    held = [f"j{n}" for n in range(0, 2000, 2)]
    assert kit.run(workers.reconcile(kit.keys, "w", held)) == (1000, [])
    assert set(kit.read("l:w")) == set(held)
