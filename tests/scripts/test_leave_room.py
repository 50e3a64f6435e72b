"""leave_room.lua: who was told of room and does not use it passes that on."""

from __future__ import annotations

from broker_kit import Kit, job

from taskq.broker import jobs, queues
from taskq.broker.keys import channels
from taskq.model.discipline import Discipline


def wait(kit: Kit, *addresses: str) -> None:
    for address in addresses:
        kit.run(queues.wait_room(kit.keys, address, "0"))


def full(kit: Kit) -> None:
    kit.declare(Discipline.FIFO, 1)
    kit.run(jobs.enqueue(kit.keys, [job("a")]))


def test_who_waits_leaves_and_nobody_is_told(kit: Kit, listen):
    full(kit)
    wait(kit, "t/1", "t/2")
    with listen(kit, channels(kit.keys.namespace) + "t") as messages:
        assert kit.run(queues.leave_room(kit.keys, "t/1")) is True
        assert messages(0) == []
    assert kit.snapshot()["putters"] == {"t/2": 2}


def test_who_had_been_told_passes_it_on(kit: Kit, listen):
    full(kit)
    wait(kit, "t/2")
    kit.command("ZREM", kit.keys.key("ready"), "a")
    with listen(kit, channels(kit.keys.namespace) + "t") as messages:
        assert kit.run(queues.leave_room(kit.keys, "t/1")) is False
        assert messages(1) == [b"~2\n"]
    assert "putters" not in kit.snapshot()


def test_without_room_there_is_nothing_to_pass_on(kit: Kit, listen):
    full(kit)
    wait(kit, "t/2")
    with listen(kit, channels(kit.keys.namespace) + "t") as messages:
        assert kit.run(queues.leave_room(kit.keys, "t/1")) is False
        assert messages(0) == []


def test_cancelling_a_job_makes_room(kit: Kit, listen):
    full(kit)
    wait(kit, "gone/7", "t/1", "t/2")
    with listen(kit, channels(kit.keys.namespace) + "t") as messages:
        kit.run(jobs.cancel(kit.keys, "a"))
        assert messages(1) == [b"~1\n"], "who nobody hears for is passed over, and there is room for one"


def test_purging_makes_room(kit: Kit, listen):
    full(kit)
    wait(kit, "t/1")
    with listen(kit, channels(kit.keys.namespace) + "t") as messages:
        kit.run(queues.purge(kit.keys))
        assert messages(1) == [b"~1\n"]


def test_claiming_makes_room_for_as_many(kit: Kit, listen):
    kit.declare(Discipline.FIFO, 3)
    kit.run(jobs.enqueue(kit.keys, [job("a"), job("b"), job("c")]))
    wait(kit, "t/1", "t/2", "t/3")
    kit.worker()
    with listen(kit, channels(kit.keys.namespace) + "t") as messages:
        assert len(kit.claim(2)) == 2
        assert messages(2) == [b"~1\n", b"~2\n"]


def test_a_line_that_was_changed_by_hand_does_not_stop_a_step(kit: Kit):
    kit.declare(Discipline.FIFO, 3)
    kit.run(jobs.enqueue(kit.keys, [job("a")]))
    kit.worker()
    kit.command("SET", kit.keys.key("putters"), "x")
    assert kit.claim(1) == [("a", "1")]
