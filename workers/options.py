"""The options of the demo."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from workers import web
from workers.site import standard_library
from workers.store import DEFAULT

MAX_PAGES = 200  # of a live site: a minute's reading of somebody else's server, not a copy of it
MOST = 100_000  # pages: more is no demo


@dataclass(frozen=True, slots=True)
class Options:
    """What to crawl and where to keep it.

    Attributes:
        url: a live site, or empty for the local one.
        root: the folder that the local site serves.
        limit: the most pages to fetch; 0 for all.
        db: the crawl's SQLite file.
        fresh: forget earlier runs of the file first.
        logs: folder of the workers' logs.
    """

    url: str
    root: Path
    limit: int
    db: Path
    fresh: bool
    logs: Path


def count(text: str) -> int:
    """A number of pages.

    Raises:
        argparse.ArgumentTypeError: it is none from 1 to ``MOST``.
    """
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= MOST:
        raise argparse.ArgumentTypeError(f"{text!r} must be 1..{MOST}")
    return number


def live_url(text: str) -> str:
    """The address of a live site, in its one spelling.

    Raises:
        argparse.ArgumentTypeError: it is no http or https url.
    """
    url = web.normalise(text)
    if url is None:
        raise argparse.ArgumentTypeError(f"{text!r} must be an http or https url such as https://docs.python.org/3/")
    return url


def parse(argv: list[str] | None = None) -> Options:
    """Read the command line; ends the process with code 2 and one line about what cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m workers.demo",
        description="Crawl the standard library, served by a local site, with four worker pools.",
    )
    parser.add_argument("--url", type=live_url, help="crawl this live site instead: same host, http(s)")
    parser.add_argument(
        "--max-pages", type=count, metavar="N", help=f"with --url: the most pages (default: {MAX_PAGES})"
    )
    parser.add_argument("--root", type=Path, help="serve this folder of Python files instead")
    parser.add_argument("--limit", type=count, metavar="N", help="without --url: the most files (default: all)")
    parser.add_argument("--db", type=Path, help=f"keep the findings here (default: {DEFAULT}, newest run only)")
    parser.add_argument("--logs", type=Path, default=DEFAULT.parent, help="folder of the workers' logs")
    given = parser.parse_args(argv)
    if given.url and (given.root or given.limit):
        parser.error("--root and --limit are for the local site: not with --url")
    if given.max_pages and not given.url:
        parser.error("--max-pages is for a live site: give --url, or --limit instead")
    root = given.root or standard_library()
    if not given.url and not root.is_dir():
        parser.error(f"--root {str(root)!r} is no folder")
    limit = (given.max_pages or MAX_PAGES) if given.url else (given.limit or 0)
    db = (given.db or DEFAULT).resolve()
    return Options(given.url or "", root.resolve(), limit, db, fresh=given.db is None, logs=given.logs.resolve())
