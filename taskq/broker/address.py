"""Broker urls: checked before any connection is tried, never shown with their password."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from taskq.errors import InvalidURL, shorten

SCHEMES = ("redis", "rediss", "unix")
FORESEEN = ("redis+sentinel", "redis+cluster")
MAX_URL = 65_536  # characters; beyond any url: it is something else
MAX_LABEL = 63  # characters between two dots of a host's name
MAX_SOCKET_PATH = 107  # bytes; sun_path of Linux without its end mark
FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")  # options that name a file
_OPTIONS = {"db", "ssl_cert_reqs", "ssl_check_hostname", *FILES}
_PLACE = re.compile(r"[\w.-]+:\d{1,5}(/\d*)?|")  # a host and its port, or nothing
_YES, _NO = {"1", "true", "yes"}, {"0", "false", "no"}


def redact(url: object) -> str:
    """Return ``url`` for people: whatever stands where a password can stand is replaced by ``***``."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(url))
    scheme, mark, rest = text.partition("://") if "://" in text else ("", "", text)
    if not mark and "@" not in rest and _PLACE.fullmatch(rest) is None:
        return "***"  # nothing of a url: it may be the password alone
    entry, at, place = rest.rpartition("@")  # the last one: a password may hold others
    if at and ":" in entry:
        rest = f"{entry.partition(':')[0]}:***@{place}"
    elif at and not (scheme == "unix" and entry.startswith("/")):  # a name alone may be a password without its colon
        rest = f"***@{place}"
    elif mark:
        rest = re.sub(r"^([^:/?#[]*):(?!\d*(?:/\d*)?(?:[?#]|$)).*", r"\1:***", rest)  # its host was forgotten
    rest = re.sub(r"#.*", "#***", rest)
    head, question, query = rest.partition("?")
    rest = head + question + "&".join(_option(part) for part in query.split("&"))
    text = re.sub(r"(password=)[^&]*", r"\1***", scheme + mark + rest)
    return text if len(text) <= 120 else text[:119] + "…"


def _option(part: str) -> str:
    name, equal, _ = part.partition("=")
    return part if not part or name in _OPTIONS else f"{name}=***" if equal else "***"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is and how to get in; ``revive`` starts it if need be, before each new connection."""

    scheme: str
    host: str = "localhost"
    port: int = 6379
    path: str = ""
    db: int = 0
    username: str | None = field(default=None, repr=False)  # it may be a password without its colon
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
    if len(url) > MAX_URL:
        raise InvalidURL(f"broker url of {len(url)} characters cannot be used: no url has more than {MAX_URL}")
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
        # What stands before a "=" may be of a password; it is named only where people are shown it anyway.
        named = f"the unknown option {unknown[0]!r}" if f"{unknown[0]}=" in shown else "an unknown option"
        raise InvalidURL(f"url {shown} has {named}; known: {', '.join(sorted(_OPTIONS))}")
    if repeated := [name for name in query if len(query[name]) > 1]:
        raise InvalidURL(f"url {shown} has the option {repeated[0]!r} twice: leave one of them out")
    options = {name: values[0] for name, values in query.items()}
    db = _database(options.pop("db", parts.path.strip("/") if scheme != "unix" else ""), shown)
    username = _unquoted(parts.username, shown) if parts.username else None
    password = _unquoted(parts.password, shown) if parts.password else None
    if scheme == "unix":
        path = _socket_path((parts.hostname or "") + parts.path, shown)
        return Address(
            scheme, path=path, db=db, username=username, password=password, options=_tls(options, scheme, shown)
        )
    if not parts.hostname:
        raise InvalidURL(f"url {shown} has no host")
    if not _is_host(parts.hostname):
        raise InvalidURL(f"url {shown} cannot be used: no host can have that name")
    if port == 0:
        raise InvalidURL(f"url {shown} cannot be used: its port is no number from 1 to 65535")
    return Address(scheme, parts.hostname, port or 6379, "", db, username, password, _tls(options, scheme, shown))


def _unquoted(text: str, shown: str) -> str:
    try:
        plain = unquote(text, errors="strict")
        plain.encode()  # not so for bytes of the environment that are no text
    except UnicodeError:
        raise InvalidURL(f"url {shown} cannot be used: it holds bytes that are no UTF-8") from None
    return plain


def _socket_path(text: str, shown: str) -> str:
    path = _unquoted(text, shown)
    if not path.isprintable() or not path.startswith("/") or len(path.encode()) > MAX_SOCKET_PATH:
        raise InvalidURL(f"url {shown} needs an absolute socket path of at most {MAX_SOCKET_PATH} bytes")
    return path


def _is_host(name: str) -> bool:
    """Tell whether the resolver can be asked for ``name``, or it is an address."""
    try:
        labels = name.removesuffix(".").encode("ascii" if name.isascii() else "idna").split(b".")
    except UnicodeError:
        return False
    return name.isprintable() and all(0 < len(label) <= MAX_LABEL for label in labels)


def _database(text: str, shown: str) -> int:
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise InvalidURL(f"url {shown}: the database must be a number from 0, such as redis://host:6379/0")
    return int(text)


def _tls(options: dict[str, str], scheme: str, shown: str) -> tuple[tuple[str, Any], ...]:
    if options and scheme != "rediss":
        raise InvalidURL(f"url {shown}: {min(options)} is for rediss://; {scheme}:// is not encrypted")
    values: dict[str, Any] = dict(options)
    if "ssl_check_hostname" in values:
        word = values["ssl_check_hostname"].lower()
        if word not in _YES | _NO:
            raise InvalidURL(f"url {shown}: ssl_check_hostname must be true or false")
        values["ssl_check_hostname"] = word in _YES
    if values.get("ssl_cert_reqs", "required") not in {"required", "optional", "none"}:
        raise InvalidURL(f"url {shown}: ssl_cert_reqs must be required, optional or none")
    if any(not values.get(name, "x") for name in FILES):
        raise InvalidURL(f"url {shown}: an option that names a file is empty")
    if "ssl_keyfile" in values and "ssl_certfile" not in values:
        raise InvalidURL(f"url {shown}: ssl_keyfile needs ssl_certfile, the certificate of that key")
    return tuple(sorted(values.items()))


def check_files(address: Address) -> None:
    """Read the files that the options name.

    Raises:
        InvalidURL: naming the option and the file that cannot be used.
    """
    import ssl  # most apps do without it

    options = dict(address.options)
    for name in FILES:
        if name in options:
            _check_file(name, options[name])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authorities := options.get("ssl_ca_certs"):
        way_out = "it must hold the certificate of a CA in PEM"
        _check(
            lambda: context.load_verify_locations(cafile=authorities), f"ssl_ca_certs: {shorten(authorities)}", way_out
        )
    if own := options.get("ssl_certfile"):
        way_out = "it must hold a certificate in PEM, and ssl_keyfile or itself the key of that one, without a password"
        # The password keeps OpenSSL from asking a terminal for one.
        load = partial(context.load_cert_chain, own, options.get("ssl_keyfile"), password="")
        _check(load, f"ssl_certfile: {shorten(own)}", way_out)


def _check_file(name: str, path: str) -> None:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no path"
        raise InvalidURL(f"{name}: {shorten(path)} cannot be read: {why}") from None


def _check(load: Callable[[], object], shown: str, way_out: str) -> None:
    try:
        load()
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        reason = str(getattr(error, "reason", None) or "").replace("_", " ").lower()
        raise InvalidURL(f"{shown} cannot be used{f' ({reason})' if reason else ''}: {way_out}") from None
