"""mend.lua: one job is put right if it still is wrong and nothing has to be guessed."""

from __future__ import annotations

import pytest
from broker_kit import NOW, NOW_MS, Kit, data

from taskq.broker import checking
from taskq.broker.findings import Fault
from taskq.model.discipline import Discipline

DAMAGED = "x;1;;;;\nb"


def mend(kit: Kit, word: str, unique: str = "a", workers: tuple[str, ...] = ()) -> bool | None:
    return kit.run(checking.mend_job(kit.keys, Fault(unique.encode(), word, ()), workers))


@pytest.mark.parametrize(
    ("discipline", "header", "score"),
    [
        (Discipline.FIFO, {}, NOW_MS * 1000),
        (Discipline.LIFO, {}, -NOW_MS * 1000),
        (Discipline.PRIORITY, {"priority": 2.5}, 2.5),
    ],
)
def test_a_lost_job_goes_back_in_line_by_the_time_of_its_acceptance(kit: Kit, discipline, header, score):
    kit.declare(discipline)
    kit.seed(jobs={"a": data(**header)})
    assert mend(kit, "lost")
    assert kit.read("ready") == {"a": score}
    assert kit.read("wake") == ["1"]


def test_a_lost_suspect_goes_where_suspects_wait(kit: Kit):
    kit.declare()
    kit.seed(jobs={"a": data()}, state={"a": "1;0;1;0;0"})
    assert mend(kit, "lost")
    assert kit.read("suspect") == {"a": NOW}
    assert kit.read("ready") is None


@pytest.mark.parametrize(
    ("jobs", "state"), [({"a": DAMAGED}, None), ({"a": data()}, {"a": "none"})], ids=["header", "history"]
)
def test_a_lost_job_that_is_damaged_goes_to_quarantine(kit: Kit, jobs, state):
    kit.declare()
    kit.seed(jobs=jobs, **{"state": state} if state else {})
    assert mend(kit, "lost")
    assert kit.read("quarantine") == {"a": NOW}
    assert kit.read("ready") is None


@pytest.mark.parametrize("other", [{"lease_w": {"a": "1;1;0;0"}}, {"ended": {"a": "expired"}}])
def test_a_job_with_a_worker_or_an_end_is_taken_out_of_the_line(kit: Kit, other):
    kit.seed(jobs={"a": data()}, ready={"a": 1, "b": 2}, suspect={"a": NOW}, delayed={"a": NOW}, **other)
    assert mend(kit, "double", workers=("w",))
    left = kit.snapshot()
    assert left.pop("ready") == {"b": 2}
    assert left.pop("jobs") == {"a": data()}
    assert left == {name.replace("lease_", "l:"): content for name, content in other.items()}


@pytest.mark.parametrize(
    "places",
    [
        {"ready": {"a": 1}, "delayed": {"a": NOW}},
        {"ready": {"a": 1}, "dead": {"a": NOW}},
        {"lease_v": {"a": "1;1;0;0"}, "lease_w": {"a": "2;1;0;0"}},
        {"lease_w": {"a": "1;1;0;0"}, "ended": {"a": "expired"}},
        {"lease_w": {"a": "1;1;0;0"}, "dead": {"a": NOW}},
    ],
)
def test_of_two_places_none_is_guessed(kit: Kit, places):
    kit.seed(jobs={"a": data()}, **places)
    before = kit.snapshot()
    assert not mend(kit, "double", workers=("v", "w"))
    assert kit.snapshot() == before


@pytest.mark.parametrize("place", ["ready", "delayed", "suspect", "dead"])
@pytest.mark.parametrize(
    ("word", "jobs", "state"),
    [
        ("envelope", {"a": DAMAGED}, None),
        ("history", {"a": data()}, {"a": "none"}),
        ("bounds", {"a": data()}, {"a": "1;0;6;0;0"}),
    ],
)
def test_a_damaged_job_goes_to_quarantine_with_what_there_is_of_it(kit: Kit, place, word, jobs, state):
    kit.declare()
    kit.seed(jobs=jobs, **{place: {"a": 1}}, **{"state": state} if state else {})
    assert mend(kit, word)
    left = kit.snapshot()
    assert (left.pop("quarantine"), left.pop("jobs"), left.pop("state", None)) == ({"a": NOW}, jobs, state)
    assert left == {"meta": {"discipline": "fifo", "maxsize": "0", "quarantined": "1"}}


@pytest.mark.parametrize("word", ["envelope", "history", "bounds", "lease", "delivery", "body"])
def test_what_a_worker_has_stays(kit: Kit, word):
    jobs = {} if word == "body" else {"a": DAMAGED if word == "envelope" else data()}
    state = {"history": "none", "bounds": "1;0;6;0;0", "delivery": "2;0;0;0;0"}.get(word)
    kit.seed(lease_w={"a": "mine" if word == "lease" else "2;1;0;0"}, workers={"w": NOW})
    kit.seed(**{"jobs": jobs} if jobs else {}, **{"state": {"a": state}} if state else {})
    before = kit.snapshot()
    assert not mend(kit, word, workers=("w",))
    assert kit.snapshot() == before


def test_an_endless_score_goes_to_quarantine(kit: Kit):
    kit.seed(jobs={"a": data()}, delayed={"a": float("inf")})
    assert mend(kit, "score")
    assert (kit.read("delayed"), kit.read("quarantine")) == (None, {"a": NOW})


@pytest.mark.parametrize("place", ["ready", "delayed", "suspect"])
def test_an_id_without_a_job_goes_to_quarantine(kit: Kit, place):
    kit.seed(**{place: {"a": 1}})
    assert mend(kit, "body")
    assert kit.snapshot() == {"quarantine": {"a": NOW}, "meta": {"quarantined": "1"}}


def test_a_dead_id_without_a_job_is_forgotten(kit: Kit):
    kit.seed(dead={"a": 1})
    assert mend(kit, "body")
    assert kit.snapshot() == {}


def test_a_suspect_among_others_goes_apart(kit: Kit):
    kit.seed(jobs={"a": data()}, state={"a": "1;0;1;0;0"}, ready={"a": 1, "b": 2})
    assert mend(kit, "apart")
    assert (kit.read("ready"), kit.read("suspect")) == ({"b": 2}, {"a": NOW})


@pytest.mark.parametrize("word", ["state", "revoked"])
def test_what_is_left_of_no_job_is_removed(kit: Kit, word):
    kit.seed(**{word: {"a": "1;0;0;0;0", "b": "r"}})
    assert mend(kit, word)
    assert kit.snapshot() == {word: {"b": "r"}}


@pytest.mark.parametrize(
    "word", ["lost", "double", "body", "state", "revoked", "envelope", "score", "history", "bounds", "apart"]
)
def test_what_is_right_meanwhile_stays(kit: Kit, word):
    kit.seed(jobs={"a": data()}, state={"a": "1;0;0;0;0"}, ready={"a": 1}, revoked={"a": "r"})
    before = kit.snapshot()
    assert not mend(kit, word)
    assert kit.snapshot() == before


def test_nothing_is_done_where_a_worker_came_meanwhile(kit: Kit):
    kit.seed(jobs={"a": data()}, lease_new={"a": "1;1;0;0"}, workers={"new": NOW})
    before = kit.snapshot()
    assert not mend(kit, "lost", workers=("w",))
    assert kit.snapshot() == before
