"""mend_pair.lua: two keys agree on a member again."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import Kit

from taskq.broker import checking
from taskq.broker.findings import Pair

MISSING = Pair("first", "second", "")
BOTH = Pair("first", "second", "", wanted="0")


@pytest.mark.parametrize("first", [{"a": 1, "b": 2}, {"a": "1", "b": "2"}], ids=["zset", "hash"])
def test_a_member_that_is_alone_is_dropped(kit: Kit, first):
    kit.seed(first=first)
    assert kit.run(checking.mend_pair(kit.keys, MISSING, b"a"))
    assert kit.snapshot() == {"first": {"b": first["b"]}}


def test_a_member_that_must_not_be_in_both_is_dropped_from_the_first(kit: Kit):
    kit.seed(first={"a": 1, "b": 1}, second={"a": 1})
    assert kit.run(checking.mend_pair(kit.keys, BOTH, b"a"))
    assert kit.snapshot() == {"first": {"b": 1}, "second": {"a": 1}}


def test_a_member_that_has_no_lease_gets_one_that_is_over(kit: Kit):
    kit.seed(first={"a": "1"}, second={"b": 5})
    assert kit.run(checking.mend_pair(kit.keys, dataclasses.replace(MISSING, act="lapse"), b"a"))
    assert kit.snapshot() == {"first": {"a": "1"}, "second": {"a": 0, "b": 5}}
    assert kit.ttl("second") == -1


def test_what_it_makes_lives_as_long_as_the_other(kit: Kit):
    kit.seed(first={"a": 1})
    kit.command("PEXPIRE", kit.keys.key("first"), 60_000)
    assert kit.run(checking.mend_pair(kit.keys, dataclasses.replace(MISSING, act="lapse"), b"a"))
    assert 0 < kit.ttl("second") <= 60_000


@pytest.mark.parametrize(("pair", "member"), [(MISSING, b"a"), (BOTH, b"b"), (MISSING, b"z")])
def test_what_is_right_meanwhile_stays(kit: Kit, pair, member):
    kit.seed(first={"a": 1, "b": 1}, second={"a": 1})
    before = kit.snapshot()
    assert not kit.run(checking.mend_pair(kit.keys, pair, member))
    assert kit.snapshot() == before


def test_another_act_is_refused(kit: Kit):
    kit.refused(checking.mend_pair(kit.keys, dataclasses.replace(MISSING, act="burn"), b"a"), "TASKQ_ARGS")
