"""ended.lua: jobs that ended inside a script and wait for their result."""

from __future__ import annotations

import pytest
from broker_kit import NOW, Kit, data

from taskq.broker import work
from taskq.broker.work import EndedJob

ENDED = {"a": "expired", "b": "crashed", "c": "purged"}


def seed(kit: Kit) -> dict:
    kit.seed(jobs={"a": data("1"), "b": data("2")}, state={"b": "5;0;5;0;0"}, ended=ENDED)
    return kit.snapshot()


def test_all_are_read_with_state_and_data(kit: Kit):
    before = seed(kit)
    now, found = kit.run(work.ended(kit.keys))
    assert now == NOW
    assert sorted(found, key=lambda job: job.unique) == [
        EndedJob("a", "expired", b"", data("1").encode()),
        EndedJob("b", "crashed", b"5;0;5;0;0", data("2").encode()),
        EndedJob("c", "purged", b"", b""),
    ]
    assert kit.snapshot() == before


@pytest.mark.parametrize(
    ("only", "found"), [("b", [EndedJob("b", "crashed", b"5;0;5;0;0", data("2").encode())]), ("x", [])]
)
def test_one_alone_is_read(kit: Kit, only, found):
    seed(kit)
    assert kit.run(work.ended(kit.keys, only)) == (NOW, found)


def test_at_most_fifty_are_read(kit: Kit):
    kit.seed(ended={f"j{n}": "purged" for n in range(80)})
    assert len(kit.run(work.ended(kit.keys))[1]) == 50


def test_a_large_backlog_is_read_to_its_end(kit: Kit):
    names = {f"j{n}" for n in range(5000)}
    kit.seed(ended=dict.fromkeys(names, "purged"))
    seen = set()
    for _ in range(150):
        _, found = kit.run(work.ended(kit.keys))
        if not found:
            break
        kit.command("HDEL", kit.keys.key("ended"), *[job.unique for job in found])
        seen |= {job.unique for job in found}
    assert seen == names


def test_a_key_of_a_wrong_type_is_refused(kit: Kit):
    kit.seed(ended="text")
    kit.refused(work.ended(kit.keys), "WRONGTYPE")


def test_of_large_jobs_fewer_are_read(kit: Kit):
    kit.seed(jobs=dict.fromkeys("abcdef", data("x" * 400_000)), ended=dict.fromkeys("abcdef", "purged"))
    _, found = kit.run(work.ended(kit.keys))
    assert len(found) == 3


@pytest.mark.parametrize("number", [3, 1000])
def test_a_walk_through_all_comes_to_its_end(kit: Kit, number: int):
    names = {f"j{n}" for n in range(number)}
    kit.seed(jobs=dict.fromkeys(names, data("1")), ended=dict.fromkeys(names, "expired"))
    before, seen, cursor = kit.snapshot(), [], "0"
    for _ in range(number):
        now, cursor, found, large = kit.run(work.ended_after(kit.keys, cursor))
        assert (now, large) == (NOW, [])
        seen += found
        if cursor == "0":
            break
    assert {job.unique for job in seen} == names
    assert EndedJob("j1", "expired", b"", data("1").encode()) in seen
    assert kit.snapshot() == before


def test_a_walk_names_what_is_too_large_to_come_along(kit: Kit):
    kit.seed(jobs=dict.fromkeys("abcdef", data("x" * 400_000)), ended=dict.fromkeys("abcdef", "purged"))
    _, cursor, found, large = kit.run(work.ended_after(kit.keys, "0"))
    assert (cursor, len(found), len(large)) == ("0", 3, 3)
    assert {*large, *(job.unique for job in found)} == set("abcdef")
    assert all(len(job.data) > 400_000 for job in found)


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5"])
def test_a_place_that_is_no_number_is_refused(kit: Kit, cursor: str):
    kit.refused(work.ended_after(kit.keys, cursor), "TASKQ_ARGS")
