"""wait_event.lua: who finds the flag down is told of the next set."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import SECOND, Kit

from taskq.broker import events
from taskq.broker.events import STALE_US, Flag
from taskq.broker.queues import META_TTL_MS


def waiters(kit: Kit) -> set[bytes]:
    return set(kit.command("ZRANGE", kit.keys.key("waiters"), 0, -1))


def test_a_flag_that_is_up_is_told_and_nobody_is_listed(kit: Kit):
    kit.seed(event={"flag": "1", "sets": "3"})
    assert kit.run(events.wait(kit.keys, "a/1")) == Flag(True, 3)
    assert kit.snapshot() == {"event": {"flag": "1", "sets": "3"}}


@pytest.mark.parametrize(("event", "sets"), [({"flag": "0", "sets": "3"}, 3), ({}, 0)])
def test_who_finds_it_down_is_listed(kit: Kit, event, sets):
    if event:
        kit.seed(event=event)
    assert kit.run(events.wait(kit.keys, "a/1")) == Flag(False, sets)
    assert waiters(kit) == {b"a/1"}
    assert kit.read("event") == (event or None)


def test_who_asks_twice_is_listed_once(kit: Kit):
    call = events.wait(kit.keys, "a/1")
    assert kit.run(call) == kit.run(call)
    assert kit.run(events.wait(kit.keys, "a/2")) == Flag(False, 0)
    assert waiters(kit) == {b"a/1", b"a/2"}


def test_who_leaves_is_not_listed_any_more(kit: Kit):
    kit.run(events.wait(kit.keys, "a/1"))
    kit.run(events.wait(kit.keys, "a/2"))
    assert kit.link.run(events.leave(kit.keys, "a/1")) == 1
    assert waiters(kit) == {b"a/2"}


def test_who_died_without_leaving_is_listed_no_more_when_others_wait(kit: Kit):
    for number in range(3):
        kit.run(events.wait(kit.keys, f"dead/{number}"))
    kit.advance(STALE_US / SECOND - 1)
    kit.run(events.wait(kit.keys, "alive/1"))
    assert len(waiters(kit)) == 4, "who lives looks more often"
    kit.advance(1)
    kit.run(events.wait(kit.keys, "here/1"))
    assert waiters(kit) == {b"alive/1", b"here/1"}


def test_who_looks_again_stays_listed(kit: Kit):
    for _ in range(4):
        kit.run(events.wait(kit.keys, "a/1"))
        kit.advance(STALE_US / SECOND / 2)
    kit.run(events.wait(kit.keys, "b/1"))
    assert waiters(kit) == {b"a/1", b"b/1"}


def test_a_wait_keeps_the_event_and_its_list_alive(kit: Kit):
    kit.seed(event={"flag": "0", "sets": "3"})
    kit.run(events.wait(kit.keys, "a/1"))
    for name in ("event", "waiters"):
        assert META_TTL_MS - 60_000 < kit.ttl(name) <= META_TTL_MS


@pytest.mark.parametrize(
    "arguments", [("", 5, 5), *(("a/1", *t) for bad in ("", "nan", "-5") for t in ((bad, 5), (5, bad)))]
)
def test_arguments_that_cannot_be_used_are_refused(kit: Kit, arguments):
    call = events.wait(kit.keys, "a/1")
    kit.refused(dataclasses.replace(call, arguments=arguments), "TASKQ_ARGS")


@pytest.mark.parametrize("name", ["event", "waiters"])
def test_a_key_of_a_wrong_type_is_refused(kit: Kit, name):
    kit.seed(**{name: "text"})
    with pytest.raises(Exception, match="WRONGTYPE"):
        kit.run(events.wait(kit.keys, "a/1"))
