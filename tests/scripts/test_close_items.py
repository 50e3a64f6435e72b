"""close_items.lua: a queue is shut down, emptied or opened, and whoever that concerns is told."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import Kit

from taskq.broker import items
from taskq.broker.queues import META_TTL_MS
from taskq.broker.results import channel


def close(kit: Kit, shutdown: bool | None = None, drop: bool = False) -> int:
    return kit.run(items.close(kit.keys, shutdown=shutdown, drop=drop))


def put(kit: Kit, *values: str, address: str = "p/1", turn: str = ""):
    return kit.run(items.put(kit.keys, address, [("", value.encode()) for value in values], turn))


def get(kit: Kit, address: str = "g/1", turn: str = "", claim: bool = False):
    return kit.run(items.get(kit.keys, address, most=1, turn=turn, lease=1.0, claim=claim))


def listening(kit: Kit, listen):
    return listen(kit, channel(kit.keys.namespace, "here"))


def test_a_shutdown_keeps_the_items(kit: Kit):
    kit.declare()
    put(kit, "a")
    before = kit.snapshot()
    assert close(kit, shutdown=True) == 0
    before["tally"]["shutdown"] = "1"
    assert kit.snapshot() == before


def test_it_is_taken_back(kit: Kit):
    kit.declare()
    close(kit, shutdown=True)
    assert close(kit, shutdown=False) == 0
    assert put(kit, "a").accepted == 1


def test_a_shutdown_at_once_drops_the_items_as_finished(kit: Kit):
    kit.declare()
    put(kit, "a", "b", "c")
    get(kit)
    assert close(kit, shutdown=True, drop=True) == 2
    assert kit.snapshot() == {
        "meta": {"discipline": "fifo", "maxsize": "0"},
        "tally": {"seq": "3", "unfinished": "1", "shutdown": "1", "immediate": "1"},
    }


def test_a_purge_drops_the_items_and_leaves_the_queue_as_it_is(kit: Kit):
    kit.declare()
    put(kit, "a", "b")
    assert close(kit, drop=True) == 2
    assert kit.read("tally") == {"seq": "2", "unfinished": "0"}


def test_more_drops_than_are_unfinished_count_none_below_zero(kit: Kit):
    kit.declare()
    put(kit, "a", "b")
    kit.run(items.done(kit.keys, 1))
    close(kit, drop=True)
    assert kit.read("tally")["unfinished"] == "0"


def test_claimed_items_are_not_dropped(kit: Kit):
    kit.declare()
    put(kit, "a", "b")
    get(kit, claim=True)
    assert close(kit, shutdown=True, drop=True) == 1
    assert kit.read("claimed") == {"1": "1;0000000000000001a"}
    assert kit.read("tally")["unfinished"] == "1"


@pytest.mark.parametrize("drop", [False, True])
def test_a_shutdown_tells_all_that_wait(kit: Kit, listen, drop):
    kit.declare(maxsize=1)
    put(kit, "a")
    for number in (1, 2, 3):
        put(kit, "x", address=f"here/{number}", turn="0")
    for number in (4, 5, 6):
        kit.command("ZADD", kit.keys.key("getters"), number, f"here/{number}")
    kit.command("ZADD", kit.keys.key("getters"), 5, "gone/5")
    with listening(kit, listen) as heard:
        close(kit, shutdown=True, drop=drop)
        assert sorted(heard(6)) == [b"~%d\n" % number for number in range(1, 7)]
    assert {"getters", "putters"} & set(kit.snapshot()) == set()


def test_a_purge_offers_the_room_and_disturbs_no_getter(kit: Kit, listen):
    kit.declare(maxsize=2)
    put(kit, "a", "b")
    for number in (1, 2, 3):
        put(kit, "x", address=f"here/{number}", turn="0")
    kit.command("ZADD", kit.keys.key("getters"), 9, "here/9")
    with listening(kit, listen) as heard:
        close(kit, drop=True)
        assert heard(3) == [b"~1\n", b"~2\n", b"~3\n2000000"]


def test_a_purge_of_nothing_tells_nobody(kit: Kit, listen):
    kit.declare()
    get(kit, address="here/1", turn="0")
    with listening(kit, listen) as heard:
        assert close(kit, drop=True) == 0
        assert heard(0) == []


def test_joiners_are_told_when_all_that_was_unfinished_is_dropped(kit: Kit, listen):
    kit.declare()
    put(kit, "a", "b")
    kit.run(items.join(kit.keys, "here/1"))
    with listening(kit, listen) as heard:
        close(kit, shutdown=True, drop=True)
        assert heard(1) == [b"~1\n"]


def test_joiners_wait_for_what_was_taken_before(kit: Kit, listen):
    kit.declare()
    put(kit, "a", "b")
    get(kit)
    kit.run(items.join(kit.keys, "here/1"))
    with listening(kit, listen) as heard:
        close(kit, shutdown=True, drop=True)
        assert heard(0) == []
        kit.run(items.done(kit.keys, 1))
        assert heard(1) == [b"~1\n"]


def test_the_tally_stays_only_as_long_as_there_are_items(kit: Kit):
    kit.declare()
    close(kit, shutdown=True)
    assert META_TTL_MS - 60_000 < kit.ttl("tally") <= META_TTL_MS
    close(kit, shutdown=False)
    put(kit, "a")
    close(kit, shutdown=True)
    assert kit.ttl("tally") == -1
    close(kit, drop=True)
    assert kit.ttl("tally") > 0


def test_a_late_duplicate_drops_nothing_again(kit: Kit):
    kit.declare()
    put(kit, "a")
    call = items.close(kit.keys, shutdown=None, drop=True)
    kit.replays(call)
    kit.run(items.put(kit.keys, "p/2", [("", b"b")], ""), session="other", seq=1)
    assert kit.run(call, seq=kit.seq) == 1
    assert len(kit.read("items")) == 1


@pytest.mark.parametrize(("at", "value"), [(1, ""), (1, "x"), (2, "2"), (2, "x"), (2, "10")])
def test_arguments_that_cannot_be_used_are_refused(kit: Kit, at, value):
    kit.declare()
    put(kit, "a")
    call = items.close(kit.keys, shutdown=True, drop=True)
    arguments = list(call.arguments)
    arguments[at] = value
    kit.refused(dataclasses.replace(call, arguments=arguments), "TASKQ_ARGS")
