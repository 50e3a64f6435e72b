"""relayed.lua: messages that were accepted leave the outbox."""

from __future__ import annotations

import pytest
from broker_kit import Kit

from taskq.broker import jobs

BOX = {"other/a": "0\nx", "other/b": "5\ny", "third/a": "0\nz"}


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        (["other/a"], {"other/b", "third/a"}),
        (["other/a", "third/a", "nobody/x"], {"other/b"}),
        ([], set(BOX)),
        (list(BOX), set()),
    ],
)
def test_the_named_messages_go(kit: Kit, fields, left):
    kit.seed(outbox=BOX)
    assert kit.run(jobs.relayed(kit.keys, fields)) == len(left)
    assert kit.snapshot() == ({"outbox": {name: BOX[name] for name in left}} if left else {})


def test_a_repeated_call_changes_nothing(kit: Kit):
    kit.seed(outbox=BOX)
    call = jobs.relayed(kit.keys, ["other/a"])
    assert [kit.run(call), kit.run(call)] == [2, 2]


def test_the_whole_of_a_large_outbox_is_read_in_the_end(kit: Kit):
    box = {f"q/{n}": "0\nx" for n in range(3000)}
    kit.seed(outbox=box)
    seen = set()
    for _ in range(300):
        messages = kit.link.run(jobs.outbox(kit.keys))
        if not messages:
            break
        seen |= {name for name, _ in messages}
        kit.run(jobs.relayed(kit.keys, [name for name, _ in messages]))
    assert seen == set(box)
    assert kit.snapshot() == {}
