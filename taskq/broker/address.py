"""Broker urls: checked before any connection is tried, never shown with their password."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from taskq.errors import InvalidURL

SCHEMES = ("redis", "rediss", "unix")
FORESEEN = ("redis+sentinel", "redis+cluster")
MAX_SOCKET_PATH = 107  # bytes; sun_path of Linux without its end mark
_OPTIONS = {"db", "ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"}


def redact(url: object) -> str:
    """Return ``url`` for people: whatever stands where a password can stand is replaced by ``***``."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(url))
    scheme, mark, rest = text.partition("://") if "://" in text else ("", "", text)
    if "@" in rest:
        rest = re.sub(r"(?<=:).*(?=@)", "***", rest, count=1)  # to the last @: a password may hold others
    elif mark:
        rest = re.sub(r"^([^:/?#[]*):(?!\d*(?:[/?#]|$))[^/?#]*", r"\1:***", rest)  # its host was forgotten
    text = re.sub(r"(password=)[^&]*", r"\1***", scheme + mark + rest)
    return text if len(text) <= 120 else text[:119] + "…"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is and how to get in; ``revive`` starts it if need be, before each new connection."""

    scheme: str
    host: str = "localhost"
    port: int = 6379
    path: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    options: tuple[tuple[str, Any], ...] = ()
    revive: Callable[[], object] | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        """The address for people, without any secret."""
        if self.scheme == "unix":
            return f"unix://{self.path}"
        return f"{self.scheme}://{self.host}:{self.port}/{self.db}"


def parse_url(url: object) -> Address:
    """Read ``redis://``, ``rediss://`` or ``unix://`` urls.

    Raises:
        InvalidURL: naming what is wrong; the password is never part of the message.
    """
    if not isinstance(url, str) or not url.strip():
        raise InvalidURL("broker url is empty; give redis://host:6379/0, rediss://… or unix:///path/to.sock")
    shown = redact(url)
    scheme, mark, _ = url.partition("://")
    if scheme in FORESEEN and mark:
        raise InvalidURL(f"url {shown}: {scheme}:// is not supported yet; use redis://, rediss:// or unix://")
    if not mark or scheme not in SCHEMES:
        raise InvalidURL(f"url {shown} must begin with redis://, rediss:// or unix://")
    try:
        parts = urlsplit(url)
        port = parts.port
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        reason = "its port is no number from 1 to 65535" if "ort" in str(error) else "it is malformed"
        raise InvalidURL(f"url {shown} cannot be used: {reason}") from None
    unknown = sorted(set(query) - _OPTIONS)
    if unknown:
        raise InvalidURL(f"url {shown} has the unknown option {unknown[0]!r}; known: {', '.join(sorted(_OPTIONS))}")
    options = {name: values[-1] for name, values in query.items()}
    db = _database(options.pop("db", parts.path.strip("/") if scheme != "unix" else ""), shown)
    username = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if scheme == "unix":
        path = unquote((parts.hostname or "") + parts.path)
        if not path.startswith("/") or len(path.encode()) > MAX_SOCKET_PATH:
            raise InvalidURL(f"url {shown} needs an absolute socket path of at most {MAX_SOCKET_PATH} bytes")
        return Address(scheme, path=path, db=db, username=username, password=password, options=_tls(options, shown))
    if not parts.hostname:
        raise InvalidURL(f"url {shown} has no host")
    if port == 0:
        raise InvalidURL(f"url {shown} cannot be used: its port is no number from 1 to 65535")
    return Address(scheme, parts.hostname, port or 6379, "", db, username, password, _tls(options, shown))


def _database(text: str, shown: str) -> int:
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise InvalidURL(f"url {shown}: the database must be a number from 0, such as redis://host:6379/0")
    return int(text)


def _tls(options: dict[str, str], shown: str) -> tuple[tuple[str, Any], ...]:
    values: dict[str, Any] = dict(options)
    if "ssl_check_hostname" in values:
        values["ssl_check_hostname"] = values["ssl_check_hostname"].lower() not in {"0", "false", "no"}
    if values.get("ssl_cert_reqs", "required") not in {"required", "optional", "none"}:
        raise InvalidURL(f"url {shown}: ssl_cert_reqs must be required, optional or none")
    return tuple(sorted(values.items()))
