"""Runs coroutines of jobs to their end, in an event loop that one slot keeps for itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from taskq.worker.attempt import Attempt, Strike
from taskq.worker.descriptors import fill_low, release

CLEANUP_SECONDS = 1.0  # for tasks that a job left behind and that are cancelled with its end


class CoroutineRunner:
    """As ``asyncio.Runner``, but its loop lives on from job to job: making one takes as long as a hundred short jobs.

    Nothing else survives: tasks that a job left behind are cancelled, as ``asyncio.run`` does.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._current: tuple[Attempt, asyncio.Task[BaseException | None]] | None = None

    def run(
        self, attempt: Attempt, call: Callable[[Attempt], Coroutine[Any, Any, None]], context: Context
    ) -> BaseException | None:
        """Run ``call(attempt)`` in ``context``; return what it raised, None if it returned."""
        loop = self._loop or self._make_loop()
        task = loop.create_task(_catch(call(attempt)), context=context)
        self._current = (attempt, task)
        _run_until_done(loop, task)
        self._current = None
        self._sweep(loop)
        return asyncio.CancelledError() if task.cancelled() else task.result()

    def interrupt(self, attempt: Attempt, strike: Strike) -> bool:
        """Cancel the coroutine of ``attempt`` from another thread; False if it does not run here (any more)."""
        current, loop = self._current, self._loop
        if current is None or loop is None or current[0] is not attempt or attempt.strike is not None:
            return False
        attempt.strike = strike
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(current[1].cancel)
        return True

    def _make_loop(self) -> asyncio.AbstractEventLoop:
        taken = fill_low()
        try:
            self._loop = asyncio.new_event_loop()
        finally:
            release(taken)
        return self._loop

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel what the job left behind; a loop in which something does not end is given up."""
        left = asyncio.all_tasks(loop)
        if not left:
            return
        for task in left:
            task.cancel()
        _run_until_done(loop, loop.create_task(asyncio.wait(left, timeout=CLEANUP_SECONDS)))
        for task in left:
            if task.done() and not task.cancelled() and task.exception() is not None:
                about = {"message": "exception in a task that a job left behind", "exception": task.exception()}
                loop.call_exception_handler(about)
        if asyncio.all_tasks(loop):
            self._loop = None
            loop.close()


def _run_until_done(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    """Run the loop until ``task`` is done, whatever other tasks raise and however it ends."""
    while not task.done():
        try:
            loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt):  # of another task: this one goes on
            continue
        except asyncio.CancelledError:
            return


async def _catch(coroutine: Coroutine[Any, Any, None]) -> BaseException | None:
    """Await; return what was raised. A task that let an exit pass would stop its loop."""
    try:
        await coroutine
    except BaseException as error:
        return error
    return None
