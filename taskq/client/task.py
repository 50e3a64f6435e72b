"""A registered function: called here as it is, or made into jobs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, Unpack, overload

from taskq.client.bulk import send_many
from taskq.client.canvas import Signature
from taskq.client.context import JobContext, current_job
from taskq.client.drafting import check_size, draft, rank
from taskq.client.operation import Operation, perform
from taskq.client.options import CallKeywords, CallOptions, TaskOptions, call_options, check_expires
from taskq.client.result import AsyncResult
from taskq.model import signature as signatures
from taskq.model.job import FLAG_IGNORE_RESULT, Job, encode_body, encode_header

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.broker.queues import Declared
    from taskq.client.aio import AioTask
    from taskq.client.hooks import Sending
    from taskq.client.resultset import ResultSet
    from taskq.client.sending import Sender

P = ParamSpec("P")
R = TypeVar("R")


class Task(Generic[P, R]):
    """A function that an app knows by name. Made by ``app.task``.

    Attributes:
        app: where it is registered.
        name: under which workers find it.
        function: what was decorated.
        is_async: it is a coroutine function.
        signature: what it may be called with.
        codec: of its arguments and results.
        queue: the name of the queue of its jobs.
        priority: of its jobs on priority queues; None is 0.
        retry: how often and after how long it is tried again.
        retry_types: after which exceptions.
        raises: exception classes that its results raise again as such.
        time_limit: seconds that a job may run; None for no limit.
        expires: seconds after which a job that has not started is dropped; None for never.
        ignore_result: its jobs keep no result.
        result_ttl: seconds that results are kept.
        bind: its first parameter gets the JobContext.
    """

    def __init__(
        self, app: TaskQ, function: Callable[..., Any], name: str, options: TaskOptions, signature: signatures.Signature
    ) -> None:
        functools.update_wrapper(self, function)
        self.app = app
        self.name = name
        self.function = function
        self.is_async = inspect.iscoroutinefunction(inspect.unwrap(function))
        self.signature = signature
        self.codec = app._codec(options.serializer)
        self.queue = app._queue_name(options.queue) if options.queue is not None else app.default_queue
        self.priority = options.priority
        self.retry = options.retry
        self.retry_types = options.retry_types
        self.raises = options.raises
        self.time_limit = options.time_limit
        self.expires = options.expires
        self.ignore_result = options.ignore_result
        self.result_ttl = options.result_ttl or app.settings.result_ttl
        self.bind = options.bind
        self._sender: Sender | None = None
        self._declared: Declared | None = None
        self._head = b""
        self._reply = ""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}{self.signature}>"

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function here and now; a bound one gets the running job's context, or an empty one."""
        if self.bind:
            context = current_job.get() or JobContext.outside(self.name)
            return self.function(context, *args, **kwargs)  # type: ignore[no-any-return]
        return self.function(*args, **kwargs)  # type: ignore[no-any-return]

    @property
    def aio(self) -> AioTask[P, R]:
        """The same methods as coroutines."""
        from taskq.client.aio import AioTask

        return AioTask(self)

    def delay(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Make a job of this call and return the handle of its result.

        Raises:
            BadArguments, SerializationError, PayloadTooLarge: the call cannot become a job; nothing was sent.
            QueueConflict: the queue was declared with another discipline.
            BrokerError: the server refused or was not reached; after Indeterminate the job may be there.
        """
        app, sender = self.app, self.app._sender
        hooks = app.hooks
        if hooks.before_send or hooks.after_send or current_job.get() is not None or not self._is_prepared(sender):
            return perform(self._submit(sender, args, kwargs, CallOptions()), sender.broker)
        codec, signature = self.codec, self.signature
        bound, named = signature.bind(args, kwargs)
        body = encode_body(self.name, signature.encode_arguments(codec, bound, named), codec.name)
        if len(body) > app.settings.max_body:
            check_size(self, body)
        unique, signer = app._new_id(), app._signer
        result = AsyncResult(app, self.queue, unique, self, self._reply, self.ignore_result)
        data = self._head + body if signer is None else signer.sign(self.queue, unique, self._head, body)
        sender.put(self.queue, Job(unique, data), result)
        return result

    def apply_async(
        self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Unpack[CallKeywords]
    ) -> AsyncResult[R]:
        """Make a job of a call, with options of its own; see ``CallKeywords``.

        Raises:
            InvalidOption, InvalidDelay, InvalidTimeout, InvalidPriority, InvalidJobId: an option cannot be used.
            JobConflict: ``job_id`` is taken by a job with other content.
            queue.Full: no room within ``timeout``.
            TaskqError: as ``delay``.
        """
        sender = self.app._sender
        return perform(self._submit(sender, args, kwargs or {}, call_options(options)), sender.broker)

    def delay_many(self, *iterables: Iterable[Any]) -> ResultSet[R]:
        """Make a job per item, arguments as for the builtin ``map``; the iterables are read as the jobs are sent.

        A thousand jobs travel per round trip, and the next thousand are made meanwhile. If an iterable raises, or a
        call cannot become a job, what was sent before stays sent; the exception then has a note that says how many,
        and their ResultSet in its attribute ``enqueued``.

        Raises:
            TaskqError: as ``delay``.
        """
        return send_many(self, iterables)

    def s(self, /, *args: Any, **kwargs: Any) -> Signature:
        """Return a call for ``link=`` or ``link_error=`` that gets the result, or the failure, before ``args``.

        The failure is a dict of texts: ``id`` of the job that failed, its ``task``, its ``ending`` (``failed``,
        ``crashed`` or ``expired``), and ``type``, ``message`` and ``traceback`` of what was raised.
        """
        return Signature(self, args, kwargs)

    def si(self, /, *args: P.args, **kwargs: P.kwargs) -> Signature:
        """Return a call for ``link=`` or ``link_error=`` with exactly these arguments."""
        return Signature(self, args, kwargs, immutable=True)

    def _is_prepared(self, sender: Sender) -> bool:
        """Make what all plain calls share; False if the queue is not declared yet."""
        declared = sender.declared.get(self.queue)
        if declared is None or self.expires is not None:
            return False
        if self._sender is not sender or self._declared is not declared:
            self._reply = "" if self.ignore_result else sender.listener.token
            self._head = self._header(sender, declared)
            self._sender, self._declared = sender, declared
        return True

    def _header(self, sender: Sender, declared: Declared) -> bytes:
        reply, flags = ("", FLAG_IGNORE_RESULT) if self.ignore_result else (sender.listener.token, "")
        return encode_header(reply, flags, check_expires(self.expires), rank(declared, None, self.priority)).encode()

    def _submit(
        self, sender: Sender, args: Sequence[Any], kwargs: Mapping[str, Any], options: CallOptions
    ) -> Operation[AsyncResult[R]]:
        seen: list[Sending] = []
        try:
            result = yield from self._send(sender, args, kwargs, options, seen)
        except BaseException as error:
            self.app.hooks.sent(seen, error)
            raise
        self.app.hooks.sent(seen, None)
        return result

    def _send(
        self,
        sender: Sender,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: CallOptions,
        seen: list[Sending],
    ) -> Operation[AsyncResult[R]]:
        made = yield from draft(self, sender, args, kwargs, options, seen)
        result = AsyncResult(self.app, made.queue, made.job.unique, self, made.reply, not made.reply)
        if made.reply and not made.chosen:
            epoch = sender.listener.epoch
            if epoch is not None:
                result._known = sender.listener.know(result.id, result)
                result._covered(epoch)
        mine = yield from sender.put_chosen(made.queue, made.job, made.room, chosen=made.chosen)
        if not mine:  # its end is announced to another process
            result._reply = ""
        return result


class CoroutineTask(Task[P, R]):
    """A task made from an ``async def``: calling it here gives the coroutine, its jobs give what that returns."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:  # type: ignore[override]
        """Call the function here; see ``Task.__call__``."""
        coroutine: Any = super().__call__(*args, **kwargs)
        return coroutine  # type: ignore[no-any-return]


class TaskDecorator(Protocol):
    """``app.task(...)`` without ``bind``."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


class BoundTaskDecorator(Protocol):
    """``app.task(bind=True)``: the job context is no argument of a call."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[JobContext, P], Coroutine[Any, Any, R]], /
    ) -> CoroutineTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[JobContext, P], R], /) -> Task[P, R]: ...
