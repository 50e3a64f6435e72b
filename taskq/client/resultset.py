"""The results of many jobs of one task: their ids, and a handle per job only for who asks for one."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Final, TypeVar, overload

from taskq.broker import results
from taskq.client.operation import Operation, aperform, perform
from taskq.client.records import gone, open_record, read_record
from taskq.client.result import AsyncResult
from taskq.client.waiting import check_deadlock, check_wait
from taskq.errors import UnknownOrExpired
from taskq.model.outcome import Ending

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.client.aio import AioResultSet
    from taskq.client.listener import Listener
    from taskq.client.task import Task
    from taskq.client.watching import Watch

R = TypeVar("R")
READ_AT_ONCE: Final = 100  # records a look: few enough that large ones fit into memory
_VANISHED: Final = b""  # in place of a record: there is neither a job nor a record


class ResultSet(Sequence[AsyncResult[R]]):
    """A sequence of results in the order of their jobs.

    Indexing and iterating make AsyncResults; ``get``, ``wait`` and ``as_completed`` wait for all of them with one lock.
    """

    def __init__(
        self, app: TaskQ, queue: str, uniques: list[str], task: Task[..., R] | None = None, reply: str = ""
    ) -> None:
        """Make a set; nothing is sent or read.

        Args:
            app: with the connection.
            queue: the jobs'.
            uniques: their ids there.
            task: if it is known.
            reply: the token of the process that is told of their ends; empty if none is, or no results are kept.
        """
        self._app = app
        self.queue = queue
        self._uniques = uniques
        self._task = task
        self._reply = reply
        self._quiet = task is not None and task.ignore_result
        self._records: dict[str, bytes] = {}
        self._condition = threading.Condition()
        self._fresh: deque[str] | None = None  # ended, and not yet yielded by as_completed
        self._bells: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} of {len(self)} jobs in {self.queue!r}, {len(self._records)} known to have ended>"
        )

    def __len__(self) -> int:
        return len(self._uniques)

    @overload
    def __getitem__(self, index: int) -> AsyncResult[R]: ...
    @overload
    def __getitem__(self, index: slice) -> ResultSet[R]: ...
    def __getitem__(self, index: int | slice) -> AsyncResult[R] | ResultSet[R]:
        if isinstance(index, slice):
            return ResultSet(self._app, self.queue, self._uniques[index], self._task, self._reply)
        return self._handle(self._uniques[index])

    def __iter__(self) -> Iterator[AsyncResult[R]]:
        return map(self._handle, self._uniques)

    @property
    def ids(self) -> list[str]:
        """The jobs as ``queue/unique``."""
        return [f"{self.queue}/{unique}" for unique in self._uniques]

    @property
    def aio(self) -> AioResultSet[R]:
        """The same methods as coroutines."""
        from taskq.client.aio import AioResultSet

        return AioResultSet(self)

    def _handle(self, unique: str) -> AsyncResult[R]:
        handle = AsyncResult(self._app, self.queue, unique, self._task, self._reply, self._quiet)
        data = self._records.get(unique)
        if data:
            handle._settle(handle.id, data)
        elif data is not None:
            handle._vanish(handle.id)
        return handle

    # -- waiting ------------------------------------------------------------------------------------------------------

    def get(self, timeout: float | None = None, *, allow_deadlock: bool = False) -> list[R]:
        """Return what the tasks returned, in order.

        Args:
            timeout: seconds to wait for all; None for as long as it takes.
            allow_deadlock: wait inside a job even for jobs of a queue that its own worker serves.

        Raises:
            Exception: what ``AsyncResult.result`` raises, for the first job in order that did not succeed.
            TimeoutError: not all have ended.
        """
        if not self.wait(timeout, allow_deadlock=allow_deadlock):
            raise self._late(timeout)
        return self._values()

    def wait(self, timeout: float | None = None, *, allow_deadlock: bool = False) -> bool:
        """Wait until all jobs have ended, however; False if ``timeout`` passed before."""
        if self._all_ended():
            return True
        deadline = self._begin_wait(timeout, allow_deadlock)
        if timeout == 0:
            perform(self._look(), self._app.broker)
            return self._all_ended()
        with self._watching() as watch:
            return self._block(watch, self._all_ended, deadline)

    def as_completed(self, timeout: float | None = None, *, allow_deadlock: bool = False) -> Iterator[AsyncResult[R]]:
        """Yield the results as their jobs end; one such iteration at a time.

        Raises:
            TimeoutError: not all had ended ``timeout`` seconds after the first was asked for.
        """
        with self._condition:
            fresh = self._fresh = deque(unique for unique in self._uniques if unique in self._records)
        left = len(self._uniques)
        if len(fresh) == left:
            yield from map(self._handle, fresh)
            return
        deadline = self._begin_wait(timeout, allow_deadlock)
        with self._watching() as watch:
            while left:
                if not fresh and not self._block(watch, lambda: bool(fresh), deadline):
                    raise self._late(timeout)
                left -= 1
                yield self._handle(fresh.popleft())

    def _all_ended(self) -> bool:
        return len(self._records) >= len(self._uniques)

    def _late(self, seconds: float | None) -> TimeoutError:
        left = len(self._uniques) - len(self._records)
        return TimeoutError(f"{left} of {len(self)} jobs have not ended after {seconds} s; they go on")

    def _begin_wait(self, timeout: object, allow_deadlock: bool) -> float | None:
        """Check that waiting makes sense and return its end in monotonic seconds, None for no limit."""
        seconds = check_wait(timeout)
        check_deadlock(self.queue, f"{len(self)} jobs", allow_deadlock)
        if self._quiet:
            raise UnknownOrExpired("these jobs keep no results (ignore_result), so there is nothing to wait for")
        return None if seconds is None else time.monotonic() + seconds

    @contextlib.contextmanager
    def _watching(self) -> Iterator[Watch]:
        listener, condition = self._app._listener, self._condition

        def wake() -> None:
            with condition:
                condition.notify_all()

        watch = self._watch(wake, listener)
        try:
            yield watch
        finally:
            listener.unwatch(watch)

    def _block(self, watch: Watch, reached: Callable[[], bool], deadline: float | None) -> bool:
        """Wait for news until ``reached``; False if ``deadline`` came before."""
        with self._condition:
            while not reached():
                if watch.error is not None:
                    raise watch.error
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._condition.wait(left)
        return True

    async def _await_all(self, limit: object, *, allow_deadlock: bool) -> bool:
        if self._all_ended():
            return True
        from taskq.client.aio import Bell

        deadline = self._begin_wait(limit, allow_deadlock)
        if limit == 0:
            await aperform(self._look(), self._app.broker)
        bell, listener = Bell(), self._app._listener
        self._bells.append(bell.ring)
        watch = self._watch(bell.ring, listener)
        try:
            while not self._all_ended():
                if watch.error is not None:
                    raise watch.error
                if not await bell.heard(deadline):
                    return False
        finally:
            listener.unwatch(watch)
            self._bells.remove(bell.ring)
        return True

    def _watch(self, wake: Callable[[], None], listener: Listener) -> Watch:
        ids = [f"{self.queue}/{unique}" for unique in self._uniques if unique not in self._records]
        return listener.watch(self, ids, pushed=self._reply == listener.token, wake=wake)

    def _values(self) -> list[R]:
        values: list[R] = []
        for unique in self._uniques:
            job_id, data = f"{self.queue}/{unique}", self._records[unique]
            if not data:
                raise gone(job_id)
            record = read_record(data, job_id, self._app._signer)
            if record.ending == Ending.CANCELLED:
                raise CancelledError(record.error.message if record.error is not None else job_id)
            value, failure = open_record(self._app, record, job_id, self._task)
            if failure is not None:
                raise failure
            values.append(value)
        return values

    # -- being told ---------------------------------------------------------------------------------------------------

    def _settle(self, job_id: str, data: bytes) -> None:
        unique = job_id.rpartition("/")[2]
        with self._condition:
            if unique in self._records:
                return
            self._records[unique] = data
            if self._fresh is not None:
                self._fresh.append(unique)
            ended = self._all_ended()
            if ended or self._fresh is not None:
                self._condition.notify_all()
        if ended:
            for ring in list(self._bells):
                ring()

    def _vanish(self, job_id: str) -> None:
        self._settle(job_id, _VANISHED)

    def _covered(self, epoch: object | None) -> None:
        """Watch all or nothing: a set is not told while nobody waits for it."""

    # -- asking -------------------------------------------------------------------------------------------------------

    def done_count(self) -> int:
        """Return how many jobs have ended."""
        if not self._all_ended():
            perform(self._look(), self._app.broker)
        return len(self._records)

    def ready(self) -> bool:
        """Tell whether all jobs have ended."""
        return self.done_count() >= len(self)

    def successful(self) -> bool:
        """Tell whether all jobs have ended, and all of them by returning."""
        return self.ready() and all(self._ending(unique) == Ending.SUCCEEDED for unique in self._uniques)

    def failed(self) -> bool:
        """Tell whether any of the jobs that have ended did so neither by returning nor by being cancelled."""
        self.done_count()
        fine = {Ending.SUCCEEDED, Ending.CANCELLED}
        return any(self._ending(unique) not in fine for unique in self._records)

    def cancel(self) -> int:
        """Cancel the jobs that no worker has yet; return how many will not run."""
        return sum(self._cancel_one(handle) for handle in self if handle._record is None)

    def forget(self) -> None:
        """Remove the results from the server; this set keeps what it has read."""
        for handle in self:
            handle.forget()

    def _cancel_one(self, handle: AsyncResult[R]) -> bool:
        try:
            return handle.cancel()
        except UnknownOrExpired:
            return False

    def _ending(self, unique: str) -> str:
        data = self._records[unique]
        return read_record(data, f"{self.queue}/{unique}", self._app._signer).ending if data else Ending.FAILED

    def _look(self) -> Operation[None]:
        missing = [unique for unique in self._uniques if unique not in self._records]
        for at in range(0, len(missing), READ_AT_ONCE):
            chunk = missing[at : at + READ_AT_ONCE]
            found = yield results.records(self._app.broker.keys(self.queue), chunk)
            for unique, data in zip(chunk, found, strict=True):
                if data is not None:
                    self._settle(f"{self.queue}/{unique}", data)
