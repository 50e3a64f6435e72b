"""A proxy that cuts connections, and servers that are no Redis."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Listener:
    """Serves each connection on 127.0.0.1 in a thread of its own until the end of a ``with`` block."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def url(self) -> str:
        """The url of the listening port."""
        return f"redis://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        with self._lock:
            for connection in self._open:
                _hang_up(connection)
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                thread = threading.Thread(target=self._handle, args=(connection,))
                with self._lock:
                    self._open.add(connection)
                    self._threads.append(thread)
                thread.start()

    def _handle(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._serve(connection)
        with self._lock:
            self._open.discard(connection)


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class Proxy(Listener):
    """Passes bytes to a server and back.

    Attributes:
        cuts: for each connection to come, how many bytes of replies it passes before it hangs up; -1 passes no
            request. When the list is empty connections pass everything.
        requests: bytes that reached the server.
    """

    def __init__(self, server: Path) -> None:
        super().__init__(self._pass)
        self._server = str(server)
        self.cuts: list[int] = []
        self.requests = 0

    def _pass(self, client: socket.socket) -> None:
        left = self.cuts.pop(0) if self.cuts else None
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(self._server)
            back = threading.Thread(target=self._back, args=(server, client, left))
            back.start()
            while data := client.recv(65_536):
                if left == -1:
                    break
                self.requests += len(data)
                server.sendall(data)
            _hang_up(server if left != -1 else client)
            _hang_up(server)
            back.join()

    def _back(self, server: socket.socket, client: socket.socket, left: int | None) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65_536):
                if left is not None:
                    data, left = data[:left], left - len(data)
                client.sendall(data)
                if left is not None and left <= 0:
                    break
        _hang_up(client)


class SilenceableProxy(Listener):
    """Passes bytes to a server and back, until it drops those of all connections that are open at a moment."""

    def __init__(self, server: Path) -> None:
        super().__init__(self._pass)
        self._server = str(server)
        self._passing: set[socket.socket] = set()

    def silence(self) -> None:
        """Pass nothing more over the connections that are open now; they stay open."""
        self._passing.clear()

    def _pass(self, client: socket.socket) -> None:
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(self._server)
            self._passing.add(client)
            back = threading.Thread(target=self._copy, args=(server, client, client))
            back.start()
            with contextlib.suppress(OSError):
                self._copy(client, server, client)
            _hang_up(server)
            back.join()

    def _copy(self, source: socket.socket, target: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if client in self._passing:
                    target.sendall(data)


@contextlib.contextmanager
def greeting(first: bytes = b"", answer: bytes = b"") -> Iterator[str]:
    """Yield the url of a server that says ``first`` at once and ``answer`` to whatever it is sent, then hangs up."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(first)
        if connection.recv(65_536):
            connection.sendall(answer)

    with Listener(serve) as listener:
        yield listener.url


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    """Yield a url on which nobody listens, and which nobody else is given meanwhile."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"redis://127.0.0.1:{reserved.getsockname()[1]}"
