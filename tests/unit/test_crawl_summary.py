"""What a run amounts to, what it lacks, and how it is reported."""

from __future__ import annotations

import pytest
from rich.console import Console

from workers import report
from workers.baseline import Baseline, estimate, spread
from workers.head import Head
from workers.measure import Finding, Function
from workers.site import Site, sources
from workers.store import Run, Store
from workers.summary import Ranked, Share, missing, read_summary
from workers.web import Link

ROOT = Link("http://h/", "listing")
A, B = Link("http://h/a.py", "page"), Link("http://h/b.py", "page")
TEXT, GONE = Link("http://h/c.txt", "asset"), Link("http://h/d.txt", "asset")
FILES = {"/a.py", "/b.py"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "crawl.sqlite"


@pytest.fixture
def store(path):
    """A complete crawl of two files, one of which does not parse, and two assets."""
    with Store.create(path) as made:
        build(made, Run("r1", "http://h/"))
        yield made


def build(store, run):
    store.open_run(run)
    store.start_run(run.run, "", worker=40)
    store.claim(run, [ROOT], "")
    store.claim(run, [A, B, TEXT, GONE], ROOT.url)
    store.finish_page(run.run, ROOT.url, 200, size=50, worker=10)
    for link in (A, B):
        store.finish_page(run.run, link.url, 200, size=100, owes=True, worker=10)
    store.finish_assets(run.run, [Head(TEXT.url, 200, 1000), Head(GONE.url, 404, 70)], worker=40)
    top = (Function("f", 3, 5), Function("g", 9, 2))
    store.record(run.run, Finding(A.url, 20, 15, 2, 1, 7, top, worker=20), worker=30)
    store.record(run.run, Finding(B.url, 4, 3, error="SyntaxError: bad", worker=21), worker=30)


def change(store, sql):
    store.db.execute(sql)


def test_the_figures_of_a_run_are_summed(store):
    found = read_summary(store, "r1")
    assert (found.listings, found.pages, found.fetched, found.size) == (1, 2, 3, 250)
    assert (found.records, found.unparsed, found.lines, found.code_lines) == (2, 1, 24, 18)
    assert (found.functions, found.classes, found.complexity, found.repeats) == (2, 1, 7, 0)
    assert (found.assets, found.assets_found, found.assets_size) == (2, 1, 1000)
    assert found.seconds > 0


def test_the_most_complex_functions_lead(store):
    assert read_summary(store, "r1", top=1).top == (Ranked(5, "f", A.url, 3),)


def test_jobs_are_told_per_pool_and_worker(store):
    assert set(read_summary(store, "r1").jobs) == {
        Share("gevent", "fetch pages", 10, 3),
        Share("process", "parse and measure", 20, 1),
        Share("process", "parse and measure", 21, 1),
        Share("thread", "write findings", 30, 2),
        Share("asyncio", "check other files", 40, 2),
    }


def test_other_runs_of_the_file_are_left_out(store):
    build(store, Run("r2", "http://h/"))
    assert read_summary(store, "r1").records == 2
    assert sum(share.jobs for share in read_summary(store, "r1").jobs) == 9


def test_an_unknown_run_has_no_summary(store):
    with pytest.raises(LookupError, match="nobody"):
        read_summary(store, "nobody")


def test_a_complete_run_lacks_nothing(store):
    assert missing(store, "r1", FILES) == ""


def test_a_run_whose_first_job_never_ran_says_so(store):
    store.open_run(Run("r2", "http://h/"))
    assert missing(store, "r2", FILES) == "its first job was never run"


def test_a_file_without_its_record_is_missed(store):
    change(store, f"DELETE FROM records WHERE url = '{B.url}'")
    assert missing(store, "r1", FILES) == f"1 of 3 pages have no accepted record, first {B.url}"


def test_an_open_page_is_missed(store):
    change(store, f"UPDATE pages SET status = NULL WHERE url = '{A.url}'")
    assert missing(store, "r1", FILES) == f"1 of 5 urls were not looked at, first {A.url}"


def test_a_file_that_the_crawl_did_not_find_is_missed(store):
    assert missing(store, "r1", FILES | {"/z.py"}) == "1 of 3 files were not found by the crawl, first /z.py"


def test_a_record_of_an_unknown_file_is_noticed(store):
    assert missing(store, "r1", {"/a.py"}) == "1 records are of no known file, first /b.py"


def test_a_record_without_a_page_is_noticed(store):
    store.record("r1", Finding("http://h/z.py"), worker=1)
    assert missing(store, "r1", FILES) == "a record has no page: http://h/z.py"


def test_a_file_that_could_not_be_fetched_is_missed(store):
    change(store, f"DELETE FROM records WHERE url = '{B.url}'")
    change(store, f"UPDATE pages SET status = 0, owes = 0, error = 'refused' WHERE url = '{B.url}'")
    assert "1 of 3 pages have no accepted record" in missing(store, "r1", FILES)


@pytest.mark.parametrize("setting", ["status = 404, error = 'status 404'", "status = 301"])
def test_a_broken_link_of_a_live_site_is_excused(store, setting):
    change(store, f"DELETE FROM records WHERE url = '{B.url}'")
    change(store, f"UPDATE pages SET owes = 0, {setting} WHERE url = '{B.url}'")
    assert missing(store, "r1") == ""


def test_a_page_of_a_live_site_that_was_read_is_not_excused(store):
    change(store, f"DELETE FROM records WHERE url = '{B.url}'")
    assert "1 of 3 pages" in missing(store, "r1")


def test_a_site_that_gave_nothing_says_why(store):
    change(store, "DELETE FROM records")
    change(store, "UPDATE pages SET owes = 0, error = 'status 403' WHERE kind = 'page'")
    assert missing(store, "r1") == f"nothing was found: {A.url}: status 403"


@pytest.mark.parametrize(("limit", "complete"), [(2, True), (3, False)])
def test_fewer_files_are_complete_only_at_the_limit(path, limit, complete):
    with Store.create(path) as store:
        build(store, Run("r1", "http://h/", limit=limit))
        assert (missing(store, "r1", FILES | {"/x.py", "/y.py"}) == "") is complete


def text_of(summary, baseline=None):
    console = Console(width=100, force_terminal=False)
    with console.capture() as capture:
        console.print(report.render(summary, baseline))
    return capture.get()


def test_the_report_has_the_figures(store):
    text = text_of(read_summary(store, "r1"), Baseline(80.0, 40, 2000))
    for part in ("a.py:3", "gevent", "40 of 2,000 urls", "1 of 2 other files", "3.5"):
        assert part in text


def test_the_report_of_a_live_site_names_what_could_not_be_read(store):
    change(store, f"UPDATE pages SET error = 'status 404' WHERE url = '{B.url}'")
    assert f"{B.url}: status 404" in text_of(read_summary(store, "r1"))


def test_control_characters_and_markup_of_foreign_pages_are_harmless(store):
    change(store, f"UPDATE pages SET error = '[bold]\x1b[31mred\nnext' WHERE url = '{B.url}'")
    text = text_of(read_summary(store, "r1"))
    assert "\x1b" not in text
    assert "[bold]\ufffd[31mred\ufffdnext" in text


def test_the_newest_run_can_be_printed_later(store, path, capsys):
    assert report.main(["--db", str(path)]) == 0
    assert "most complex functions" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, b"", b"no database, only a lot of text" * 100])
