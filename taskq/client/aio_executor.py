"""``executor.aio``: the executor for callers in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, overload

from taskq.client.bulk import asend_many
from taskq.client.future import OVER
from taskq.client.mapping import check_map
from taskq.client.resultset import ResultSet
from taskq.errors import UnknownOrExpired

if TYPE_CHECKING:
    from taskq.client.executor import Executor
    from taskq.client.result import AsyncResult

P = ParamSpec("P")
R = TypeVar("R")
TICK: Final = 0.005  # seconds between looks at calls that others are just sending; they take about as long


class AioExecutor:
    """See Executor for arguments and errors. Cancelling a wait leaves the jobs as they are."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    @overload
    async def submit(
        self, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncResult[R]: ...
    @overload
    async def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]: ...
    async def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AsyncResult[Any]:
        """See ``Executor.submit``."""
        executor = self._executor
        with executor._open():
            return executor._keep_one(await executor._route(fn).asend(args, kwargs))

    @overload
    async def map(
        self,
        fn: Callable[..., Coroutine[Any, Any, R]],
        *iterables: Iterable[Any],
        timeout: float | None = None,  # noqa: ASYNC109 (the contract's name)
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> AioMapped[R]: ...
    @overload
    async def map(
        self,
        fn: Callable[..., R],
        *iterables: Iterable[Any],
        timeout: float | None = None,  # noqa: ASYNC109 (the contract's name)
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> AioMapped[R]: ...
    async def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,  # noqa: ASYNC109 (the contract's name)
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> AioMapped[Any]:
        """See ``Executor.map``; the results are iterated over with ``async for``."""
        deadline = check_map(timeout, chunksize, buffersize)
        with self._executor._open():
            self._executor._route(fn)
        results = AioMapped(self._send_parts(fn, zip(*iterables, strict=False), chunksize), deadline)
        while (buffersize is None or len(results._ahead) < buffersize) and await results._send_next():
            pass
        return results

    async def _send_parts(
        self, fn: Callable[..., Any], calls: Iterator[tuple[Any, ...]], size: int
    ) -> AsyncGenerator[Sequence[AsyncResult[Any]], None]:
        executor = self._executor
        while chunk := list(itertools.islice(calls, size)):
            if size == 1:
                yield [await self.submit(fn, *chunk[0])]
                continue
            with executor._open(), executor._keeping_sent():
                route = executor._route(fn)
                part = executor._keep_set(await asend_many(route.task, route.columns(chunk)))
            yield part

    async def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See ``Executor.shutdown``."""
        executor = self._executor
        executor.shutdown(wait=False)
        if cancel_futures:
            for item in list(executor._pending):
                for future in item if isinstance(item, ResultSet) else (item,):
                    await _cancel(future)
        while wait and (executor._pending or executor._sending):
            for item in list(executor._pending):
                if isinstance(item, ResultSet):
                    await item.aio.wait()
                else:
                    with contextlib.suppress(CancelledError):
                        await item.aio.exception()
            await asyncio.sleep(TICK)


class AioMapped(AsyncIterator[R]):
    """The results of a ``map`` in the order of its calls; see Mapped. A wait that is cancelled may be repeated.

    Args:
        more: sends the next part when it is asked for one.
        deadline: until which results are waited for, in monotonic seconds; None for no limit.
    """

    def __init__(self, more: AsyncGenerator[Sequence[AsyncResult[R]], None], deadline: float | None) -> None:
        self._more = more
        self._deadline = deadline
        self._ahead: deque[Sequence[AsyncResult[R]]] = deque()
        self._part: Sequence[AsyncResult[R]] = ()
        self._at = 0  # in the part: the next one to be given
        self._sending: asyncio.Future[Sequence[AsyncResult[R]] | None] | None = (
            None  # goes on where a wait is cancelled
        )

    async def __anext__(self) -> R:
        if self._at == len(self._part) and not await self._next_part():
            raise StopAsyncIteration
        left = None if self._deadline is None else self._deadline - time.monotonic()
        try:
            value = await self._part[self._at].aio.result(left)
        except Exception:
            await self.aclose()
            raise
        self._at += 1
        return value

    async def _next_part(self) -> bool:
        """Go on to the next part, and send one more first; False if there is none."""
        self._part, self._at = (), 0
        try:
            await self._send_next()
        except Exception:
            await self.aclose()
            raise
        if self._ahead:
            self._part = self._ahead.popleft()
        return bool(self._part)

    async def _send_next(self) -> bool:
        if self._sending is None:
            self._sending = asyncio.ensure_future(self._next_sent())
        try:
            part = await asyncio.shield(self._sending)
        except asyncio.CancelledError:
            if self._sending.cancelled():  # itself, as its loop is being closed
                self._sending = None
            raise
        except Exception:
            self._sending = None
            raise
        self._sending = None
        if part is not None:
            self._ahead.append(part)
        return part is not None

    async def _next_sent(self) -> Sequence[AsyncResult[R]] | None:
        return await anext(self._more, None)

    async def aclose(self) -> None:
        """Cancel the jobs whose results were not given and that no worker has yet; then there are no more results."""
        if self._sending is not None:
            with contextlib.suppress(Exception):  # nothing of it was sent, or what was stays sent
                await self._send_next()
        rest: list[Sequence[AsyncResult[R]]] = [[self._part[at] for at in range(self._at, len(self._part))]]
        rest += self._ahead
        self._part, self._at = (), 0
        self._ahead.clear()
        await self._more.aclose()
        for part in rest:
            for future in part:
                await _cancel(future)


async def _cancel(future: AsyncResult[Any]) -> None:
    if future._state not in OVER:
        with contextlib.suppress(UnknownOrExpired):  # it ended, and its result is gone
            await future.aio.cancel()
