"""reap.lua: the jobs of a worker whose lease is over come back; only those it had started are charged."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import NOW, SECOND, TIMES, Kit, data

from taskq.broker import work, workers

GUARD = {"tick": str(NOW), "grace": str(NOW)}
META = {"discipline": "fifo", "maxsize": "0"} | GUARD


def reap(kit: Kit, worker: str = "w") -> tuple[int, int]:
    return kit.run(workers.reap(kit.keys, worker, TIMES))


def seed(kit: Kit, leases: dict[str, str], *, state: dict[str, str] | None = None, deadline: int = NOW - 1) -> None:
    kit.seed(meta=META, workers={"w": deadline}, lease_w=leases, jobs=dict.fromkeys(leases, data()))
    if state:
        kit.seed(state=state)


def test_unstarted_jobs_go_back_to_their_place_uncounted(kit: Kit):
    seed(kit, {"a": "1;5;0;0", "b": "4;-7.25;0;0", "c": "2;1e+300;0;0"}, state={"b": "3;2;0;1;0\nerr"})
    kit.seed(ready={"z": 6})
    assert reap(kit) == (3, 0)
    assert kit.snapshot() == {
        "meta": META,
        "jobs": dict.fromkeys("abc", data()),
        "state": {"a": "1;0;0;0;0", "b": "4;2;0;1;0\nerr", "c": "2;0;0;0;0"},
        "ready": {"a": 5, "b": -7.25, "c": 1e300, "z": 6},
        "wake": ["1"],
    }


def test_a_suspect_that_had_not_started_waits_apart_again(kit: Kit):
    seed(kit, {"a": "3;5;0;1"}, state={"a": "2;0;2;0;0"})
    assert reap(kit) == (1, 0)
    assert kit.snapshot() == {
        "meta": META, "jobs": {"a": data()}, "state": {"a": "3;0;2;0;0"}, "suspect": {"a": NOW},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        (None, "1;0;0;1;0", {"ready": {"a": 5}, "wake": ["1"]}),
        ("0;3;0;0;2\nerr", "1;3;0;1;2\nerr", {"ready": {"a": 5}, "wake": ["1"]}),
        ("0;0;0;1;0", "1;0;0;2;0", {"suspect": {"a": NOW}}),
        ("0;0;0;2;0", "1;0;0;3;0", {"suspect": {"a": NOW + SECOND}}),
        ("0;0;0;3;0", "1;0;0;4;0", {"suspect": {"a": NOW + 2 * SECOND}}),
        ("0;0;0;7;0", "1;0;0;8;0", {"suspect": {"a": NOW + 32 * SECOND}}),
        ("0;0;0;8;0", "1;0;0;9;0", {"suspect": {"a": NOW + 60 * SECOND}}),
        ("0;0;0;9;0", "1;0;0;10;0", {"ended": {"a": "lost"}}),
        ("0;0;1;0;0", "1;0;1;1;0", {"suspect": {"a": NOW}}),
        ("0;0;4;0;0", "1;0;4;1;0", {"suspect": {"a": NOW + 4 * SECOND}}),
        ("garbage", "1;0;0;1;0", {"ready": {"a": 5}, "wake": ["1"]}),
    ],
)
def test_a_started_job_is_charged_a_loss(kit: Kit, before, after, place):
    seed(kit, {"a": "1;5;1;0"}, state={"a": before} if before else None)
    assert reap(kit) == (1, 0)
    assert kit.snapshot() == {
        "meta": META | {"losses": "1"}, "jobs": {"a": data()}, "state": {"a": after}, **place,
    }  # fmt: skip


@pytest.mark.parametrize("deadline", [NOW, NOW + 1, NOW + 9 * SECOND])
def test_a_worker_that_lives_keeps_its_jobs(kit: Kit, deadline):
    seed(kit, {"a": "1;5;0;0"}, deadline=deadline)
    before = kit.snapshot()
    assert reap(kit) == (0, -1)
    assert kit.snapshot() == before


def test_an_unknown_worker_is_left_alone(kit: Kit):
    seed(kit, {"a": "1;5;0;0"})
    before = kit.snapshot()
    assert reap(kit, "nobody") == (0, -1)
    assert kit.snapshot() == before


@pytest.mark.fault(34)
@pytest.mark.parametrize(
    ("tick", "grace"),
    [
        (NOW, NOW + 1),  # a grace that still runs
        (NOW - 3 * TIMES.beat_us - 1, 0),  # nobody beat for too long: an outage
        (NOW + SECOND + 1, 0),  # the clock was set back
    ],
)
def test_nobody_is_reaped_while_the_clock_is_not_trusted(kit: Kit, tick, grace):
    seed(kit, {"a": "1;5;0;0"})
    kit.seed(meta={"tick": str(tick), "grace": str(grace)})
    assert reap(kit) == (0, -1)
    assert kit.read("l:w") == {"a": "1;5;0;0"}
    assert kit.read("workers") == {"w": NOW - 1}


def test_a_first_reap_on_a_server_without_history_begins_a_grace(kit: Kit):
    seed(kit, {"a": "1;5;0;0"})
    kit.command("HDEL", kit.keys.key("meta"), "tick", "grace")
    answers = [reap(kit)]
    for _ in range(6):
        kit.advance(TIMES.beat)
        answers.append(reap(kit))
    assert answers == [(0, -1)] * 6 + [(1, 0)]


def test_a_call_moves_at_most_a_hundred_and_a_second_the_rest(kit: Kit):
    leases = {f"j{n:03}": f"1;{n};{n % 2};0" for n in range(250)}
    seed(kit, leases)
    assert [reap(kit), reap(kit), reap(kit)] == [(100, 150), (100, 50), (50, 0)]
    assert kit.read("ready") == {f"j{n:03}": n for n in range(250)}
    assert kit.read("workers") is None


def test_a_large_lease_is_emptied_to_the_last_job(kit: Kit):
    leases = {f"j{n:05}": f"1;{n};0;0" for n in range(3000)}
    seed(kit, leases)
    for _ in range(30):
        moved, left = reap(kit)
        assert moved == 100
    assert left == 0
    assert len(kit.read("ready")) == 3000


def test_a_paused_queue_gets_its_jobs_back_and_no_token(kit: Kit):
    seed(kit, {"a": "1;5;0;0"})
    kit.seed(meta={"paused": "1"})
    reap(kit)
    assert kit.read("ready") == {"a": 5}
    assert kit.read("wake") is None


@pytest.mark.fault(39)
def test_two_reapers_share_the_work_without_a_second_charge(kit: Kit):
    seed(kit, {"a": "1;5;1;0"})
    assert reap(kit) == (1, 0)
    before = kit.snapshot()
    assert kit.run(workers.reap(kit.keys, "w", TIMES), session="another") == (0, -1)
    assert kit.snapshot() == before


def test_a_reaped_worker_is_fenced(kit: Kit):
    seed(kit, {"a": "1;5;1;0"})
    reap(kit)
    with pytest.raises(Exception, match="lease is gone"):
        kit.run(work.step(kit.keys, "w", work.StepRequest(plain=["a", "1"])))
    assert kit.read("jobs") == {"a": data()}


@pytest.mark.parametrize("started", "01")
def test_a_lease_without_a_job_is_dropped(kit: Kit, started):
    kit.seed(meta=META, workers={"w": 0}, lease_w={"a": f"1;5;{started};0"}, state={"a": "1;0;0;0;0"})
    assert reap(kit) == (1, 0)
    assert kit.snapshot() == {"meta": META}


@pytest.mark.parametrize("lease", ["garbage", "", "1;5;0", "1;inf;1;0", "1;nan;0;0", "1;here;1;0", "x;5;1;0"])
def test_a_damaged_lease_goes_to_quarantine_with_its_job(kit: Kit, lease):
    seed(kit, {"a": lease, "b": "1;5;0;0"})
    assert reap(kit) == (2, 0)
    snapshot = kit.snapshot()
    assert snapshot["quarantine"] == {"a": NOW}
    assert snapshot["jobs"] == {"a": data(), "b": data()}
    assert snapshot["ready"] == {"b": 5}
    assert snapshot["meta"] == META | {"quarantined": "1"}
    assert "workers" not in snapshot


@pytest.mark.parametrize("index", [1, 2])
def test_times_that_are_no_numbers_are_refused(kit: Kit, index):
    seed(kit, {"a": "1;5;0;0"})
    call = workers.reap(kit.keys, "w", TIMES)
    arguments = list(call.arguments)
    arguments[index] = "nan"
    kit.refused(dataclasses.replace(call, arguments=arguments), "TASKQ_ARGS")
