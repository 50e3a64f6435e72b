"""A network that is slow but wide: passes bytes to a server and back, each after the same time.

Run as a process of its own, ``python -m benchmarks.peers.proxy PORT SECONDS``, so that it shares no interpreter with
what is measured; it says which port it listens on. Unlike the proxy of the tests it lets any number of chunks be under
way at once, as a network does: there each chunk waits until the one before has been passed on.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import selectors
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.rig import tree_cpu

PING = b"PING\r\n"
PONG = b"+PONG\r\n"


class Selector(selectors.EpollSelector):
    """One by epoll that waits to the microsecond: its own timeout is in whole milliseconds, rounded up."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait until epoll itself is readable, by the system call of the same name."""
        if timeout is None or timeout > 0:
            select.select([self.fileno()], [], [], timeout)
        return super().select(0)


class End(asyncio.Protocol):
    """One of the two connections of a pair: what it receives leaves at the other one, later."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._under_way: deque[bytes] = deque()  # an empty one is the end
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []  # what was due before the other end was connected
        self.other: End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._under_way.append(data)
        self._loop.call_later(self._delay, self._arrive)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.data_received(b"")

    def join(self, other: End) -> None:
        """Pass everything to the other end from now on."""
        self.other, early = other, self._early
        for data in early:
            other.leave(data)

    def leave(self, data: bytes) -> None:
        if self._transport is None:
            return
        if data:
            self._transport.write(data)
        else:
            self._transport.close()

    def _arrive(self) -> None:
        # Each timer takes the oldest chunk, not one of its own: two that fall due together may fire in any order.
        data = self._under_way.popleft()
        if self.other is None:
            self._early.append(data)
        else:
            self.other.leave(data)


async def serve(port: int, delay: float) -> None:
    """Listen until the process is ended."""
    loop = asyncio.get_running_loop()
    joining = set()

    async def join(near: End) -> None:
        try:
            _, far = await loop.create_connection(lambda: End(delay), "127.0.0.1", port)
        except OSError:
            near.leave(b"")  # the server is away
            return
        near.join(far)
        far.join(near)

    def accept() -> End:
        near = End(delay)
        task = loop.create_task(join(near))
        joining.add(task)
        task.add_done_callback(joining.discard)
        return near

    listening = await loop.create_server(accept, "127.0.0.1", 0, backlog=1_000)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await listening.serve_forever()


@dataclass(frozen=True)
class Proxy:
    """A proxy that runs."""

    pid: int
    port: int

    @property
    def cpu(self) -> float:
        """Seconds of CPU it has used."""
        return tree_cpu(self.pid)


@contextlib.contextmanager
def between(port: int, delay: float) -> Iterator[Proxy]:
    """Run a proxy before the server on this port; seconds of delay each way."""
    command = [sys.executable, "-m", "benchmarks.peers.proxy", str(port), str(delay)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Proxy(process.pid, int(process.stdout.readline()))
    finally:
        process.kill()
        process.communicate()


def ceiling(port: int, connections: int, seconds: float) -> float:
    """Return the round trips a second of so many connections that each send PING and wait for the answer."""
    poll, count = select.epoll(), 0
    with contextlib.ExitStack() as stack:
        stack.callback(poll.close)
        clients = {}
        for _ in range(connections):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            clients[client.fileno()] = client
            poll.register(client, select.EPOLLIN)
        started = time.perf_counter()
        for client in clients.values():
            client.sendall(PING)
        while time.perf_counter() - started < seconds:
            for number, _ in poll.poll(1.0):
                answer = clients[number].recv(len(PONG))
                if answer != PONG:
                    raise ConnectionError(f"the server answered {answer!r} to PING")
                clients[number].sendall(PING)
                count += 1
        return count / (time.perf_counter() - started)


def main() -> None:
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(Selector())) as runner:
        runner.run(serve(int(sys.argv[1]), float(sys.argv[2])))


if __name__ == "__main__":
    main()
