"""Whether a large request is still on its way, however slow the link: what the other side has not taken gets less.

A timeout on the whole of it would give up a link on which all is well, and send the same again and again. What the
kernel was given is not yet taken: its buffer holds megabytes, so only the acknowledgements of the other side count.
"""

from __future__ import annotations

import fcntl
import math
import struct
import termios
import time
from typing import Final

LARGE: Final = 65_536  # bytes; what is smaller leaves within the seconds of silence that are allowed, at 5 kB/s too
LOOK: Final = 0.5  # seconds between two looks; a link that is given up is noticed by so much later
WHOLE: Final = 1800.0  # seconds for all of a call and its reply that go on moving: 32 MiB, the largest job, at 19 kB/s


def unsent(fd: int) -> int:
    """Return how many bytes of a socket its other side has not acknowledged; 0 where the system does not tell."""
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)))
    except OSError:
        return 0
    return int(count)


class Progress:
    """The clock of one request: silence ends it, and so does ``whole``.

    Args:
        patience: seconds in which something must move; None for any time.
        whole: seconds for all of it.
    """

    def __init__(self, patience: float | None, whole: float) -> None:
        self._patience = math.inf if patience is None else patience
        self._whole = whole
        self._began = self._moved = time.monotonic()
        self._left = math.inf

    def restart(self) -> None:
        """Count silence from now: nobody looked for a while."""
        self._moved = time.monotonic()

    def check(self, left: int) -> None:
        """Note that ``left`` bytes are not taken yet; less than before means that all is well.

        Raises:
            TimeoutError: nothing has moved for too long, or it takes too long as a whole.
        """
        now = time.monotonic()
        if left < self._left:
            self._left, self._moved = left, now
        if now - self._moved >= self._patience:
            raise TimeoutError(f"nothing was taken or said for {self._patience:g} s")
        if now - self._began >= self._whole:
            raise TimeoutError(f"the call is not whole after {self._whole:g} s")
