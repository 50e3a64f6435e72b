"""What a client does at the broker, written once for callers with and without an event loop.

An operation is a generator: it yields what it needs done, gets the answer, and returns its own. ``perform`` and
``aperform`` drive it.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from taskq.broker.call import Call, Command

if TYPE_CHECKING:
    from taskq.broker.broker import Broker
    from taskq.model.job import Job

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Send jobs; the answer is as of ``Broker.enqueue``."""

    queue: str
    batch: Sequence[Job]
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds; the answer is None."""

    seconds: float


Need: TypeAlias = Call[Any] | Command[Any] | Enqueue | Pause
Operation: TypeAlias = Generator[Need, Any, T]


def perform(operation: Operation[T], broker: Broker) -> T:
    """Run an operation to its end in this thread and return its answer."""
    answer: Any = None
    failure: BaseException | None = None
    while True:
        try:
            need = operation.send(answer) if failure is None else operation.throw(failure)
        except StopIteration as end:
            result: T = end.value
            return result
        answer = failure = None
        try:
            if isinstance(need, Call):
                answer = broker.run(need)
            elif isinstance(need, Command):
                answer = broker.read(need)
            elif isinstance(need, Enqueue):
                answer = broker.enqueue(need.queue, need.batch, forced=need.forced)
            else:
                time.sleep(need.seconds)
        except BaseException as error:
            failure = error


async def aperform(operation: Operation[T], broker: Broker) -> T:
    """Run an operation to its end in the running event loop and return its answer."""
    import asyncio

    answer: Any = None
    failure: BaseException | None = None
    while True:
        try:
            need = operation.send(answer) if failure is None else operation.throw(failure)
        except StopIteration as end:
            result: T = end.value
            return result
        answer = failure = None
        try:
            if isinstance(need, Call):
                answer = await broker.arun(need)
            elif isinstance(need, Command):
                answer = await broker.aread(need)
            elif isinstance(need, Enqueue):
                answer = await broker.aenqueue(need.queue, need.batch, forced=need.forced)
            else:
                await asyncio.sleep(need.seconds)
        except BaseException as error:
            failure = error
