"""The zero-configuration server: one detached Valkey per project root, its data in ``<root>/.taskq/``.

``url()`` is what a client calls when no url is configured; ``start``, ``stop`` and ``status`` are for people.
Files: ``place.py`` (where it lives, who holds it), ``launch.py`` (the program and its options),
``lifecycle.py`` (start, readiness, end), ``wire.py`` (the few commands it is asked).
"""

from __future__ import annotations

import functools
import logging
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from taskq.broker.address import Address, parse_url
from taskq.embedded import lifecycle, wire
from taskq.embedded.place import WAY_OUT, file_errors, held, locate, project_root, start_lock
from taskq.errors import EmbeddedServerError

if TYPE_CHECKING:
    from pathlib import Path

    from taskq.embedded.place import Place

__all__ = ["Status", "address", "project_root", "start", "status", "stop", "url"]

logger = logging.getLogger("taskq.embedded")


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of the server of one project.

    Attributes:
        root: the project's root.
        data: the directory of its files, ``<root>/.taskq``.
        log: what the server itself printed.
        socket: the unix socket it listens on, or would.
        running: whether a server holds the data now.
        pid: its process; None if it does not run or is out of sight.
        product: ``valkey`` or ``redis``; None if it does not answer.
        version: such as ``9.1.0``; None if it does not answer.
        clients: its connections, without the one that asked; None if it does not answer.
        memory: bytes it uses; None if it does not answer.
    """

    root: Path
    data: Path
    log: Path
    socket: Path
    running: bool
    pid: int | None = None
    product: str | None = None
    version: str | None = None
    clients: int | None = None
    memory: int | None = None


def address(root: Path | None = None) -> Address:
    """Start the server if needed and return its address, which starts it again before each new connection.

    Args:
        root: the project's root; None is the one of the current directory now.

    Raises:
        EmbeddedServerError: as ``url``.
    """
    root = root or project_root()
    return replace(parse_url(url(root)), revive=functools.partial(url, root))


def url(root: Path | None = None, *, start: bool = True) -> str:
    """Return the url of the project's server, started if needed; a warning says once that it is in use.

    Args:
        root: the project's root; None finds it from the current directory.
        start: False only tells the url, and warns of nothing.

    Raises:
        EmbeddedServerError: ``TASKQ_EMBEDDED=0`` refuses it, or it cannot be started.
        InvalidOption: ``TASKQ_EMBEDDED_FSYNC`` is no policy.
    """
    _check_allowed()
    place = locate(root)
    with file_errors(place):
        if start:
            path = lifecycle.ensure(place)
            _announce(place.root)
        else:
            path = place.recorded()[1] if held(place) else place.socket
    return "unix://" + quote(os.fsencode(path))


def start(root: Path | None = None) -> Status:
    """Start the project's server, unless it runs; at exit this process stops it if nobody else uses it.

    Waits 10 s at most for the first answer of a new server, and 60 s for one that is reading its data.

    Args:
        root: the project's root; None finds it from the current directory.

    Raises:
        EmbeddedServerError: ``TASKQ_EMBEDDED=0`` refuses it, or it cannot be started; the reason is the last
            line of the server's log.
        InvalidOption: ``TASKQ_EMBEDDED_FSYNC`` is no policy.
    """
    _check_allowed()
    place = locate(root)
    with file_errors(place):
        lifecycle.ensure(place)
        return _status(place)


def stop(root: Path | None = None, *, timeout: float = 10.0) -> bool:
    """Stop the project's server, whoever uses it; what it acknowledged is on disk when this returns.

    Args:
        root: the project's root; None finds it from the current directory.
        timeout: seconds to wait for its end.

    Returns:
        True if it ran, False if there was nothing to stop.

    Raises:
        EmbeddedServerError: it is still there after ``timeout``.
    """
    place = locate(root)
    with file_errors(place):
        if not held(place):
            return lifecycle.clear_socket(place)
        with start_lock(place, timeout):
            return lifecycle.shut_down(place, timeout)


def status(root: Path | None = None) -> Status:
    """Return what is known of the project's server; starts nothing and writes nothing.

    Args:
        root: the project's root; None finds it from the current directory.

    Raises:
        EmbeddedServerError: the data directory cannot be read.
    """
    place = locate(root)
    with file_errors(place):
        return _status(place)


def _status(place: Place) -> Status:
    if not held(place):
        return Status(place.root, place.data, place.log, place.socket, running=False)
    pid, path = place.recorded()
    info = wire.info(path)
    return Status(
        place.root,
        place.data,
        place.log,
        path,
        running=True,
        pid=int(info["process_id"]) if "process_id" in info else pid,
        product=info.get("server_name", "redis") if info else None,
        version=info.get("valkey_version") or info.get("redis_version"),
        clients=int(info["connected_clients"]) - 1 if "connected_clients" in info else None,
        memory=int(info["used_memory"]) if "used_memory" in info else None,
    )


def _check_allowed() -> None:
    if os.environ.get("TASKQ_EMBEDDED", "").strip().lower() in {"0", "false", "no", "off"}:
        reason = "no url is configured, and TASKQ_EMBEDDED=0 refuses the embedded server"
        raise EmbeddedServerError(f"{reason}; {WAY_OUT}, or pass url=")


@functools.cache
def _announce(root: Path) -> None:
    """Warn once per process and root."""
    if os.environ.get("TASKQ_EMBEDDED_QUIET", "") != "1":
        text = "no url is configured: using the embedded server of %s, for development only; %s"
        logger.warning(text, root, WAY_OUT, extra={"action": "embedded"})
