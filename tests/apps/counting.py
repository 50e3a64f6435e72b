"""A producer that counts what its calls of ``delay`` cost it: ``python -m apps.counting results|nothing``.

A process of its own: whoever traces each byte code shares no thread, no greenlet and no hook with other tests.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from apps import counted

from taskq import TaskQ

RUNS = 200  # far more than begin a new millisecond
TRACED = 10  # runs; each takes some 20 ms, as Python counts its blocks anew each time
WARM = int(os.environ.get("COUNTING_WARM", "0"))
JOBS = int(os.environ.get("COUNTING_JOBS", "0"))


def blocks_kept(action: Callable[[], object]) -> int:
    """Return how many blocks of memory ``action`` leaves behind, those of what it returns too."""
    with _no_collection():
        before = sys.getallocatedblocks()
        kept = action()
        after = sys.getallocatedblocks()
    del kept
    return after - before


def calls_made(action: Callable[[], object]) -> int:
    """Return how many functions ``action`` calls, in Python and in C: they grow with its time, and need no clock.

    The least of many runs: what is done once a millisecond is not seen.
    """
    made = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal made
        made += event in {"call", "c_call"}

    def run() -> int:
        nonlocal made
        made = 0
        sys.setprofile(count)
        try:
            action()
        finally:
            sys.setprofile(before)
        return made

    before = sys.getprofile()
    return min(run() for _ in range(RUNS))


def blocks_allocated(action: Callable[[], object]) -> int:
    """Return how many blocks of memory ``action`` allocates, freed or not; the least of many runs, as above.

    Python tells how many it holds, not how many it ever made: so it is asked before each byte code, and at each call
    has one more, the frame that is only made for us. What one byte code allocates and frees within C is not seen.
    """
    held = sys.getallocatedblocks
    made = last = 0

    def look(frame: FrameType, event: str, _: object) -> Any:
        nonlocal made, last
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        made += max(0, held() - last - (event == "call"))
        last = held()  # after what this function itself took
        return look

    def run() -> int:
        nonlocal made, last
        made, last = 0, held()
        sys.settrace(look)
        try:
            action()
        finally:
            sys.settrace(before)
        return made

    before = sys.gettrace()
    with _no_collection():
        return min(run() for _ in range(TRACED))


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def main() -> None:
    with TaskQ("counting", os.environ["TASKQ_URL"], os.environ["TASKQ_NAMESPACE"]) as app:
        results = sys.argv[1] == "results"
        task = app.task(counted.answer.function) if results else app.task(ignore_result=True)(counted.noop.function)
        for number in range(WARM):
            task.delay(number)

        def many() -> None:
            for number in range(JOBS):
                task.delay(number)

        found = {
            "functions called": calls_made(lambda: task.delay(1)) - 2,  # the lambda, and what ends the count
            "blocks allocated": blocks_allocated(lambda: task.delay(1)),
            "blocks kept without its handle": round(blocks_kept(many) / JOBS, 1),
            "blocks kept with its handle": round(blocks_kept(lambda: [task.delay(n) for n in range(JOBS)]) / JOBS, 1),
        }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
