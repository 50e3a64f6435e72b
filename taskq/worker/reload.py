"""Watches the files of an app while it is developed, and says which have changed. Not for production.

Every directory is watched by itself, so that those which nobody edits, such as a virtual environment's, cost nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import PathFinder
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taskq.errors import ConfigError, shorten

if TYPE_CHECKING:
    from taskq.worker.protocol import Hello

logger = logging.getLogger("taskq.worker")
STEP: Final = 50  # ms without a change after which those that came are told: an editor or a checkout writes many files
DEBOUNCE: Final = 400  # ms after which they are told though more come
MAX_FOLDERS: Final = 4_000  # Linux watches 8,192 directories of a user where nobody raised that
UNSEEN: Final = 300  # ms after which sources are compared that may have changed while nothing was watched yet
AGAIN: Final = 0.2  # seconds until a directory that went while it was looked at is looked for again
LAST_LOOK: Final = 1.0  # seconds for the thread to end; it looks every STEP
IGNORED: Final = frozenset({"__pycache__", "node_modules", "site-packages"})


def home_of(spec: str, root: str) -> Path:
    """Return the directory to watch, without importing anything.

    Args:
        spec: the app as ``module:attr`` or ``module``.
        root: the directory that its import begins with; empty for none.

    Returns:
        ``root`` if the app's first module lies below it, or is not there yet; else that package's directory, or the one
        that holds that module.

    Raises:
        ConfigError: there is no root, and no such module.
    """
    top = spec.partition(":")[0].partition(".")[0]
    found = PathFinder.find_spec(top, [root, *sys.path] if root else sys.path)
    place = None
    if found is not None and found.submodule_search_locations:
        place = Path(next(iter(found.submodule_search_locations)))
    elif found is not None and found.has_location and found.origin:
        place = Path(found.origin).parent
    if root and (place is None or place.resolve().is_relative_to(Path(root).resolve())):
        return Path(root)
    if place is None:
        raise ConfigError(f"--reload finds no directory of the app {shorten(spec)}; start it in the app's directory")
    return place


def folders_of(home: Path) -> list[str]:
    """Return ``home`` and what lies below it, without caches, virtual environments, hidden and unreadable directories.

    Raises:
        ConfigError: there are more than MAX_FOLDERS.
    """
    found = []
    for folder, names, _ in os.walk(home):
        names[:] = [name for name in names if not _ignored(Path(folder, name))]
        found.append(folder)
        if len(found) > MAX_FOLDERS:
            raise ConfigError(
                f"--reload would watch more than {MAX_FOLDERS} directories below {shorten(str(home))}; "
                "start the worker in the app's own directory"
            )
    return found


def _ignored(folder: Path) -> bool:
    if folder.name.startswith(".") or folder.name in IGNORED or not os.access(folder, os.R_OK | os.X_OK):
        return True
    return (folder / "pyvenv.cfg").exists()


def stamps_of(folders: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return time and size of each source that lies in ``folders``."""
    found = {}
    for folder in folders:
        with contextlib.suppress(OSError):  # it went
            entries = [entry for entry in os.scandir(folder) if _is_source(entry.path)]
            for entry in entries:
                with contextlib.suppress(OSError):  # this file went, or it is a link to nowhere
                    told = entry.stat()
                    found[entry.path] = (told.st_mtime_ns, told.st_size)
    return found


