"""The face to Redis that the rest of taskq sees: runs calls, merges concurrent enqueues, opens connections."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from taskq.broker import jobs
from taskq.broker.address import Address
from taskq.broker.call import Call, Command
from taskq.broker.connection import REPLY_TIMEOUT, Link
from taskq.broker.keys import QueueKeys, check_namespace
from taskq.broker.session import CALL_DEADLINE, FORKED, Session
from taskq.broker.single import SingleEnqueue
from taskq.model.job import Job

if TYPE_CHECKING:
    from taskq.broker.aio import AsyncSession

T = TypeVar("T")


class _Ticket:
    """Jobs of one caller that wait to be sent, then their letters or error."""

    __slots__ = ("error", "jobs", "letters")

    def __init__(self, batch: Sequence[Job]) -> None:
        self.jobs = batch
        self.letters: str | None = None
        self.error: BaseException | None = None


class _Lane:
    """Group commit for one queue: while a call is under way, those who come later gather for the next one."""

    def __init__(self, queue: QueueKeys, forced: bool) -> None:
        self.forced = forced
        self.single = SingleEnqueue(queue, forced=forced)  # belongs to who holds ``flight``
        self.flight = threading.Lock()
        self.waiting: deque[_Ticket] = deque()

    def gather(self) -> list[_Ticket]:
        """Take as many tickets as one call carries, the first one in any case."""
        taken = [self.waiting.popleft()]
        count = len(taken[0].jobs)
        size = sum(len(job.data) for job in taken[0].jobs)
        while self.waiting:
            following = self.waiting[0].jobs
            count += len(following)
            size += sum(len(job.data) for job in following)
            if count > jobs.BATCH_JOBS or size > jobs.BATCH_BYTES:
                break
            taken.append(self.waiting.popleft())
        return taken


class _AsyncTicket:
    """Jobs of one coroutine that wait to be sent, and the future that gets their letters."""

    __slots__ = ("answer", "jobs")

    def __init__(self, batch: Sequence[Job], answer: asyncio.Future[str]) -> None:
        self.jobs = batch
        self.answer = answer


class _AsyncLane:
    """Group commit for one queue and one event loop. Jobs of a caller that was cancelled before are not sent."""

    def __init__(self, send: Callable[[list[Job]], Awaitable[str]]) -> None:
        self._send = send
        self._waiting: deque[_AsyncTicket] = deque()
        self._courier: asyncio.Task[None] | None = None
        self._busy = False

    async def post(self, batch: Sequence[Job]) -> str:
        """Send ``batch``: at once where nothing is under way, else with the next call."""
        if self._busy:
            ticket = _AsyncTicket(batch, asyncio.get_running_loop().create_future())
            self._waiting.append(ticket)
            return await ticket.answer
        self._busy = True
        try:
            return await self._send(list(batch))
        finally:
            if self._waiting:
                self._courier = asyncio.ensure_future(self._carry())
            else:
                self._busy = False

    async def _carry(self) -> None:
        """Send what gathered, until nothing more comes."""
        try:
            while tickets := self._gather():
                try:
                    letters = await self._send([job for ticket in tickets for job in ticket.jobs])
                except Exception as error:
                    for ticket in tickets:
                        if not ticket.answer.done():
                            ticket.answer.set_exception(error)
                else:
                    _answer(tickets, letters)
        finally:
            self._busy = False
            for ticket in self._waiting:  # the loop is being closed
                ticket.answer.cancel()
            self._waiting.clear()

    def _gather(self) -> list[_AsyncTicket]:
        taken: list[_AsyncTicket] = []
        count = size = 0
        while self._waiting:
            following = self._waiting[0]
            if not following.answer.done():
                count += len(following.jobs)
                size += sum(len(job.data) for job in following.jobs)
                if taken and (count > jobs.BATCH_JOBS or size > jobs.BATCH_BYTES):
                    break
                taken.append(following)
            self._waiting.popleft()
        return taken


def _answer(tickets: list[_AsyncTicket], letters: str) -> None:
    start = 0
    for ticket in tickets:
        end = start + len(ticket.jobs)
        if not ticket.answer.done():
            ticket.answer.set_result(letters if letters == jobs.Accept.UNDECLARED else letters[start:end])
        start = end


async def _close_with_loop(session: AsyncSession) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await session.close()


class _Loop:
    """What one event loop has of its own."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session
        self.lanes: dict[tuple[str, bool], _AsyncLane] = {}
        # A loop tells nobody of its end but the async generators that began in it, as `asyncio.run` finishes them.
        self._guard = _close_with_loop(session)
        with contextlib.suppress(StopIteration):
            self._guard.__anext__().send(None)


def _hand_out(tickets: list[_Ticket], letters: str) -> None:
    start = 0
    for ticket in tickets:
        end = start + len(ticket.jobs)
        ticket.letters = letters if letters == jobs.Accept.UNDECLARED else letters[start:end]
        start = end


