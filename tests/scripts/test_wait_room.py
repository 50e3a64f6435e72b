"""wait_room.lua: who finds a bounded queue full is told when there is room, first come, first served."""

from __future__ import annotations

import pytest
from broker_kit import Kit, job

from taskq.broker import jobs, queues
from taskq.broker.line import Wait
from taskq.broker.queues import META_TTL_MS
from taskq.model.discipline import Discipline


def fill(kit: Kit, maxsize: int = 2) -> None:
    kit.declare(Discipline.FIFO, maxsize)
    kit.run(jobs.enqueue(kit.keys, [job("a"), job("b", delay_ms=1000)]))


def test_room_is_seen_at_once(kit: Kit):
    fill(kit, maxsize=3)
    assert kit.run(queues.wait_room(kit.keys, "t/1", "0")) is None
    assert "putters" not in kit.snapshot()


def test_queue_without_a_bound_has_room(kit: Kit):
    fill(kit, maxsize=0)
    assert kit.run(queues.wait_room(kit.keys, "t/1", "0")) is None


def test_ready_and_delayed_jobs_count(kit: Kit):
    fill(kit)
    assert kit.run(queues.wait_room(kit.keys, "t/1", "0")) == Wait("1", 2.0)
    assert kit.snapshot()["putters"] == {"t/1": 1}


def test_a_place_is_kept_by_its_turn(kit: Kit):
    fill(kit)
    for address in ("t/1", "t/2", "t/3"):
        kit.run(queues.wait_room(kit.keys, address, "0"))
    assert kit.run(queues.wait_room(kit.keys, "t/9", "1")) == Wait("1", 2.01)
    assert kit.snapshot()["putters"] == {"t/1": 1, "t/9": 1, "t/2": 2, "t/3": 3}


def test_a_call_that_is_repeated_as_its_reply_was_lost_keeps_the_place_that_it_got(kit: Kit):
    fill(kit)
    places = [kit.run(queues.wait_room(kit.keys, address, "0")) for address in ("t/1", "t/2", "t/1")]
    assert places == [Wait("1", 2.0), Wait("2", 2.01), Wait("1", 2.0)]
    assert kit.snapshot()["putters"] == {"t/1": 1, "t/2": 2}


def test_those_behind_look_again_one_after_another(kit: Kit):
    fill(kit)
    waits = [kit.run(queues.wait_room(kit.keys, f"t/{number}", "0")).again for number in range(3)]
    assert waits == [2.0, 2.01, 2.02]


def test_nobody_waits_longer_than_half_a_minute(kit: Kit):
    fill(kit)
    places = [part for number in range(3000) for part in (number + 1, f"t/{number}")]
    kit.command("ZADD", kit.keys.key("putters"), *places)
    assert kit.run(queues.wait_room(kit.keys, "t/last", "4000")).again == 30.0


def test_who_finds_room_leaves_the_line(kit: Kit):
    fill(kit)
    kit.run(queues.wait_room(kit.keys, "t/1", "0"))
    kit.run(queues.declare(kit.keys, Discipline.FIFO, 3, "me"))
    assert kit.run(queues.wait_room(kit.keys, "t/1", "1")) is None
    assert "putters" not in kit.snapshot()


def test_the_line_goes_with_its_queue(kit: Kit):
    fill(kit)
    kit.run(queues.wait_room(kit.keys, "t/1", "0"))
    assert META_TTL_MS - 60_000 < kit.ttl("putters") <= META_TTL_MS


@pytest.mark.parametrize(("address", "turn"), [("", "0"), ("t/1", ""), ("t/1", "x"), ("t/1", "-1")])
def test_arguments_out_of_range_are_refused(kit: Kit, address, turn):
    fill(kit)
    kit.refused(queues.wait_room(kit.keys, address, turn), "TASKQ_ARGS")
