"""browse.lua: a page of the jobs in one place, or of jobs by id, without reading more than is shown."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import NOW, Kit, data

from taskq.broker import browsing
from taskq.broker.browsing import SHOWN, Glance


def names(page: browsing.Page) -> list[str]:
    return [one.unique for one in page.jobs]


@pytest.mark.parametrize("place", browsing.PLACES)
def test_a_page_has_the_jobs_of_its_place_in_order(kit: Kit, place):
    kit.seed(jobs=dict.fromkeys("abcd", data()), **{place: {"c": 3, "a": 1, "b": 2}})
    assert names(kit.run(browsing.browse(kit.keys, place, 0, 2))) == ["a", "b"]
    assert names(kit.run(browsing.browse(kit.keys, place, 2, 2))) == ["c"]
    assert names(kit.run(browsing.browse(kit.keys, place, 3, 2))) == []


def test_the_newest_come_from_the_other_end(kit: Kit):
    kit.seed(jobs=dict.fromkeys("abc", data()), dead={"a": 1, "b": 2, "c": 3})
    assert names(kit.run(browsing.browse(kit.keys, "dead", 0, 2, newest=True))) == ["c", "b"]


def test_a_job_is_shown_with_its_place_size_history_and_beginning(kit: Kit):
    long = data("x" * 2000)
    kit.seed(jobs={"a": long}, state={"a": "3;1;0;0;0"}, ready={"a": 7})
    assert kit.run(browsing.browse(kit.keys, "ready", 0, 9)) == browsing.Page(
        NOW, 1, [Glance("a", 7.0, len(long), b"3;1;0;0;0", long[:SHOWN].encode())]
    )


def test_jobs_are_found_by_id(kit: Kit):
    kit.seed(jobs={"a": data(), "b": data()})
    page = kit.run(browsing.glance(kit.keys, ["b", "gone"]))
    assert page.jobs == [
        Glance("b", None, len(data()), b"", data().encode()),
        Glance("gone", None, -1, b"", b""),
    ]


def test_a_page_of_large_jobs_is_shorter(kit: Kit):
    ids = [f"j{number:02}" for number in range(25)]
    kit.seed(jobs=dict.fromkeys(ids, data("x" * 60_000)), ready={one: at for at, one in enumerate(ids)})
    page = kit.run(browsing.browse(kit.keys, "ready", 0, 25))
    assert (page.looked, names(page)) == (10, ids[:10])
    assert names(kit.run(browsing.browse(kit.keys, "ready", 10, 25))) == ids[10:20]


def test_a_page_has_at_most_five_hundred_jobs(kit: Kit):
    kit.seed(ready={f"j{number:04}": number for number in range(600)})
    assert kit.run(browsing.browse(kit.keys, "ready", 0, 5000)).looked == 500


@pytest.mark.parametrize("place", ["state", "nowhere", "jobs"])
def test_another_place_is_refused(kit: Kit, place):
    kit.refused(browsing.browse(kit.keys, place, 0, 1), "TASKQ_ARGS")


@pytest.mark.parametrize("index", [1, 2, 4])
@pytest.mark.parametrize("value", ["-1", "nan", "", "1.5"])
def test_what_is_no_number_is_refused(kit: Kit, index, value):
    call = browsing.browse(kit.keys, "ready", 0, 1)
    arguments = list(call.arguments)
    arguments[index] = value
    kit.refused(dataclasses.replace(call, arguments=arguments), "TASKQ_ARGS")
