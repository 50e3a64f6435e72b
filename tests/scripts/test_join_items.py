"""join_items.lua: says how many items are unfinished, and notes who is to be told when none are."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import Kit

from taskq.broker import items
from taskq.broker.queues import META_TTL_MS


def joiners(kit: Kit) -> set[bytes]:
    return set(kit.command("SMEMBERS", kit.keys.key("joiners")))


def test_with_nothing_unfinished_nobody_is_noted(kit: Kit):
    assert kit.run(items.join(kit.keys, "j/1")) == 0
    assert kit.snapshot() == {}


def test_a_damaged_count_is_none(kit: Kit):
    kit.seed(tally={"unfinished": "text"})
    assert kit.run(items.join(kit.keys, "j/1")) == 0
    assert joiners(kit) == set()


def test_who_is_to_be_told_is_noted_once(kit: Kit):
    kit.seed(tally={"unfinished": "3"})
    for address in ("j/1", "j/2", "j/1"):
        assert kit.run(items.join(kit.keys, address)) == 3
    assert joiners(kit) == {b"j/1", b"j/2"}
    assert META_TTL_MS - 60_000 < kit.ttl("joiners") <= META_TTL_MS


@pytest.mark.parametrize("arguments", [("", 5), ("j/1", ""), ("j/1", "nan"), ("j/1", "-5")])
def test_arguments_that_cannot_be_used_are_refused(kit: Kit, arguments):
    kit.seed(tally={"unfinished": "3"})
    kit.refused(dataclasses.replace(items.join(kit.keys, "j/1"), arguments=arguments), "TASKQ_ARGS")


@pytest.mark.parametrize("name", ["tally", "joiners"])
def test_a_key_of_a_wrong_type_is_refused(kit: Kit, name):
    if name == "joiners":
        kit.seed(tally={"unfinished": "3"})
    kit.seed(**{name: "text"})
    kit.refused(items.join(kit.keys, "j/1"), "WRONGTYPE")
