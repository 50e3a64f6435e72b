"""audit.lua: what a queue's invariants speak of as a whole is read at one moment."""

from __future__ import annotations

from broker_kit import NOW, Kit, data

from taskq.broker import checking
from taskq.broker.findings import Audit


def test_lengths_settings_and_who_has_jobs_are_read(kit: Kit):
    kit.declare()
    kit.seed(
        jobs=dict.fromkeys("abcde", data()), ready={"a": 1}, dead={"b": 1, "c": 1}, quarantine={"d": 1}, wake=["1"],
        ended={"e": "expired"}, outbox={"q/x": "0\n"}, lease_v={"f": "1;1;0;0"}, lease_w={"g": "1;1;0;0"},
        workers={"v": NOW},
    )  # fmt: skip
    before = kit.snapshot()
    assert kit.run(checking.audit(kit.keys, ["u", "v", "w"])) == Audit(
        1, 1, 5, 2, 1, 1, 1, {"u": (0, False), "v": (1, True), "w": (1, False)}, {"discipline": "fifo", "maxsize": "0"}
    )
    assert kit.snapshot() == before


def test_a_queue_that_is_not_there_is_empty(kit: Kit):
    assert kit.run(checking.audit(kit.keys, [])) == Audit(0, 0, 0, 0, 0, 0, 0, {}, {})
