"""A proxy that does to the connections to a server whatever a network does, as a test tells it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

CHUNK = 65_536  # bytes read at once
PATIENCE = 10.0  # seconds until an order of the test is carried out; far above any, below a test's limit
NARROW = 32_768  # bytes of a slow connection that the system takes and acknowledges before the proxy passes them on
RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 seconds: a close sends RST, not FIN

T = TypeVar("T")


@dataclass(frozen=True)
class Fault:
    """What happens to a connection.

    Attributes:
        request: bytes that still reach the server before it is cut; all where None. 0 waits for the first and drops it.
        reply: bytes that still reach the client before it is cut; with 0 the server has answered, so it has run.
        reset: it is cut by a RST; else by an orderly end.
        silent: instead of being cut it stays open, and nothing more is read of either side.
        delay: seconds for which each chunk waits.
        rate: bytes a second either way; as fast as it goes where 0.
        piece: bytes a write at most, so that the peer reads it in pieces; whole chunks where 0.
        cutting: is called in the proxy's thread just before the cut.
    """

    request: int | None = None
    reply: int | None = None
    reset: bool = True
    silent: bool = False
    delay: float = 0.0
    rate: int = 0
    piece: int = 0
    cutting: Callable[[], object] | None = None


NONE = Fault()


class _Connection:
    """A client's connection and the one to the server for it."""

    def __init__(self, fault: Fault, client: asyncio.StreamWriter) -> None:
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        self.moving = asyncio.Event()
        self.moving.set()
        self.arm(fault)

    def arm(self, fault: Fault) -> None:
        """Let ``fault`` happen from now on; its bytes are counted from here."""
        self.fault = fault
        if fault.rate:
            self.client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW)
        self.passed = {"request": 0, "reply": 0}

    def cut(self, *, reset: bool) -> None:
        """End both connections now."""
        for writer in (self.client, self.server):
            if writer is None:
                continue
            with contextlib.suppress(OSError):
                if reset and writer is self.client:
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            (writer.transport.abort if reset else writer.close)()

    async def pump(self, way: str, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Pass bytes one way until that side ends or the fault says so."""
        while data := await source.read(CHUNK):
            await self.moving.wait()
            fault = self.fault
            limit = fault.request if way == "request" else fault.reply
            if limit is not None:
                data = data[: max(0, limit - self.passed[way])]
            self.passed[way] += len(data)
            await self._write(data, sink, fault)
            if limit is not None and self.passed[way] >= limit:
                if fault.cutting is not None:
                    fault.cutting()
                if not fault.silent:
                    self.cut(reset=fault.reset)
                    return
                self.moving.clear()
                await self.moving.wait()

    @staticmethod
    async def _write(data: bytes, sink: asyncio.StreamWriter, fault: Fault) -> None:
        if fault.delay:
            await asyncio.sleep(fault.delay)
        step = fault.piece or (max(1, fault.rate // 20) if fault.rate else len(data)) or 1
        for start in range(0, len(data), step):
            part = data[start : start + step]
            if fault.rate:
                await asyncio.sleep(len(part) / fault.rate)
            sink.write(part)
            await sink.drain()
            if fault.piece:
                await asyncio.sleep(0)


class Proxy:
    """Listens on 127.0.0.1 and passes bytes to a server and back, for the length of a ``with`` block.

    Args:
        server: the server's unix socket, or its port on 127.0.0.1.

    Attributes:
        coming: what happens to the next connections, one each; to later ones ``always`` does.
        always: what happens to connections for which nothing else was said.
        accepted: connections so far.
    """

    def __init__(self, server: Path | int, always: Fault = NONE) -> None:
        self._server = server
        self.coming: deque[Fault] = deque()
        self.always = always
        self.accepted = 0
        self._open: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._listening: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """The url for clients."""
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    # --- what the test may ask, from any thread

    def arm(self, fault: Fault) -> None:
        """Let ``fault`` happen to every connection that is open now."""
        self._do(self._each(lambda one: one.arm(fault)))

    def cut(self, *, reset: bool = True) -> None:
        """Cut every connection that is open now."""
        self._do(self._each(lambda one: one.cut(reset=reset)))

    def silence(self) -> None:
        """Read nothing more of the connections that are open now; they stay open."""
        self._do(self._each(lambda one: one.moving.clear()))

    def resume(self) -> None:
        """Go on where ``silence`` stopped."""
        self._do(self._each(lambda one: one.moving.set()))

    def refuse(self) -> None:
        """Refuse new connections; those that are open stay."""
        self._do(self._refuse())

    def listen(self) -> None:
        """Accept connections, again on the same port after ``refuse``."""
        self._do(self._listen())

    def passed(self) -> list[tuple[int, int]]:
        """Return the bytes of requests and of replies that each open connection passed since it was armed."""

        def counts(one: _Connection) -> tuple[int, int]:
            return one.passed["request"], one.passed["reply"]

        return self._do(self._each(counts))

    # --- in the loop

    def _do(self, order: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(order, self._loop).result(PATIENCE)

    async def _each(self, do: Callable[[_Connection], T]) -> list[T]:
        return [do(one) for one in list(self._open)]

    async def _listen(self) -> None:
        if self._listening is None:
            self._listening = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._listening.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        if self._listening is not None:
            self._listening.close()  # not wait_closed, which from Python 3.12 on waits for the connections, too
            self._listening = None

    async def _end(self) -> None:
        await self._refuse()
        for one in list(self._open):
            one.cut(reset=True)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        connection = _Connection(self.coming.popleft() if self.coming else self.always, writer)
        self._open.add(connection)
        task = self._loop.create_task(self._serve(connection, reader))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        try:
            back, connection.server = await self._connect()
            both = [
                asyncio.create_task(connection.pump("request", reader, connection.server)),
                asyncio.create_task(connection.pump("reply", back, connection.client)),
            ]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in both:
                    task.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        except OSError:
            pass  # the server is away: the client's connection ends, as if nobody listened
        finally:
            self._open.discard(connection)
            connection.cut(reset=False)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._server, int):
            return await asyncio.open_connection("127.0.0.1", self._server)
        return await asyncio.open_unix_connection(self._server)
