"""mend_counters.lua: what came is what left and what is there."""

from __future__ import annotations

import pytest
from broker_kit import Kit, data

from taskq.broker import checking

LEFT = {"done": "3", "failed": "2", "moved": "1"}


@pytest.mark.parametrize(
    ("came", "after"),
    [
        ({"enqueued": "90"}, {"enqueued": "7", "requeued": "0"}),
        ({"enqueued": "1", "requeued": "2"}, {"enqueued": "5", "requeued": "2"}),
        ({"enqueued": "1", "requeued": "20"}, {"enqueued": "0", "requeued": "7"}),
        ({}, {"enqueued": "7", "requeued": "0"}),
    ],
)
def test_the_numbers_fit_then(kit: Kit, came, after):
    kit.seed(meta={**LEFT, **came}, jobs=dict.fromkeys("abc", data()), dead={"a": 1, "b": 1})
    assert kit.run(checking.mend_counters(kit.keys))
    assert kit.read("meta") == LEFT | after
    assert not kit.run(checking.mend_counters(kit.keys))


def test_numbers_that_fit_stay(kit: Kit):
    meta = {**LEFT, "enqueued": "4", "requeued": "2"}
    kit.seed(meta=meta)
    assert not kit.run(checking.mend_counters(kit.keys))
    assert kit.read("meta") == meta
