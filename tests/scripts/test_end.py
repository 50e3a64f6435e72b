"""end.lua: the second half of a job's end: result, publish, follow-ups; then nothing but the result is left."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import NOW, SECOND, Kit, data

from taskq.broker import jobs, keys, work
from taskq.broker.work import Finish

REASONS = ["crashed", "lost", "cancelled", "expired", "purged", "unknown"]
META = {"discipline": "fifo"}
MAX_DEAD = 10_000
DEAD_DAYS = 30


def finish(unique: str = "a", reason: str = "expired", **more: object) -> Finish:
    return Finish(
        **{"unique": unique, "reason": reason, "record": b"record", "ttl_ms": 5000, "reply": "", "dead": False} | more
    )


def seed(kit: Kit, reason: str = "expired", state: str = "5;1;5;0;0\nold") -> None:
    kit.seed(meta=META, jobs={"a": data()}, state={"a": state}, ended={"a": reason}, revoked={"a": "r", "z": "t"})


@pytest.mark.parametrize("reason", REASONS)
def test_a_job_that_is_not_kept_leaves_its_result_only(kit: Kit, reason):
    seed(kit, reason)
    assert kit.run(work.end(kit.keys, [finish(reason=reason)])) == "A"
    assert kit.snapshot() == {"meta": META | {reason: "1"}, "r:a": "record", "revoked": {"z": "t"}}
    assert 4000 < kit.ttl("r:a") <= 5000


@pytest.mark.parametrize(("errors", "state"), [(b"new", "5;1;5;0;0\nnew"), (b"", "5;1;5;0;0\nold")])
def test_a_dead_job_is_kept_with_its_errors(kit: Kit, errors, state):
    seed(kit, "crashed")
    assert kit.run(work.end(kit.keys, [finish(reason="crashed", dead=True, errors=errors)])) == "A"
    assert kit.snapshot() == {
        "meta": META | {"crashed": "1"},
        "r:a": "record",
        "revoked": {"z": "t"},
        "jobs": {"a": data()},
        "state": {"a": state},
        "dead": {"a": NOW},
    }


@pytest.mark.parametrize("options", [{"record": b""}, {"ttl_ms": 0}])
def test_no_result_is_stored_where_none_is_kept(kit: Kit, options):
    seed(kit)
    assert kit.run(work.end(kit.keys, [finish(**options)])) == "A"
    assert kit.snapshot() == {"meta": META | {"expired": "1"}, "revoked": {"z": "t"}}


def test_follow_ups_of_finished_jobs_go_to_the_outbox(kit: Kit):
    seed(kit)
    kit.seed(ended={"b": "expired"})
    items = [
        finish("x", follow_ups=[("q/never", b"0\nn")]),
        finish("a", follow_ups=[("q/one", b"0\n1"), ("q/two", b"5\n2")]),
        finish("b", follow_ups=[("q/three", b"0\n3")]),
    ]
    assert kit.run(work.end(kit.keys, items)) == "SAA"
    assert kit.read("outbox") == {"q/one": "0\n1", "q/two": "5\n2", "q/three": "0\n3"}


@pytest.mark.parametrize("ended", [None, {"a": "crashed"}])
def test_a_job_that_did_not_end_for_this_reason_stays(kit: Kit, ended):
    kit.seed(meta=META, jobs={"a": data()}, ready={"a": 5}, **({"ended": ended} if ended else {}))
    before = kit.snapshot()
    assert kit.run(work.end(kit.keys, [finish(follow_ups=[("q/x", b"")])])) == "S"
    assert kit.snapshot() == before


@pytest.mark.parametrize("dead", [True, False])
def test_a_repeated_call_changes_nothing(kit: Kit, dead):
    seed(kit)
    call = work.end(kit.keys, [finish(dead=dead, follow_ups=[("q/x", b"0\nx")])])
    kit.run(call)
    before = kit.snapshot()
    assert kit.run(call) == "S"
    assert kit.snapshot() == before


def test_one_job_twice_in_a_call_is_finished_once(kit: Kit):
    seed(kit)
    assert kit.run(work.end(kit.keys, [finish(), finish()])) == "AS"
    assert kit.counters() == {"expired": 1}


def test_the_producers_process_is_told_once(kit: Kit, listen):
    channel = keys.channels(kit.keys.namespace) + "token"
    with listen(kit, channel) as messages:
        seed(kit)
        kit.seed(ended={"b": "purged", "c": "purged"})
        items = [
            finish(reply="token"),
            finish("b", "purged", reply="token", record=b"r" * 20_000),
            finish("c", "purged"),
        ]
        kit.run(work.end(kit.keys, items))
        assert messages(1) == [b"q\na 6\nrecordb 0\n"]


def test_a_job_without_a_body_is_not_kept(kit: Kit):
    kit.seed(meta=META, ended={"a": "crashed"}, state={"a": "1;0;0;0;0"})
    assert kit.run(work.end(kit.keys, [finish(reason="crashed", dead=True)])) == "A"
    assert kit.snapshot() == {"meta": META | {"crashed": "1"}, "r:a": "record"}


@pytest.mark.parametrize("reason", ["discipline", "by hand", ""])
def test_a_reason_by_hand_ends_too_and_counts_as_nothing(kit: Kit, reason):
    seed(kit, reason)
    assert kit.run(work.end(kit.keys, [finish(reason=reason)])) == "A"
    assert kit.snapshot() == {"meta": META, "r:a": "record", "revoked": {"z": "t"}}


def test_the_dead_set_is_capped(kit: Kit):
    seed(kit)
    names = {f"d{n:05}": NOW - MAX_DEAD + n for n in range(MAX_DEAD)}
    kit.seed(dead=names)
    kit.seed(jobs={"d00000": data(), "d00001": data()}, state={"d00000": "1;0;0;0;0"})
    kit.run(work.end(kit.keys, [finish(dead=True)]))
    dead = kit.read("dead")
    assert len(dead) == MAX_DEAD
    assert "d00000" not in dead
    assert "a" in dead
    assert set(kit.read("jobs")) == {"a", "d00001"}
    assert set(kit.read("state")) == {"a"}


def test_a_dead_set_that_is_just_full_is_kept(kit: Kit):
    seed(kit)
    kit.seed(dead={f"d{n:05}": NOW - MAX_DEAD + n for n in range(MAX_DEAD - 1)})
    kit.run(work.end(kit.keys, [finish(dead=True)]))
    assert len(kit.read("dead")) == MAX_DEAD


def test_dead_jobs_are_dropped_after_thirty_days(kit: Kit):
    seed(kit)
    old = NOW - DEAD_DAYS * 86_400 * SECOND
    kit.seed(dead={"old": old - 1, "edge": old, "young": old + 1}, jobs=dict.fromkeys(["old", "edge", "young"], data()))
    kit.run(work.end(kit.keys, [finish(dead=True)]))
    assert set(kit.read("dead")) == {"a", "young"}
    assert set(kit.read("jobs")) == {"a", "young"}


def test_a_requeued_job_that_dies_again_is_finished_again(kit: Kit):
    seed(kit, "crashed")
    call = work.end(kit.keys, [finish(reason="crashed", dead=True)])
    kit.run(call)
    kit.run(jobs.requeue(kit.keys, ["a"]))
    assert kit.run(call) == "S"
    kit.seed(ended={"a": "crashed"})
    assert kit.run(call) == "A"


@pytest.mark.parametrize("change", ["keys", "values", "count", "ttl"])
def test_arguments_that_do_not_fit_are_refused(kit: Kit, change):
    seed(kit)
    call = work.end(kit.keys, [finish(follow_ups=[("q/x", b"0\nx")])])
    arguments = list(call.arguments)
    if change == "keys":
        call = dataclasses.replace(call, keys=call.keys[:-1])
    elif change == "values":
        call = dataclasses.replace(call, arguments=arguments[:-1])
    elif change == "count":
        call = dataclasses.replace(call, arguments=[*arguments[:2], "x", *arguments[3:]])
    else:
        call = work.end(kit.keys, [finish(ttl_ms=-1)])
    kit.refused(call, "TASKQ_ARGS")


def test_fifty_jobs_with_many_follow_ups_fit_one_call(kit: Kit):
    kit.seed(ended={f"j{n}": "purged" for n in range(50)})
    items = [finish(f"j{n}", "purged", follow_ups=[(f"q/{n}-{k}", b"0\nx") for k in range(100)]) for n in range(50)]
    assert kit.run(work.end(kit.keys, items)) == "A" * 50
    assert len(kit.read("outbox")) == 5000
