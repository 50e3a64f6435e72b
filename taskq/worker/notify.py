"""Tells a service manager how the worker is, by the protocol of sd_notify: datagrams to the socket it names."""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Callable, MutableMapping
from typing import Final

logger = logging.getLogger("taskq.worker")
STATUS_EVERY: Final = 5.0  # seconds between two looks whether the status has changed


class Notifier:
    """Sends what is said, or nothing where nobody asked for it.

    Args:
        address: of the socket; ``@`` begins an abstract one; empty for nobody.
        watchdog: seconds within which the manager wants a sign of life; 0 for never.
    """

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self._address = address
        self._watchdog = watchdog
        self._every = min(STATUS_EVERY, watchdog / 2) if watchdog else STATUS_EVERY
        self._next = 0.0 if address else math.inf
        self._status = ""

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Notifier:
        """Read the manager's variables and remove them: they are for this process, not for its children."""
        address = environ.pop("NOTIFY_SOCKET", "")
        usec, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        if address[:1] not in {"", "/", "@"}:
            logger.warning("NOTIFY_SOCKET is no path and no @name; nobody is notified", extra={"action": "no_notify"})
            address = ""
        ours = pid in {"", str(os.getpid())}
        return cls(address, int(usec) / 1e6 if ours and usec.isascii() and usec.isdigit() else 0.0)

    def ready(self, status: str) -> None:
        """Say that the worker has started."""
        self._status = status
        self._send(f"READY=1\nSTATUS={status}")

    def stopping(self) -> None:
        """Say that it has begun to stop."""
        self._send("STOPPING=1\nSTATUS=stopping")

    def tick(self, now: float, status: Callable[[], str]) -> None:
        """Give the sign of life that is due, with the status if that has changed; called in each turn of the loop."""
        if now < self._next:
            return
        self._next = now + self._every
        told = status()
        lines = [] if told == self._status else [f"STATUS={told}"]
        self._status = told
        if self._watchdog:
            lines.append("WATCHDOG=1")
        if lines:
            self._send("\n".join(lines))

    def deadline(self) -> float:
        """Return the monotonic time until which the loop may sleep; endless where nobody asked."""
        return self._next

    def _send(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto(text.encode(), address)
        except (OSError, ValueError) as error:
            logger.debug("the service manager cannot be notified: %s", error)
