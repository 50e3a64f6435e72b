"""leave_line.lua: who waits no longer leaves the line, or learns that it was given a permit meanwhile."""

from __future__ import annotations

import pytest
from broker_kit import Kit

from taskq.broker import permits
from taskq.broker.permits import Given


def test_a_waiter_leaves_and_the_others_keep_their_places(kit: Kit):
    kit.seed(line={"a/1": 1, "b/1": 2, "c/1": 3})
    assert kit.run(permits.leave(kit.keys, "b/1")) is None
    assert kit.snapshot() == {"line": {"a/1": 1, "c/1": 3}}


def test_the_last_one_leaves_no_key(kit: Kit):
    kit.seed(line={"a/1": 1})
    kit.run(permits.leave(kit.keys, "a/1"))
    assert kit.snapshot() == {}


def test_who_was_given_a_permit_meanwhile_has_it(kit: Kit):
    kit.seed(fences={"a/1": "7", "b/1": "8"}, line={"c/1": 1})
    before = kit.snapshot()
    assert kit.run(permits.leave(kit.keys, "a/1")) == Given(7)
    assert kit.snapshot() == before


def test_who_asks_twice_has_the_same_answer(kit: Kit):
    kit.seed(fences={"a/1": "7"}, line={"c/1": 1})
    for address, answer in (("a/1", Given(7)), ("c/1", None)):
        call = permits.leave(kit.keys, address)
        assert [kit.run(call), kit.run(call)] == [answer, answer]


def test_who_never_stood_there_changes_nothing(kit: Kit):
    assert kit.run(permits.leave(kit.keys, "a/1")) is None
    assert kit.snapshot() == {}


@pytest.mark.parametrize("name", ["fences", "line"])
def test_a_key_of_a_wrong_type_is_refused(kit: Kit, name):
    kit.seed(**{name: "text"})
    with pytest.raises(Exception, match="WRONGTYPE"):
        kit.run(permits.leave(kit.keys, "a/1"))
