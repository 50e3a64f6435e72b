"""What a finished run amounts to, read from its file, and whether it is complete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection

    from workers.store import Store

TOTALS = """
SELECT count(*), total(error != ''), total(lines), total(code_lines), total(functions), total(classes),
  total(complexity), total(offers) - count(*)
FROM records WHERE run = ?
"""
TOP = """
SELECT complexity, name, url, line FROM functions WHERE run = ? ORDER BY complexity DESC, url, line LIMIT ?
"""
# One job of the asyncio pool looks at all assets of one page, and one more began the run.
JOBS = """
SELECT 'gevent', 'fetch pages', worker, count(*) FROM pages WHERE run = :run AND kind != 'asset' AND worker
  GROUP BY worker
UNION ALL
SELECT 'process', 'parse and measure', measured_by, count(*) FROM records WHERE run = :run AND measured_by
  GROUP BY measured_by
UNION ALL
SELECT 'thread', 'write findings', stored_by, count(*) FROM records WHERE run = :run GROUP BY stored_by
UNION ALL
SELECT 'asyncio', 'check other files', worker, sum(jobs) FROM (
  SELECT worker, count(DISTINCT found_on) AS jobs FROM pages WHERE run = :run AND kind = 'asset' AND worker
  GROUP BY worker
  UNION ALL SELECT worker, 1 FROM runs WHERE run = :run AND worker
) GROUP BY worker
"""
SPAN = """
SELECT opened, max(opened, (SELECT ifnull(max(done), 0) FROM pages WHERE run = :run),
  (SELECT ifnull(max(done), 0) FROM records WHERE run = :run))
FROM runs WHERE run = :run
"""
COUNTS = """
SELECT total(kind = 'listing'), total(kind = 'page'), total(kind = 'asset'), total(kind = 'asset' AND status = 200),
  total(CASE WHEN kind = 'asset' AND status = 200 AND size > 0 THEN size END),
  total(CASE WHEN kind != 'asset' THEN size END)
FROM pages WHERE run = ? AND status IS NOT NULL
"""
UNREAD = """
SELECT url, error FROM pages WHERE run = ? AND kind != 'asset' AND error != '' ORDER BY url
"""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One of the most complex functions and where it stands."""

    complexity: int
    name: str
    url: str
    line: int


@dataclass(frozen=True, slots=True)
class Share:
    """The jobs that one child process of one pool did."""

    pool: str
    work: str
    worker: int
    jobs: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of one run; sizes in bytes, ``seconds`` from its first job to its last result.

    ``unread`` are (url, reason) of pages that gave nothing to measure, ``repeats`` the findings that came again.
    """

    url: str
    html: bool
    limit: int
    seconds: float
    listings: int
    pages: int
    size: int
    assets: int
    assets_found: int
    assets_size: int
    records: int
    unparsed: int
    lines: int
    code_lines: int
    functions: int
    classes: int
    complexity: int
    repeats: int
    top: tuple[Ranked, ...]
    jobs: tuple[Share, ...]
    unread: tuple[tuple[str, str], ...]

    @property
    def fetched(self) -> int:
        """Pages read, listings among them."""
        return self.listings + self.pages


def read_summary(store: Store, run: str, top: int = 10) -> Summary:
    """Read the figures of a run.

    Raises:
        LookupError: the file knows no such run.
    """
    db = store.db
    about = db.execute("SELECT url, html, page_limit FROM runs WHERE run = ?", (run,)).fetchone()
    if about is None:
        raise LookupError(f"no run {run!r} in this file")
    began, ended = db.execute(SPAN, {"run": run}).fetchone()
    listings, pages, assets, found, found_size, size = map(int, db.execute(COUNTS, (run,)).fetchone())
    records, unparsed, lines, code, functions, classes, complexity, repeats = map(
        int, db.execute(TOTALS, (run,)).fetchone()
    )
    return Summary(
        url=about[0],
        html=bool(about[1]),
        limit=about[2],
        seconds=ended - began,
        listings=listings,
        pages=pages,
        size=size,
        assets=assets,
        assets_found=found,
        assets_size=found_size,
        records=records,
        unparsed=unparsed,
        lines=lines,
        code_lines=code,
        functions=functions,
        classes=classes,
        complexity=complexity,
        repeats=repeats,
        top=tuple(Ranked(*row) for row in db.execute(TOP, (run, top))),
        jobs=tuple(Share(*row) for row in db.execute(JOBS, {"run": run})),
        unread=tuple(db.execute(UNREAD, (run,)).fetchall()),
    )


def missing(store: Store, run: str, expected: Collection[str] | None = None) -> str:
    """What a run lacks to be complete, in one line; empty when it lacks nothing.

    Args:
        store: the run's file.
        run: its name.
        expected: the url paths of all Python files there are, when that is known: each needs its accepted record,
            or as many of them as the run's limit lets pass. Without it a page that could not be read is excused,
            as live sites have broken links.
    """
    state = store.progress(run)
    if not state.urls:
        return "its first job was never run"
    if state.urls != state.urls_done:
        left = state.urls - state.urls_done
        return f"{left:,} of {state.urls:,} urls were not looked at, first {_first_open(store, run)}"
    lacking = _without_record(store, run, excused=expected is None)
    if lacking:
        return f"{len(lacking):,} of {state.pages:,} pages have no accepted record, first {lacking[0]}"
    sql = "SELECT url FROM records WHERE run = ? AND url NOT IN (SELECT url FROM pages WHERE run = ?) LIMIT 1"
    stray = store.db.execute(sql, (run, run)).fetchone()
    if stray:
        return f"a record has no page: {stray[0]}"
    if not state.recorded:
        return f"nothing was found: {_reason(store, run)}"
    return "" if expected is None else _compare(store, run, expected)


def _first_open(store: Store, run: str) -> str:
    sql = "SELECT min(url) FROM pages WHERE run = ? AND status IS NULL"
    return str(store.db.execute(sql, (run,)).fetchone()[0])


def _without_record(store: Store, run: str, *, excused: bool) -> list[str]:
    sql = """SELECT url FROM pages LEFT JOIN records USING (run, url)
             WHERE run = ? AND kind = 'page' AND records.url IS NULL AND NOT (? AND pages.error != '')
               AND NOT (? AND status BETWEEN 300 AND 399) ORDER BY url"""
    return [row[0] for row in store.db.execute(sql, (run, excused, excused))]


def _reason(store: Store, run: str) -> str:
    row = store.db.execute("SELECT url, error FROM pages WHERE run = ? AND error != '' LIMIT 1", (run,)).fetchone()
    return f"{row[0]}: {row[1]}" if row else "the site has no page to measure"


def _compare(store: Store, run: str, expected: Collection[str]) -> str:
    rows = store.db.execute("SELECT url FROM records WHERE run = ?", (run,))
    recorded = {urlsplit(url).path for (url,) in rows}
    limit = int(store.db.execute("SELECT page_limit FROM runs WHERE run = ?", (run,)).fetchone()[0])
    unknown = sorted(recorded.difference(expected))
    if unknown:
        return f"{len(unknown):,} records are of no known file, first {unknown[0]}"
    lost = sorted(set(expected).difference(recorded))
    if lost and len(recorded) != limit:
        return f"{len(lost):,} of {len(expected):,} files were not found by the crawl, first {lost[0]}"
    return ""
