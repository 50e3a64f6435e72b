"""One connection to the server: connect, send packed commands, read replies. Repeats nothing by itself."""

from __future__ import annotations

import select
import ssl
from contextlib import suppress
from typing import Any, Final, TypeVar

from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ResponseError
from redis.retry import Retry

from taskq.broker.address import Address
from taskq.broker.call import Command, ScriptCall
from taskq.broker.failures import is_missing_script
from taskq.broker.progress import LARGE, LOOK, WHOLE, Progress, unsent

T = TypeVar("T")
CONNECT_TIMEOUT = 5.0  # seconds; a TLS handshake over a slow link needs one, a mistaken port must not hang
REPLY_TIMEOUT = 15.0  # seconds without a byte; far above any script, below the 60 s for which a call is repeated
PARTIAL: Final = object()  # what there is of a reply is not the whole of it
# Seconds for the next piece of a reply. A server writes a large one in pieces that follow each other at once: it is
# read in one go, and the loop does not turn for each. A link that brings 1,448 bytes in that time brings 36 MB in 12 s.
NEXT_PIECE: Final = 0.0005
# Bytes a write of a large request: as many as the system takes at once; a record of TLS is written whole or not at all.
PIECE: Final = 262_144
RECORD: Final = 16_384
_NOT_YET = (TimeoutError, BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def connection_options(address: Address, timeout: float | None) -> dict[str, Any]:
    """Return the keyword arguments that sync and asyncio connections share; nothing is repeated inside redis-py."""
    options: dict[str, Any] = {
        "db": address.db,
        "username": address.username,
        "password": address.password,
        "socket_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,
    }
    if address.scheme == "unix":
        return options | {"path": address.path}
    patience = CONNECT_TIMEOUT if timeout is None else min(CONNECT_TIMEOUT, timeout)
    options |= {"host": address.host, "port": address.port, "socket_connect_timeout": patience}
    options["socket_keepalive"] = True
    if address.scheme == "rediss":
        options |= {"ssl_check_hostname": True, "ssl_min_version": ssl.TLSVersion.TLSv1_2, **dict(address.options)}
        options["ssl_password"] = ""  # a key that needs one is refused; without this a terminal would be asked for it
    return options


class _TLSConnection(SSLConnection):
    """Bounds the handshake too: a plaintext server may never answer it."""

    def _wrap_socket_with_ssl(self, sock: Any) -> Any:
        sock.settimeout(self.socket_connect_timeout)
        wrapped = super()._wrap_socket_with_ssl(sock)  # type: ignore[no-untyped-call]  # redis-py has no types here
        wrapped.settimeout(self.socket_timeout)
        return wrapped


class Link:
    """A connection that is opened at its first use and never reused after an error.

    After a ``fork`` the child must drop its copy with ``close`` before use; sessions do so.

    Attributes:
        whole: seconds for all of a large request that goes on moving.
    """

    def __init__(self, address: Address, *, timeout: float | None = REPLY_TIMEOUT) -> None:
        kinds: dict[str, type[Any]] = {
            "unix": UnixDomainSocketConnection,
            "redis": Connection,
            "rediss": _TLSConnection,
        }
        self.address = address
        self.whole = WHOLE
        self._timeout = timeout
        self._piece = RECORD if address.scheme == "rediss" else PIECE
        self._progress: Progress | None = None  # of a large request whose reply is awaited
        self._connection = kinds[address.scheme](**connection_options(address, timeout))

    def connect(self) -> None:
        """Connect and authenticate, if that is not done yet."""
        fresh = not self.connected
        if self.address.revive is not None and fresh:
            self.address.revive()
        self._connection.connect()
        if fresh and self.address.scheme == "rediss":
            # After a handshake the server sends session tickets: a selector would announce them, and who then reads
            # would wait for a reply to nothing. They come before the first reply.
            self.exchange(b"*1\r\n$4\r\nPING\r\n")

    @property
    def connected(self) -> bool:
        """Whether a socket is open; the peer may have closed it since."""
        return self._connection._sock is not None

    def hurry(self, seconds: float | None, whole: float = WHOLE) -> None:
        """From now on wait for a connection and for a reply no longer than ``seconds``; as it was made where None.

        A large request may take ``whole`` seconds as long as it moves.
        """
        self.whole = whole
        timeout = self._timeout if seconds is None or (self._timeout or seconds) < seconds else seconds
        connection = self._connection
        connection.socket_timeout = timeout
        connection.socket_connect_timeout = CONNECT_TIMEOUT if timeout is None else min(CONNECT_TIMEOUT, timeout)
        if connection._sock is not None:
            connection._sock.settimeout(timeout)

    def fileno(self) -> int:
        """Return the socket's file descriptor, for a selector."""
        number: int = self._connection._sock.fileno()
        return number

    def send(self, packed: bytes) -> None:
        """Send a packed command, connecting first if needed."""
        if len(packed) > LARGE:
            self._push(packed)
        else:
            self._connection.send_packed_command((packed,), check_health=False)

    def send_ready(self, packed: memoryview) -> memoryview:
        """Send as much of a packed command as can be sent now; return the rest. It must be sent before anything else.

        Raises:
            Exception: the connection is broken, and closed.
        """
        if not self.connected:
            raise ConnectionError("the connection is not open")
        sock = self._connection._sock
        sock.settimeout(0)
        try:
            while packed:
                packed = packed[sock.send(packed[: self._piece]) :]
        except _NOT_YET:
            pass
        except BaseException:
            self.close()
            raise
        finally:
            if self.connected:
                sock.settimeout(self._connection.socket_timeout)
        return packed

    def unsent(self) -> int:
        """Return how many bytes the server has not taken yet of what was sent."""
        return unsent(self.fileno()) if self.connected else 0

    def _push(self, packed: bytes) -> None:
        """Send a large command: it may take as long as it moves."""
        connection = self._connection
        if not self.connected:
            connection.connect()
        sock, rest = connection._sock, memoryview(packed)
        progress = self._progress = Progress(connection.socket_timeout, self.whole)
        try:
            sock.settimeout(LOOK)
            while rest:
                with suppress(*_NOT_YET):
                    rest = rest[sock.send(rest[: self._piece]) :]
                progress.check(len(rest) + unsent(sock.fileno()))
            sock.settimeout(connection.socket_timeout)
        except BaseException:
            self.close()
            raise

    def _await_reply(self, progress: Progress) -> None:
        """Wait for the first byte of the reply to a large command, as long as the server takes what was sent."""
        self._progress = None
        progress.restart()
        number = self.fileno()
        poll = select.poll()
        poll.register(number, select.POLLIN)
        try:
            while not poll.poll(LOOK * 1000):
                progress.check(unsent(number))
        except BaseException:
            self.close()
            raise

    def receive(self) -> Any:
        """Return the next reply.

        Raises:
            Exception: redis-py's, for an error reply; the connection stays usable after it.
        """
        if self._progress is not None:
            self._await_reply(self._progress)
        return self._connection.read_response()

    def receive_ready(self) -> Any:
        """Return the next reply if all of it is there or about to come, else PARTIAL: the next call goes on with it.

        Raises:
            Exception: redis-py's; the connection stays usable after an error reply, and is closed after any other.
        """
        connection = self._connection
        if not self.connected:
            raise ConnectionError("the connection is not open")
        connection._sock.settimeout(NEXT_PIECE)
        try:
            return connection.read_response(disconnect_on_error=False)
        except ResponseError:
            raise
        except BaseException as error:
            if isinstance(error.__context__, _NOT_YET):  # redis-py raises its ConnectionError; the parser keeps all
                return PARTIAL
            self.close()
            raise
        finally:
            if self.connected:
                connection._sock.settimeout(connection.socket_timeout)

    def wait(self, seconds: float) -> bool:
        """Wait until there is something to receive; return False if ``seconds`` passed before.

        Raises:
            ConnectionError: it is not open.
            Exception: redis-py's, if the peer closed it.
        """
        if not self.connected:
            raise ConnectionError("the connection is not open")
        return bool(self._connection.can_read(seconds))

    def exchange(self, packed: bytes) -> Any:
        """Send one command and return its reply."""
        if len(packed) > LARGE:
            self._push(packed)
            return self.receive()
        self._connection.send_packed_command((packed,), check_health=False)
        return self._connection.read_response()

    def run(self, command: Command[T]) -> T:
        """Run a plain command once."""
        return command.parse(self.exchange(command.pack()))

    def run_script(self, call: ScriptCall[T], session: str = "", seq: int = 0) -> T:
        """Run a script once, with its source where the server does not know it."""
        try:
            reply = self.exchange(call.pack(session, seq))
        except Exception as error:
            if not is_missing_script(error):
                raise
            reply = self.exchange(call.pack(session, seq, by_source=True))
        return call.parse(reply)

    def close(self) -> None:
        """Close the socket; the next use opens a new one."""
        self._progress = None
        self._connection.disconnect()
