"""survey.lua: each id is judged by all of its places at one moment."""

from __future__ import annotations

import pytest
from broker_kit import NOW, Kit, data

from taskq.broker import checking
from taskq.broker.findings import Fault

IN_ORDER = {
    "jobs": dict.fromkeys(["r", "d", "s", "x", "l", "e", "q", "back"], data()),
    "state": {"s": "3;0;2;0;0", "x": "1;1;0;0;0\nerr", "l": "1;0;0;0;0"},
    "ready": {"r": 1, "back": 2},
    "delayed": {"d": NOW},
    "suspect": {"s": NOW},
    "dead": {"x": NOW},
    "ended": {"e": "expired"},
    "quarantine": {"q": NOW, "back": NOW, "gone": NOW},
    "lease_w": {"l": "2;5;0;0"},
    "workers": {"w": NOW},
    "revoked": {"l": "r"},
}


def faults(kit: Kit, source: str = "jobs", workers: tuple[str, ...] = ("w",)) -> dict[str, tuple[str, ...]]:
    """Every id with what is wrong and where it is."""
    found, cursor = {}, None
    while cursor != "0":
        page = kit.run(checking.survey(kit.keys, source, cursor or "0", 100, workers))
        assert page is not None
        found |= {fault.unique.decode(): (fault.word, *fault.places) for fault in page.faults}
        cursor = page.cursor
    return found


@pytest.mark.parametrize("source", [*checking.SOURCES, "l:w"])
def test_nothing_is_found_where_all_is_in_order(kit: Kit, source):
    kit.seed(**IN_ORDER)
    before = kit.snapshot()
    assert faults(kit, source) == {}
    assert kit.snapshot() == before


@pytest.mark.parametrize(
    ("state", "place", "found"),
    [
        ({}, {}, ("lost",)),
        ({}, {"ready": {"a": 1}, "delayed": {"a": NOW}}, ("double", "ready", "delayed")),
        ({}, {"ready": {"a": 1}, "lease_w": {"a": "1;1;0;0"}}, ("double", "ready", "leased")),
        ({}, {"dead": {"a": 1}, "ended": {"a": "expired"}}, ("double", "dead", "ended")),
        ({}, {"lease_v": {"a": "1;1;0;0"}, "lease_w": {"a": "2;1;0;0"}}, ("double", "leased", "leased")),
        ({}, {"ready": {"a": float("inf")}}, ("score", "ready")),
        ({}, {"suspect": {"a": float("-inf")}}, ("score", "suspect")),
        ({"a": "none"}, {"ready": {"a": 1}}, ("history", "ready")),
        ({"a": "1;0;6;0;0"}, {"suspect": {"a": 1}}, ("bounds", "suspect")),
        ({"a": "1;0;0;11;0"}, {"suspect": {"a": 1}}, ("bounds", "suspect")),
        ({"a": "1;0;0;0;22"}, {"delayed": {"a": 1}}, ("bounds", "delayed")),
        ({"a": "1;0;1;0;0"}, {"ready": {"a": 1}}, ("apart", "ready")),
        ({"a": "1;0;0;2;0"}, {"ready": {"a": 1}}, ("apart", "ready")),
        ({}, {"lease_w": {"a": "mine"}}, ("lease", "leased")),
        ({"a": "2;0;0;0;0"}, {"lease_w": {"a": "2;1;0;0"}}, ("delivery", "leased")),
    ],
)
def test_a_job_is_told_with_its_fault_and_its_places(kit: Kit, state, place, found):
    kit.seed(jobs={"a": data(), "z": data()}, ended={"z": "expired"})
    kit.seed(**{name: content for name, content in {"state": state, **place}.items() if content and name != "ended"})
    kit.seed(**{name: content for name, content in place.items() if name == "ended"})
    assert faults(kit, workers=("v", "w")) == {"a": found}


def test_a_lease_of_more_jobs_than_are_looked_at_is_searched(kit: Kit):
    kit.seed(jobs={"a": data()}, ready={"a": 1}, lease_w={"a": "1;1;0;0", "b": "2;1;0;0", "c": "3;1;0;0"})
    assert faults(kit) == {"a": ("double", "ready", "leased")}


@pytest.mark.parametrize(("unique", "stored"), [("a", ""), ("a", "x;1;;;;\nb"), ("a", data()[:-2]), ("a b", data())])
def test_a_damaged_id_or_header_is_told(kit: Kit, unique, stored):
    kit.seed(jobs={unique: stored}, ready={unique: 1})
    assert faults(kit) == {unique: ("envelope", "ready")}


@pytest.mark.parametrize("source", ["ready", "delayed", "suspect", "dead", "l:w"])
def test_an_id_without_a_job_is_told_where_it_is(kit: Kit, source):
    kit.seed(**{source.replace("l:", "lease_"): {"a": "1;1;0;0" if source == "l:w" else 1}})
    assert faults(kit, source) == {"a": ("body", "leased" if source == "l:w" else source)}


def test_a_history_without_a_job_is_told(kit: Kit):
    kit.seed(state={"a": "1;0;0;0;0", "q": "1;0;0;0;0"}, quarantine={"q": NOW})
    assert faults(kit, "state") == {"a": ("state",)}


def test_a_revoked_mark_without_a_job_is_told(kit: Kit):
    kit.seed(revoked={"a": "r", "q": "t", "x": "r"}, quarantine={"q": NOW}, dead={"x": NOW})
    assert faults(kit, "revoked") == {"a": ("revoked",)}


def test_a_job_of_a_worker_that_came_meanwhile_is_not_taken_for_lost(kit: Kit):
    kit.seed(jobs={"a": data()}, lease_new={"a": "1;1;0;0"}, workers={"new": NOW})
    assert kit.run(checking.survey(kit.keys, "jobs", "0", 10, ["w"])) is None
    assert faults(kit, workers=("new", "w")) == {}


def test_a_job_of_a_newer_taskq_is_in_order(kit: Kit):
    kit.seed(jobs={"a": data().replace(";1;", ";2;", 1)}, ready={"a": 1})
    assert faults(kit) == {}


def test_pages_bring_every_id_of_a_large_queue(kit: Kit):
    lost = [f"j{number}" for number in range(1500)]
    for start in range(0, 1500, 500):
        kit.seed(jobs=dict.fromkeys(lost[start : start + 500], data()))
    assert faults(kit).keys() == set(lost)


def test_a_page_is_bounded(kit: Kit):
    for start in range(0, 2000, 500):
        kit.seed(jobs={f"j{number}": data("x" * 100) for number in range(start, start + 500)})
    page = kit.run(checking.survey(kit.keys, "jobs", "0", 10, []))
    assert page is not None
    assert 10 <= page.looked < 100
    assert page.size > 100 * page.looked


@pytest.mark.parametrize(("source", "count"), [("bogus", 10), ("l:v", 10), ("jobs", 0)])
def test_what_does_not_fit_is_refused(kit: Kit, source, count):
    kit.refused(checking.survey(kit.keys, source, "0", count, ["w"]), "TASKQ_ARGS")


def test_what_is_found_is_a_value(kit: Kit):
    kit.seed(jobs={"a": data()})
    page = kit.run(checking.survey(kit.keys, "jobs", "0", 10, []))
    assert page == checking.Page("0", 1, 1 + len(data()), [Fault(b"a", "lost", ())])
