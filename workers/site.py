"""A local site to crawl: a folder of Python files, with directory pages and the latency of a real network.

``python -m workers.site`` serves the running Python's standard library by hand and prints its address.
"""

from __future__ import annotations

import argparse
import html
import logging
import os
import shutil
import socketserver
import sys
import sysconfig
import threading
import time
import zlib
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

logger = logging.getLogger(__name__)

SKIPPED = frozenset({"__pycache__", "site-packages", "dist-packages"})  # compiled, or not the standard library
LATENCY = (0.020, 0.050)  # seconds: a site on the same continent
SLOWEST = 10.0  # seconds of latency: with more a reader may take the site for dead
IDLE = 30.0  # seconds a kept connection may stay silent before its thread ends
BACKLOG = 256  # connections the kernel holds for us: twice the 100 at once that a crawl may open, and some


def standard_library() -> Path:
    """The folder of the running Python's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def latency(path: str, bounds: tuple[float, float] = LATENCY) -> float:
    """Seconds that the answer for ``path`` takes: within ``bounds``, the same in every run."""
    low, high = bounds
    return low + (high - low) * (zlib.crc32(path.encode()) % 1000) / 999


def entries(folder: Path) -> list[Path]:
    """The entries of ``folder`` the site shows, sorted: none hidden, compiled or installed, no linked folders."""
    shown = [e for e in folder.iterdir() if _is_shown(e)]
    return sorted(shown, key=lambda e: e.name)


def _is_shown(entry: Path) -> bool:
    if entry.name in SKIPPED or entry.name.startswith("."):
        return False
    # A link to a folder may lead back up: following it would make an endless tree.
    return entry.is_file() or (entry.is_dir() and not entry.is_symlink())


def locate(root: Path, path: str) -> Path | None:
    """The file or folder that a url's ``path`` names under ``root``, or None when the site does not show it."""
    target = root
    for part in path.split("/"):
        if part in {"", "."}:
            continue
        name = os.fsdecode(unquote_to_bytes(part))
        if "/" in name or "\0" in name:
            return None
        target /= name
        # Each part on the way, not only the last: this is also what keeps ".." from leading out, as a hidden name.
        if not _is_shown(target):
            return None
    return target


def sources(root: Path) -> list[str]:
    """The url paths of all ``.py`` files under ``root``, sorted: what a complete crawl has found.

    It walks the disk and shares nothing with the pages that the site renders, so that one can check the other.
    """
    return sorted(_walk(root))


def _walk(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in SKIPPED and not name.startswith(".")]
        for name in files:
            file = Path(folder, name)
            if name.endswith(".py") and not name.startswith(".") and file.is_file():
                yield "/" + quote(os.fsencode(file.relative_to(root)))


def render(folder: Path, path: str) -> bytes:
    """The directory page of ``folder`` as HTML: one relative link per entry."""
    title = html.escape(os.fsencode(unquote_to_bytes(path)).decode(errors="replace"))
    lines = [
        f"<!doctype html><html><head><meta charset=utf-8><title>{title}</title></head>",
        f"<body><h1>{title}</h1><ul>",
    ]
    for entry in entries(folder):
        slash = "/" if entry.is_dir() else ""
        # "./" keeps a name with a colon from being read as a scheme.
        link = "./" + quote(os.fsencode(entry.name)) + slash
        name = html.escape(os.fsencode(entry.name).decode(errors="replace"))
        lines.append(f'<li><a href="{link}">{name}{slash}</a></li>')
    lines.append("</ul></body></html>")
    return "\n".join(lines).encode()


class Site(ThreadingHTTPServer):
    """Serves a folder on a port; a context manager that runs it in a thread.

    Args:
        root: the folder to serve.
        port: TCP port; 0 takes a free one.
        bounds: the least and the most seconds of latency per request.
        host: the address to listen on; "0.0.0.0" for all of the machine.
    """

    daemon_threads = True
    request_queue_size = BACKLOG

    def __init__(
        self, root: Path, port: int = 0, bounds: tuple[float, float] = LATENCY, host: str = "127.0.0.1"
    ) -> None:
        self.root = root
        self.bounds = bounds
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="site", daemon=True)
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        """The address of the root's directory page."""
        return f"http://{self.server_name}:{self.server_port}/"

    def server_bind(self) -> None:
        """Bind without the name lookup of HTTPServer, which can hang for seconds on a machine without DNS."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else is."""
        del request
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):
            extra = {"action": "request_failed"}
            logger.error("request of %s failed", client_address, exc_info=error, extra=extra)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD: directory pages as HTML, ``.py`` files as text, other files as bytes."""

    server: Site
    protocol_version = "HTTP/1.1"
    server_version = "crawl-site"
    timeout = IDLE

    def do_GET(self) -> None:
        """Answer with headers and body."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answer with the headers that GET would have."""
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Log at DEBUG: two thousand lines per crawl help nobody."""
        logger.debug(format, *args, extra={"action": "request"})

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        time.sleep(latency(path, self.server.bounds))
        target = locate(self.server.root, path)
        try:
            if target is None:
                self._send(HTTPStatus.NOT_FOUND, "text/plain", b"not found\n")
            elif target.is_file():
                self._send_file(target)
            elif path.endswith("/"):
                self._send(HTTPStatus.OK, "text/html; charset=utf-8", render(target, path))
            else:
                self._send(HTTPStatus.MOVED_PERMANENTLY, "text/plain", b"", location=path + "/")
        except PermissionError:
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"not readable\n")

    def _send(self, status: HTTPStatus, kind: str, body: bytes, location: str = "") -> None:
        self._head(status, kind, len(body), location)
        if self.command == "GET":
            self.wfile.write(body)

    def _send_file(self, file: Path) -> None:
        # No charset: the encoding of a Python file is told by the file itself.
        kind = "text/plain" if file.suffix == ".py" else "application/octet-stream"
        with file.open("rb") as source:
            self._head(HTTPStatus.OK, kind, os.fstat(source.fileno()).st_size)
            if self.command == "GET":
                shutil.copyfileobj(source, self.wfile)

    def _head(self, status: HTTPStatus, kind: str, length: int, location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        if location:
            self.send_header("Location", location)
        self.end_headers()


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; ends the process with code 2 and one line about what cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m workers.site", description="Serve a folder of Python files.")
    parser.add_argument("--root", type=Path, default=standard_library(), help="default: the standard library")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument(
        "--latency", type=float, nargs=2, default=LATENCY, metavar=("LEAST", "MOST"), help="seconds of an answer"
    )
    options = parser.parse_args(argv)
    if not options.root.is_dir():
        parser.error(f"--root {str(options.root)!r} is no folder")
    if not 0 <= options.port <= 65535:
        parser.error(f"--port {options.port} must be 0..65535")
    low, high = options.latency
    if not 0 <= low <= high <= SLOWEST:
        parser.error(f"--latency {low:g} {high:g} must rise within 0..{SLOWEST:g}")
    return options


def main(argv: list[str] | None = None) -> int:
    """Serve by hand until Ctrl-C; returns the exit code."""
    options = parse(argv)
    try:
        with Site(options.root, options.port, tuple(options.latency), options.host) as site:
            print(site.url, flush=True)
            threading.Event().wait()
    except OSError as error:
        print(f"cannot listen on {options.host} port {options.port}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
