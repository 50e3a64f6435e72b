"""pause.lua: a paused queue takes jobs and hands out none."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import NOW, Kit, data

from taskq.broker import queues


def test_a_pause_takes_the_token_away(kit: Kit):
    kit.declare()
    kit.seed(jobs={"a": data()}, ready={"a": 5}, wake=["1"])
    before = kit.snapshot()
    assert kit.run(queues.pause(kit.keys, True)) is True
    del before["wake"]
    before["meta"]["paused"] = "1"
    assert kit.snapshot() == before


@pytest.mark.parametrize("places", [{"ready": {"a": 5}}, {"delayed": {"a": NOW}}, {"suspect": {"a": NOW}}, {}])
def test_a_resumed_queue_wakes_a_worker_whatever_waits(kit: Kit, places):
    kit.declare()
    kit.seed(meta={"paused": "1"}, **places)
    assert kit.run(queues.pause(kit.keys, False)) is False
    assert kit.read("wake") == ["1"]
    assert kit.read("meta")["paused"] == "0"


def test_a_queue_that_nobody_declared_cannot_be_paused(kit: Kit):
    kit.run(queues.pause(kit.keys, True))
    assert (kit.snapshot(), kit.sessions()) == ({}, {})


@pytest.mark.parametrize("paused", [True, False])
def test_a_late_duplicate_does_not_pause_again(kit: Kit, paused):
    kit.declare()
    kit.replays(queues.pause(kit.keys, paused))


@pytest.mark.parametrize("value", ["", "2", "true"])
def test_anything_but_0_and_1_is_refused(kit: Kit, value):
    kit.declare()
    kit.refused(dataclasses.replace(queues.pause(kit.keys, True), arguments=[value]), "TASKQ_ARGS")


@pytest.mark.parametrize("name", ["meta", "wake"])
def test_a_key_of_a_wrong_type_is_refused(kit: Kit, name):
    kit.seed(meta={"discipline": "fifo"}) if name == "wake" else None
    kit.seed(**{name: "text"})
    with pytest.raises(Exception, match="WRONGTYPE"):
        kit.run(queues.pause(kit.keys, False))
