"""The handle of one job: a ``concurrent.futures.Future`` whose other end is a worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from taskq.broker import jobs, results, work
from taskq.broker.finishing import FINAL, finishes, moved_to
from taskq.client.future import OVER, LightFuture
from taskq.client.operation import Operation, aperform, perform
from taskq.client.records import gone, open_record, read_record
from taskq.client.waiting import check_deadlock, check_wait
from taskq.errors import UnknownOrExpired
from taskq.model.outcome import RECORD_VERSION, Ending, ErrorInfo, Record

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.broker.keys import QueueKeys
    from taskq.client.aio import AioResult
    from taskq.client.listener import Listener
    from taskq.client.task import Task
    from taskq.client.watching import Watch

R = TypeVar("R")
# What the server calls a job that ended inside a script until its record is written.
_ENDED: Final = {
    "cancelled": Ending.CANCELLED,
    "purged": Ending.CANCELLED,
    "expired": Ending.EXPIRED,
    "crashed": Ending.CRASHED,
    "lost": Ending.CRASHED,
    "unknown": Ending.FAILED,
    "revoked": "running",
}


class AsyncResult(LightFuture[R]):
    """The result of a job, there or still to come.

    The contract of ``concurrent.futures.Future``, also in ``wait``, ``as_completed`` and ``asyncio.wrap_future``; and
    ``await result``. Made by ``delay`` and its like, or by ``app.AsyncResult(id)`` wherever the id is known. Waiting is
    told by push where this process made the call; other holders read, with intervals that grow to 1 s. Callbacks run in
    the listener's thread and should be short.

    A job that keeps no result (``ignore_result``) cannot be waited for: waiting raises UnknownOrExpired, at once
    where this handle comes from the call itself, else when the job is gone.
    """

    # Class attributes for what most handles never need: making one must not cost a microsecond.
    _record: Record | None = None
    _cover: object | None = None
    _known = False
    _standing: Watch | None = None

    def __init__(
        self,
        app: TaskQ,
        queue: str,
        unique: str,
        task: Task[..., R] | None = None,
        reply: str = "",
        quiet: bool = False,
    ) -> None:
        """Make a handle; nothing is sent or read.

        Args:
            app: with the connection and, for the value's classes, the tasks.
            queue: the job's.
            unique: its id there.
            task: if it is known.
            reply: the token of the process that is told of its end.
            quiet: it keeps no result.
        """
        self._app = app
        self.queue = queue
        self.unique = unique
        self._task = task
        self._reply = reply
        self._quiet = quiet

    def __repr__(self) -> str:
        record = self._record
        state = record.ending if record is not None else "gone" if self._state in OVER else "pending"
        return f"<{type(self).__name__} {self.id} {state}>"

    @property
    def id(self) -> str:
        """The job as ``queue/unique``, for whoever wants its result elsewhere."""
        return f"{self.queue}/{self.unique}"

    @property
    def aio(self) -> AioResult[R]:
        """The same methods as coroutines."""
        from taskq.client.aio import AioResult

        return AioResult(self)

    # -- waiting ------------------------------------------------------------------------------------------------------

    def result(self, timeout: float | None = None, *, allow_deadlock: bool = False) -> R:
        """Return what the task returned.

        Args:
            timeout: seconds to wait; None for as long as it takes, 0 for a look.
            allow_deadlock: wait inside a job even for a job of a queue that its own worker serves.

        Raises:
            Exception: what the task raised, as its own class where that is one of Python's, of the task's ``raises`` or
                of the app's ``exceptions``; its cause is the RemoteError.
            RemoteError: what the task raised, where it is of another class.
            JobExpired, JobCrashed, TimeLimitExceeded, ResultTooLarge: it ended otherwise.
            concurrent.futures.CancelledError: it was cancelled, also for who awaits it.
            TimeoutError: it has not ended; waiting again is fine.
            UnknownOrExpired: there is neither a job nor a result.
            DeadlockRisk, InvalidTimeout: the wait itself is refused.
            BrokerError: the server could not be reached.
        """
        if self._state not in OVER:
            self._wait(timeout, allow_deadlock)
        return self._value()

    get = result

    def exception(self, timeout: float | None = None, *, allow_deadlock: bool = False) -> BaseException | None:
        """Return what ``result`` raises because of how the job ended, None if it succeeded; waits and raises as it."""
        if self._state not in OVER:
            self._wait(timeout, allow_deadlock)
        self._check_cancelled()
        return self._exception

    def __await__(self) -> Generator[Any, None, R]:
        return self._aresult(None, allow_deadlock=False).__await__()

    def then(
        self, callback: Callable[[AsyncResult[R]], object], on_error: Callable[[AsyncResult[R]], object] | None = None
    ) -> AsyncResult[R]:
        """Call ``callback`` with this result if the job succeeds, ``on_error`` if it ends otherwise; return it."""

        def told(_: Future[R]) -> None:
            if self._state == FINISHED and self._exception is None:
                callback(self)
            elif on_error is not None:
                on_error(self)

        self.add_done_callback(told)
        return self

    def _check_waitable(self, allow_deadlock: bool) -> None:
        check_deadlock(self.queue, f"job {self.unique}", allow_deadlock)
        if self._quiet:
            raise UnknownOrExpired(f"job {self.id} keeps no result (ignore_result), so there is nothing to wait for")

    def _wait(self, timeout: object, allow_deadlock: bool) -> None:
        seconds = check_wait(timeout)
        self._check_waitable(allow_deadlock)
        if seconds == 0:
            if not self.done():
                raise self._late(seconds)
            return
        deadline = None if seconds is None else time.monotonic() + seconds
        condition, listener = self._condition, self._app._listener

        def wake() -> None:
            with condition:
                condition.notify_all()

        watch = self._watch(wake, listener)
        try:
            with condition:
                while self._state not in OVER:
                    if watch.error is not None:
                        raise watch.error
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        raise self._late(seconds)
                    condition.wait(left)
        finally:
            listener.unwatch(watch)

    async def _aresult(self, limit: object, *, allow_deadlock: bool) -> R:
        await self._asettled(limit, allow_deadlock)
        return self._value()

    async def _asettled(self, limit: object, allow_deadlock: bool) -> None:
        """Wait in the running loop; being cancelled leaves nothing behind and the job as it is."""
        if self._state in OVER:
            return
        from taskq.client.aio import Bell

        seconds = check_wait(limit)
        self._check_waitable(allow_deadlock)
        if seconds == 0:
            await aperform(self._look(), self._app.broker)
            if self._state not in OVER:
                raise self._late(seconds)
            return
        bell = Bell()
        deadline = None if seconds is None else time.monotonic() + seconds
        listener = self._app._listener

        def told(_: object) -> None:
            bell.ring()

        callbacks: list[Any] = self._done_callbacks
        with self._condition:
            callbacks.append(told)
        watch = self._watch(bell.ring, listener)
        try:
            while self._state not in OVER:
                if watch.error is not None:
                    raise watch.error
                if not await bell.heard(deadline):
                    raise self._late(seconds)
        finally:
            listener.unwatch(watch)
            with self._condition:
                if told in callbacks:
                    callbacks.remove(told)

    def _late(self, seconds: float | None) -> TimeoutError:
        return TimeoutError(f"job {self.id} has not ended after {seconds:g} s; it goes on")

    def _watch(self, wake: Callable[[], None] | None, listener: Listener) -> Watch:
        pushed = self._reply == listener.token
        if pushed and not self._known:
            self._known = listener.know(self.id, self)
        return listener.watch(self, (self.id,), pushed=pushed, covered=self._is_covered(), wake=wake)

    def _is_covered(self) -> bool:
        return self._cover is not None and self._cover is self._app._listener.epoch

    def _stand(self) -> None:
        """Want news for callbacks and foreign waiters; called with the condition held, so it must not block."""
        if self._standing is None and self._state not in OVER:
            self._standing = self._watch(None, self._app._listener)

    def _stand_down(self) -> None:
        watch = self._standing
        if watch is not None and not self._waiters and not self._done_callbacks:
            self._standing = None
            sender = self._app._current
            if sender is not None:  # the collector may call this, so it must not connect an app that was closed
                sender.listener.unwatch(watch)

    # -- being told ---------------------------------------------------------------------------------------------------

    def _settle(self, job_id: str, data: bytes) -> None:
        self._finish(read_record(data, job_id, self._app._signer), None)

    def _vanish(self, job_id: str) -> None:
        self._finish(None, gone(job_id))

    def _covered(self, epoch: object | None) -> None:
        self._cover = epoch if self._known else None

    def _finish(self, record: Record | None, failure: Exception | None) -> None:
        def change() -> None:
            self._record = record
            self._standing = None
            if failure is not None:
                self._result, self._exception = None, failure

        ending = record.ending if record is not None else Ending.FAILED
        state = CANCELLED_AND_NOTIFIED if ending == Ending.CANCELLED else FINISHED
        self._end(state, failed=ending != Ending.SUCCEEDED, change=change)

    def _open(self) -> tuple[Any, BaseException | None]:
        return open_record(self._app, self._record, self.id, self._task) if self._record is not None else (None, None)

    def _check_cancelled(self) -> None:
        if self._state == CANCELLED_AND_NOTIFIED:
            info = self._record.error if self._record is not None else None
            raise CancelledError(info.message if info is not None else f"job {self.id} was cancelled")

    def _value(self) -> R:
        self._check_cancelled()
        failure = self._exception
        if failure is not None:
            try:
                raise failure
            finally:
                del failure, self  # the exception would else hold this frame, and this frame the exception
        return cast(R, self._result)

    # -- asking -------------------------------------------------------------------------------------------------------

    def done(self) -> bool:
        """Tell whether the job has ended; reads its record unless this process is sure to be told."""
        if self._state not in OVER and not self._is_covered():
            perform(self._look(), self._app.broker)
        return self._state in OVER

    ready = done

    def _is_over(self) -> bool:
        return self._state in OVER

    def running(self) -> bool:
        """Tell whether a worker has the job."""
        return self.state == "running"

    def cancelled(self) -> bool:
        """Tell whether the job was cancelled."""
        return self.done() and self._state == CANCELLED_AND_NOTIFIED

    def successful(self) -> bool:
        """Tell whether the task returned."""
        return self.done() and self._record is not None and self._record.ending == Ending.SUCCEEDED

    def failed(self) -> bool:
        """Tell whether the job ended neither by returning nor by being cancelled."""
        return self.done() and self._state == FINISHED and not self.successful()

    @property
    def record(self) -> Record | None:
        """The result record with the job's times and worker; None while there is none."""
        return self._record if self.done() else None

    @property
    def traceback(self) -> str | None:
        """The traceback of the task's last failure as text; None while there is none."""
        record = self.record
        return record.error.traceback or None if record is not None and record.error is not None else None

    @property
    def state(self) -> str:
        """Where the job is now.

        ``succeeded``, ``failed``, ``cancelled``, ``expired`` or ``crashed`` for one that ended; else ``ready``,
        ``delayed``, ``running``, ``suspect`` (its processes died, it waits apart), ``dead``, ``quarantine``; or
        ``unknown`` without a job or a result.
        """
        return perform(self._find_state(), self._app.broker)

    def cancel(self) -> bool:
        """Take the job out before a worker has it.

        Returns:
            True if it will not run, because of this call or an earlier one; False if a worker has it or it has ended.

        Raises:
            UnknownOrExpired: there is neither a job nor a result.
        """
        return perform(self._cancel(), self._app.broker)

    def revoke(self, terminate: bool = False) -> bool:
        """Cancel the job, and ask a worker that has it not to start it; best effort.

        Args:
            terminate: stop it even if it runs.

        Returns:
            True if it will not run; False if a worker was asked, or it has ended. Raises as ``cancel``.
        """
        return perform(self._cancel(revoke=True, terminate=terminate), self._app.broker)

    def forget(self) -> None:
        """Remove the result from the server; this handle keeps what it has read."""
        self._app.broker.read(results.forget(self._keys, self.unique))

    @property
    def _keys(self) -> QueueKeys:
        return self._app.broker.keys(self.queue)

    def _look(self) -> Operation[None]:
        data = yield jobs.result(self._keys, self.unique)
        if data is not None:
            self._settle(self.id, data)
        elif self._quiet and not (yield results.exists(self._keys, self.unique)):
            self._vanish(self.id)

    def _find_state(self) -> Operation[str]:
        if self._state not in OVER:
            yield from self._look()
        place: jobs.Place | None = None
        if self._record is None:
            place = yield jobs.find(self._keys, self.unique)
            if place is None or place.place == "dead":
                yield from self._look()  # it may have ended in between
        if self._record is not None:
            return str(self._record.ending)
        if place is None:
            return "unknown"
        return str(Ending.CANCELLED if moved_to(place.place) else _ENDED.get(place.place, place.place))

    def _cancel(self, *, revoke: bool = False, terminate: bool = False) -> Operation[bool]:
        if self._state in OVER:
            return self._state == CANCELLED_AND_NOTIFIED
        keys = self._keys
        letter = yield jobs.cancel(keys, self.unique, revoke=revoke, terminate=terminate)
        if letter == "L":
            return False
        if letter in {"C", "E"}:
            now, ended = yield work.ended(keys, self.unique)
            if any(job.reason in FINAL for job in ended):  # by an earlier call, if not by this one
                letter = "C"
            if made := finishes(ended, now, self.queue, self._app._signer):
                yield work.end(keys, made)
        if letter != "C" or not self._quiet:
            yield from self._look()
        if letter == "C" and self._state not in OVER:  # it keeps no result, which who has but its id cannot know
            error = ErrorInfo("CancelledError", f"job {self.id}: cancelled before it started")
            self._finish(Record(RECORD_VERSION, Ending.CANCELLED, error=error), None)
        if self._state not in OVER and letter == "N":
            raise gone(self.id)
        return self._state == CANCELLED_AND_NOTIFIED
