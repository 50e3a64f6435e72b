"""compare.lua: members on which two keys do not agree are found."""

from __future__ import annotations

import pytest
from broker_kit import Kit

from taskq.broker import checking
from taskq.broker.findings import Pair


def compare(kit: Kit, first: str, second: str, wanted: str = "1") -> set[bytes]:
    found, cursor = set(), None
    while cursor != "0":
        cursor, members = kit.run(checking.compare(kit.keys, Pair(first, second, "", wanted=wanted), cursor or "0"))
        found |= set(members)
    return found


@pytest.mark.parametrize("second", [{"a": 1, "c": 1}, {"a": "1", "c": "1"}], ids=["zset", "hash"])
@pytest.mark.parametrize("first", [{"a": 1, "b": 1}, {"a": "1", "b": "1"}], ids=["zset", "hash"])
def test_members_that_are_missing_or_must_not_be_there_are_found(kit: Kit, first, second):
    kit.seed(first=first, second=second)
    before = kit.snapshot()
    assert compare(kit, "first", "second") == {b"b"}
    assert compare(kit, "first", "second", "0") == {b"a"}
    assert kit.snapshot() == before


def test_a_key_that_is_not_there_has_no_members(kit: Kit):
    kit.seed(there={"a": 1})
    assert compare(kit, "gone", "there") == set()
    assert compare(kit, "there", "gone") == {b"a"}


def test_pages_bring_every_member(kit: Kit):
    kit.seed(first={f"m{number}": number for number in range(1500)})
    assert len(compare(kit, "first", "second")) == 1500


def test_what_does_not_fit_is_refused(kit: Kit):
    kit.refused(checking.compare(kit.keys, Pair("first", "second", "", wanted="2"), "0"), "TASKQ_ARGS")
    kit.refused(checking.compare(kit.keys, Pair("first", "second", ""), "0", 0), "TASKQ_ARGS")
