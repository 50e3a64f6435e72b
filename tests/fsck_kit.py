"""Fsck at the end of other tests; and what its own tests share: who writes into Redis by hand, and what is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from taskq import TaskQ
from taskq.broker import fsck
from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
from taskq.broker.findings import Finding


def what_is_wrong(url: str, namespace: str = "", *, strict: bool = True) -> list[str]:
    """Return what fsck finds in a namespace, or in all that are on the server.

    ``strict`` counts where all workers have left in good order: one that was killed still has a lease.
    """
    found = []
    for name in [namespace] if namespace else _namespaces(url):
        broker = Broker(parse_url(url), name)
        at_rest = strict and not _has_workers(url, name)
        found += [f"{one.invariant}: {one.text}" for one in fsck.check(broker, strict=at_rest)]
        broker.close()
    return found


def _has_workers(url: str, namespace: str) -> bool:
    """Tell whether some worker has a lease, be it over."""
    with redis.Redis.from_url(url) as client:
        return any(True for _ in client.scan_iter(f"{namespace}:{{*}}:workers", count=1000))


def _namespaces(url: str) -> list[str]:
    """Return the namespaces in which there is a queue or a primitive, or was one."""
    with redis.Redis.from_url(url) as client:
        found = {key.decode("utf-8", "replace") for key in client.scan_iter(count=1000)}
    return sorted({key.partition(":")[0] for key in found if key.partition(":")[2].startswith(("{", "queues"))})


class Hand:
    """Somebody who writes into Redis."""

    def __init__(self, app: TaskQ, client: redis.Redis) -> None:
        self.app = app
        self.client: Any = client

    def key(self, name: str, tag: str = "default") -> str:
        return f"{self.app.settings.namespace}:{{{tag}}}:{name}"

    def findings(self, *, strict: bool = False) -> list[tuple[str, str, str]]:
        return [(one.invariant, one.queue, one.id) for one in fsck.check(self.app.broker, strict=strict)]

    def repair(self, *, strict: bool = False) -> list[bool]:
        """Repair all that can be; returns whether each was."""
        return [self.app.control.repair(one) for one in self.app.inspect.fsck(strict=strict) if one.repair]


def count_surveys(
    app: TaskQ, monkeypatch: pytest.MonkeyPatch, before: Callable[[list[str]], object] = len
) -> list[str]:
    """Return a list that grows with each page that is read; ``before`` is called first."""
    seen, whole = list[str](), app.broker.run

    def run(call):
        if call.script.name == "survey":
            seen.append(call.script.name)
            before(seen)
        return whole(call)

    monkeypatch.setattr(app.broker, "run", run)
    return seen


def only(hand: Hand, invariant: str, queue: str, id_: str, *, strict: bool = False) -> Finding:
    """Return the one thing that is found."""
    found = fsck.check(hand.app.broker, strict=strict)
    assert [(one.invariant, one.queue, one.id) for one in found] == [(invariant, queue, id_)], found
    assert "\n" not in found[0].text
    return found[0]


def mended(hand: Hand, finding: Finding, *, strict: bool = False) -> None:
    """Repair what was found, after which nothing is."""
    assert finding.repair
    assert hand.app.control.repair(finding)
    assert fsck.check(hand.app.broker, strict=strict) == []


def told(hand: Hand, finding: Finding) -> None:
    """What was found needs a person."""
    assert not finding.repair
    assert not hand.app.control.repair(finding)
