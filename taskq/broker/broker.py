"""The face to Redis that the rest of taskq sees: runs calls, merges concurrent enqueues, opens connections."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from typing import TypeVar

from taskq.broker import jobs
from taskq.broker.address import Address
from taskq.broker.aio import AsyncSession
from taskq.broker.call import Call, Command
from taskq.broker.connection import REPLY_TIMEOUT, Link
from taskq.broker.keys import QueueKeys, check_namespace
from taskq.broker.session import CALL_DEADLINE, Session
from taskq.model.job import Job

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

    def __init__(self, forced: bool) -> None:
        self.forced = forced
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
        self._pid = os.getpid()
        self._session = Session(self.address, deadline=self._deadline)
        self._lanes: dict[tuple[str, bool], _Lane] = {}
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncSession] = weakref.WeakKeyDictionary()

    def _check_fork(self) -> None:
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
        lane = self._lanes.get((queue, forced)) or self._lanes.setdefault((queue, forced), _Lane(forced))
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
        """Send jobs in the running event loop; see ``enqueue``."""
        return await self.arun(jobs.enqueue(self.keys(queue), batch, forced=forced))

    def link(self, *, timeout: float | None = REPLY_TIMEOUT) -> Link:
        """Return a connection of its own, not yet open."""
        return Link(self.address, timeout=timeout)

    def _async_session(self) -> AsyncSession:
        self._check_fork()
        loop = asyncio.get_running_loop()
        session = self._loops.get(loop)
        if session is None:
            session = self._loops[loop] = AsyncSession(self.address, deadline=self._deadline)
        return session

    def close(self) -> None:
        """Close the sync connection; the next call opens a new one."""
        self._session.close()

    async def aclose(self) -> None:
        """Close the running loop's connection."""
        session = self._loops.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.close()
