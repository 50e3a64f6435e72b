"""Every script test runs on Valkey, on a cluster of one node and on Debian's Redis."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from broker_kit import Kit

from taskq.broker.call import Command
from taskq.broker.connection import Link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


@pytest.fixture(
    params=[
        "server",
        "cluster_server",
        pytest.param("redis7", marks=pytest.mark.both_servers),
    ],
)
def kit(request: pytest.FixtureRequest, namespace: str) -> Iterator[Kit]:
    """A queue that nobody declared, with a clock of its own."""
    kit = Kit(request.getfixturevalue(request.param).url, namespace)
    yield kit
    kit.close()


@pytest.fixture
def listen() -> Callable[[Kit, str], AbstractContextManager[Callable[[int], list[bytes]]]]:
    """Subscribe to a channel; ``messages(n)`` then waits for n messages and returns all that came."""

    @contextlib.contextmanager
    def subscribed(kit: Kit, channel: str) -> Iterator[Callable[[int], list[bytes]]]:
        link = Link(kit.link.address, timeout=10)
        link.exchange(Command(("SUBSCRIBE", channel), bytes).pack())

        def messages(count: int) -> list[bytes]:
            kit.command("PUBLISH", channel, "last")
            found = []
            while (message := link.receive()[2]) != b"last":
                found.append(message)
            assert len(found) == count
            return found

        yield messages
        link.close()

    return subscribed
