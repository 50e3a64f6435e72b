"""The producer of the crawl: its options, and how it ends when it cannot begin."""

from __future__ import annotations

import pytest

from workers import produce, site, web

REQUIRED = ("--site", "http://h:1/")


def test_by_default_all_of_the_standard_library_is_expected():
    plan = produce.parse([*REQUIRED])
    assert (plan.url, plan.root, plan.limit) == ("http://h:1/", site.standard_library(), 0)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "--site"),
        (["--site", "ftp://h/"], "'ftp://h/' must be an http or https url"),
        ([*REQUIRED, "--root", "/no/such/folder"], "'/no/such/folder' is no folder"),
        ([*REQUIRED, "--limit", "0"], "'0' must be 1..100000"),
    ],
)
def test_a_bad_option_of_the_producer_is_told_in_one_line(argv, words, capsys):
    with pytest.raises(SystemExit) as ended:
        produce.parse(argv)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--latency", "0.2", "0.1"], "--latency 0.2 0.1 must rise within 0..10"),
        (["--latency", "-1", "1"], "--latency -1 1 must"),
        (["--latency", "0", "nan"], "--latency 0 nan must"),
        (["--port", "65536"], "--port 65536 must be 0..65535"),
    ],
)
def test_a_bad_option_of_the_site_is_told_in_one_line(argv, words, capsys):
    with pytest.raises(SystemExit) as ended:
        site.parse(argv)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_a_site_that_is_not_there_ends_the_producer_with_one_line(tmp_path, capsys):
    code = produce.main(["--site", "http://127.0.0.1:1/", "--db", str(tmp_path / "x.sqlite")])
    told = capsys.readouterr().err
    assert (code, told.count("\n")) == (1, 1)
    assert told.startswith("the crawl is incomplete: http://127.0.0.1:1/ cannot be reached: ")


def test_a_folder_without_python_files_ends_the_producer_with_one_line(tmp_path, capsys):
    with site.Site(tmp_path, bounds=(0, 0)) as served:
        code = produce.main(["--site", served.url, "--root", str(tmp_path), "--db", str(tmp_path / "x.sqlite")])
    assert (code, capsys.readouterr().err) == (
        1,
        f"the crawl is incomplete: there is no Python file under {tmp_path}\n",
    )


def test_all_pages_are_opened_by_one_opener():
    assert web._opener(direct=True) is web._opener(direct=True)
