"""Keeps a child's own file descriptors out of the range that user code closes by number.

Imported before gevent patches the process: nothing but ``os`` and ``fcntl`` may be loaded from here.
"""

from __future__ import annotations

import fcntl
import os

RESERVED = 64  # code that "closes everything" by number seldom goes further; below it the first free number is taken

_close = os.close  # gevent's replacement closes later, from its loop


def move_high(fd: int) -> int:
    """Return a duplicate of ``fd`` above the reserved range, closed on exec; ``fd`` itself is closed.

    Where the limit on open files is too low the duplicate is as high as it may be.
    """
    try:
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, RESERVED)
    except OSError:
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)
    _close(fd)
    return high


def fill_low() -> list[int]:
    """Take every free descriptor below the reserved range, until ``release``: an event loop made now lies above."""
    taken: list[int] = []
    try:
        taken.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        while taken[-1] < RESERVED:
            taken.append(os.dup(taken[0]))
    except OSError:  # the limit on open files is lower: the loop lies where it can
        pass
    return taken


def release(taken: list[int]) -> None:
    """Free what ``fill_low`` took."""
    for fd in taken:
        _close(fd)
