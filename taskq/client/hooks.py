"""Places where an app's own code may look on; none of it can harm a job."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from taskq.client.context import JobContext
from taskq.errors import InvalidTask, shorten
from taskq.model.outcome import Outcome

F = TypeVar("F", bound=Callable[..., object])
logger = logging.getLogger(__name__)
_encode = msgspec.msgpack.encode


@dataclass(slots=True)
class Sending:
    """A call that is about to be sent, or was; a hook may add to ``headers`` and ``memo``, nothing else.

    Attributes:
        task: the task's name.
        queue: where to.
        job_id: ``queue/unique``.
        args: positional arguments.
        kwargs: arguments by name.
        headers: plain data under text keys; travels with the job, and what hooks add also with what follows it.
        many: it is one of a ``delay_many``, whose single jobs ``after_send`` is not told of.
        memo: what hooks keep from ``before_send`` to ``after_send``, each under a key of its own; stays here.
    """

    task: str
    queue: str
    job_id: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    headers: dict[str, Any] = field(default_factory=dict)
    many: bool = False
    memo: dict[object, Any] = field(default_factory=dict)


class HookList(list[F]):
    """The functions of one place, in the order of their registration; calling it registers one, as a decorator."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place

    def __call__(self, function: F) -> F:
        """Register ``function`` and return it.

        Raises:
            InvalidTask: if it cannot be called.
        """
        if not callable(function):
            raise InvalidTask(f"hook {self.place}: {shorten(function)} cannot be called")
        self.append(function)
        return function

    def run(self, *args: object) -> None:
        """Call each; what one raises is logged."""
        for function in list(self):
            self._call(function, *args)

    def _call(self, function: F, *args: object) -> None:
        try:
            function(*args)
        except Exception:
            logger.exception("hook %s failed: %s", self.place, shorten(function), extra={"action": "hook_failed"})


class Hooks:
    """The places.

    Attributes:
        before_send: ``f(sending)``, in the producer; what it adds to ``sending.headers`` travels with the job.
        after_send: ``f(sending, error)``, in the producer, once the server has the job, or with what was raised.
        before_run: ``f(context)``, in the child, before the task; context variables that it sets are the task's.
        after_outcome: ``f(context, outcome)``, in the child, after it and in the same context.
        child_start: ``f()``, in the child, before its first job.
        child_stop: ``f()``, in the child, when it leaves in good order.
    """

    def __init__(self) -> None:
        self.before_send: HookList[Callable[[Sending], object]] = HookList("before_send")
        self.after_send: HookList[Callable[[Sending, BaseException | None], object]] = HookList("after_send")
        self.before_run: HookList[Callable[[JobContext], object]] = HookList("before_run")
        self.after_outcome: HookList[Callable[[JobContext, Outcome], object]] = HookList("after_outcome")
        self.child_start: HookList[Callable[[], object]] = HookList("child_start")
        self.child_stop: HookList[Callable[[], object]] = HookList("child_stop")

    def headers_for(self, sending: Sending) -> dict[str, Any]:
        """Run the hooks of ``before_send`` and return the headers; what cannot travel is dropped with a log line."""
        for function in list(self.before_send):
            before = dict(sending.headers)
            self.before_send._call(function, sending)
            if not can_travel(sending.headers):
                logger.error(
                    "headers added by hook %s are no plain data and are dropped",
                    shorten(function),
                    extra={"action": "hook_headers"},
                )
                sending.headers = before
        return sending.headers

    def sent(self, seen: Iterable[Sending], error: BaseException | None) -> None:
        """Run the hooks of ``after_send`` for each call that those of ``before_send`` were shown."""
        if self.after_send:
            for sending in seen:
                self.after_send.run(sending, error)


def can_travel(headers: object) -> bool:
    """Tell whether ``headers`` are plain data under text keys."""
    if not isinstance(headers, dict) or not all(isinstance(key, str) for key in headers):
        return False
    try:
        _encode(headers)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return False
    return True
