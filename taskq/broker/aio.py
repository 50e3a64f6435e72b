"""The asyncio runner of calls: the same calls, numbers and retry rules as the sync session."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from taskq.broker.address import Address
from taskq.broker.call import Call, Command
from taskq.broker.connection import connection_options
from taskq.broker.failures import is_broken, is_missing_script, is_moved
from taskq.broker.session import CALL_DEADLINE, Numbering, Patience, reply_timeout

T = TypeVar("T")


class AsyncSession:
    """One connection of one event loop; calls go over it one at a time.

    A caller that is cancelled leaves its call running to its end, so that the connection never holds a reply that
    nobody reads; the call takes effect or not, as with any request that is given up.
    """

    def __init__(self, address: Address, *, deadline: float = CALL_DEADLINE) -> None:
        kinds: dict[str, type[Any]] = {
            "unix": UnixDomainSocketConnection,
            "redis": Connection,
            "rediss": SSLConnection,
        }
        options = connection_options(address, reply_timeout(deadline)) | {"retry": Retry(NoBackoff(), 0)}
        self._address = address
        self._deadline = deadline
        self._connection = kinds[address.scheme](**options)
        self._numbering = Numbering()
        self._lock = asyncio.Lock()
        self._reached = False
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, call: Call[T], deadline: float | None = None) -> T:
        """Run a script and return its answer; raises as ``Session.run`` does."""
        limit, what = self._limit(deadline, call.deadline), call.script.name.partition("_")[0]

        async def numbered(started: float) -> T:
            seq = self._numbering.next()
            return await self._repeat(lambda: self._run_script(call, seq), limit, what, started)

        return await self._finish(self._in_turn(numbered, limit, what))

    async def read(self, command: Command[T], deadline: float | None = None) -> T:
        """Run a plain command and return its answer."""

        async def once() -> T:
            return command.parse(await self._exchange(command.pack()))

        limit, what = self._limit(deadline, command.deadline), str(command.parts[0]).lower()

        async def begun(started: float) -> T:
            return await self._repeat(once, limit, what, started)

        return await self._finish(self._in_turn(begun, limit, what))

    def _limit(self, deadline: float | None, own: float | None) -> float:
        return min(self._deadline if deadline is None else deadline, self._deadline if own is None else own)

    async def _in_turn(self, work: Callable[[float], Awaitable[T]], limit: float, what: str) -> T:
        """Do ``work``, which is given the time of this call, when those that came before are done."""
        started = time.monotonic()
        if len(self._running) == 1:  # this one; a timeout costs more than all else here
            await self._lock.acquire()
        else:
            try:
                async with asyncio.timeout(limit):
                    await self._lock.acquire()
            except TimeoutError:
                raise Patience.no_turn(self._address, what, limit) from None
        try:
            return await work(started)
        finally:
            self._lock.release()

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen, even where the caller has gone

    async def _run_script(self, call: Call[T], seq: int) -> T:
        session = self._numbering.session
        try:
            reply = await self._exchange(call.pack(session, seq))
        except Exception as error:
            if not is_missing_script(error):
                raise
            reply = await self._exchange(call.pack(session, seq, by_source=True))
        return call.parse(reply)

    async def _exchange(self, packed: bytes) -> Any:
        await self._connection.send_packed_command([packed], check_health=False)
        return await self._connection.read_response()

    async def _repeat(self, attempt: Callable[[], Awaitable[T]], limit: float, what: str, started: float) -> T:
        patience = Patience(self._address, what, limit, self._reached, started)
        while True:
            try:
                if not self._connection.is_connected:
                    if self._address.revive is not None:
                        await asyncio.to_thread(self._address.revive)
                    await self._connection.connect()
                patience.sent = True
                answer = await attempt()
            except Exception as error:
                if is_broken(error) or is_moved(error):
                    await self._connection.disconnect(nowait=True)
                pause = patience.pause_after(error)
            except BaseException:
                await self._connection.disconnect(nowait=True)
                raise
            else:
                self._reached = True
                return answer
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        await self._connection.disconnect()
