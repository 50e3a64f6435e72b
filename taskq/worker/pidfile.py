"""The file that holds a worker's process id while it runs."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from taskq.errors import ConfigError, InvalidOption, shorten


class Pidfile:
    """Written once the worker is up, removed at its end.

    Args:
        path: of the file; empty for none.
    """

    def __init__(self, path: str = "") -> None:
        self._path = Path(path) if path else None
        self._written = False

    def check(self) -> None:
        """Look whether it may be written, before anything is started.

        Raises:
            InvalidOption: it names another process that lives or holds something else, or its directory takes no file.
        """
        if self._path is None:
            return
        shown = f"pidfile {shorten(str(self._path))}"
        try:
            text = self._path.read_text("ascii")[:80].strip()
        except FileNotFoundError:
            text = ""
        except (OSError, ValueError) as error:
            raise InvalidOption(f"{shown} cannot be read: {_reason(error)}; choose another path") from None
        if text and not (text.isdigit() and len(text) < 10):
            raise InvalidOption(f"{shown} is there and holds no process id; remove it or choose another path")
        if text and int(text) != os.getpid() and _lives(int(text)):  # in a container numbers come again
            raise InvalidOption(f"{shown} names process {text}, which lives; stop that, or remove the file")
        if not os.access(self._path.parent, os.W_OK):
            raise InvalidOption(f"{shown} cannot be written: its directory is missing or read-only")

    def write(self) -> None:
        """Write this process's id: at once the whole file, for whoever reads it.

        Raises:
            InvalidOption: as ``check``.
            ConfigError: it cannot be written.
        """
        if self._path is None:
            return
        self.check()  # another one may have started as this one did
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            fresh.write_text(f"{os.getpid()}\n", "ascii")
            fresh.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise ConfigError(f"pidfile {shorten(str(self._path))} cannot be written: {_reason(error)}") from None
        self._written = True

    def remove(self) -> None:
        """Remove the file, if it is still this worker's."""
        if self._path is None or not self._written:
            return
        with contextlib.suppress(OSError, ValueError):
            if self._path.read_text("ascii").strip() == str(os.getpid()):
                self._path.unlink()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or "it is no text"


def _lives(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and is not waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    return True
