"""clear_event.lua: the flag is down; how often it was set stays known."""

from __future__ import annotations

import pytest
from broker_kit import Kit

from taskq.broker import events


def test_a_flag_that_is_up_is_cleared(kit: Kit):
    kit.seed(event={"flag": "1", "sets": "4"})
    assert kit.run(events.clear(kit.keys)) is True
    assert kit.snapshot() == {"event": {"flag": "0", "sets": "4"}}


@pytest.mark.parametrize("event", [{"flag": "0", "sets": "4"}, {"sets": "4"}])
def test_a_flag_that_is_down_stays_as_it_is(kit: Kit, event):
    kit.seed(event=event)
    before = kit.snapshot()
    assert kit.run(events.clear(kit.keys)) is False
    assert kit.snapshot() == before


def test_an_event_that_nobody_set_is_not_made_by_a_clear(kit: Kit):
    assert kit.run(events.clear(kit.keys)) is False
    assert kit.snapshot() == {}


def test_the_events_life_is_not_made_endless(kit: Kit):
    kit.run(events.set_event(kit.keys))
    kit.run(events.clear(kit.keys))
    assert kit.ttl("event") > 0


def test_a_late_duplicate_does_not_clear_it_again(kit: Kit):
    kit.seed(event={"flag": "1", "sets": "1"})
    call = events.clear(kit.keys)
    kit.replays(call)
    kit.run(events.set_event(kit.keys), session="other", seq=1)
    assert kit.run(call, seq=kit.seq) is True
    assert kit.read("event")["flag"] == "1"


def test_a_key_of_a_wrong_type_is_refused(kit: Kit):
    kit.seed(event="text")
    with pytest.raises(Exception, match="WRONGTYPE"):
        kit.run(events.clear(kit.keys))
