"""The demo's options, its progress, and how it watches a run."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from workers import options, watching
from workers.display import BarDisplay, LineDisplay
from workers.fleet import Fleet
from workers.signals import Signals
from workers.store import Progress, Run, Store
from workers.web import Link

REPOSITORY = Path(__file__).parents[2]
PART = Progress(urls=8, urls_done=2, pages=6, pages_done=2, owed=1, recorded=1)
WHOLE = Progress(urls=8, urls_done=8, pages=6, pages_done=6, owed=5, recorded=5)


def test_by_default_the_whole_standard_library_is_crawled():
    given = options.parse([])
    assert (given.url, given.root, given.limit, given.fresh) == ("", options.standard_library().resolve(), 0, True)


def test_a_live_site_has_a_limit_by_default():
    assert options.parse(["--url", "HTTPS://h:443"]) == options.Options(
        "https://h/",
        options.standard_library().resolve(),
        options.MAX_PAGES,
        options.DEFAULT.resolve(),
        fresh=True,
        logs=options.DEFAULT.parent.resolve(),
    )


def test_a_named_file_keeps_its_earlier_runs(tmp_path):
    assert options.parse(["--db", str(tmp_path / "x")]).fresh is False


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--limit", "0"], "'0' must be 1..100000"),
        (["--limit", "-1"], "'-1'"),
        (["--limit", "1e9"], "'1e9' must be"),
        (["--limit", "²"], "'²' must be"),
        (["--max-pages", "100001", "--url", "http://h/"], "'100001' must be 1..100000"),
        (["--max-pages", "5"], "--max-pages is for a live site"),
        (["--url", "ftp://h/"], "'ftp://h/' must be an http or https url"),
        (["--url", ""], "'' must be an http or https url"),
        (["--url", "http://h/", "--limit", "3"], "not with --url"),
        (["--url", "http://h/", "--root", "/"], "not with --url"),
        (["--root", "/no/such/folder"], "'/no/such/folder' is no folder"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_a_bad_option_is_told_in_one_line(argv, words, capsys):
    with pytest.raises(SystemExit) as ended:
        options.parse(argv)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_lines_come_at_intervals_and_at_the_end():
    out = io.StringIO()
    with LineDisplay(Console(file=out, width=200), every=3600) as shown:
        for progress in (PART, PART, PART, WHOLE):
            shown.show(progress)
    first, last = out.getvalue().splitlines()
    assert "2 of 6 pages fetched, 1 findings recorded, 2 of 8 urls done" in first
    assert "6 of 6 pages fetched, 5 findings recorded, 8 of 8 urls done" in last


def test_bars_end_full():
    out = io.StringIO()
    with BarDisplay(Console(file=out, force_terminal=True, width=100)) as shown:
        for progress in (Progress(), PART, WHOLE):
            shown.show(progress)
    assert "8/8" in out.getvalue()


@pytest.fixture
def store(tmp_path):
    with Store.create(tmp_path / "crawl.sqlite") as made:
        made.open_run(Run("r1", "http://h/"))
        made.claim(Run("r1", "http://h/"), [Link("http://h/", "listing")], "")
        yield made


@pytest.fixture
def fleet(tmp_path):
    with Signals() as signals:
        yield Fleet(tmp_path, signals)


def test_watching_ends_when_the_run_is_done(store, fleet, capsys):
    store.finish_page("r1", "http://h/", 200, worker=1)
    assert watching.watch(store, "r1", fleet.check, lambda: False).urls_done == 1


def test_watching_ends_when_the_job_of_the_run_ended_without_it(store, fleet, capsys):
    assert not watching.watch(store, "r1", fleet.check, lambda: True).done


def test_a_run_that_stands_still_is_told_with_what_it_lacks(store, fleet, capsys, monkeypatch):
    monkeypatch.setattr(watching, "STALLED", 0.0)
    with pytest.raises(watching.CrawlError, match=r"1 of 1 urls were not looked at, first http://h/"):
        watching.watch(store, "r1", fleet.check, lambda: False)


def test_a_result_that_differs_from_the_file_is_told():
    with pytest.raises(watching.CrawlError, match="returned"):
        watching.compare({"urls": 1, "pages": 1, "recorded": 1}, WHOLE)


def run_demo(*argv):
    command = [sys.executable, "-m", "workers.demo", *argv]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def test_a_folder_without_python_files_ends_with_one_line(tmp_path):
    code, errors = run_demo("--root", str(tmp_path), "--db", str(tmp_path / "x.sqlite"))
    assert (code, errors) == (1, f"the crawl is incomplete: there is no Python file under {tmp_path}\n")


def test_an_unreachable_site_ends_with_one_line(tmp_path):
    code, errors = run_demo("--url", "http://127.0.0.1:1/", "--db", str(tmp_path / "x.sqlite"))
    assert code == 1
    assert errors.startswith("the crawl is incomplete: http://127.0.0.1:1/ cannot be reached: ")
    assert errors.count("\n") == 1


def test_a_file_that_is_no_database_ends_with_one_line(tmp_path):
    (tmp_path / "a.py").write_text("")
    (tmp_path / "x.sqlite").write_text("no database at all\n" * 100)
    code, errors = run_demo("--root", str(tmp_path), "--db", str(tmp_path / "x.sqlite"))
    assert (code, errors) == (1, f"the crawl is incomplete: {tmp_path}/x.sqlite: file is not a database\n")
