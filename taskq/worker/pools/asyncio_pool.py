"""Slots that are asyncio tasks of one event loop, in the main thread; functions that are no coroutines get threads."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from taskq.client.context import current_job
from taskq.worker.attempt import Attempt, Strike
from taskq.worker.descriptors import fill_low, release
from taskq.worker.interrupt import Interruptible
from taskq.worker.pools.base import RECEIVE, Parts, Pool, Slot

TURN = 0.003  # seconds after which a slot lets the loop go round, if its jobs did not

CLEANUP_SECONDS = 1.0  # for tasks that jobs left running when the child ends

logger = logging.getLogger(__name__)


class Seat(Slot):
    """A slot of the loop.

    Attributes:
        task: the asyncio task that works for it now.
        open: the attempt whose coroutine runs in that task and may be cancelled.
        code: what runs for it in a thread instead.
    """

    __slots__ = ("code", "open", "task")

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.task: asyncio.Task[None] | None = None
        self.open: Attempt | None = None
        self.code = Interruptible()


class AsyncioPool(Pool):
    """Runs each job in an asyncio task and a context of its own.

    Jobs known to be short follow in the task of their forerunner, as making one takes longer than they do, while it
    left neither a cancellation nor a changed context behind.
    """

    def __init__(self, parts: Parts, slots: int) -> None:
        super().__init__(parts, slots)
        taken = fill_low()
        try:
            self._loop = asyncio.new_event_loop()
        finally:
            release(taken)
        self._base.run(current_job.set, None)
        self._seats = [Seat(index) for index in range(slots)]
        self._threads = ThreadPoolExecutor(slots, "taskq-slot")
        self._timer: asyncio.TimerHandle | None = None
        self._turn = 0.0

    def serve(self) -> None:
        """See ``Pool.serve``."""
        loop = self._loop
        asyncio.set_event_loop(loop)
        loop.add_reader(self._parts.link.fileno(), self._receive)
        loop.call_soon(self._look)
        while not self.finished:
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:  # of a task that a job made: the loop goes on without it
                logger.error("a job's asyncio task raised %s", type(error).__name__, extra={"action": "task_exit"})

    def close(self) -> None:
        """Cancel what jobs left running in the loop, and let it finish."""
        super().close()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        try:
            if left:
                self._loop.run_until_complete(asyncio.wait(left, timeout=CLEANUP_SECONDS))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        except BaseException:
            logger.warning("asyncio tasks that jobs left did not end", exc_info=True, extra={"action": "tasks_left"})

    def _receive(self) -> None:
        if self._forked_by:  # a copy whose job awaits: it hears of the original's frames, which are not its own
            return
        self._feed(self._parts.link.receive(RECEIVE))
        self._look()

    def _call(self) -> None:
        self._loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        """Do what time asks for, and come back when it asks again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wait = self._tick(time.monotonic())
        if self.finished:
            self._loop.stop()
        elif wait is not None:
            self._timer = self._loop.call_later(wait, self._look)

    # -- in the loop --------------------------------------------------------------------------------------------------

    def _wake(self, slots: Iterable[int]) -> None:
        for index in slots:
            self._start(self._seats[index], None)

    def _start(self, seat: Seat, attempt: Attempt | None) -> None:
        """Let an asyncio task of its own work for the slot, first on ``attempt`` if there is one."""
        seat.task = self._loop.create_task(self._stay(seat, attempt), context=self._base.copy())

    async def _stay(self, seat: Seat, attempt: Attempt | None) -> None:
        try:
            await self._shift(seat, attempt)
        except asyncio.CancelledError:  # by somebody who kept the asyncio task of an earlier, short job
            self._start(seat, None)
        except BaseException:
            logger.critical(
                "slot %d failed outside of a job", seat.index, exc_info=True, extra={"action": "slot_failed"}
            )
            self._parts.link.die("a slot failed outside of a job")

    async def _shift(self, seat: Seat, attempt: Attempt | None) -> None:
        """Run jobs until there are none, others on watch are enough, or the next one needs another task or a thread."""
        task = seat.task
        assert task is not None
        fresh = clean = True
        while True:
            if attempt is None:
                attempt = self._desk.take()
            if attempt is None:
                if self._rest(seat):
                    return
                continue
            if not attempt.task.is_async:
                self._threads.submit(self._shift_in_thread, seat, attempt)
                return
            if not (fresh or (clean and attempt.known.short)):
                self._start(seat, attempt)
                return
            now = await self._work(seat, attempt)
            attempt, fresh = None, False
            clean = not task.cancelling() and contextvars.copy_context() == self._base
            if self._answers.due(now):
                self._answers.flush()
            if self._roster.surplus(seat.index):
                self._answers.flush()
                return
            if clean and now - self._turn >= TURN:
                await asyncio.sleep(0)
                self._turn = time.monotonic()

    async def _work(self, seat: Seat, attempt: Attempt) -> float:
        short = attempt.known.short
        if not short:
            self._answers.flush()
            self._wake(self._roster.leave(waiting=bool(self._desk.pending)))
        started = self._begin(seat, attempt)
        seat.open = attempt
        try:
            await self._parts.execution.run_async(attempt)
        except BaseException as error:
            attempt.error = error
        seat.open = None
        current_job.set(None)
        now = self._end(seat, attempt, started)
        if not short:
            self._roster.back()
        return now

    # -- in a thread --------------------------------------------------------------------------------------------------

    def _shift_in_thread(self, seat: Seat, attempt: Attempt | None) -> None:
        """Run functions until there are none, and give the slot back to the loop with what comes then."""
        try:
            while attempt is not None and not attempt.task.is_async:
                self._work_in_thread(seat, attempt)
                attempt = self._desk.take()
            self._answers.flush()
            self._loop.call_soon_threadsafe(self._start, seat, attempt)
        except BaseException:
            logger.critical(
                "slot %d failed outside of a job", seat.index, exc_info=True, extra={"action": "slot_failed"}
            )
            self._parts.link.die("a slot failed outside of a job")

    def _work_in_thread(self, seat: Seat, attempt: Attempt) -> None:
        short = attempt.known.short
        if not short:
            self._answers.flush()
            called = self._roster.leave(waiting=bool(self._desk.pending))
            if called:
                self._loop.call_soon_threadsafe(self._wake, called)
        context = self._base.copy()
        started = self._begin(seat, attempt, context)
        attempt.error = seat.code.run(attempt, lambda job: context.run(self._parts.execution.run, job))
        now = self._end(seat, attempt, started, context)
        if not short:
            self._roster.back()
        if self._answers.due(now):
            self._answers.flush()

    # -- limits -------------------------------------------------------------------------------------------------------

    def _strike(self, slot: Slot, attempt: Attempt, strike: Strike) -> bool:
        assert isinstance(slot, Seat)
        if not attempt.task.is_async:
            return slot.code.interrupt(attempt, strike)
        if slot.open is not attempt or slot.task is None:
            return False
        attempt.strike = strike
        slot.task.cancel()
        return True
