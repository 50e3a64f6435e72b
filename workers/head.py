"""HEAD over asyncio streams: whether something is there and how large it is, without reading it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from workers.web import AGENT, DEFAULT_PORTS, TIMEOUT


@dataclass(frozen=True, slots=True)
class Head:
    """What a server said about one url: ``status`` 0 when it said nothing, ``size`` in bytes, -1 when unknown."""

    url: str
    status: int
    size: int = -1
    error: str = ""


async def head(url: str, timeout: float = TIMEOUT) -> Head:  # noqa: ASYNC109 (a part of the answer: it ends as one)
    """Ask for the headers of ``url``. A server that cannot be reached within ``timeout`` seconds is an answer too."""
    try:
        async with asyncio.timeout(timeout):
            return parse(url, await _exchange(url))
    except TimeoutError:
        return Head(url, 0, error=f"no answer within {timeout:g} s")
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        return Head(url, 0, error=f"{type(error).__name__}: {error}")


async def _exchange(url: str) -> bytes:
    parts = urlsplit(url)
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=parts.scheme == "https" or None)
    try:
        target = urlunsplit(("", "", parts.path, parts.query, ""))
        lines = [
            f"HEAD {target} HTTP/1.1",
            f"Host: {parts.netloc}",
            f"User-Agent: {AGENT}",
            "Connection: close",
        ]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
        await writer.drain()
        return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def parse(url: str, raw: bytes) -> Head:
    """Read status and length from the bytes of an answer's head.

    Raises:
        ValueError: they are no HTTP.
    """
    first, *lines = raw.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/") or not rest[:3].isdigit():
        raise ValueError(f"not HTTP: {first[:40]!r}")
    size = -1
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-length" and value.strip().isdigit():
            size = int(value)
    return Head(url, int(rest[:3]), size)
