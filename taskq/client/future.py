"""The parts of a ``concurrent.futures.Future`` that only a waiter needs, made when there is one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, PENDING
from typing import Any, Final, NoReturn, TypeVar

R = TypeVar("R")
OVER: Final = frozenset({FINISHED, CANCELLED_AND_NOTIFIED})

logger = logging.getLogger(__name__)


class _Waiters(list[Any]):
    """The waiters that ``concurrent.futures.wait`` and ``as_completed`` install; while there is one, news is wanted."""

    def __init__(self, owner: LightFuture[Any]) -> None:
        super().__init__()
        self._owner = owner

    def append(self, waiter: Any) -> None:
        super().append(waiter)
        try:
            self._owner._stand()
        except BaseException:
            super().remove(waiter)
            raise

    def remove(self, waiter: Any) -> None:
        super().remove(waiter)
        self._owner._stand_down()


class LightFuture(Future[R]):
    """A future without a lock until somebody waits for it; a million of them cost little.

    ``Future`` makes its lock and lists when it is made. Here they come into being at their first use, through
    ``__getattr__``, under the names by which the functions of ``concurrent.futures`` find them.
    """

    _state: str = PENDING

    def __init__(self) -> None:
        """Make a pending future; deliberately without what ``Future.__init__`` makes."""

    def __getattr__(self, name: str) -> Any:
        # setdefault: two threads may come here at once, and must get the same lock.
        if name == "_condition":
            return self.__dict__.setdefault(name, threading.Condition())
        if name == "_waiters":
            return self.__dict__.setdefault(name, _Waiters(self))
        if name == "_done_callbacks":
            return self.__dict__.setdefault(name, [])
        if name in {"_result", "_exception"}:
            self._result, self._exception = self._open()
            return self.__dict__[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _open(self) -> tuple[Any, BaseException | None]:
        """Return value and exception; called at most once or twice, when somebody asks for either."""
        return None, None

    def _stand(self) -> None:
        """Want news for callbacks and foreign waiters. Called with the lock held, so it must not block."""

    def _stand_down(self) -> None:
        """Want no more news, unless there is a callback or waiter left."""

    def set_result(self, result: R) -> NoReturn:  # noqa: ARG002 (the contract's name)
        """Refuse: only the worker that runs the job says how it ended.

        Raises:
            concurrent.futures.InvalidStateError: always.
        """
        raise self._refusal("set_result")

    def set_exception(self, exception: BaseException | None) -> NoReturn:  # noqa: ARG002 (the contract's name)
        """Refuse, as ``set_result``."""
        raise self._refusal("set_exception")

    def set_running_or_notify_cancel(self) -> NoReturn:
        """Refuse, as ``set_result``."""
        raise self._refusal("set_running_or_notify_cancel")

    def _refusal(self, method: str) -> InvalidStateError:
        return InvalidStateError(
            f"{method}() of {self!r}: only its worker says how a job ends; cancel() it, or make a Future of your own"
        )

    def add_done_callback(self, fn: Callable[[Future[R]], object]) -> None:
        """Call ``fn`` with this result when the job has ended, at once if it has; nothing is waited for here.

        Raises:
            RuntimeError: no thread could be started in which news comes; ``fn`` will not be called.
        """
        with self._condition:
            if self._state not in OVER:
                self._done_callbacks.append(fn)
                try:
                    self._stand()
                except BaseException:
                    self._done_callbacks.remove(fn)
                    raise
                return
        try:
            fn(self)
        except Exception:
            logger.exception("a callback of %r failed", self, extra={"action": "callback_failed"})

    def _call(self, callbacks: Iterable[Callable[[Future[R]], object]]) -> None:
        for callback in callbacks:
            try:
                callback(self)
            except BaseException:  # even SystemExit must not end the thread that tells all others
                logger.exception("a callback of %r failed", self, extra={"action": "callback_failed"})

    def _end(self, state: str, *, failed: bool, change: Callable[[], None]) -> None:
        """Go over to ``state``, FINISHED or CANCELLED_AND_NOTIFIED, and tell everybody; only the first time counts.

        Args:
            state: the new one.
            failed: for waiters that stop at the first exception.
            change: notes what happened, while nobody can look.
        """
        with self._condition:
            if self._state in OVER:
                return
            change()
            self._state = state
            # Copies: who is told takes itself off the list, and whom that moves up must not be passed over.
            callbacks = list(self.__dict__.get("_done_callbacks", ()))
            for waiter in list(self.__dict__.get("_waiters", ())):
                if state == CANCELLED_AND_NOTIFIED:
                    waiter.add_cancelled(self)
                elif failed:
                    waiter.add_exception(self)
                else:
                    waiter.add_result(self)
            self._condition.notify_all()
        self._call(callbacks)