def digest_of(path: str) -> bytes:
    """Return what tells one content of a source from another; the same for all that are not there."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).digest()
    except OSError:
        return b"none"


def _is_source(path: str) -> bool:
    name = Path(path).name
    return name.endswith(".py") and not name.startswith(".")


class Watch:
    """Watches from a thread of its own, from its making until it is closed.

    Args:
        spec: the app as ``module:attr`` or ``module``.
        root: the directory that its import begins with; empty for none.
        post: runs a function in the worker's loop, from any thread.
        renew: called there with the paths of sources that were changed, added or removed together.

    Raises:
        ConfigError: there is nothing to watch, or too much.
    """

    def __init__(
        self,
        spec: str,
        root: str,
        post: Callable[[Callable[[], None]], None],
        renew: Callable[[frozenset[str]], None],
    ) -> None:
        self._home = home_of(spec, root)
        self._post = post
        self._renew = renew
        self._folders = folders_of(self._home)
        self._known = stamps_of(self._folders)
        self._told: dict[str, bytes] = {}  # digests of the sources that were told
        logging.getLogger("watchfiles.main").setLevel(logging.WARNING)  # it counts changes where the files are named
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="taskq-reload", daemon=True)
        self._thread.start()
        logger.warning(
            "--reload is for development: children are replaced when a source below %s changes", self._home,
            extra={"action": "reload"},
        )  # fmt: skip

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(LAST_LOOK)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                for paths in self._follow():
                    self._tell(paths)
                self._look_again()
        except Exception as error:  # the worker runs on: it is only not told of changes
            logger.error("--reload has ended: %s", error, extra={"action": "reload_failed"})

    def _tell(self, paths: frozenset[str]) -> None:
        shown = f"{min(paths)} and {len(paths) - 1} more files have" if len(paths) > 1 else f"{min(paths)} has"
        logger.info("%s changed", shown, extra={"action": "source_changed"})
        self._post(lambda: self._renew(paths))

    def _follow(self) -> Iterator[frozenset[str]]:
        """Yield sources that changed together, also from before the watch began, until directories came or went."""
        from watchfiles import watch

        behind = True
        with self._outdated():
            for changes in watch(
                *self._folders, recursive=False, watch_filter=lambda _, path: self._concerns(path),
                step=STEP, debounce=DEBOUNCE, rust_timeout=UNSEEN, yield_on_timeout=True, stop_event=self._stop,
            ):  # fmt: skip
                paths = {path for _, path in changes}
                if paths or behind:
                    behind = behind and bool(paths)
                    before, self._known = self._known, stamps_of(self._folders)
                    sources = frozenset(path for path, _ in before.items() ^ self._known.items())
                    if altered := frozenset(filter(self._altered, sources)):
                        yield altered
                if not all(map(_is_source, paths)):
                    return

    @contextlib.contextmanager
    def _outdated(self) -> Iterator[None]:
        """End a block in which a directory went, or was shut, since they were listed."""
        try:
            yield
        except FileNotFoundError:
            pass
        except PermissionError:
            if folders_of(self._home) == self._folders:  # it would not go better next time
                raise

    def _altered(self, path: str) -> bool:
        """Whether a source is another than when it was last told: some apps write the same again at each import.

        What it was before it is told for the first time is not known.
        """
        before, self._told[path] = self._told.get(path), digest_of(path)
        return before != self._told[path]

    def _concerns(self, path: str) -> bool:
        """Whether it is a source, or a directory that is watched or should be."""
        return _is_source(path) or path in self._folders or (not _ignored(Path(path)) and Path(path).is_dir())

    def _look_again(self) -> None:
        """List the directories afresh."""
        before, self._folders = self._folders, folders_of(self._home)
        if not self._folders or before == self._folders:  # gone, or about to go: not at once
            self._stop.wait(AGAIN)


def forget_compiled(paths: Iterable[str]) -> None:
    """Drop what Python has compiled of sources.

    It tells their versions apart by size and time in whole seconds: of two changes within one it may miss the second.
    """
    for path in paths:
        with contextlib.suppress(OSError, NotImplementedError):  # the second: this Python keeps nothing compiled
            Path(cache_from_source(path)).unlink(missing_ok=True)


def stale_settings(first: Hello, now: Hello, *, chosen: bool) -> str:
    """Return what of a changed app takes effect only when the worker is started again; empty for nothing.

    Args:
        first: what the app said of itself when the worker started.
        now: what it says since.
        chosen: whether the worker was told its queues, so that those of the app do not matter.
    """
    served = {name for name, _, _ in first.queues} or {"default"}
    new = [] if chosen else [name for name, _, _ in now.queues if name not in served]
    changed = {
        "its server or namespace": (first.url, first.namespace) != (now.url, now.namespace),
        "its heartbeat or lease": (first.beat, first.ttl) != (now.beat, now.ttl),
        "its signing keys": (first.signing_key, first.require_signed) != (now.signing_key, now.require_signed),
        f"the queues {', '.join(new)}": bool(new),
    }
    *others, last = [what for what, is_so in changed.items() if is_so] or [""]
    return f"{', '.join(others)} and {last}" if others else last
