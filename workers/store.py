"""What a crawl knows, in one SQLite file that all its workers open: runs, pages seen, findings accepted.

The file decides what counts once: a page is claimed by the first insert of its url, a finding by the first insert
of its (run, url). Both survive a worker that dies and a job that runs twice.

The end of a crawl is exact, not guessed from silence: a page's row is written before the page is fetched, and its
links are written before the page itself is marked as fetched. So once no row is open and every page that owes a
finding has one, nothing more can come.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from workers.web import Link

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from workers.head import Head
    from workers.measure import Finding

DEFAULT = Path(".taskq/demo/crawl.sqlite")
BUSY = 30.0  # seconds to wait for another process's write; writes take about a millisecond

# pages.status: NULL while the page is open, 0 when no server answered, else the HTTP status.
# pages.owes: 1 once the page was handed on to be measured, so that a finding must follow.
# records.offers: how often the finding arrived; only the first one was accepted.
SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
  run TEXT PRIMARY KEY, url TEXT NOT NULL, page_limit INTEGER NOT NULL, html INTEGER NOT NULL, rules TEXT NOT NULL,
  opened REAL NOT NULL, worker INTEGER NOT NULL DEFAULT 0, closed REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pages (
  run TEXT, url TEXT, kind TEXT NOT NULL, found_on TEXT NOT NULL, failures INTEGER NOT NULL DEFAULT 0, status INTEGER,
  size INTEGER, owes INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '', worker INTEGER, done REAL,
  PRIMARY KEY (run, url)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pages_found_on ON pages (run, found_on);
CREATE TABLE IF NOT EXISTS records (
  run TEXT, url TEXT, lines INTEGER, code_lines INTEGER, functions INTEGER, classes INTEGER, complexity INTEGER,
  error TEXT NOT NULL, measured_by INTEGER, stored_by INTEGER, offers INTEGER NOT NULL DEFAULT 1, done REAL,
  PRIMARY KEY (run, url)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS functions (run TEXT, url TEXT, name TEXT, line INTEGER, complexity INTEGER);
CREATE INDEX IF NOT EXISTS functions_run ON functions (run, complexity);
"""
TABLES = ("functions", "records", "pages", "runs")

PROGRESS = """
SELECT count(*), count(status), total(kind != 'asset'), total(kind != 'asset' AND status IS NOT NULL), total(owes),
  (SELECT count(*) FROM records WHERE run = :run),
  (SELECT closed IS NOT NULL FROM runs WHERE run = :run)
FROM pages WHERE run = :run
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One crawl.

    Attributes:
        run: its name, unique in the file.
        url: where it begins.
        limit: the most pages to fetch, and the most assets to look at; 0 for no limit. Listings do not count.
        html: measure every page; else HTML pages are directory listings and only Python files are measured.
        rules: the site's robots.txt.
    """

    run: str
    url: str
    limit: int = 0
    html: bool = False
    rules: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """One consistent look at a run: urls seen and done with, pages among them, findings owed and accepted."""

    urls: int = 0
    urls_done: int = 0
    pages: int = 0
    pages_done: int = 0
    owed: int = 0
    recorded: int = 0
    closed: bool = False

    @property
    def done(self) -> bool:
        """Whether everything found was looked at and everything owed was accepted, or the run was closed."""
        return self.closed or (0 < self.urls == self.urls_done and self.owed == self.recorded)

    def counts(self) -> dict[str, int]:
        """What a crawl's job returns: urls and pages done with, findings accepted."""
        return {"urls": self.urls_done, "pages": self.pages_done, "recorded": self.recorded}


