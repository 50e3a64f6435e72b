"""Processes of the machines: each listens on a channel of its own, or does not hear what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskq.broker.call import Command
from taskq.broker.connection import Link
from taskq.broker.results import channel, parse_signal

if TYPE_CHECKING:
    from broker_kit import Kit


class Process:
    """One that may listen; its messages are read when they are asked for."""

    def __init__(self, kit: Kit, number: int) -> None:
        self.token = f"p{number}"
        self.listens = False
        self._kit = kit
        self._channel = channel(kit.keys.namespace, self.token)
        self._link = Link(kit.link.address, timeout=10)

    def listen(self, on: bool) -> None:
        word = "SUBSCRIBE" if on else "UNSUBSCRIBE"
        reply = self._link.exchange(Command((word, self._channel), bytes).pack())
        assert reply[0] == word.lower().encode(), "all messages were read before"
        self.listens = on

    def messages(self) -> list[tuple[str, str]]:
        """Return what came as (address, news)."""
        found: list[tuple[str, str]] = []
        if not self.listens:
            return found
        self._kit.command("PUBLISH", self._channel, "last")
        while (message := self._link.receive()[2]) != b"last":
            signal = parse_signal(message)
            assert signal is not None
            found.append((f"{self.token}/{signal[0]}", signal[1].decode()))
        return found

    def close(self) -> None:
        self._link.close()
