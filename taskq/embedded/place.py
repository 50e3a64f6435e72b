"""Where a project's server lives, and who holds it.

Two file locks in ``.taskq/`` carry everything; the kernel frees both, whatever kills their holders:

- ``server.pid`` is locked by the server itself, which inherits the locked descriptor, for as long as it
  lives. "It runs" is this lock: a pid may be another process by now, a socket file outlives its server, and a
  copied project brings the original's pid file along. Its two lines are the server's pid and its socket.
- ``start.lock`` is held by whoever starts or stops the server, so of two starters one starts.

A mere user of the server takes neither: it sees that ``server.pid`` is locked, asks PING, and is done.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taskq.errors import EmbeddedServerError, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SOCKET_PATH = 100  # bytes; sun_path holds 104 on macOS and 108 on Linux, its closing zero included
POLL_SECONDS = 0.01  # between two looks at a lock or a socket: a fifth of a usual start
WAY_OUT = "set TASKQ_URL to use another server"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one project's server keeps its files; ``socket`` is where a new one would listen."""

    root: Path
    data: Path
    socket: Path

    @property
    def log(self) -> Path:
        """What the server prints."""
        return self.data / "server.log"

    @property
    def pid_file(self) -> Path:
        """Locked by the server while it lives."""
        return self.data / "server.pid"

    def recorded(self) -> tuple[int | None, Path]:
        """Return pid and socket of the server that holds the lock, as its starter's environment chose them.

        A starter that was killed right after the launch left no record: no pid, and the usual socket.
        """
        try:
            pid, path = os.fsdecode(self.pid_file.read_bytes()).splitlines()
            return int(pid), Path(path)
        except (OSError, ValueError):
            return None, self.socket


def project_root(start: Path | None = None) -> Path:
    """Return the nearest directory with a ``pyproject.toml``, from ``start`` upward; else ``start`` itself.

    Args:
        start: a directory; None is the current one.

    Raises:
        EmbeddedServerError: the current directory was removed.
    """
    try:
        here = (start or Path.cwd()).resolve()
    except FileNotFoundError as error:
        raise EmbeddedServerError(f"the current directory does not exist any more; {WAY_OUT}") from error
    return next((folder for folder in (here, *here.parents) if (folder / "pyproject.toml").is_file()), here)


def locate(root: Path | None) -> Place:
    """Return the place of a project's server; None finds the root from the current directory."""
    folder = project_root() if root is None else root.resolve()
    key = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Place(folder, folder / ".taskq", _runtime_directory() / f"{key}.sock")


def show(path: Path | str) -> str:
    """Return a path for a message."""
    return shorten(str(path), 200)


def _runtime_directory() -> Path:
    """Return the directory for sockets; one that ``sudo`` or ``su`` left in the environment is not ours."""
    given = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    try:
        ours = given.is_absolute() and given.is_dir() and given.stat().st_uid == os.geteuid()
    except OSError:
        ours = False
    if ours and len(os.fsencode(given / "taskq" / ("0" * 16 + ".sock"))) <= MAX_SOCKET_PATH:
        return given / "taskq"
    return Path(f"/tmp/taskq-{os.geteuid()}")  # noqa: S108 (short on every system; owner and mode are checked)


def make_directories(place: Place) -> None:
    """Create the data and the runtime directory: others may not read the first nor put files in the second.

    Raises:
        EmbeddedServerError: the runtime directory is another user's, or open to others.
    """
    runtime = place.socket.parent
    with contextlib.suppress(FileExistsError):
        runtime.mkdir(mode=0o700)
    found = runtime.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise EmbeddedServerError(f"{show(runtime)} is no directory of uid {os.geteuid()}; remove it, or {WAY_OUT}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise EmbeddedServerError(f"{show(runtime)} is open to other users; run chmod 700 on it, or {WAY_OUT}")
    place.data.mkdir(mode=0o700, exist_ok=True)
    ignore = place.data / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")


def held(place: Place) -> bool:
    """Return whether a server lives on this data. The shared lock of the look disturbs no other look."""
    try:
        fd = os.open(place.pid_file, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        free = _try_lock(fd, fcntl.LOCK_SH)
        if free:
            fcntl.flock(fd, fcntl.LOCK_UN)
        return not free
    finally:
        os.close(fd)


def acquire(fd: int, seconds: float) -> bool:
    """Lock a file for oneself; return False if others hold it for ``seconds``."""
    # Polled, as a blocking flock has no deadline and stops every greenlet of the process.
    deadline = time.monotonic() + seconds
    while not _try_lock(fd, fcntl.LOCK_EX):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


@contextlib.contextmanager
def start_lock(place: Place, seconds: float) -> Iterator[None]:
    """Hold the lock of those who start or stop the server.

    Raises:
        EmbeddedServerError: others hold it for ``seconds``.
    """
    fd = os.open(place.data / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not acquire(fd, seconds):
            what = f"the embedded server of {show(place.root)} is being started or stopped"
            raise EmbeddedServerError(f"{what} by another process for over {seconds:g} s; try again, or {WAY_OUT}")
        try:
            yield
        finally:
            # Closing is not enough: a process that another thread forked meanwhile has the descriptor too.
            fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def file_errors(place: Place) -> Iterator[None]:
    """Turn an OSError into one line that names the file."""
    try:
        yield
    except OSError as error:
        name = show(os.fsdecode(error.filename or place.data))
        reason = error.strerror or type(error).__name__
        raise EmbeddedServerError(f"the embedded server cannot use {name}: {reason}; {WAY_OUT}") from error
