"""How a worker is, told over a local socket: one line of JSON to whoever connects, written by the supervisor's loop.

A loop that is stuck therefore does not answer. Nothing here imports redis, an app or a pool: who asks is started every
few seconds by whatever watches the machine.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import socket
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from taskq.errors import InvalidOption, WorkerError, shorten

logger = logging.getLogger("taskq.worker")
OFF: Final = "off"  # also an empty text, which a variable cannot say
MAX_PATH: Final = 100  # bytes; sun_path holds 104 on macOS and 108 on Linux, its closing zero included
MAX_LINE: Final = 65_536  # bytes of an answer; ours are below 2,000 and fit whole into a socket's buffer
MAX_NAME: Final = 32  # characters of a worker's name in its socket's
ACCEPTED: Final = 4  # connections answered in one turn of the loop, some 0.1 ms; the rest waits for the next turn
BACKLOG: Final = 16  # connections that wait for the loop; the kernel refuses or holds more
REST: Final = 1.0  # seconds without listening after accept failed, as without descriptors it fails at once again
SHORT: Final = 30.0  # seconds; a child that is only replaced has imported its app by then
STUCK: Final = 15.0  # seconds without an answered claim while slots are free; an idle worker asks every 2 s

Report = Callable[[], dict[str, Any]]


# --- what is told ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Pulse:
    """What the loop notes of itself; all times are monotonic seconds.

    Attributes:
        wanted: how many children there should be.
        up: how many take jobs.
        stepped: when a claim was last answered; 0 for never.
        short_since: since when there are fewer children than wanted; 0 while all are up.
        claiming_since: since when jobs are wanted without a break; 0 while none are.
        alarm: why jobs are in danger at the server; empty where they are not.
    """

    wanted: int
    up: int = 0
    stepped: float = 0.0
    short_since: float = 0.0
    claiming_since: float = 0.0
    alarm: str = ""

    def turn(self, now: float, up: int, *, claiming: bool) -> None:
        """Note one turn of the loop: how many children are up, and whether jobs are wanted."""
        self.up = up
        self.short_since = (self.short_since or now) if up < self.wanted else 0.0
        self.claiming_since = (self.claiming_since or now) if claiming else 0.0

    def trouble(self, now: float, state: str, renewed: float, limit: float) -> str:
        """Return why the worker is not ready, or an empty text.

        Args:
            now: the time.
            state: ``starting``, ``running``, ``paused`` or ``stopping``.
            renewed: when the server last took a heartbeat.
            limit: seconds that it may be ago.
        """
        if state in {"starting", "stopping"}:
            return f"it is {state}"
        if not self.up:
            return "no child is up"
        if self.short_since and now - self.short_since > SHORT:
            return f"only {self.up} of {self.wanted} children are up, for {now - self.short_since:.0f} s"
        if now - renewed > limit:
            return f"the lease was not renewed for {now - renewed:.1f} s: the server does not answer"
        quiet = now - max(self.stepped, self.claiming_since) if self.claiming_since else 0.0
        if quiet > STUCK:
            return f"slots are free, and no claim was answered for {quiet:.0f} s"
        return f"jobs are in danger: {self.alarm}" if self.alarm else ""

    def report(self, now: float, state: str, renewed: float, limit: float) -> dict[str, Any]:
        """Return what is told; arguments as of ``trouble``."""
        trouble = self.trouble(now, state, renewed, limit)
        return {
            "state": state,
            "ready": not trouble,
            "reason": trouble,
            "children": {"up": self.up, "wanted": self.wanted},
            "heartbeat_age": round(now - renewed, 3) if renewed else None,
            "claim_age": round(now - self.stepped, 3) if self.stepped else None,
        }


# --- where ----------------------------------------------------------------------------------------------------------


def check_path(shown: str, text: str) -> str:
    """Return the absolute path of a socket that somebody chose; empty for none at all.

    Args:
        shown: the name of the option, variable or key.
        text: its value; empty or ``off`` for none.

    Raises:
        InvalidOption: no socket can have this path.
    """
    if text in {"", OFF}:
        return ""
    try:
        path = os.path.abspath(text)  # noqa: PTH100 (the path need not exist, and no link in it may be followed)
    except OSError:
        raise InvalidOption(f"{shown} {shorten(text)} begins in a directory that was removed; give all of it") from None
    if "\0" in path or len(os.fsencode(path)) > MAX_PATH:
        raise InvalidOption(f"{shown} {shorten(text)} cannot be a socket's path: at most {MAX_PATH} bytes, no zero")
    return path


def _folders() -> Iterator[Path]:
    """Yield the directories of sockets, the best first; who asks may have another environment than the worker."""
    uid = os.geteuid()
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    for parent in dict.fromkeys((given, f"/run/user/{uid}")):
        with contextlib.suppress(OSError, ValueError):
            if parent.startswith("/") and Path(parent).stat().st_uid == uid:
                yield Path(parent) / "taskq"
    yield Path(f"/tmp/taskq-{uid}")  # noqa: S108 (short everywhere; owner and mode are checked)


def _is_ours(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077


def usual_path(name: str, pid: int) -> str:
    """Return where a worker listens that was told nothing, with its directory made; empty if there is no place."""
    for folder in _folders():
        path = folder / f"worker-{name[:MAX_NAME]}.{pid}.sock"
        if len(os.fsencode(path)) > MAX_PATH:
            continue
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
        if _is_ours(folder) and os.access(folder, os.W_OK):
            return str(path)
    return ""


def find() -> list[str]:
    """Return the sockets of this user's workers on this machine; those that a killed one left are not among them."""
    found = [path for folder in _folders() if _is_ours(folder) for path in sorted(folder.glob("worker-*.sock"))]
    return [str(path) for path in dict.fromkeys(found) if _listened_to(str(path))]


