"""Queues by name: where tasks send their jobs, with the questions that ``queue.Queue`` answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from taskq.broker import queues, work
from taskq.broker.finishing import finish_of
from taskq.client.operation import Operation, perform
from taskq.model.discipline import Discipline, QueueSpec, check_maxsize, check_queue_name

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.broker.queues import QueueInfo
    from taskq.client.aio import AioQueue


class Queue:
    """First in, first out. Made by ``app.Queue``; nothing is sent before the first use.

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
        """Return how many jobs wait, ready or delayed; others may come and go meanwhile."""
        return perform(self._qsize(), self._app.broker)

    def empty(self) -> bool:
        """Tell whether no job waits."""
        return self.qsize() == 0

    def full(self) -> bool:
        """Tell whether the bound is reached."""
        return perform(self._full(), self._app.broker)

    def purge(self) -> int:
        """Cancel all waiting jobs, so that their waiters see it, and return how many there were."""
        return perform(self._purge(), self._app.broker)

    def pause(self) -> None:
        """Let no worker take another job of this queue; what runs goes on, and jobs may still be sent."""
        perform(self._pause(True), self._app.broker)

    def resume(self) -> None:
        """Let workers take jobs again."""
        perform(self._pause(False), self._app.broker)

    def _info(self) -> Operation[QueueInfo]:
        sender = self._app._sender
        yield from sender.declare(self.name)
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
        yield from sender.declare(self.name)
        keys, purged, left = sender.broker.keys(self.name), 0, 1
        while left:
            count, left = yield queues.purge(keys)
            purged += count
            while count:  # write what their waiters wait for
                now, ended = yield work.ended(keys)
                if not ended:
                    break
                yield work.end(keys, [finish_of(job, now, self.name) for job in ended])
        return purged

    def _pause(self, paused: bool) -> Operation[None]:
        sender = self._app._sender
        yield from sender.declare(self.name)
        yield queues.pause(sender.broker.keys(self.name), paused)


class LifoQueue(Queue):
    """Last in, first out."""

    discipline: ClassVar[Discipline] = Discipline.LIFO


class PriorityQueue(Queue):
    """Lower priority number first, any finite number; first in, first out among equals."""

    discipline: ClassVar[Discipline] = Discipline.PRIORITY
