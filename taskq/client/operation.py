"""What a client does at the broker, written once for callers with and without an event loop.

An operation is a generator: it yields what it needs done, gets the answer, and returns its own. ``perform`` and
``aperform`` drive it.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from taskq.broker.call import Call, Command
from taskq.client.signals import ThreadBell

if TYPE_CHECKING:
    import asyncio

    from taskq.broker.broker import Broker
    from taskq.model.job import Job

T = TypeVar("T")
ANSWER_SECONDS: Final = 1.0  # for which a cancelled coroutine stays; an answer takes milliseconds or the server is away

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Send jobs; the answer is as of ``Broker.enqueue``."""

    queue: str
    batch: Sequence[Job]
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Take:
    """Run a call whose answer must not get lost.

    A coroutine that is cancelled meanwhile waits for the answer, ``ANSWER_SECONDS`` at most, and finds it in the
    attribute ``answer`` of the CancelledError.

    Attributes:
        call: what to run.
        late: makes the operation that gives back an answer that came later still; run by its loop, as long as that
            lives.
    """

    call: Call[Any]
    late: Callable[[Any], Operation[None]]


@dataclass(frozen=True, slots=True)
class MakeBell:
    """Have a bell made that wakes this caller; the answer is one."""


@dataclass(frozen=True, slots=True)
class Hear:
    """Wait for a bell that this caller had made; the answer is whether it rang.

    Attributes:
        bell: which.
        deadline: in monotonic seconds; None waits without a limit.
    """

    bell: Any
    deadline: float | None


Need: TypeAlias = Call[Any] | Take | Command[Any] | Enqueue | MakeBell | Hear
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
            elif isinstance(need, Take):
                answer = broker.run(need.call)
            elif isinstance(need, Command):
                answer = broker.read(need)
            elif isinstance(need, Enqueue):
                answer = broker.enqueue(need.queue, need.batch, forced=need.forced)
            elif isinstance(need, Hear):
                answer = need.bell.heard(need.deadline)
            else:
                answer = ThreadBell()
        except BaseException as error:
            failure = error


async def aperform(operation: Operation[T], broker: Broker) -> T:
    """Run an operation to its end in the running event loop and return its answer."""
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
            elif isinstance(need, Take):
                answer = await _answered(need, broker)
            elif isinstance(need, Command):
                answer = await broker.aread(need)
            elif isinstance(need, Enqueue):
                answer = await broker.aenqueue(need.queue, need.batch, forced=need.forced)
            elif isinstance(need, Hear):
                answer = await need.bell.heard(need.deadline)
            else:
                from taskq.client.aio import Bell

                answer = Bell()
        except GeneratorExit as error:  # the coroutine is dropped, with its loop perhaps: it may await nothing more
            _drop(operation, error)
            raise
        except BaseException as error:
            failure = error


def _drop(operation: Operation[Any], error: GeneratorExit) -> None:
    """End an operation without doing what it still asks for; what it holds at the server runs out by itself."""
    with contextlib.suppress(GeneratorExit, StopIteration):
        while True:
            operation.throw(error)


async def _answered(take: Take, broker: Broker) -> Any:
    import asyncio

    task = asyncio.ensure_future(broker.arun(take.call))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError as error:
        deadline = time.monotonic() + ANSWER_SECONDS
        while not task.done() and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(asyncio.CancelledError):  # it is on its way out, however often that is asked for
                await asyncio.wait({task}, timeout=left)
        if not task.done():
            task.add_done_callback(functools.partial(_give_back_late, take, broker))
        elif not task.cancelled() and task.exception() is None:
            error.answer = task.result()  # type: ignore[attr-defined]
        raise


def _give_back_late(take: Take, broker: Broker, answered: asyncio.Future[Any]) -> None:
    import asyncio

    if not answered.cancelled() and answered.exception() is None:
        giving = asyncio.ensure_future(aperform(take.late(answered.result()), broker))
        giving.add_done_callback(_given_back)  # the loop has no other use for it, and the session keeps it alive


def _given_back(giving: asyncio.Future[None]) -> None:
    error = None if giving.cancelled() else giving.exception()
    if error is not None:
        logger.error("what came too late could not be given back: %s", error, extra={"action": "give_back_failed"})