class Store:
    """One connection to a crawl's file; a context manager that closes it.

    No method does anything slow between the begin and the end of its transaction: under gevent a greenlet that
    switched there would leave the file locked for its neighbours, which share its thread.

    Args:
        path: the file; it must exist, as ``create`` leaves it.

    Raises:
        FileNotFoundError: there is no such file.
        sqlite3.Error: the file is no database, or stayed locked for ``BUSY`` seconds.
    """

    def __init__(self, path: str | Path) -> None:
        if not Path(path).is_file():
            raise FileNotFoundError(f"no crawl in {str(path)!r}: start one with `python -m workers.demo`")
        self.db = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
        # With WAL a crash of a process loses nothing at NORMAL; only a power cut could lose the last writes.
        self.db.execute("PRAGMA synchronous = NORMAL")

    @classmethod
    def create(cls, path: str | Path) -> Store:
        """Open the file, and make it and its tables where they are missing."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
        store = cls(path)
        try:
            store.db.execute("PRAGMA journal_mode = WAL")
            store.db.executescript(SCHEMA)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close the connection."""
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        # IMMEDIATE: a transaction that reads first and writes later could find its snapshot outdated and fail.
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    # Runs ----------------------------------------------------------------------------------------------------------

    def open_run(self, run: Run) -> bool:
        """Write the run down; False when it is there already."""
        row = (run.run, run.url, run.limit, run.html, run.rules, time.time())
        with self._writing():
            sql = "INSERT OR IGNORE INTO runs (run, url, page_limit, html, rules, opened) VALUES (?, ?, ?, ?, ?, ?)"
            return self.db.execute(sql, row).rowcount == 1

    def start_run(self, run: str, rules: str, worker: int) -> None:
        """Note the site's rules and the process that started the run; the clock of the run starts here."""
        with self._writing():
            sql = "UPDATE runs SET rules = ?, worker = ?, opened = ? WHERE run = ? AND worker = 0"
            self.db.execute(sql, (rules, worker, time.time(), run))

    def close_run(self, run: str) -> None:
        """End the run: jobs of it that are still queued somewhere will do nothing."""
        with self._writing():
            self.db.execute("UPDATE runs SET closed = ? WHERE run = ? AND closed IS NULL", (time.time(), run))

    def drop_closed_runs(self) -> None:
        """Forget the runs that ended, so that a file in daily use does not grow."""
        with self._writing():
            ended = [row[0] for row in self.db.execute("SELECT run FROM runs WHERE closed IS NOT NULL")]
            for run in ended:
                for table in TABLES:
                    self.db.execute(f"DELETE FROM {table} WHERE run = ?", (run,))  # noqa: S608 (our own names)

    def active_run(self, run: str) -> Run | None:
        """The run, or None when it is unknown or closed."""
        sql = "SELECT run, url, page_limit, html, rules FROM runs WHERE run = ? AND closed IS NULL"
        row = self.db.execute(sql, (run,)).fetchone()
        return Run(row[0], row[1], row[2], bool(row[3]), row[4]) if row else None

    def latest_run(self) -> str | None:
        """The name of the run opened last, or None."""
        row = self.db.execute("SELECT run FROM runs ORDER BY opened DESC LIMIT 1").fetchone()
        return str(row[0]) if row else None

    # Pages ---------------------------------------------------------------------------------------------------------

    def claim(self, run: Run, links: Iterable[Link], found_on: str) -> list[Link]:
        """Write down the links nobody found before, within the run's limit.

        Returns all links first found on this page that are still open: also those an earlier attempt wrote down,
        as it may have died before it queued them.
        """
        with self._writing():
            room = self._room(run)
            for link in links:
                if room.get(link.kind, 1) <= 0:
                    continue
                sql = "INSERT OR IGNORE INTO pages (run, url, kind, found_on) VALUES (?, ?, ?, ?)"
                added = self.db.execute(sql, (run.run, link.url, link.kind, found_on)).rowcount
                if link.kind in room:
                    room[link.kind] -= added
        sql = "SELECT url, kind FROM pages WHERE run = ? AND found_on = ? AND status IS NULL ORDER BY url"
        return [Link(url, kind) for url, kind in self.db.execute(sql, (run.run, found_on))]

    def _room(self, run: Run) -> dict[str, int]:
        if not run.limit:
            return {}
        sql = "SELECT kind, count(*) FROM pages WHERE run = ? GROUP BY kind"
        taken = dict(self.db.execute(sql, (run.run,)).fetchall())
        return {kind: run.limit - taken.get(kind, 0) for kind in ("page", "asset")}

    def is_open(self, run: str, url: str) -> bool:
        """Whether the page was found and not yet fetched."""
        sql = "SELECT 1 FROM pages WHERE run = ? AND url = ? AND status IS NULL"
        return self.db.execute(sql, (run, url)).fetchone() is not None

    def add_failure(self, run: str, url: str) -> int:
        """Count one more failed try of a page; returns how many there were."""
        with self._writing():
            sql = "UPDATE pages SET failures = failures + 1 WHERE run = ? AND url = ? RETURNING failures"
            rows = self.db.execute(sql, (run, url)).fetchall()
        return int(rows[0][0]) if rows else 0

    def finish_page(
        self, run: str, url: str, status: int, *, size: int = 0, owes: bool = False, error: str = "", worker: int
    ) -> None:
        """Mark a page as fetched, once: a later call changes nothing."""
        sql = """UPDATE pages SET status = ?, size = ?, owes = ?, error = ?, worker = ?, done = ?
                 WHERE run = ? AND url = ? AND status IS NULL"""
        with self._writing():
            self.db.execute(sql, (status, size, owes, error, worker, time.time(), run, url))

    def open_assets(self, run: str, found_on: str) -> list[str]:
        """The assets first found on a page that were not yet looked at."""
        sql = "SELECT url FROM pages WHERE run = ? AND found_on = ? AND kind = 'asset' AND status IS NULL"
        return [row[0] for row in self.db.execute(sql, (run, found_on))]

    def finish_assets(self, run: str, heads: Iterable[Head], worker: int) -> None:
        """Mark assets as looked at, once each."""
        now = time.time()
        rows = [(h.status, h.size, h.error, worker, now, run, h.url) for h in heads]
        sql = """UPDATE pages SET status = ?, size = ?, error = ?, worker = ?, done = ?
                 WHERE run = ? AND url = ? AND status IS NULL"""
        with self._writing():
            self.db.executemany(sql, rows)

    # Findings ------------------------------------------------------------------------------------------------------

    def record(self, run: str, finding: Finding, worker: int) -> bool:
        """Accept the finding if it is the first one of its page; else count it and return False."""
        measured = (finding.lines, finding.code_lines, finding.functions, finding.classes, finding.complexity)
        row = (run, finding.url, *measured, finding.error, finding.worker, worker, time.time())
        with self._writing():
            sql = """INSERT INTO records (run, url, lines, code_lines, functions, classes, complexity, error,
                       measured_by, stored_by, done) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                     ON CONFLICT DO UPDATE SET offers = offers + 1 RETURNING offers"""
            [(offers,)] = self.db.execute(sql, row).fetchall()
            if offers == 1:
                rows = [(run, finding.url, f.name, f.line, f.complexity) for f in finding.top]
                self.db.executemany("INSERT INTO functions VALUES (?, ?, ?, ?, ?)", rows)
        return bool(offers == 1)

    def progress(self, run: str) -> Progress:
        """Count, in one statement and so at one moment."""
        row = self.db.execute(PROGRESS, {"run": run}).fetchone()
        urls, urls_done, pages, pages_done, owed, recorded = map(int, row[:6])
        return Progress(urls, urls_done, pages, pages_done, owed, recorded, closed=bool(row[6]))