def _listened_to(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:  # its backlog is full
            return True
        except OSError:
            return False
    return True


# --- telling --------------------------------------------------------------------------------------------------------


class HealthSocket:
    """Listens, and answers when the loop comes by. What goes wrong is a warning: jobs run without it.

    Args:
        selector: of the loop; a key's data is the function to call.
        report: what is told.
    """

    def __init__(self, selector: selectors.BaseSelector, report: Report) -> None:
        self._selector = selector
        self._report = report
        self._listener: socket.socket | None = None
        self._inode = 0
        self._path = ""
        self._rest_until = 0.0

    def open(self, path: str | None, worker: str) -> None:
        """Listen; a socket that a dead process left there is replaced.

        Args:
            path: where; None for the usual place, empty for nowhere.
            worker: its id, for people who see the usual place.
        """
        if path is None:
            path = usual_path(worker.partition(".")[0], os.getpid())
            if not path:
                logger.warning(
                    "no health socket: no runtime directory can be written; choose a place with --health-socket",
                    extra={"action": "no_health_socket"},
                )
        if not path:
            return
        try:
            self._sweep(Path(path).parent)
            self._listener = self._bind(path)
        except OSError as error:
            reason = error.strerror or str(error)
            logger.warning(
                "no health socket at %s: %s; choose a place with --health-socket", shorten(path), reason,
                extra={"action": "no_health_socket"},
            )  # fmt: skip
            return
        self._path = path
        self._selector.register(self._listener, selectors.EVENT_READ, self._answer)

    def _bind(self, path: str) -> socket.socket:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise OSError("there is something else than a socket")
            if _listened_to(path):
                raise OSError("another process listens there")
            os.unlink(path)  # noqa: PTH108
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.setblocking(False)
            listener.bind(path)
            self._inode = os.lstat(path).st_ino
            os.chmod(path, 0o600)  # noqa: PTH101 (before listen: until then nobody can connect)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener

    def _sweep(self, folder: Path) -> None:
        """Remove what killed workers left in a directory of ours, so that it does not grow."""
        if not _is_ours(folder):
            return
        for left in folder.glob("worker-*.sock"):
            pid = left.stem.rpartition(".")[2]
            if pid.isdecimal() and not Path(f"/proc/{pid}").exists() and not _listened_to(str(left)):
                left.unlink(missing_ok=True)

    def tick(self, now: float) -> None:
        """Listen again after a rest."""
        if self._rest_until and now >= self._rest_until and self._listener is not None:
            self._rest_until = 0.0
            self._selector.register(self._listener, selectors.EVENT_READ, self._answer)

    def _answer(self) -> None:
        assert self._listener is not None
        for _ in range(ACCEPTED):
            try:
                asker, _ = self._listener.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError as error:
                logger.warning("health cannot be told: %s", error, extra={"action": "health_failed"})
                self._selector.unregister(self._listener)
                self._rest_until = time.monotonic() + REST
                return
            with asker:
                self._tell(asker)

    def _tell(self, asker: socket.socket) -> None:
        try:
            asker.setblocking(False)
            asker.send(json.dumps(self._report()).encode() + b"\n")
        except OSError:  # gone, or it does not read: the answer was for nobody else
            logger.debug("who asked for health is gone")
        except Exception:  # what is told must not cost the worker
            logger.exception("health cannot be told", extra={"action": "health_failed"})

    def close(self) -> None:
        """Listen no more; the file goes, unless another process has put its own there."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        with contextlib.suppress(KeyError):
            self._selector.unregister(listener)
        with contextlib.suppress(OSError):
            if os.lstat(self._path).st_ino == self._inode:
                os.unlink(self._path)  # noqa: PTH108
        listener.close()


# --- asking ---------------------------------------------------------------------------------------------------------


def ask(path: str, timeout: float) -> dict[str, Any]:
    """Return what the worker that listens at ``path`` tells.

    Args:
        path: of its socket.
        timeout: seconds for the whole answer.

    Raises:
        WorkerError: nobody listens, the answer does not come in time, or is none of a worker.
    """
    try:
        data = _read(path, time.monotonic() + timeout)
    except TimeoutError:
        raise WorkerError(f"the worker at {shorten(path)} did not answer within {timeout:g} s: it is stuck") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise WorkerError(f"no worker answers at {shorten(path)}: {reason}") from None
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or not isinstance(told.get("ready"), bool):
        raise WorkerError(f"what answers at {shorten(path)} is no worker: {shorten(data[:80])}")
    return told


def _read(path: str, deadline: float) -> bytes:
    data = b""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(_left(deadline))
        sock.connect(path)
        while not data.endswith(b"\n") and len(data) < MAX_LINE:
            sock.settimeout(_left(deadline))
            part = sock.recv(MAX_LINE)
            if not part:
                break
            data += part
    return data


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:  # zero would make the socket one that does not wait
        raise TimeoutError
    return left
