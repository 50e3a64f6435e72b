"""The few commands the embedded server is asked: inline over a raw unix socket, one reply each.

redis-py belongs to the broker; PING, INFO, CLIENT LIST and SHUTDOWN need none.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

REPLY_SECONDS = 5.0  # for one reply; a server that a script blocks answers BUSY after 5 s


def ping(path: Path) -> str:
    """Return the answer to PING; empty when nothing answers."""
    try:
        return _ask(path, "PING")
    except OSError:
        return ""


def works(answer: str) -> bool:
    """Return whether a working server answers PING so; NOAUTH or MISCONF are the client's to report."""
    return bool(answer) and not answer.startswith("-LOADING")


def info(path: Path) -> dict[str, str]:
    """Return the fields of INFO; empty when nothing answers."""
    try:
        lines = _ask(path, "INFO").splitlines()
    except OSError:
        return {}
    return dict(line.split(":", 1) for line in lines if ":" in line)


def shutdown(path: Path) -> bool:
    """Ask the server to leave; return whether it was there to hear it.

    NOSAVE is about snapshots, which are off: the append-only file is written and synced all the same. The
    word makes the command valid while a script blocks the server.
    """
    try:
        _ask(path, "SHUTDOWN NOSAVE")
    except ConnectionResetError:
        return True
    except OSError:
        return False
    return True


def other_connections(path: Path) -> int:
    """Return how many connections of other processes the server has.

    A server cannot tell whose a unix connection is. So ours are counted on our side, this one included: the
    sockets among our descriptors whose peer is the server. One that we closed just now is not listed any
    more, as the server saw its end before it took this connection.

    Raises:
        OSError: the server does not answer.
    """
    with _connect(path) as connection:
        listed = _exchange(connection, "CLIENT LIST").splitlines()
        ours = _descriptors_to(path)
    return max(0, len(listed) - ours)


def _descriptors_to(path: Path) -> int:
    folder = "/proc/self/fd" if os.access("/proc/self/fd", os.R_OK) else "/dev/fd"
    inodes = set()  # a duplicated descriptor is the same connection
    for name in os.listdir(folder):  # noqa: PTH208 (numbers, not paths)
        with contextlib.suppress(OSError):  # another thread closed it; or it has no peer
            found = os.fstat(int(name))
            if stat.S_ISSOCK(found.st_mode):
                with socket.socket(fileno=os.dup(int(name))) as opened:
                    if opened.getpeername() == str(path):
                        inodes.add(found.st_ino)
    return len(inodes)


def _ask(path: Path, command: str) -> str:
    with _connect(path) as connection:
        return _exchange(connection, command)


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(REPLY_SECONDS)
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def _exchange(connection: socket.socket, command: str) -> str:
    """Return the reply: a bulk string's content, or a whole line; empty if the server hung up."""
    connection.sendall(command.encode() + b"\r\n")
    with connection.makefile("rb") as replies:
        line = replies.readline()
        body = replies.read(int(line[1:])) if line.startswith(b"$") else line
    return body.decode("utf-8", "replace").strip()
