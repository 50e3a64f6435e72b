"""The asyncio runner of calls: the same calls, numbers and retry rules as the sync session."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from taskq.broker.address import Address
from taskq.broker.call import Call, Command
from taskq.broker.connection import CONNECT_TIMEOUT, connection_options
from taskq.broker.failures import is_broken, is_missing_script, is_moved
from taskq.broker.progress import LARGE, LOOK, WHOLE, Progress, unsent
from taskq.broker.session import CALL_DEADLINE, REPEATED, Numbering, Patience, reply_timeout

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
        self._timeout = reply_timeout(deadline)
        # Without redis-py's timeout, which is for the whole of a request or reply, however well it moves.
        options = connection_options(address, self._timeout) | {"retry": Retry(NoBackoff(), 0), "socket_timeout": None}
        self._address = address
        self._deadline = deadline
        self._connection = kinds[address.scheme](**options)
        self._numbering = Numbering()
        self._lock = asyncio.Lock()
        self._reached = False
        self._whole = WHOLE
        self._heard = 0  # bytes, over the present connection
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
        connection, loop = self._connection, asyncio.get_running_loop()
        reader, writer, heard = connection._reader, connection._writer, self._heard
        if writer is None:
            raise ConnectionError("the connection is not open")
        number, progress = writer.get_extra_info("socket").fileno(), Progress(self._timeout, self._whole)
        pause = min(LOOK, self._timeout)
        timer: asyncio.TimerHandle

        def look() -> None:
            nonlocal timer
            left = writer.transport.get_write_buffer_size() + unsent(number) - (self._heard - heard)
            try:
                progress.check(left)
            except TimeoutError as error:
                reader.set_exception(error)  # who reads gets it
            else:
                timer = loop.call_later(pause, look)

        timer = loop.call_later(pause, look)
        try:
            if len(packed) > LARGE:
                writer.write(packed)  # without a wait until it is sent: that of the reply is enough
            else:
                await connection.send_packed_command([packed], check_health=False)
            return await connection.read_response()
        except BaseException as error:
            if len(packed) > LARGE and not isinstance(error, ResponseError):
                writer.transport.abort()  # a mere close would go on sending the rest, and it might run much later
            raise
        finally:
            timer.cancel()

    async def _connect(self) -> None:
        if self._address.revive is not None:
            await asyncio.to_thread(self._address.revive)
        async with asyncio.timeout(min(CONNECT_TIMEOUT, self._timeout) + self._timeout):  # a login has no other
            await self._connection.connect()
        self._heard, reader = 0, self._connection._reader
        feed = reader.feed_data

        def hear(data: bytes) -> None:
            self._heard += len(data)
            feed(data)

        reader.feed_data = hear

    async def _repeat(self, attempt: Callable[[], Awaitable[T]], limit: float, what: str, started: float) -> T:
        patience = Patience(self._address, what, limit, self._reached, started)
        self._whole = WHOLE
        while True:
            try:
                if not self._connection.is_connected:
                    await self._connect()
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
            if patience.sent:
                self._whole = REPEATED
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        await self._connection.disconnect()
