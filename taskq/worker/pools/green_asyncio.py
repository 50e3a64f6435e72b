"""Keeps what asyncio stores per thread once per greenlet, so that each greenlet can run an event loop of its own.

asyncio notes the running loop, the current task and the hooks for async generators in the state of the thread, which
all greenlets share: a loop that waits, or a coroutine that blocks in a patched call, would leave them to whoever runs
next. Here they leave and come back with their greenlet. The alternative, native threads that run the loops, hangs:
locks are patched too (of modules, of log handlers), and gevent can lose the wake-up of one that threads contend for.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import tasks
from typing import Any, Literal

import greenlet

ATTRIBUTE = "_taskq_asyncio"  # of a suspended greenlet: what was taken from the thread

_swap_task = getattr(tasks, "_swap_current_task", None)  # from Python 3.14 on the current task is the thread's, too


def install() -> None:
    """Watch the switches of the calling thread's greenlets: 0.5 microseconds each. A tracer that is set stays."""
    previous = greenlet.gettrace()

    def trace(event: Literal["switch", "throw"], args: Any) -> None:
        if event in ("switch", "throw"):  # more may come, says greenlet's documentation
            origin, target = args
            loop = asyncio._get_running_loop()
            if loop is not None:
                _park(origin, loop)
            if hasattr(target, ATTRIBUTE):
                _resume(target)
        if previous is not None:
            previous(event, args)

    greenlet.settrace(trace)


def _park(origin: greenlet.greenlet, loop: asyncio.AbstractEventLoop) -> None:
    task = asyncio.current_task(loop)
    if _swap_task is not None and task is not None:
        _swap_task(loop, None)
    setattr(origin, ATTRIBUTE, (loop, task, sys.get_asyncgen_hooks()))
    asyncio._set_running_loop(None)
    sys.set_asyncgen_hooks(None, None)


def _resume(target: greenlet.greenlet) -> None:
    loop, task, hooks = getattr(target, ATTRIBUTE)
    delattr(target, ATTRIBUTE)
    asyncio._set_running_loop(loop)
    if _swap_task is not None and task is not None:
        _swap_task(loop, task)
    sys.set_asyncgen_hooks(*hooks)
