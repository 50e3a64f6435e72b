"""Reading the web with the standard library: one page, its links, the site's rules for robots."""

from __future__ import annotations

import functools
import posixpath
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from http.client import HTTPException, HTTPMessage
from typing import Any, Literal
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, urldefrag, urljoin, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener
from urllib.robotparser import RobotFileParser

AGENT = "taskq-crawl"
TIMEOUT = 15.0  # seconds without an answer after which a page is tried again
MAX_SOURCE = 900_000  # bytes of a page that fit into a job: the default max_body is 1 MiB, less the envelope
MAX_READ = 8 * 1024 * 1024  # bytes read of one page: the links of a huge page still count, endless ones end
MAX_URL = 2_000  # characters: longer ones are made by machines, and no key or log should carry them
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
BUSY = frozenset({408, 425, 429})  # statuses below 500 that ask to come again
DEFAULT_PORTS = {"http": 80, "https": 443}

# What a link leads to, judged by its url. A listing is read for its links only, an asset is looked at by HEAD.
Kind = Literal["listing", "page", "asset"]
ASSETS = re.compile(
    r"\.(7z|avi|bmp|bz2|css|csv|dmg|docx?|eot|epub|exe|gif|gz|ico|iso|jar|jpe?g|js|json|map|mp[34]|og[agv]|otf|pdf|png"
    r"|pptx?|rss|so|svg|tar|tgz|tiff?|ttf|wav|web[mp]|whl|woff2?|xlsx?|xml|xz|zip)$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Link:
    """A url worth a look and what is expected there."""

    url: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said about one url; ``location`` is the absolute target of a redirect, or empty."""

    url: str
    status: int
    content_type: str
    charset: str
    body: bytes
    location: str

    @property
    def is_html(self) -> bool:
        """Whether the page may have links."""
        return self.content_type in {"text/html", "application/xhtml+xml"}

    @property
    def is_text(self) -> bool:
        """Whether the page can be measured."""
        return self.is_html or self.content_type.startswith("text/") or is_python(self.url)


class BusyError(OSError):
    """The server is there and asks to come again later."""


class _Stay(HTTPRedirectHandler):
    """Follows nothing: a redirect is a link like any other and passes the same checks."""

    def redirect_request(self, *_: object) -> None:
        return None


def is_python(url: str) -> bool:
    """Whether the url's path names a Python file."""
    return urlsplit(url).path.endswith(".py")


def is_folder(url: str) -> bool:
    """Whether the url's path is written like a directory's."""
    return urlsplit(url).path.endswith("/")


def get(url: str, timeout: float = TIMEOUT) -> Answer:
    """Read one page, at most ``MAX_READ`` bytes of it.

    Proxies of the environment are used, except for this machine. Statuses such as 404 are answers.

    Raises:
        OSError: no whole answer within ``timeout`` seconds of silence, or the server is busy (429, 5xx).
    """
    request = Request(url, headers={"User-Agent": AGENT, "Accept": "text/html,text/*;q=0.9"})  # noqa: S310 (normalise lets only http and https pass)
    opener = _opener(direct=urlsplit(url).hostname in LOOPBACK)
    try:
        try:
            response: Any = opener.open(request, timeout=timeout)
        except HTTPError as error:
            response = error
        with response:
            return _answer(url, response.status, response.headers, response.read(MAX_READ))
    except URLError as error:
        # Its reason is what happened; the wrapper's own text has no place in a report.
        raise error.reason if isinstance(error.reason, OSError) else OSError(str(error.reason)) from error
    except (HTTPException, UnicodeError, ValueError) as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


@functools.cache
def _opener(*, direct: bool) -> OpenerDirector:
    """Return what opens urls, past all proxies if ``direct``.

    One for all pages: since Python 3.12 each loads the certificates of all authorities, even for http. That takes
    17 ms and 880 kB, which only a collection of cycles gives back.
    """
    return build_opener(_Stay(), *([ProxyHandler({})] if direct else []))


def _answer(url: str, status: int, headers: HTTPMessage, body: bytes) -> Answer:
    if status >= 500 or status in BUSY:
        raise BusyError(f"the server answered {status}")
    length = headers.get("Content-Length", "")
    if status == 200 and length.isdigit() and len(body) < min(int(length), MAX_READ):
        # read() with a size returns what came before the connection broke, as if it were all.
        raise ConnectionError(f"the answer ended after {len(body)} of {length} bytes")
    target = headers.get("Location", "") if 300 <= status < 400 else ""
    return Answer(
        url=url,
        status=status,
        content_type=headers.get_content_type(),
        charset=headers.get_content_charset("utf-8"),
        body=body,
        location=urljoin(url, target) if target else "",
    )


def normalise(url: str, base: str = "") -> str | None:
    """One spelling per page: absolute, without fragment, default port or upper-case host; None for what is no page."""
    try:
        parts = urlsplit(urldefrag(urljoin(base, url.strip())).url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS or not host or parts.username is not None:
        return None
    where = f"[{host}]" if ":" in host else host
    if port is not None and port != DEFAULT_PORTS[parts.scheme]:
        where += f":{port}"
    path = _path(parts)
    text = urlunsplit((parts.scheme, where, path, parts.query, ""))
    # Spaces and control characters are no part of a url; a server that links so would get a broken request.
    return text if len(text) <= MAX_URL and text.isascii() and text.isprintable() and " " not in text else None


def _path(parts: SplitResult) -> str:
    if "/." not in parts.path:
        return parts.path or "/"
    # urljoin resolves dots only in relative links.
    path = posixpath.normpath(parts.path).replace("//", "/", 1)
    return path + "/" if parts.path.endswith(("/", "/.", "/..")) and path != "/" else path


def host_of(url: str) -> tuple[str, int | None]:
    """Host and explicit port: what "the same site" means. http and https on their own ports are one site."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port


def kind_of(url: str, *, html: bool) -> Kind:
    """What a url leads to; with ``html`` every page is measured, else only Python files are."""
    if html:
        return "asset" if ASSETS.search(urlsplit(url).path) else "page"
    if is_folder(url):
        return "listing"
    return "page" if is_python(url) else "asset"


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.hrefs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if not href:
            return
        if tag == "a":
            self.hrefs.append(href)
        elif tag == "base" and not self.base:
            self.base = href


def decode(body: bytes, charset: str) -> str:
    """The text of a page; bytes that do not fit become replacement characters."""
    try:
        return body.decode(charset, errors="replace")
    except LookupError:
        return body.decode(errors="replace")


def links(answer: Answer, *, html: bool, rules: RobotFileParser) -> list[Link]:
    """The links of a page, or a redirect's target, that stay on its site and that its robots.txt allows.

    Each url once, in the page's order.
    """
    if answer.location:
        hrefs, base = [answer.location], answer.url
    elif answer.is_html:
        page = _Anchors()
        page.feed(decode(answer.body, answer.charset))
        page.close()
        hrefs, base = page.hrefs, urljoin(answer.url, page.base)
    else:
        return []
    urls = dict.fromkeys(normalise(href, base) for href in hrefs)
    site = host_of(answer.url)
    return [
        Link(url, kind_of(url, html=html))
        for url in urls
        if url is not None and host_of(url) == site and rules.can_fetch(AGENT, url)
    ]


def read_rules(url: str) -> str:
    """The robots.txt of the url's site; empty when there is none or it cannot be read."""
    try:
        answer = get(urljoin(url, "/robots.txt"))
    except OSError:
        return ""
    return decode(answer.body, answer.charset) if answer.status == 200 and not answer.is_html else ""


def parse_rules(text: str) -> RobotFileParser:
    """The rules of a robots.txt; an empty text allows everything."""
    rules = RobotFileParser()
    rules.parse(text.splitlines())
    return rules
