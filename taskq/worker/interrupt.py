"""Raises an exception in another thread, inside one piece of its code and nowhere else."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

from taskq.errors import TimeLimitExceeded
from taskq.worker.attempt import Attempt, Strike

_SYMBOL = ("PyThreadState_SetAsyncExc", ctypes.pythonapi)
_raise_in = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_ulong, ctypes.py_object)(_SYMBOL)
_take_back = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)(_SYMBOL)  # with a null pointer


class JobCancelled(BaseException):
    """Raised in a running job that was revoked; like ``CancelledError`` it passes ``except Exception``."""


_RAISED: dict[Strike, type[BaseException]] = {Strike.LIMIT: TimeLimitExceeded, Strike.CANCEL: JobCancelled}


def raised_by(strike: Strike) -> type[BaseException]:
    """Return the class of what a job finds raised in itself."""
    return _RAISED[strike]


class Interruptible:
    """Runs code of one thread that others may interrupt, once each. It sees the exception at its next byte code.

    An exception that was sent can arrive late, when the code has ended already. So the code is open and closed under
    a lock that sending takes too, closing takes back what has not arrived, and what arrives in between is caught here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: Attempt | None = None
        self._sent = False
        self._thread = 0

    def run(self, attempt: Attempt, call: Callable[[Attempt], object]) -> BaseException | None:
        """Call ``call(attempt)`` in the calling thread; return what it raised, None if it returned."""
        self._thread = threading.get_ident()
        error: BaseException | None = None
        try:
            try:
                self._open = attempt
                call(attempt)
            except BaseException as raised:
                error = raised
            self._close()
        except (TimeLimitExceeded, JobCancelled):  # arrived after the code's end; there is no second one
            self._close()
        return error

    def _close(self) -> None:
        with self._lock:
            self._open = None
        if self._sent:
            _take_back(self._thread, None)
            self._sent = False

    def interrupt(self, attempt: Attempt, strike: Strike) -> bool:
        """Raise in the thread that runs ``attempt``, and mark the attempt as struck.

        Returns:
            False if it does not run (any more), or was struck before.
        """
        with self._lock:
            if self._open is not attempt or self._sent:
                return False
            self._sent = True
            attempt.strike = strike
            _raise_in(self._thread, raised_by(strike))
            return True
