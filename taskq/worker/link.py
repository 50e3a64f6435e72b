"""A child's end of the socket to its supervisor."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import threading
from contextlib import suppress
from typing import NoReturn

from taskq.worker.descriptors import move_high

logger = logging.getLogger(__name__)


class Link:
    """Sends whole frames and receives bytes. Without its supervisor a child ends, and all that it started.

    Args:
        fd: the socket's descriptor; it belongs to the link from now on.
    """

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._bell = move_high(os.eventfd(0, os.EFD_NONBLOCK))
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._poll.register(self._bell, select.POLLIN)
        self._sending = threading.Lock()  # a frame may take many writes

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    def send(self, frame: bytes) -> None:
        """Send one frame, blocking while the socket is full: the supervisor always reads."""
        try:
            with self._sending:
                self._socket.sendall(frame)
        except OSError as error:
            self.die(f"the socket to the supervisor is broken: {error}")

    def wait(self, seconds: float | None) -> bool:
        """Wait for ``seconds`` (None: any time) or for ``ring``; True as soon as something can be received."""
        events = self._poll.poll(None if seconds is None else seconds * 1000)
        if any(fd == self._bell for fd, _ in events):
            with suppress(BlockingIOError):
                os.eventfd_read(self._bell)
        return any(fd != self._bell for fd, _ in events)

    def ring(self) -> None:
        """End a ``wait`` of another thread now, or the next one at once."""
        os.eventfd_write(self._bell, 1)

    def receive(self, size: int) -> bytes:
        """Return what is there, empty at the end; blocks where nothing is."""
        try:
            return self._socket.recv(size)
        except OSError as error:
            self.die(f"the socket to the supervisor is broken: {error}")

    def close(self) -> None:
        """Close this process's copy of the socket."""
        self._socket.close()

    def die(self, reason: str) -> NoReturn:
        """End this process and all of its process group now: nothing of it may outlive its supervisor."""
        logger.critical("child ends at once: %s", reason, extra={"action": "child_died"})
        own = os.getpid()
        if os.getpgrp() == own:
            os.killpg(own, signal.SIGKILL)
        os.kill(own, signal.SIGKILL)
        raise SystemExit(reason)  # unreached: SIGKILL to oneself is delivered before kill returns
