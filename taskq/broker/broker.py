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
from taskq.broker.address import Address, check_files
from taskq.broker.call import Call, Command
from taskq.broker.connection import REPLY_TIMEOUT, Link
from taskq.broker.keys import QueueKeys, check_namespace
from taskq.broker.session import CALL_DEADLINE, FORKED, Flight, Session
from taskq.broker.single import SingleEnqueue
from taskq.errors import BrokerError
from taskq.model.job import Job

if TYPE_CHECKING:
    from taskq.broker.aio import AsyncSession
    from taskq.model.signing import Signer

T = TypeVar("T")


class _Ticket:
    """Jobs of one caller that wait to be sent, then their letters or error; ``gone`` if the caller was interrupted."""

    __slots__ = ("error", "gone", "jobs", "letters")

    def __init__(self, batch: Sequence[Job]) -> None:
        self.jobs = batch
        self.letters: str | None = None
        self.error: Exception | None = None
        self.gone = False


class _Lane:
    """Group commit for one queue: while a call is under way, those who come later gather for the next one.

    Attributes:
        flight: held by who has a call under way. All else but adding to ``waiting`` is for its holder alone.
        waiting: who gathers.
        cut: the call that is under way, with its tickets; it stays where its sender is interrupted.
    """

    def __init__(self, queue: QueueKeys, forced: bool) -> None:
        self.queue = queue
        self.forced = forced
        self.single = SingleEnqueue(queue, forced=forced)
        self.flight = threading.Lock()
        self.waiting: deque[_Ticket] = deque()
        self.cut: tuple[list[_Ticket], Flight[str]] | None = None

    def commit(self, session: _CommitSession) -> None:
        """Send what was cut, or else the next tickets; all of them have their letters or an error then.

        If the caller is interrupted meanwhile, one of the others has to call this again.
        """
        again = self.cut is not None and not all(ticket.gone for ticket in self.cut[0])
        if not again:
            self.cut = None
            self._gather()
        if self.cut is None:
            return
        tickets, flight = self.cut
        try:
            letters = session.carry(flight)
        except Exception as error:
            if again and isinstance(error, BrokerError) and "TASKQ_STALE" in str(error):
                self.waiting.extendleft(reversed(tickets))  # as new ones: those that ran are known by their ids
            else:
                for ticket in tickets:
                    ticket.error = error
        else:
            _hand_out(tickets, letters)
        self.cut = None

    def _gather(self) -> None:
        """Make a call of as many tickets as one carries, the first one in any case; of none if none is left."""
        taken: list[_Ticket] = []
        count = size = 0
        try:
            while self.waiting:
                following = self.waiting[0]
                if not following.gone:
                    count += len(following.jobs)
                    size += sum(len(job.data) for job in following.jobs)
                    if taken and (count > jobs.BATCH_JOBS or size > jobs.BATCH_BYTES):
                        break
                    taken.append(following)
                self.waiting.popleft()
            if taken:
                batch = taken[0].jobs if len(taken) == 1 else [job for ticket in taken for job in ticket.jobs]
                self.cut = taken, Flight(jobs.enqueue(self.queue, batch, forced=self.forced), 0)
        except BaseException:
            self.waiting.extendleft(reversed(taken))  # a ticket that is there twice is sent once
            raise


class _CommitSession(Session):
    """A session whose calls may be carried on by others than who began them."""

    def carry(self, flight: Flight[T]) -> T:
        """Run the call of a flight; raises as ``run`` does.

        Where that was interrupted it may be done again, as long as no other call of the same queue came between: the
        flight keeps its number, so it takes effect once.
        """
        self.check_fork()
        with self._lock:
            if not flight.seq:
                flight.seq = self._numbering.next()
            session, link = self._numbering.session, self._link
            what = flight.call.script.name.partition("_")[0]
            return self._repeat(lambda: link.run_script(flight.call, session, flight.seq), None, what)


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

    Attributes:
        signer: of the results that are written here; None where nothing is signed.
    """

    def __init__(self, address: Address, namespace: str = "taskq", *, deadline: float = CALL_DEADLINE) -> None:
        self.signer: Signer | None = None
        if address.options:
            check_files(address)  # once: a file that vanishes later is tried again
        self.address = address
        self.namespace = check_namespace(namespace)
        self._deadline = deadline
        self._keys: dict[str, QueueKeys] = {}
        self._reset()

    def _reset(self) -> None:
        self._session = _CommitSession(self.address, deadline=self._deadline)
        self._lanes: dict[tuple[str, bool], _Lane] = {}
        self._spare: deque[Session] = deque()
        self._loops_lock = threading.RLock()  # the collector may end a loop's last user while this thread has it
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
            BrokerError: as ``Session.run``; of a merged call every caller gets the error. What interrupts one caller
                is that one's alone: its jobs are not sent if they still wait, and may have been sent if they do not.
        """
        self._check_fork()
        lane = self._lanes.get((queue, forced))
        if lane is None:
            lane = self._lanes.setdefault((queue, forced), _Lane(self.keys(queue), forced))
        if not lane.waiting and lane.flight.acquire(blocking=False):
            try:
                if lane.cut is not None:  # before any other call of this queue
                    lane.commit(self._session)
                if len(batch) == 1 and not batch[0].delay_ms:
                    return self._session.run(lane.single.of(batch[0]))
                return self._session.run(jobs.enqueue(self.keys(queue), batch, forced=forced))
            finally:
                lane.flight.release()
        ticket = _Ticket(batch)
        lane.waiting.append(ticket)
        try:
            with lane.flight:
                while ticket.letters is None and ticket.error is None:
                    lane.commit(self._session)
        except BaseException:
            ticket.gone = True
            raise
        if ticket.error is not None:
            raise ticket.error
        assert ticket.letters is not None
        return ticket.letters

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

    def note_answer(self) -> None:
        """Hear that the server answered over another connection; see ``Session.note_answer``."""
        self._session.note_answer()

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
            from taskq.broker.aio import AsyncSession  # redis.asyncio takes longer to import than all else here

            found = _Loop(AsyncSession(self.address, deadline=self._deadline))
            with self._loops_lock:
                for other in [other for other in self._loops if other.is_closed()]:
                    del self._loops[other]
                self._loops[loop] = found
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
        with self._loops_lock:
            loop = self._loops.pop(asyncio.get_running_loop(), None)
        if loop is not None:
            await loop.session.close()
