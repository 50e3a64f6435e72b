"""mend_token.lua: one wake token is there if claimable jobs are."""

from __future__ import annotations

import pytest
from broker_kit import Kit

from taskq.broker import checking


@pytest.mark.parametrize(
    ("paused", "ready", "before", "after", "mended"),
    [
        ("0", {"a": 1}, [], ["1"], True),
        ("0", {"a": 1}, ["1", "1", "1"], ["1"], True),
        ("0", {"a": 1}, ["1"], ["1"], False),
        ("1", {"a": 1}, [], None, False),
        ("0", {}, [], None, False),
        ("0", {}, ["1", "2"], ["1"], True),
    ],
)
def test_the_token_follows_the_jobs(kit: Kit, paused, ready, before, after, mended):
    kit.seed(meta={"paused": paused}, **{"ready": ready} if ready else {}, **{"wake": before} if before else {})
    assert kit.run(checking.mend_token(kit.keys)) is mended
    assert kit.read("wake") == after
