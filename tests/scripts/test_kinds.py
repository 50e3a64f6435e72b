"""kinds.lua: type and lifetime of keys are read."""

from __future__ import annotations

from broker_kit import Kit

from taskq.broker import checking


def test_types_and_lifetimes_come_in_the_order_of_the_keys(kit: Kit):
    kit.seed(a="text", b={"x": 1})
    kit.command("PEXPIRE", kit.keys.key("b"), 60_000)
    keys = [kit.keys.key(name).encode() for name in "abc"]
    first, (kind, ms), last = kit.run(checking.kinds(kit.keys, keys))
    assert (first, kind, last) == (("string", -1), "zset", ("none", -2))
    assert 0 < ms <= 60_000


def test_a_name_that_is_no_text_is_read(kit: Kit):
    key = kit.keys.prefix.encode() + b"\xff\x00"
    kit.command("SET", key, "x")
    assert kit.run(checking.kinds(kit.keys, [key])) == [("string", -1)]
    kit.command("DEL", key)
