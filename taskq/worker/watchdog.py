"""Ends a worker whose loop stands still: it would renew its lease for ever, and keep its jobs from everybody else."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Final

logger = logging.getLogger("taskq.worker")
STILL: Final = 60.0  # seconds; the loop turns every 2, and waits for nothing but a write, 15 at most
LOOKS: Final = 60  # looks in that time: a machine or a process that was stopped meanwhile is seen once, not for hours
LAST_LINE: Final = 0.5  # seconds for the log, which may be what the loop hangs in
EX_SOFTWARE: Final = 70  # of sysexits.h: whoever watches the process starts it again


class Watchdog:
    """A thread that looks whether the loop, in the thread that made this, goes on turning.

    Args:
        still: seconds without a turn after which the process ends.
        end: ends the process.
    """

    def __init__(self, still: float = STILL, end: Callable[[int], object] = os._exit) -> None:
        self._still = still
        self._end = end
        self._turns = 0
        self._loop = threading.get_ident()
        self._stop = threading.Event()

    def turn(self) -> None:
        """Note that the loop has turned."""
        self._turns += 1

    def start(self) -> None:
        """Begin to watch."""
        threading.Thread(target=self._run, name="taskq-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()

    def _run(self) -> None:
        seen, vain = self._turns, 0
        while not self._stop.wait(self._still / LOOKS):
            seen, vain = self._turns, vain + 1 if self._turns == seen else 0
            if vain >= LOOKS:
                self._give_up()
                return

    def _give_up(self) -> None:
        """End, whatever becomes of the last line; the children end with their supervisor."""
        with contextlib.suppress(RuntimeError):  # no more threads: it ends without a word
            threading.Thread(target=self._tell, name="taskq-watchdog-log", daemon=True).start()
        self._stop.wait(LAST_LINE)
        self._end(EX_SOFTWARE)

    def _tell(self) -> None:
        frame = sys._current_frames().get(self._loop)
        where = _stack(frame) if frame is not None else "its thread has ended"
        logger.critical(
            "STUCK: the loop has stood still for %g s; the worker ends, its jobs go back when its lease is over\n%s",
            self._still, where, extra={"action": "stuck"},
        )  # fmt: skip


def _stack(frame: FrameType) -> str:
    """Return where it stands, the innermost call last; without the source lines, which lie on a disk that may hang."""
    calls = [(of.f_code, line) for of, line in traceback.walk_stack(frame)]
    return "\n".join(f'  File "{code.co_filename}", line {line}, in {code.co_name}' for code, line in reversed(calls))
