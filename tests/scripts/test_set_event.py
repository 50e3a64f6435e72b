"""set_event.lua: the flag is up, and every process with a waiter is told once."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import Kit

from taskq.broker import events
from taskq.broker.events import Flag
from taskq.broker.queues import META_TTL_MS
from taskq.broker.results import channel


def test_the_first_set_makes_the_event(kit: Kit):
    assert kit.run(events.set_event(kit.keys)) == 1
    assert kit.snapshot() == {"event": {"flag": "1", "sets": "1"}}


def test_a_set_of_a_flag_that_is_up_counts_for_nothing(kit: Kit):
    kit.seed(event={"flag": "1", "sets": "7"})
    assert kit.run(events.set_event(kit.keys)) == 7
    assert kit.snapshot() == {"event": {"flag": "1", "sets": "7"}}


def test_a_set_after_a_clear_is_counted(kit: Kit):
    kit.seed(event={"flag": "0", "sets": "7"})
    assert kit.run(events.set_event(kit.keys)) == 8
    assert kit.snapshot() == {"event": {"flag": "1", "sets": "8"}}


def test_every_waiter_is_told_how_often_it_was_set_and_leaves_the_list(kit: Kit, listen):
    kit.seed(event={"flag": "0", "sets": "2"})
    with listen(kit, channel(kit.keys.namespace, "one")) as one, listen(kit, channel(kit.keys.namespace, "two")) as two:
        for address in ("one/1", "one/22", "two/3"):
            kit.run(events.wait(kit.keys, address))
        kit.run(events.set_event(kit.keys))
        assert sorted(one(2)) == [b"~1\n3", b"~22\n3"]
        assert two(1) == [b"~3\n3"]
    assert kit.snapshot() == {"event": {"flag": "1", "sets": "3"}}


def test_waiters_that_nobody_hears_for_or_with_damaged_addresses_stop_nothing(kit: Kit, listen):
    with listen(kit, channel(kit.keys.namespace, "one")) as one:
        for address in ("gone/1", "damaged", "a b/c", "one/5"):
            kit.command("ZADD", kit.keys.key("waiters"), 0, address)
        kit.run(events.set_event(kit.keys))
        assert one(1) == [b"~5\n1"]
    assert kit.snapshot() == {"event": {"flag": "1", "sets": "1"}}


def test_the_event_lives_long_after_its_last_set(kit: Kit):
    kit.run(events.set_event(kit.keys))
    assert META_TTL_MS - 60_000 < kit.ttl("event") <= META_TTL_MS


def test_a_late_duplicate_does_not_set_it_again(kit: Kit):
    call = events.set_event(kit.keys)
    kit.replays(call)
    kit.run(events.clear(kit.keys), session="other", seq=1)
    assert kit.run(call, seq=kit.seq) == 1
    assert kit.read("event")["flag"] == "0"


@pytest.mark.parametrize("value", ["", "-1", "nan", " 5"])
def test_a_ttl_that_is_no_number_is_refused(kit: Kit, value):
    call = events.set_event(kit.keys)
    kit.refused(dataclasses.replace(call, arguments=(call.arguments[0], value)), "TASKQ_ARGS")


def test_a_damaged_count_begins_anew(kit: Kit):
    kit.seed(event={"flag": "0", "sets": "text"})
    assert kit.run(events.set_event(kit.keys)) == 1
    assert kit.run(events.wait(kit.keys, "a/1")) == Flag(True, 1)


@pytest.mark.parametrize("name", ["event", "waiters"])
def test_a_key_of_a_wrong_type_is_refused(kit: Kit, name):
    kit.seed(**{name: "text"})
    with pytest.raises(Exception, match="WRONGTYPE"):
        kit.run(events.set_event(kit.keys))