def test_a_file_without_a_run_is_told_in_one_line(tmp_path, capsys, content):
    file = tmp_path / "x.sqlite"
    if content is not None:
        file.write_bytes(content)
    assert report.main(["--db", str(file)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("count", "expected"), [(3, ["a", "c", "e"]), (6, list("abcdef")), (9, list("abcdef")), (0, [])]
)
def test_a_sample_is_evenly_spread(count, expected):
    assert spread("abcdef", count) == expected


def test_one_after_another_is_extrapolated_from_a_sample(tmp_path):
    root = tmp_path / "site"
    root.mkdir()
    for n in range(12):
        (root / f"f{n:02}.py").write_text("def f(): pass\n")
    with Site(root, bounds=(0.02, 0.02)) as site, Store.create(tmp_path / "crawl.sqlite") as store:
        run = Run("r1", site.url)
        links = [Link(site.url, "listing"), *(Link(site.url[:-1] + path, "page") for path in sources(root))]
        store.open_run(run)
        store.claim(run, links, "")
        for link in links:
            store.finish_page("r1", link.url, 200, owes=link.kind == "page", worker=1)
        found = estimate(store, run, sample=4)
    assert (found.sampled, found.total) == (4, 13)
    # Each of the thirteen waits 20 ms; the work itself is a few milliseconds.
    assert found.seconds >= 13 * 0.02
