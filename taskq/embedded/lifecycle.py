"""The life of the embedded server: from the first need to the last client."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from taskq.embedded import launch, wire
from taskq.embedded.place import POLL_SECONDS, WAY_OUT, held, make_directories, show, start_lock
from taskq.errors import EmbeddedServerError, shorten

if TYPE_CHECKING:
    from taskq.embedded.place import Place

START_SECONDS = 10.0  # a server that says nothing for this long is broken; it needs 50 ms
LOAD_SECONDS = 60.0  # how long to wait for one that says it is still reading its data
END_SECONDS = 10.0  # for one that leaves: it syncs its file first

logger = logging.getLogger("taskq.embedded")


def ensure(place: Place) -> Path:
    """Return the socket of a server that answers, started here if there is none.

    Raises:
        EmbeddedServerError: it cannot be started or does not answer in time, or this process is exiting.
        InvalidOption: a setting cannot be used.
        OSError: a file cannot be used.
    """
    path = place.recorded()[1]
    if held(place) and wire.works(wire.ping(path)):
        return path
    if not threading.main_thread().is_alive():
        # A listener thread that outlives the main one sees our own stop at exit, and must not undo it.
        raise EmbeddedServerError("this process is exiting, so it does not start the embedded server")
    make_directories(place)
    with start_lock(place, START_SECONDS + LOAD_SECONDS):
        path = place.recorded()[1]
        if held(place) and not path.exists():
            _terminate(place)  # a cleaner of temporary files took its socket: nobody can reach it any more
        if held(place) and _await_answer(place, path, None):
            return path
        _start(place)
    return place.socket


def _start(place: Place) -> None:
    """Start a server under the start lock, with nobody on the data."""
    clear_socket(place)
    program = launch.find_program()
    log_from = launch.open_log(place)
    pid = launch.launch(place, program)
    if not _await_answer(place, place.socket, log_from):
        raise _failure(place, "ended at once", log_from)
    atexit.register(_stop_at_exit, place, pid, os.getpid())


def _await_answer(place: Place, path: Path, log_from: int | None) -> bool:
    """Return True once the server answers, False once it is gone; raise when it does neither in time."""
    began = time.monotonic()
    while True:
        answer = wire.ping(path)
        if wire.works(answer):
            return True
        if not held(place):
            return False
        if time.monotonic() - began > (LOAD_SECONDS if answer else START_SECONDS):
            raise _failure(
                place, "is still reading its data" if answer else f"does not answer at {show(path)}", log_from
            )
        time.sleep(POLL_SECONDS)


def _failure(place: Place, what: str, log_from: int | None) -> EmbeddedServerError:
    """Return the error for a server that ``what``, with its last line since ``log_from`` if that is known."""
    said = "" if log_from is None else launch.last_line(place, log_from)
    quoted = f" and said {shorten(said, 300)}" if said else ""
    return EmbeddedServerError(
        f"the embedded server of {show(place.root)} {what}{quoted}; see {show(place.log)}, or {WAY_OUT}"
    )


def shut_down(place: Place, timeout: float) -> bool:
    """Stop the server, under the start lock; return whether there was one.

    Raises:
        EmbeddedServerError: it is still there after ``timeout`` seconds.
    """
    if not held(place):
        return False
    pid, path = place.recorded()
    if not wire.shutdown(path):
        _terminate(place)
    deadline = time.monotonic() + timeout
    while held(place):
        if time.monotonic() >= deadline:
            what = f"the embedded server of {show(place.root)} (pid {pid}) does not end within {timeout:g} s"
            raise EmbeddedServerError(f"{what}; kill it, its data is in the append-only file")
        time.sleep(POLL_SECONDS)
    return True


def _terminate(place: Place) -> None:
    """Signal a server that no socket reaches; only if its pid is seen at work in our data directory."""
    pid, _ = place.recorded()
    with contextlib.suppress(OSError):
        if pid is not None and Path(f"/proc/{pid}/cwd").samefile(place.data):
            os.kill(pid, signal.SIGTERM)


def clear_socket(place: Place) -> bool:
    """Stop a server that listens on our socket without our data; return whether there was one.

    Its ``.taskq`` was removed or moved under it. Left alone, it would take our socket file away when it ends.

    Raises:
        EmbeddedServerError: it does not end.
    """
    if not wire.ping(place.socket):
        return False
    wire.shutdown(place.socket)
    deadline = time.monotonic() + END_SECONDS
    while wire.ping(place.socket):
        if time.monotonic() >= deadline:
            what = f"a server that lost its data directory listens at {show(place.socket)} and does not end"
            raise EmbeddedServerError(f"{what}; kill it, or {WAY_OUT}")
        time.sleep(POLL_SECONDS)
    return True


def _stop_at_exit(place: Place, server: int, starter: int) -> None:
    """Stop the server that this process started, if nobody else uses it.

    A client that is just connecting may find it gone: it starts it again, and the data is in the append-only
    file. Whoever holds the start lock at this moment is such a client, so the server stays.
    """
    if os.getpid() != starter:
        return  # a fork runs its parent's exit handlers too
    try:
        if not place.pid_file.exists():
            clear_socket(place)  # the project was removed under its server: nobody can find it any more
            return
        with start_lock(place, 0):
            pid, path = place.recorded()
            if pid == server and held(place) and not wire.other_connections(path):
                shut_down(place, END_SECONDS)
    except (EmbeddedServerError, OSError) as error:
        logger.info("the embedded server is left as it is: %s", error, extra={"action": "embedded"})
