"""``app.Executor``: a ``concurrent.futures.Executor`` whose workers may be on other machines."""

from __future__ import annotations

import concurrent.futures
import contextlib
import copy
import inspect
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeVar, overload

from taskq.client.bulk import send_many
from taskq.client.importable import call_task, reference
from taskq.client.mapping import Mapped, cancel_all, check_map
from taskq.client.resultset import ResultSet
from taskq.client.task import CoroutineTask, Task
from taskq.errors import BadArguments, InvalidTask

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.client.aio_executor import AioExecutor
    from taskq.client.queues import Queue
    from taskq.client.result import AsyncResult

P = ParamSpec("P")
R = TypeVar("R")
_NO_KEYWORDS: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class _Route:
    """How calls of one function become jobs.

    Attributes:
        task: whose jobs they are.
        found: module and name of a plain function, which are arguments of the job; None for a task.
        signature: of the plain function.
    """

    task: Task[..., Any]
    found: tuple[str, str] | None = None
    signature: inspect.Signature | None = None

    def send(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> AsyncResult[Any]:
        """Make a job of one call."""
        if self.found is None:
            return self.task.delay(*args, **kwargs)
        self._check(args, kwargs)
        return self.task.delay(*self.found, list(args), dict(kwargs))

    async def asend(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> AsyncResult[Any]:
        """``send`` in the running loop."""
        if self.found is None:
            return await self.task.aio.apply_async(args, kwargs)
        self._check(args, kwargs)
        return await self.task.aio.delay(*self.found, list(args), dict(kwargs))

    def columns(self, calls: Sequence[tuple[Any, ...]]) -> tuple[Iterable[Any], ...]:
        """Return what ``delay_many`` of the task makes these calls of, which have positional arguments alone."""
        if self.found is None:
            return tuple(zip(*calls, strict=True))
        for args in calls:
            self._check(args, _NO_KEYWORDS)
        module, name = self.found
        return [module] * len(calls), [name] * len(calls), map(list, calls), [{}] * len(calls)

    def _check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if self.signature is not None:
            try:
                self.signature.bind(*args, **kwargs)
            except TypeError as error:
                module, name = self.found or ("", "")
                text = f"function {module}.{name}: {error}; its signature is {self.signature}"
                raise BadArguments(text) from None


class Executor(concurrent.futures.Executor):
    """Runs calls of tasks as jobs; made by ``app.Executor``.

    The contract of ``concurrent.futures.Executor``, with futures that are AsyncResults. A call that cannot become a job
    is refused by ``submit`` itself. Any thread may use it, and so may a forked child, which begins without pending
    futures. Futures that have not ended are kept, as ``shutdown`` waits for them; of the others nothing is.
    """

    def __init__(self, app: TaskQ, queue: str | Queue | None = None) -> None:
        """Make an executor; nothing is sent.

        Args:
            app: with tasks and connection.
            queue: where all jobs go, by name or object; else where each task says, and to the app's default queue for
                plain functions.

        Raises:
            InvalidQueueName, QueueConflict: the queue cannot be used.
        """
        self._app = app
        self._queue = None if queue is None else app._queue_name(queue)
        self._routes: dict[Any, _Route] = {}
        self._renew()

    def _check_fork(self) -> None:
        if self._pid != os.getpid():  # the parent's futures are the parent's, and its lock may be held
            self._renew()

    def _renew(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._pending: dict[AsyncResult[Any] | ResultSet[Any], None] = {}
        self._sending = 0
        self._closed = False

    @property
    def aio(self) -> AioExecutor:
        """The same methods as coroutines; ``async with`` works on the executor itself."""
        from taskq.client.aio_executor import AioExecutor

        return AioExecutor(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aio.shutdown()

    def __repr__(self) -> str:
        where = f" to {self._queue!r}" if self._queue is not None else ""
        return f"<{type(self).__name__} of {self._app.name!r}{where}, {len(self._pending)} pending>"

    # -- sending ------------------------------------------------------------------------------------------------------

    @overload
    def submit(self, fn: CoroutineTask[P, R], /, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]: ...
    @overload
    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]: ...
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AsyncResult[Any]:
        """Make a job of a call.

        Args:
            fn: a task of the app, a function that it has registered, or a plain function at the top of a module that a
                worker allows (``taskq worker --allow-import``).
            args: its arguments; data, as for ``Task.delay``.
            kwargs: likewise.

        Raises:
            RuntimeError: the executor was shut down.
            InvalidTask: a worker could not find ``fn``, or it keeps no results.
            TaskqError: as ``Task.delay``.
        """
        with self._open():
            return self._keep_one(self._route(fn).send(args, kwargs))

    @overload
    def map(
        self,
        fn: CoroutineTask[..., R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Mapped[R]: ...
    @overload
    def map(
        self,
        fn: Callable[..., R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Mapped[R]: ...
    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Mapped[Any]:
        """Make a job per item, arguments as for the builtin ``map``, and return an iterator over the results in order.

        The iterator raises what a job raised, or TimeoutError; then, and when it is closed, the jobs whose results it
        has not given are cancelled. One that was never asked for anything cancels none when it is dropped.

        Args:
            fn: as for ``submit``.
            iterables: read at once, or as ``buffersize`` says.
            timeout: seconds from now until which results are waited for; None for as long as it takes.
            chunksize: calls that are sent in one round trip, up to 1,000; each is a job of its own.
            buffersize: chunks that may be sent before their results are asked for, also where this Python's own
                executors have no such argument; None for all.

        Raises:
            ValueError: ``chunksize`` or ``buffersize`` is below 1.
            TypeError: ``chunksize`` or ``buffersize`` is no whole number.
            Exception: as ``submit``, or what an iterable raised; what was sent before stays sent.
        """
        deadline = check_map(timeout, chunksize, buffersize)
        with self._open():
            self._route(fn)
        parts = self._send_parts(fn, zip(*iterables, strict=False), chunksize)
        return Mapped(deque(itertools.islice(parts, buffersize)), parts, deadline)

    def _send_parts(
        self, fn: Callable[..., Any], calls: Iterator[tuple[Any, ...]], size: int
    ) -> Iterator[Sequence[AsyncResult[Any]]]:
        if size == 1:
            yield from ([self.submit(fn, *args)] for args in calls)
        while chunk := list(itertools.islice(calls, size)):
            yield self._send_chunk(fn, chunk)

    def _send_chunk(self, fn: Callable[..., Any], calls: list[tuple[Any, ...]]) -> ResultSet[Any]:
        with self._open(), self._keeping_sent():
            route = self._route(fn)
            return self._keep_set(send_many(route.task, route.columns(calls)))

    @contextlib.contextmanager
    def _keeping_sent(self) -> Iterator[None]:
        """Keep also what was sent of a chunk before sending it failed."""
        try:
            yield
        except BaseException as error:
            sent = getattr(error, "enqueued", None)
            if isinstance(sent, ResultSet):
                self._keep_set(sent)
            raise

    def _route(self, fn: Any) -> _Route:
        try:
            known = self._routes.get(fn)
        except TypeError:  # an unhashable callable is none of ours
            known = None
        if known is None:
            self._routes[fn] = known = self._find_route(fn)
        return known

    def _find_route(self, fn: Any) -> _Route:
        app = self._app
        task = fn if isinstance(fn, Task) else next((task for task in app.tasks.values() if task.function is fn), None)
        if task is None:
            found = reference(fn)
            return _Route(self._to_queue(call_task(app)), found, inspect.signature(fn))
        if task.app is not app:
            raise InvalidTask(f"task {task.name!r} is of app {task.app.name!r}; use an executor of that app")
        if task.ignore_result:
            raise InvalidTask(f"task {task.name!r} keeps no result (ignore_result), so its futures would never end")
        return _Route(self._to_queue(task))

    def _to_queue(self, task: Task[..., Any]) -> Task[..., Any]:
        if self._queue is None or task.queue == self._queue:
            return task
        made = copy.copy(task)
        made.queue = self._queue
        made._sender = made._declared = None  # what it has prepared is for the other queue
        return made

    # -- what is pending ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _open(self) -> Iterator[None]:
        """Count a sending that ``shutdown`` waits for.

        Raises:
            RuntimeError: the executor was shut down.
        """
        self._check_fork()
        with self._changed:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._sending += 1
        try:
            yield
        finally:
            with self._changed:
                self._sending -= 1
                self._changed.notify_all()

    def _keep_one(self, future: AsyncResult[R]) -> AsyncResult[R]:
        self._keep(future)
        future.add_done_callback(self._ended)
        return future

    def _keep(self, item: AsyncResult[Any] | ResultSet[Any]) -> None:
        with self._changed:
            self._pending[item] = None

    def _keep_set(self, results: ResultSet[R]) -> ResultSet[R]:
        """Keep the results of a chunk until the last of them is there; a watch for all of them costs little."""
        if not results:
            return results

        def ended() -> None:
            with contextlib.suppress(ValueError):
                results._bells.remove(ended)
            self._ended(results)

        self._keep(results)
        results._bells.append(ended)
        results._watch(_ignore, self._app._listener)
        return results

    def _ended(self, item: Any) -> None:
        with self._changed:
            self._pending.pop(item, None)
            self._changed.notify_all()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls.

        Args:
            wait: return when all futures of this executor have ended.
            cancel_futures: cancel those that no worker has yet.

        Raises:
            DeadlockRisk: it would wait inside a job for jobs that only this job's own worker may run.
            BrokerError: the server could not be reached; calling again is fine.
        """
        self._check_fork()
        with self._changed:
            self._closed = True
            while wait and self._sending:
                self._changed.wait()
            pending = list(self._pending)
        if cancel_futures:
            cancel_all(item if isinstance(item, ResultSet) else (item,) for item in pending)
        if not wait:
            return
        for item in pending:
            # Each waits with a watch of its own: that tells of errors, and works also after the app was closed.
            if isinstance(item, ResultSet):
                item.wait()
            else:
                with contextlib.suppress(CancelledError):
                    item.exception()
        with self._changed:
            while self._pending:
                self._changed.wait()


def _ignore() -> None:
    """Be told of an error in reading results; waits go on."""