class Broker:
    """One server and one namespace. Any thread and any event loop may use it; a forked child starts afresh.

    Args:
        address: where the server is.
        namespace: first part of every key.
        deadline: seconds for which a call is repeated while the server cannot be reached.
    """

    def __init__(self, address: Address, namespace: str = "taskq", *, deadline: float = CALL_DEADLINE) -> None:
        self.address = address
        self.namespace = check_namespace(namespace)
        self._deadline = deadline
        self._keys: dict[str, QueueKeys] = {}
        self._reset()

    def _reset(self) -> None:
        self._session = Session(self.address, deadline=self._deadline)
        self._lanes: dict[tuple[str, bool], _Lane] = {}
        self._spare: deque[Session] = deque()
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = weakref.WeakKeyDictionary()
        self._pid = os.getpid()  # the last: by it other threads see that all is fresh

    def _check_fork(self) -> None:
        if os.getpid() != self._pid:
            with FORKED:
                if os.getpid() != self._pid:
                    self._session.close()
                    self._reset()

    def keys(self, queue: str) -> QueueKeys:
        """Return the keys of ``queue``."""
        found = self._keys.get(queue)
        if found is None:
            found = self._keys[queue] = QueueKeys(self.namespace, queue)
        return found

    def run(self, call: Call[T], deadline: float | None = None) -> T:
        """Run a script and return its answer; raises as ``Session.run`` does."""
        return self._session.run(call, deadline)

    def read(self, command: Command[T], deadline: float | None = None) -> T:
        """Run a plain command and return its answer."""
        return self._session.read(command, deadline)

    async def arun(self, call: Call[T], deadline: float | None = None) -> T:
        """Run a script in the running event loop."""
        return await self._async_session().run(call, deadline)

    async def aread(self, command: Command[T], deadline: float | None = None) -> T:
        """Run a plain command in the running event loop."""
        return await self._async_session().read(command, deadline)

    def enqueue(self, queue: str, batch: Sequence[Job], *, forced: bool = False) -> str:
        """Send jobs (at most BATCH_JOBS); calls of other threads to the same queue share the round trip.

        Returns:
            One ``Accept`` letter a job, or a single UNDECLARED.

        Raises:
            BrokerError: as ``Session.run``; of a merged call every caller gets the error.
        """
        self._check_fork()
        lane = self._lanes.get((queue, forced))
        if lane is None:
            lane = self._lanes.setdefault((queue, forced), _Lane(self.keys(queue), forced))
        if not lane.waiting and lane.flight.acquire(blocking=False):
            try:
                if len(batch) == 1 and not batch[0].delay_ms:
                    return self._session.run(lane.single.of(batch[0]))
                return self._session.run(jobs.enqueue(self.keys(queue), batch, forced=forced))
            finally:
                lane.flight.release()
        ticket = _Ticket(batch)
        lane.waiting.append(ticket)
        with lane.flight:
            while ticket.letters is None and ticket.error is None:
                self._commit(queue, lane)
        if ticket.error is not None:
            raise ticket.error
        assert ticket.letters is not None
        return ticket.letters

    def _commit(self, queue: str, lane: _Lane) -> None:
        tickets = lane.gather()
        batch = tickets[0].jobs if len(tickets) == 1 else [job for ticket in tickets for job in ticket.jobs]
        try:
            letters = self._session.run(jobs.enqueue(self.keys(queue), batch, forced=lane.forced))
        except BaseException as error:
            for ticket in tickets:
                ticket.error = error
            if not isinstance(error, Exception):
                raise
        else:
            _hand_out(tickets, letters)

    async def aenqueue(self, queue: str, batch: Sequence[Job], *, forced: bool = False) -> str:
        """Send jobs in the running event loop; what comes during a call shares the next one; see ``enqueue``."""
        loop = self._loop()
        lane = loop.lanes.get((queue, forced))
        if lane is None:
            keys, session = self.keys(queue), loop.session  # not self: it must not keep the loop's state alive

            def send(merged: list[Job]) -> Awaitable[str]:
                return session.run(jobs.enqueue(keys, merged, forced=forced))

            lane = loop.lanes[queue, forced] = _AsyncLane(send)
        return await lane.post(batch)

    def link(self, *, timeout: float | None = REPLY_TIMEOUT) -> Link:
        """Return a connection of its own, not yet open."""
        return Link(self.address, timeout=timeout)

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Lend a session that nobody else uses for the length of a block; its connection is kept for the next one."""
        self._check_fork()
        spare = self._spare
        try:
            session = spare.pop()
        except IndexError:
            session = Session(self.address, deadline=self._deadline)
        try:
            yield session
        finally:
            spare.append(session)

    def _loop(self) -> _Loop:
        self._check_fork()
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop)
        if found is None:
            for other in [other for other in self._loops if other.is_closed()]:
                del self._loops[other]
            from taskq.broker.aio import AsyncSession  # redis.asyncio takes longer to import than all else here

            found = self._loops[loop] = _Loop(AsyncSession(self.address, deadline=self._deadline))
        return found

    def _async_session(self) -> AsyncSession:
        return self._loop().session

    def close(self) -> None:
        """Close the sync connections that are not in use; the next call opens a new one."""
        self._session.close()
        for session in list(self._spare):
            session.close()

    async def aclose(self) -> None:
        """Close the running loop's connection."""
        loop = self._loops.pop(asyncio.get_running_loop(), None)
        if loop is not None:
            await loop.session.close()
