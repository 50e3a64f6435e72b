"""Listening on one channel: subscribe, read announcements, notice a dead connection."""

from __future__ import annotations

from collections.abc import Iterator

import hiredis

from taskq.broker.connection import Link

SILENCE = 5.0  # seconds without a byte after which the server is asked; as long again, and it counts as gone


class Subscription:
    """A link that does nothing but listen.

    Args:
        link: a connection of its own, not yet open.
        channel: the name.
        silence: seconds, see ``SILENCE``.
    """

    def __init__(self, link: Link, channel: str, *, silence: float = SILENCE) -> None:
        self._link = link
        self._channel = channel
        self._silence = silence
        self._closed = False

    def open(self) -> None:
        """Connect and subscribe; what is published after this returns will be read.

        Raises:
            Exception: redis-py's, if the server cannot be reached or refuses.
        """
        self._link.exchange(_pack("SUBSCRIBE", self._channel))
        self._check_open()

    def messages(self) -> Iterator[bytes]:
        """Yield each message: an announcement of results, or a signal.

        Raises:
            Exception: redis-py's, when the connection ends.
        """
        asked = False
        while True:
            self._check_open()
            if not self._link.wait(self._silence):
                if asked:
                    raise TimeoutError(f"no answer from {self._link.address} for {2 * self._silence:g} s")
                self._link.send(_pack("PING"))
                asked = True
                continue
            asked = False
            reply = self._link.receive()
            if reply[0] == b"message":
                yield reply[2]

    def close(self) -> None:
        """Close the connection; a thread that waits for messages, or is about to, gets an error."""
        self._closed = True
        self._link.close()

    def _check_open(self) -> None:
        # A link that was closed by another thread would connect again at its next use, without the subscription.
        if self._closed:
            raise ConnectionError("the subscription was closed")


def _pack(*parts: str) -> bytes:
    packed: bytes = hiredis.pack_command(parts)  # type: ignore[arg-type]  # its stub knows tuples of one
    return packed
