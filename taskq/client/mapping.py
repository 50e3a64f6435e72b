"""What ``Executor.map`` returns: the results in order, and the end of those that nobody wants any more."""

from __future__ import annotations

import _thread
import contextlib
import logging
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from taskq.client.future import OVER
from taskq.client.waiting import check_wait
from taskq.errors import BrokerError, UnknownOrExpired, shorten

if TYPE_CHECKING:
    from taskq.client.result import AsyncResult

R = TypeVar("R")

logger = logging.getLogger(__name__)


class Mapped(Iterator[R]):
    """The results of a ``map`` in the order of its calls.

    Args:
        ahead: what was sent, in parts of a chunk each.
        more: sends the next part when it is asked for one.
        deadline: until which results are waited for, in monotonic seconds; None for no limit.
    """

    def __init__(
        self,
        ahead: deque[Sequence[AsyncResult[R]]],
        more: Iterator[Sequence[AsyncResult[R]]],
        deadline: float | None,
    ) -> None:
        self._ahead = ahead
        self._more = more
        self._deadline = deadline
        self._part: Sequence[AsyncResult[R]] = ()
        self._at = 0  # in the part: the next one to be given
        self._started = False

    def __iter__(self) -> Mapped[R]:
        return self

    def __next__(self) -> R:
        self._started = True
        try:
            if self._at == len(self._part):
                self._next_part()
            left = None if self._deadline is None else self._deadline - time.monotonic()
            value = self._part[self._at].result(left)
        except BaseException:
            self.close()
            raise
        self._at += 1
        return value

    def _next_part(self) -> None:
        """Go on to the next part, and send one more first.

        Raises:
            StopIteration: there is none.
        """
        self._part, self._at = (), 0
        self._ahead.extend(part for part in [next(self._more, None)] if part is not None)
        if not self._ahead:
            raise StopIteration
        self._part = self._ahead.popleft()

    def close(self) -> None:
        """Cancel the jobs whose results were not given and that no worker has yet; then there are no more results."""
        cancel_all(self._take())

    def _take(self) -> list[Sequence[AsyncResult[R]]]:
        self._more = iter(())
        rest: list[Sequence[AsyncResult[R]]] = [[self._part[at] for at in range(self._at, len(self._part))]]
        rest += self._ahead
        self._part, self._at = (), 0
        self._ahead.clear()
        return rest

    def __del__(self) -> None:
        if not self._started or sys.is_finalizing():
            return
        rest = self._take()
        if any(rest):
            # The collector may be at work in the middle of a call of this very thread, so calls need another one; and
            # in the middle of starting a thread, so not even a Thread may be made.
            with contextlib.suppress(RuntimeError):
                _thread.start_new_thread(cancel_all, (rest,))


def check_map(timeout: float | None, chunksize: int, buffersize: int | None) -> float | None:
    """Check how a ``map`` is to be done, and return its deadline in monotonic seconds, None for no limit.

    Raises:
        ValueError, TypeError: as ``Executor.map``.
        InvalidTimeout: the timeout is no number.
    """
    if isinstance(chunksize, bool) or not isinstance(chunksize, int):
        raise TypeError(f"chunksize {shorten(chunksize)} must be a whole number")
    if chunksize < 1:
        raise ValueError(f"chunksize {chunksize} must be 1 or more")
    if buffersize is not None:
        if not isinstance(buffersize, int):
            raise TypeError(f"buffersize {buffersize!r} must be a whole number or None")
        if buffersize < 1:
            raise ValueError(f"buffersize {buffersize} must be 1 or more, or None")
    seconds = check_wait(timeout)
    return None if seconds is None else time.monotonic() + seconds


def cancel_all(parts: Iterable[Iterable[AsyncResult[Any]]]) -> None:
    """Cancel what no worker has yet; gives up, and says so in the log, when the server cannot be reached."""
    try:
        for part in parts:
            for future in part:
                if future._state not in OVER:
                    with contextlib.suppress(UnknownOrExpired):  # it ended, and its result is gone
                        future.cancel()
    except BrokerError as error:
        logger.warning("jobs could not be cancelled: %s", error, extra={"action": "cancel_failed"})
