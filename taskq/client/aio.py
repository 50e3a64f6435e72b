"""The same objects for callers in an event loop: the same methods, as coroutines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack

from taskq.broker import results
from taskq.client import items
from taskq.client.bulk import asend_many
from taskq.client.items import check_most
from taskq.client.operation import aperform
from taskq.client.options import CallKeywords, CallOptions, call_options
from taskq.model.outcome import Ending, Record

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.broker.queues import QueueInfo
    from taskq.client import result as handles
    from taskq.client.items import Claim
    from taskq.client.queues import Queue
    from taskq.client.result import AsyncResult
    from taskq.client.resultset import ResultSet
    from taskq.client.task import Task

P = ParamSpec("P")
R = TypeVar("R")


class Bell:
    """Wakes the coroutine that made it, from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake it; harmless after its loop has been closed."""
        try:
            self._loop.call_soon_threadsafe(self._rung.set)
        except RuntimeError:
            return

    async def heard(self, deadline: float | None) -> bool:
        """Wait for the next ring; False if ``deadline``, in monotonic seconds, came first."""
        try:
            async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True


class AioTask(Generic[P, R]):
    """``task.aio``; see Task for arguments and errors."""

    def __init__(self, task: Task[P, R]) -> None:
        self._task = task

    async def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """See ``Task.delay``. Calls that come while one is under way travel together."""
        sender = self._task.app._sender
        return await aperform(self._task._submit(sender, args, kwargs, CallOptions()), sender.broker)

    async def apply_async(
        self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Unpack[CallKeywords]
    ) -> AsyncResult[R]:
        """See ``Task.apply_async``."""
        sender = self._task.app._sender
        return await aperform(self._task._submit(sender, args, kwargs or {}, call_options(options)), sender.broker)

    async def delay_many(self, *iterables: Iterable[Any]) -> ResultSet[R]:
        """See ``Task.delay_many``."""
        return await asend_many(self._task, iterables)


class AioResult(Generic[R]):
    """``result.aio``; see AsyncResult for arguments and errors. Cancelling a wait leaves the job as it is."""

    def __init__(self, result: AsyncResult[R]) -> None:
        self._result = result

    async def result(self, timeout: float | None = None, *, allow_deadlock: bool = False) -> R:  # noqa: ASYNC109 (the contract's name)
        """See ``AsyncResult.result``."""
        return await self._result._aresult(timeout, allow_deadlock=allow_deadlock)

    get = result

    async def exception(self, timeout: float | None = None, *, allow_deadlock: bool = False) -> BaseException | None:  # noqa: ASYNC109 (the contract's name)
        """See ``AsyncResult.exception``."""
        await self._result._asettled(timeout, allow_deadlock)
        return self._result.exception()

    async def done(self) -> bool:
        """See ``AsyncResult.done``."""
        if not self._result._is_over():
            await aperform(self._result._look(), self._result._app.broker)
        return self._result._is_over()

    ready = done

    async def running(self) -> bool:
        """See ``AsyncResult.running``."""
        return await self.state() == "running"

    async def cancelled(self) -> bool:
        """See ``AsyncResult.cancelled``."""
        return await self.done() and self._result.cancelled()

    async def successful(self) -> bool:
        """See ``AsyncResult.successful``."""
        return await self.done() and self._result.successful()

    async def failed(self) -> bool:
        """See ``AsyncResult.failed``."""
        return await self.done() and self._result.failed()

    async def record(self) -> Record | None:
        """See ``AsyncResult.record``."""
        return self._result.record if await self.done() else None

    async def traceback(self) -> str | None:
        """See ``AsyncResult.traceback``."""
        return self._result.traceback if await self.done() else None

    async def state(self) -> str:
        """See ``AsyncResult.state``."""
        return await aperform(self._result._find_state(), self._result._app.broker)

    async def cancel(self) -> bool:
        """See ``AsyncResult.cancel``."""
        return await aperform(self._result._cancel(), self._result._app.broker)

    async def revoke(self, terminate: bool = False) -> bool:
        """See ``AsyncResult.revoke``."""
        return await aperform(self._result._cancel(revoke=True, terminate=terminate), self._result._app.broker)

    async def forget(self) -> None:
        """See ``AsyncResult.forget``."""
        await self._result._app.broker.aread(results.forget(self._result._keys, self._result.unique))


class AioResultSet(Generic[R]):
    """``results.aio``; see ResultSet for arguments and errors."""

    def __init__(self, results_: ResultSet[R]) -> None:
        self._set = results_

    async def get(self, timeout: float | None = None, *, allow_deadlock: bool = False) -> list[R]:  # noqa: ASYNC109 (the contract's name)
        """See ``ResultSet.get``."""
        if not await self._set._await_all(timeout, allow_deadlock=allow_deadlock):
            raise self._set._late(timeout)
        return self._set._values()

    async def wait(self, timeout: float | None = None, *, allow_deadlock: bool = False) -> bool:  # noqa: ASYNC109 (the contract's name)
        """See ``ResultSet.wait``."""
        return await self._set._await_all(timeout, allow_deadlock=allow_deadlock)

    async def done_count(self) -> int:
        """See ``ResultSet.done_count``."""
        if not self._set._all_ended():
            await aperform(self._set._look(), self._set._app.broker)
        return len(self._set._records)

    async def ready(self) -> bool:
        """See ``ResultSet.ready``."""
        return await self.done_count() >= len(self._set)

    async def successful(self) -> bool:
        """See ``ResultSet.successful``."""
        return await self.ready() and self._set.successful()

    async def failed(self) -> bool:
        """See ``ResultSet.failed``."""
        await self.done_count()
        return any(
            self._set._ending(unique) not in {Ending.SUCCEEDED, Ending.CANCELLED} for unique in self._set._records
        )


class AioQueue:
    """``queue.aio``; see Queue for errors."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._app = queue._app

    async def info(self) -> QueueInfo:
        """See ``Queue.info``."""
        return await aperform(self._queue._info(), self._app.broker)

    async def qsize(self) -> int:
        """See ``Queue.qsize``."""
        return await aperform(self._queue._qsize(), self._app.broker)

    async def empty(self) -> bool:
        """See ``Queue.empty``."""
        return await self.qsize() == 0

    async def full(self) -> bool:
        """See ``Queue.full``."""
        return await aperform(self._queue._full(), self._app.broker)

    async def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ASYNC109 (the contract's name)
        """See ``Queue.put``."""
        await aperform(self._queue._put((item,), block, timeout), self._app.broker)

    async def put_nowait(self, item: Any) -> None:
        """See ``Queue.put_nowait``."""
        await self.put(item, block=False)

    async def put_many(self, values: Iterable[Any], block: bool = True, timeout: float | None = None) -> None:  # noqa: ASYNC109 (the contract's name)
        """See ``Queue.put_many``."""
        await aperform(self._queue._put(values, block, timeout), self._app.broker)

    async def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ASYNC109 (the contract's name)
        """See ``Queue.get``. What was taken for a caller that is cancelled goes back to its place."""
        (value,) = await aperform(self._queue._get(1, block, timeout), self._app.broker)
        return value

    async def get_nowait(self) -> Any:
        """See ``Queue.get_nowait``."""
        return await self.get(block=False)

    async def get_many(self, most: int, block: bool = True, timeout: float | None = None) -> list[Any]:  # noqa: ASYNC109 (the contract's name)
        """See ``Queue.get_many``."""
        return await aperform(self._queue._get(check_most(most), block, timeout), self._app.broker)

    def claim(self, block: bool = True, timeout: float | None = None, *, lease: float | None = None) -> Claim:
        """See ``Queue.claim``; for ``async with``."""
        return self._queue.claim(block, timeout, lease=lease)

    async def task_done(self) -> None:
        """See ``Queue.task_done``."""
        await aperform(self._queue._task_done(), self._app.broker)

    async def join(self) -> None:
        """See ``Queue.join``."""
        await aperform(items.join(self._queue), self._app.broker)

    async def shutdown(self, immediate: bool = False) -> None:
        """See ``Queue.shutdown``."""
        await aperform(self._queue._close(shutdown=True, drop=immediate), self._app.broker)

    async def reopen(self) -> None:
        """See ``Queue.reopen``."""
        await aperform(self._queue._close(shutdown=False, drop=False), self._app.broker)

    async def purge(self) -> int:
        """See ``Queue.purge``."""
        return await aperform(self._queue._purge(), self._app.broker)

    async def pause(self) -> None:
        """See ``Queue.pause``."""
        await aperform(self._queue._pause(True), self._app.broker)

    async def resume(self) -> None:
        """See ``Queue.resume``."""
        await aperform(self._queue._pause(False), self._app.broker)


class AioApp:
    """``app.aio``; see TaskQ for arguments and errors."""

    def __init__(self, app: TaskQ) -> None:
        self._app = app

    async def send_task(
        self,
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        send_by_name: bool = False,
        **options: Unpack[CallKeywords],
    ) -> handles.AsyncResult[Any]:
        """See ``TaskQ.send_task``."""
        return await self._app._task_named(name, send_by_name).aio.apply_async(args, kwargs, **options)

    async def AsyncResult(self, job_id: str) -> handles.AsyncResult[Any]:  # noqa: N802 (the name of what it makes)
        """See ``TaskQ.AsyncResult``."""
        return await aperform(self._app._find_result(job_id), self._app.broker)

    async def close(self) -> None:
        """Close what the running loop has open; the app may be used again afterwards."""
        await self._app.broker.aclose()
