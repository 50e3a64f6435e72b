"""Queues by name: of jobs that tasks send to workers, or of items, with the contract of ``queue.Queue``."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from taskq.broker import items as stored
from taskq.broker import queues, work
from taskq.broker.finishing import finishes
from taskq.broker.line import NO_PLACE
from taskq.broker.queues import QueueInfo
from taskq.client import items
from taskq.client.items import Claim, Coder, check_blocking, check_most
from taskq.client.keeper import check_lease
from taskq.client.operation import Operation, perform
from taskq.errors import SerializationError
from taskq.model.discipline import Discipline, QueueSpec, check_maxsize, check_queue_name

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.broker.keys import QueueKeys
    from taskq.client.aio import AioQueue


T = TypeVar("T")
NOBODY: Final = "0/0"  # the address of who does not wait


class Queue:
    """First in, first out. Made by ``app.Queue``; nothing is sent before the first use.

    It holds the jobs of tasks (``@app.task(queue=...)``), or the items of ``put`` and ``get``, as the first use says.
    Contract: https://docs.python.org/3/library/queue.html

    Attributes:
        name: the same name is the same queue, in all processes of the app's namespace.
        maxsize: bound on ready and delayed jobs from outside; 0 for none.
    """

    discipline: ClassVar[Discipline] = Discipline.FIFO

    def __init__(self, app: TaskQ, name: str, maxsize: int = 0) -> None:
        self._app = app
        self.name = check_queue_name(name)
        self.maxsize = check_maxsize(maxsize)

    def __repr__(self) -> str:
        bound = f", maxsize={self.maxsize}" if self.maxsize else ""
        return f"{type(self).__name__}({self.name!r}{bound})"

    @property
    def spec(self) -> QueueSpec:
        """What is declared on the server."""
        return QueueSpec(self.name, self.discipline, self.maxsize)

    @property
    def aio(self) -> AioQueue:
        """The same methods as coroutines."""
        from taskq.client.aio import AioQueue

        return AioQueue(self)

    def info(self) -> QueueInfo:
        """Return lengths by state, and counters.

        Raises:
            QueueConflict: the queue was declared with another discipline.
            BrokerError: the server refused or was not reached. So do all other methods.
        """
        return perform(self._info(), self._app.broker)

    def qsize(self) -> int:
        """Return how many items, or jobs ready or delayed, wait; others may come and go meanwhile."""
        return perform(self._qsize(), self._app.broker)

    def empty(self) -> bool:
        """Tell whether none waits."""
        return self.qsize() == 0

    def full(self) -> bool:
        """Tell whether the bound is reached."""
        return perform(self._full(), self._app.broker)

    # -- items --------------------------------------------------------------------------------------------------------

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put an item: any value that the app's serializer takes. One round trip where there is room.

        Args:
            item: in a priority queue a number, or a tuple that begins with one; lower leaves first, equals in order.
            block: wait for room, first come, first served.
            timeout: seconds to wait; None for as long as it takes.

        Raises:
            queue.Full: there was no room.
            ShutDown: the queue was shut down; a queue.ShutDown.
            SerializationError, InvalidPriority, PayloadTooLarge: the item cannot be put.
            QueueConflict: the queue holds jobs, or has another discipline.
            ValueError: the timeout is negative.
            BrokerError: the server refused or was not reached. So do all other methods.
        """
        seconds, encoded = check_blocking(block, timeout), [self._coder.encode(item)]
        if self._is_declared():  # nearly always; what waiting needs would cost a fifth of the call
            answer = self._app.broker.run(stored.put(self._keys, NOBODY, encoded, NO_PLACE))
            if answer.accepted:
                return
        self._perform(items.put(self, encoded, seconds))

    def put_nowait(self, item: Any) -> None:
        """Put an item without waiting; see ``put``."""
        self.put(item, block=False)

    def put_many(self, values: Iterable[Any], block: bool = True, timeout: float | None = None) -> None:
        """Put items in order, a thousand a round trip; see ``put``.

        Raises:
            queue.Full: there was no room for all; its attribute ``accepted`` says how many were put.
        """
        self._perform(self._put(values, block, timeout))

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take an item; it is gone then, whatever becomes of this process. See ``claim`` for one that comes back.

        Args:
            block: wait for one, first come, first served.
            timeout: seconds to wait; None for as long as it takes.

        Raises:
            queue.Empty: there was none.
            ShutDown: there is none, and the queue was shut down.
            SerializationError: the item cannot be read here.
            QueueConflict, ValueError: see ``put``.
        """
        seconds, lease = check_blocking(block, timeout), self._app.settings.lease
        members: Sequence[bytes] = ()
        if self._is_declared():
            call = stored.get(self._keys, NOBODY, most=1, turn=NO_PLACE, lease=lease, claim=False)
            members = self._app.broker.run(call).members
        (member,) = members or self._perform(items.get(self, 1, seconds, lease))
        return self._coder.decode(member)

    def get_nowait(self) -> Any:
        """Take an item without waiting; see ``get``."""
        return self.get(block=False)

    def get_many(self, most: int, block: bool = True, timeout: float | None = None) -> list[Any]:
        """Take up to ``most`` items, at most 1,000, in one round trip; waits until there is one; see ``get``."""
        return self._perform(self._get(check_most(most), block, timeout))

    def claim(self, block: bool = True, timeout: float | None = None, *, lease: float | None = None) -> Claim:
        """Take an item for the length of a block: ``with queue.claim() as item:``, or ``async with``.

        At its end the item is finished, as by ``task_done``. It goes back to its place where the block raises, and when
        this process dies, as soon as the lease runs out; renewed it is in the background.

        Args:
            block: wait for one.
            timeout: seconds to wait; None for as long as it takes.
            lease: seconds; the app's where None.

        Raises:
            LeaseLost: at the end of the block, where the lease ran out meanwhile.
            queue.Empty, ShutDown, QueueConflict, ValueError: at its beginning; see ``get``.
        """
        seconds = check_blocking(block, timeout)
        return Claim(self, seconds, self._app.settings.lease if lease is None else check_lease(lease))

    def task_done(self) -> None:
        """Count an item that was got as finished, for ``join``.

        Raises:
            ValueError: more were counted than were put.
        """
        self._perform(self._task_done())

    def join(self) -> None:
        """Block until all items that were put have been counted as finished."""
        self._perform(items.join(self))

    def shutdown(self, immediate: bool = False) -> None:
        """Let ``put`` raise ShutDown everywhere, and ``get`` once the queue is empty, until ``reopen``.

        Args:
            immediate: drop what waits, counting it as finished.
        """
        self._perform(self._close(shutdown=True, drop=immediate))

    def reopen(self) -> None:
        """Take a shutdown back; a queue by name outlives the processes that use it."""
        self._perform(self._close(shutdown=False, drop=False))

    # -- jobs and items -----------------------------------------------------------------------------------------------

    def purge(self) -> int:
        """Cancel all waiting jobs, so that their waiters see it, or drop all items, and return how many there were."""
        return perform(self._purge(), self._app.broker)

    def pause(self) -> None:
        """Let no worker take another job of this queue; what runs goes on, and jobs may still be sent."""
        perform(self._pause(True), self._app.broker)

    def resume(self) -> None:
        """Let workers take jobs again."""
        perform(self._pause(False), self._app.broker)

    @functools.cached_property
    def _coder(self) -> Coder:
        return Coder(self)

    @property
    def _keys(self) -> QueueKeys:
        return self._app.broker.keys(self.name)

    def _is_declared(self) -> bool:
        return self.name in self._app._sender.item_queues

    def _perform(self, operation: Operation[T]) -> T:
        return perform(operation, self._app.broker)

    def _put(self, values: Iterable[Any], block: bool, timeout: float | None) -> Operation[None]:
        seconds = check_blocking(block, timeout)
        return (yield from items.put(self, [self._coder.encode(value) for value in values], seconds))

    def _get(self, most: int, block: bool, timeout: float | None) -> Operation[list[Any]]:
        seconds = check_blocking(block, timeout)
        members = yield from items.get(self, most, seconds, self._app.settings.lease)
        values: list[Any] = []
        try:
            for member in members:
                values.append(self._coder.decode(member))  # noqa: PERF401 (how far it came counts)
        except SerializationError:
            # One that cannot be read is gone where it comes first; else it comes first the next time.
            unread = members[max(1, len(values)) :]
            if unread:
                yield stored.put_back(self._keys, [(items.place_of(self, member), member) for member in unread])
            if not values:
                raise
        return values

    def _task_done(self) -> Operation[None]:
        yield from self._app._sender.declare(self.name, queues.ITEMS)
        if not (yield stored.done(self._keys, 1)):
            raise ValueError("task_done() called too many times")

    def _close(self, *, shutdown: bool | None, drop: bool) -> Operation[int]:
        yield from self._app._sender.declare(self.name, queues.ITEMS)
        dropped: int = yield stored.close(self._keys, shutdown=shutdown, drop=drop)
        return dropped

    def _info(self) -> Operation[QueueInfo]:
        sender = self._app._sender
        declared = yield from sender.declare(self.name, queues.EITHER)
        if declared.content == queues.ITEMS:
            standing: stored.Standing = yield stored.stand(self._keys)
            return QueueInfo(
                self.name, standing.discipline, standing.maxsize, False, standing.items, 0, standing.claimed,
                0, 0, 0, 0, 0, None,
            )  # fmt: skip
        info: QueueInfo = yield queues.inspect(sender.broker.keys(self.name))
        return info

    def _qsize(self) -> Operation[int]:
        info = yield from self._info()
        return info.ready + info.delayed

    def _full(self) -> Operation[bool]:
        info = yield from self._info()
        return 0 < info.maxsize <= info.ready + info.delayed

    def _purge(self) -> Operation[int]:
        sender = self._app._sender
        if (yield from sender.declare(self.name, queues.EITHER)).content == queues.ITEMS:
            return (yield from self._close(shutdown=None, drop=True))
        keys, purged, left = sender.broker.keys(self.name), 0, 1
        while left:
            count, left = yield queues.purge(keys)
            purged += count
            while count:  # write what their waiters wait for
                now, ended = yield work.ended(keys)
                made = finishes(ended, now, self.name, sender.broker.signer)
                if not made:
                    break
                yield work.end(keys, made)
        return purged

    def _pause(self, paused: bool) -> Operation[None]:
        sender = self._app._sender
        yield from sender.declare(self.name, queues.JOBS)
        yield queues.pause(sender.broker.keys(self.name), paused)


class LifoQueue(Queue):
    """Last in, first out."""

    discipline: ClassVar[Discipline] = Discipline.LIFO


class PriorityQueue(Queue):
    """Lower priority number first, any finite number; first in, first out among equals."""

    discipline: ClassVar[Discipline] = Discipline.PRIORITY
