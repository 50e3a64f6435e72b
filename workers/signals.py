"""Interrupts of the demo: INT, TERM and HUP become an exception, except where a process is just being started."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked to stop. Not an Exception, so that no `except Exception` on the way swallows it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """What a shell reports for a process that this signal ended."""
        return 128 + self.signum


class Signals:
    """While entered, a caught signal raises Interrupted in the main thread; inside `held` it waits for its end."""

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._holding = 0
        self._pending = 0

    def __enter__(self) -> Self:
        for which in CAUGHT:
            # A signal that the parent ignores, as nohup does, stays ignored.
            if signal.getsignal(which) is not signal.SIG_IGN:
                self._before[which] = signal.signal(which, self._caught)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for which, handler in self._before.items():
            signal.signal(which, handler)

    def _caught(self, signum: int, frame: FrameType | None) -> None:
        del frame
        if self._holding:
            self._pending = signum
        else:
            raise Interrupted(signum)

    @property
    def waiting(self) -> bool:
        """Whether a signal came during `held`."""
        return self._pending != 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing interrupts the block: what it starts is known before anybody is told to stop it."""
        self._holding += 1
        try:
            yield
        finally:
            self._holding -= 1
        if self._pending and not self._holding:
            signum, self._pending = self._pending, 0
            raise Interrupted(signum)
