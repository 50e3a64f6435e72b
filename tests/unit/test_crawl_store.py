"""The crawl's file: each page once, each finding once, and an end that is exact."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from workers.head import Head
from workers.measure import Finding, Function
from workers.store import Progress, Run, Store
from workers.web import Link

RUN = Run("r1", "http://h/")


def page(name):
    return Link(f"http://h/{name}.py", "page")


def listing(name):
    return Link(f"http://h/{name}/", "listing")


def asset(name):
    return Link(f"http://h/{name}.txt", "asset")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "crawl.sqlite"


@pytest.fixture
def store(path):
    with Store.create(path) as opened:
        opened.open_run(RUN)
        yield opened


def fetch(store, link, *, owes=False, run="r1"):
    store.finish_page(run, link.url, 200, size=10, owes=owes, worker=5)


def test_a_missing_file_is_not_made_by_a_worker(tmp_path):
    with pytest.raises(FileNotFoundError, match="no crawl in"):
        Store(tmp_path / "x.sqlite")
    assert not (tmp_path / "x.sqlite").exists()


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "x").write_text("hello, this is text and no database at all\n" * 50)
    with pytest.raises(sqlite3.DatabaseError):
        Store.create(tmp_path / "x")


def test_creating_again_keeps_what_is_there(store, path):
    with Store.create(path) as again:
        assert again.active_run("r1") == RUN


def test_a_run_is_opened_once(store):
    assert store.open_run(Run("r1", "http://other/")) is False
    assert store.active_run("r1") == RUN


def test_starting_a_run_notes_its_rules_once(store):
    store.start_run("r1", "User-agent: *", worker=7)
    store.start_run("r1", "other", worker=8)
    assert store.active_run("r1").rules == "User-agent: *"


def test_a_closed_run_is_not_active(store):
    store.close_run("r1")
    assert store.active_run("r1") is None
    assert store.progress("r1").done


def test_an_unknown_run_is_not_active_and_not_done(store):
    assert store.active_run("nobody") is None
    assert store.progress("nobody") == Progress()
    assert not store.progress("nobody").done


def test_the_latest_run_is_the_one_opened_last(store):
    store.open_run(Run("r2", "http://h/"))
    assert store.latest_run() == "r2"


def test_closed_runs_can_be_forgotten_and_open_ones_stay(store):
    store.claim(RUN, [page("a")], "")
    store.record("r1", Finding("http://h/a.py", top=(Function("f", 1, 2),)), worker=1)
    store.close_run("r1")
    other = Run("r2", "http://h/")
    store.open_run(other)
    store.claim(other, [page("a")], "")
    store.drop_closed_runs()
    left = {table: store.db.execute(f"SELECT run FROM {table}").fetchall() for table in ("runs", "pages", "records")}
    assert left == {"runs": [("r2",)], "pages": [("r2",)], "records": []}
    assert store.db.execute("SELECT count(*) FROM functions").fetchone() == (0,)


def test_a_page_is_claimed_by_the_first_who_finds_it(store):
    assert store.claim(RUN, [page("a"), page("b")], "one") == [page("a"), page("b")]
    assert store.claim(RUN, [page("a"), page("c")], "two") == [page("c")]


def test_a_second_attempt_gets_what_the_first_wrote_down_and_is_still_open(store):
    store.claim(RUN, [page("a"), page("b"), asset("c")], "one")
    fetch(store, page("a"))
    assert store.claim(RUN, [page("a"), page("b"), asset("c")], "one") == [page("b"), asset("c")]


def test_the_same_page_of_two_runs_is_two_pages(store):
    other = Run("r2", "http://h/")
    store.open_run(other)
    store.claim(RUN, [page("a")], "")
    assert store.claim(other, [page("a")], "") == [page("a")]


def test_the_limit_holds_for_pages_and_for_assets_but_not_for_listings(store):
    run = Run("r2", "http://h/", limit=2)
    store.open_run(run)
    links = [f(name) for name in "abc" for f in (page, asset, listing)]
    taken = store.claim(run, links, "")
    assert sorted(link.kind for link in taken) == ["asset"] * 2 + ["listing"] * 3 + ["page"] * 2


def test_the_limit_counts_what_earlier_pages_led_to_and_known_pages_are_free(store):
    run = Run("r2", "http://h/", limit=2)
    store.open_run(run)
    store.claim(run, [page("a")], "one")
    assert store.claim(run, [page("a"), page("b"), page("c")], "two") == [page("b")]


def test_the_limit_holds_when_many_claim_at_once(store, path):
    run = Run("r2", "http://h/", limit=10)
    store.open_run(run)
    start = Barrier(4)

    def claim(name):
        with Store(path) as mine:
            start.wait()
            return len(mine.claim(run, [page(f"{name}{n}") for n in range(10)], name))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(claim, "abcd")) == 10


def test_a_page_is_open_until_it_is_fetched(store):
    store.claim(RUN, [page("a")], "")
    assert store.is_open("r1", page("a").url)
    fetch(store, page("a"))
    assert not store.is_open("r1", page("a").url)


def test_a_page_nobody_found_is_not_open(store):
    assert not store.is_open("r1", page("a").url)


def test_a_page_is_finished_once(store):
    store.claim(RUN, [page("a")], "")
    store.finish_page("r1", page("a").url, 200, owes=True, worker=5)
    store.finish_page("r1", page("a").url, 0, error="late", worker=6)
    assert store.db.execute("SELECT status, owes, error, worker FROM pages").fetchall() == [(200, 1, "", 5)]


def test_failures_of_a_page_are_counted(store):
    store.claim(RUN, [page("a")], "")
    assert [store.add_failure("r1", page("a").url) for _ in range(3)] == [1, 2, 3]


def test_assets_are_looked_at_once(store):
    store.claim(RUN, [asset("a"), asset("b"), page("c")], "one")
    store.claim(RUN, [asset("d")], "two")
    assert store.open_assets("r1", "one") == [asset("a").url, asset("b").url]
    store.finish_assets("r1", [Head(asset("a").url, 404)], worker=9)
    store.finish_assets("r1", [Head(asset("a").url, 200, 5)], worker=9)
    assert store.open_assets("r1", "one") == [asset("b").url]
    assert store.db.execute("SELECT status FROM pages WHERE url = ?", (asset("a").url,)).fetchall() == [(404,)]


def test_a_finding_is_accepted_once_and_its_return_counted(store):
    first = Finding(page("a").url, 3, 2, 1, 0, 4, (Function("f", 1, 4),), worker=5)
    assert store.record("r1", first, worker=6) is True
    assert store.record("r1", Finding(page("a").url, lines=99, top=(Function("g", 1, 9),)), worker=7) is False
    row = store.db.execute("SELECT lines, measured_by, stored_by, offers FROM records").fetchall()
    assert row == [(3, 5, 6, 2)]
    assert store.db.execute("SELECT name, line, complexity FROM functions").fetchall() == [("f", 1, 4)]


def test_one_of_many_writers_is_accepted(store, path):
    start = Barrier(8)

    def write(worker):
        with Store(path) as mine:
            start.wait()
            return mine.record("r1", Finding(page("a").url, worker=worker), worker)

    with ThreadPoolExecutor(8) as pool:
        accepted = list(pool.map(write, range(8)))
    assert accepted.count(True) == 1
    assert store.db.execute("SELECT offers FROM records").fetchall() == [(8,)]


def test_who_will_write_locks_before_reading(store, path):
    with Store(path) as other:
        other.db.execute("PRAGMA busy_timeout = 10")
        with store._writing(), pytest.raises(sqlite3.OperationalError, match="locked"), other._writing():
            pass


def test_a_failed_write_leaves_nothing(store):
    with pytest.raises(sqlite3.Error):
        store.record("r1", Finding(page("a").url, top=(Function("f", 1, object()),)), worker=1)
    assert store.progress("r1").recorded == 0


def steps(store):
    """A small crawl, one move at a time, as its jobs would make them."""
    yield store.claim(RUN, [listing("")], "")
    yield store.claim(RUN, [page("a"), page("b"), asset("c")], listing("").url)
    yield fetch(store, listing(""))
    yield store.record("r1", Finding(page("a").url), 1)  # sooner than its page is marked
    yield fetch(store, page("a"), owes=True)
    yield fetch(store, page("b"), owes=True)
    yield store.finish_assets("r1", [Head(asset("c").url, 200)], 1)
    yield store.record("r1", Finding(page("b").url), 1)


def test_a_run_is_done_at_its_last_step_and_at_none_before(store):
    assert [store.progress("r1").done for _ in steps(store)] == [False] * 7 + [True]


def test_progress_counts_what_was_found_and_what_is_done(store):
    for _ in steps(store):
        pass
    state = store.progress("r1")
    assert state == Progress(urls=4, urls_done=4, pages=3, pages_done=3, owed=2, recorded=2)
    assert state.counts() == {"urls": 4, "pages": 3, "recorded": 2}


def test_a_record_too_many_does_not_stand_in_for_a_missing_one(store):
    store.claim(RUN, [page("a"), page("b")], "")
    store.record("r1", Finding(page("a").url), 1)
    fetch(store, page("b"), owes=True)
    assert not store.progress("r1").done
    fetch(store, page("a"), owes=True)
    assert not store.progress("r1").done
