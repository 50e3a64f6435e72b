"""step.lua, its second half: due jobs are promoted, jobs are claimed, the token says whether there are more."""

from __future__ import annotations

import pytest
from broker_kit import NOW, NOW_MS, SECOND, Kit, claims_of, data, job

from taskq.broker import jobs, work
from taskq.broker.work import StepReply, StepRequest
from taskq.errors import Fenced
from taskq.model.discipline import Discipline

META = {"discipline": "fifo", "maxsize": "0"}
WORKERS = {"w": NOW + 10 * SECOND}


def step(kit: Kit, **request: object) -> StepReply:
    return kit.run(work.step(kit.keys, "w", StepRequest(**request)))


def seed(kit: Kit, *ready: str, discipline: str = "fifo", **more: object) -> None:
    kit.seed(meta={"discipline": discipline, "maxsize": "0"}, workers=WORKERS)
    if ready:
        kit.seed(jobs={name: data(name) for name in ready}, ready={name: n for n, name in enumerate(ready, 1)})
    kit.seed(**more)


def test_a_worker_without_a_lease_claims_nothing(kit: Kit):
    seed(kit, "a")
    kit.seed(delayed={"b": 1})
    kit.command("DEL", kit.keys.key("workers"))
    before = kit.snapshot()
    with pytest.raises(Fenced):
        step(kit, count=5)
    assert (kit.snapshot(), kit.sessions()) == (before, {})


def test_a_claimed_job_is_leased_and_gone_from_ready(kit: Kit):
    seed(kit, "a", "b", "c", state={"b": "7;1;0;1;2\nerr"})
    reply = step(kit, count=2)
    assert reply == StepReply(
        NOW, 0, 0, paused=False, ended=0, outbox=0, revoked=0, ready=1, apart=0, letters="",
        claims=[b"a", b"1;0;0;0;0", data("a").encode(), b"b", b"8;1;0;1;2\nerr", data("b").encode()],
    )  # fmt: skip
    assert kit.snapshot() == {
        "meta": META,
        "workers": WORKERS,
        "jobs": {name: data(name) for name in "abc"},
        "state": {"b": "7;1;0;1;2\nerr"},
        "ready": {"c": 3},
        "l:w": {"a": "1;1;0;0", "b": "8;2;0;0"},
        "wake": ["1"],
    }


@pytest.mark.parametrize(
    ("discipline", "ranks", "order"),
    [
        ("fifo", [None] * 5, "abcde"),
        ("lifo", [None] * 5, "edcba"),
        ("priority", [None] * 5, "abcde"),
        ("priority", [3, 1, 2, 1, 3], "bdcae"),
        ("priority", [0, -1, -1.5, -1, 0.25], "cbdae"),
        ("priority", [1e300, -1e300, 1e-300, -1e-300, 0.0], "bdeca"),
        ("priority", [2.0**53, 2.0**53 - 1, 0.1, 0.1 + 2**-56, 5], "cdeba"),
    ],
)
def test_jobs_leave_in_the_order_of_the_discipline(kit: Kit, discipline, ranks, order):
    kit.declare(Discipline(discipline))
    kit.worker()
    batch = [job(name, priority=rank) for name, rank in zip("abcde", ranks, strict=True)]
    kit.run(jobs.enqueue(kit.keys, batch[:3]))
    kit.run(jobs.enqueue(kit.keys, batch[3:]))
    assert "".join(kit.claim(1)[0][0] for _ in range(5)) == order


def test_a_long_queue_leaves_in_order_over_many_chunks(kit: Kit):
    kit.declare()
    kit.worker()
    names = [f"j{n:03}" for n in range(700)]
    kit.run(jobs.enqueue(kit.keys, [job(name) for name in names]))
    assert kit.claim(500) == [(name, "1") for name in names[:500]]
    assert kit.claim(500) == [(name, "1") for name in names[500:]]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5])
def test_at_most_count_jobs_are_claimed(kit: Kit, count):
    seed(kit, "a", "b", "c", "d")
    assert [unique for unique, _ in claims_of(step(kit, count=count))] == list("abcd")[:count]


@pytest.mark.parametrize(
    ("max_bytes", "claimed"), [(0, 0), (1, 1), (1000, 1), (1001, 2), (2000, 2), (2001, 3), (100_000, 10)]
)
def test_a_claim_ends_after_the_job_that_reaches_the_bytes(kit: Kit, max_bytes, claimed):
    kit.declare()
    kit.worker()
    size = 1000 - len(data(""))
    kit.run(jobs.enqueue(kit.keys, [job(f"j{n}", "x" * size) for n in range(10)]))
    assert len(claims_of(step(kit, count=10, max_bytes=max_bytes))) == claimed


def test_the_bytes_bound_a_claim_over_several_reads_of_bodies(kit: Kit):
    kit.declare()
    kit.worker()
    for n in range(40):
        kit.run(jobs.enqueue(kit.keys, [job(f"j{n:02}", "x" * 100_000)]))
    assert len(claims_of(step(kit, count=40, max_bytes=2_000_000))) == 20
    assert len(claims_of(step(kit, count=40))) == 20


# --- the token


@pytest.mark.parametrize("token", [[], ["1"]])
@pytest.mark.parametrize(
    ("count", "paused", "expected"),
    [(0, "0", ["1"]), (1, "0", ["1"]), (2, "0", None), (9, "0", None), (0, "1", None), (9, "1", None)],
)
def test_the_token_is_there_exactly_while_unpaused_ready_jobs_are(kit: Kit, token, count, paused, expected):
    seed(kit, "a", "b", suspect={"s": 1}, delayed={"d": NOW * 2})
    kit.seed(meta={"paused": paused}, **({"wake": token} if token else {}))
    reply = step(kit, count=count)
    assert kit.read("wake") == expected
    assert len(reply.claims) // 3 == (0 if paused == "1" else min(count, 2))


def test_the_token_of_a_changed_due_time_is_used_up_by_a_step(kit: Kit):
    seed(kit, delayed={"d": NOW + 5}, wake=["1"])
    assert step(kit, count=1).next_due == NOW + 5
    assert kit.read("wake") is None


# --- delayed


@pytest.mark.parametrize(
    ("discipline", "scores"),
    [
        ("fifo", {"a": NOW + 1, "b": NOW, "c": NOW + 2}),
        ("lifo", {"a": -NOW - 1, "b": -NOW, "c": -NOW - 2}),
        ("priority", {"a": 0, "b": -2.5, "c": 7}),
    ],
)
def test_due_jobs_become_ready_in_due_order(kit: Kit, discipline, scores):
    ranks = {"a": None, "b": -2.5, "c": 7.0, "d": None}
    seed(kit, discipline=discipline, jobs={name: data(priority=rank) for name, rank in ranks.items()})
    kit.seed(delayed={"a": NOW - 1, "b": NOW - 2, "c": NOW, "d": NOW + 1})
    assert step(kit).next_due == NOW + 1
    snapshot = kit.snapshot()
    assert snapshot["ready"] == scores
    assert snapshot["delayed"] == {"d": NOW + 1}
    assert snapshot["meta"]["seq"] == str(NOW + 2)
    assert snapshot["wake"] == ["1"]


def test_a_job_is_claimed_at_its_due_time_and_not_before(kit: Kit):
    kit.declare()
    kit.worker()
    kit.run(jobs.enqueue(kit.keys, [job("a", delay_ms=50)]))
    kit.set_clock(NOW + 49_999)
    assert kit.claim() == []
    kit.set_clock(NOW + 50_000)
    assert kit.claim() == [("a", "1")]


def test_the_backlog_of_due_jobs_is_promoted_in_portions_with_the_token_kept(kit: Kit):
    seed(kit, jobs={f"d{n:03}": data() for n in range(450)}, delayed={f"d{n:03}": n for n in range(450)})
    ready = []
    for _ in range(3):
        reply = step(kit, count=200)
        ready.append(len(reply.claims) // 3)
    assert ready == [200, 200, 50]
    assert kit.read("wake") is None


def test_a_paused_queue_promotes_and_hands_out_nothing(kit: Kit):
    seed(kit, jobs={"a": data()}, delayed={"a": NOW})
    kit.seed(meta={"paused": "1"})
    reply = step(kit, count=5)
    assert (reply.paused, reply.ready, reply.claims) == (True, 1, [])


def test_the_earliest_due_times_are_told(kit: Kit):
    seed(kit, delayed={"a": NOW + 7, "b": NOW + 8}, suspect={"c": NOW + 5, "d": NOW + 6})
    reply = step(kit, count=5, suspects=5)
    assert (reply.next_due, reply.suspect_due) == (NOW + 7, NOW + 5)


# --- expired and revoked


@pytest.mark.parametrize(
    ("expires_ms", "age_ms", "claimed"),
    [(100, 99, True), (100, 100, False), (100, 101, False), (0, 0, False), (None, 10**9, True)],
)
def test_a_job_may_start_until_it_expires(kit: Kit, expires_ms, age_ms, claimed):
    stored = data(at_ms=NOW_MS - age_ms, expires_ms=expires_ms)
    seed(kit, jobs={"a": stored, "b": data()}, ready={"a": 1, "b": 2})
    assert [unique for unique, _ in claims_of(step(kit, count=1))] == ["a" if claimed else "b"]
    assert kit.read("ended") == (None if claimed else {"a": "expired"})
    assert kit.read("jobs")["a"] == stored


@pytest.mark.parametrize("flags", ["i", "iz"])
def test_other_flags_do_not_let_a_job_expire(kit: Kit, flags):
    seed(kit, jobs={"a": data(flags=flags, at_ms=1)}, ready={"a": 1})
    assert claims_of(step(kit, count=1)) == [("a", "1")]


def test_an_expired_job_keeps_its_body_and_state_for_its_result(kit: Kit):
    stored = data(expires_ms=0)
    seed(kit, jobs={"a": stored}, state={"a": "3;1;0;0;0"}, ready={"a": 1})
    reply = step(kit, count=1)
    assert (reply.claims, reply.ended) == ([], 1)
    assert kit.snapshot() == {
        "meta": META, "workers": WORKERS, "jobs": {"a": stored}, "state": {"a": "3;1;0;0;0"}, "ended": {"a": "expired"},
    }  # fmt: skip


def test_a_run_looks_at_a_bounded_number_of_expired_jobs(kit: Kit):
    stored = data(expires_ms=0)
    names = [f"j{n:04}" for n in range(2500)]
    seed(kit, jobs=dict.fromkeys(names, stored), ready={name: n for n, name in enumerate(names)})
    ended = [step(kit, count=1).ended for _ in range(3)]
    assert ended[0] <= 1100
    assert ended[2] == 2500
    assert kit.read("wake") is None


def test_a_revoked_job_ends_at_its_claim(kit: Kit):
    seed(kit, "a", "b", revoked={"a": "r", "x": "t"})
    reply = step(kit, count=2)
    assert claims_of(reply) == [("b", "1")]
    assert (reply.ended, reply.revoked) == (1, 2)
    assert kit.read("ended") == {"a": "cancelled"}


# --- suspects


def test_suspects_are_claimed_by_their_own_count_and_come_first(kit: Kit):
    seed(kit, "a", "b", suspect={"s": NOW - 1, "t": NOW, "u": NOW + 1})
    kit.seed(jobs={name: data(name) for name in "stu"}, state={"s": "1;0;1;0;0"})
    reply = step(kit, count=1, suspects=5)
    assert claims_of(reply) == [("s", "2"), ("t", "1"), ("a", "1")]
    assert (reply.apart, reply.suspect_due) == (2, NOW + 1)
    assert kit.read("l:w") == {"s": f"2;{NOW - 1};0;1", "t": f"1;{NOW};0;1", "a": "1;1;0;0"}
    assert kit.read("suspect") == {"u": NOW + 1}


@pytest.mark.parametrize(("suspects", "claimed"), [(0, "a"), (1, "sa"), (2, "sta")])
def test_suspects_delay_no_other_job(kit: Kit, suspects, claimed):
    seed(kit, "a", suspect={"s": 1, "t": 2})
    kit.seed(jobs={name: data(name) for name in "st"})
    reply = step(kit, count=1, suspects=suspects)
    assert "".join(unique for unique, _ in claims_of(reply)) == claimed


def test_suspects_alone_leave_no_token(kit: Kit):
    seed(kit, suspect={"s": 1}, jobs={"s": data()}, wake=["1"])
    assert step(kit, count=5).claims == []
    assert kit.read("wake") is None


def test_a_suspect_may_expire_and_be_revoked_too(kit: Kit):
    seed(kit, suspect={"s": 1, "t": 2, "u": 3}, revoked={"t": "r"})
    kit.seed(jobs={"s": data(expires_ms=0), "t": data(), "u": data()})
    assert claims_of(step(kit, suspects=1)) == [("u", "1")]
    assert kit.read("ended") == {"s": "expired", "t": "cancelled"}


def test_the_bytes_of_suspects_count_for_the_whole_claim(kit: Kit):
    seed(kit, "a", suspect={"s": 1}, jobs={"s": data("x" * 1000)})
    assert claims_of(step(kit, count=1, suspects=1, max_bytes=1000)) == [("s", "1")]


def test_a_claim_of_any_number_fits_the_servers_stack(kit: Kit):
    apart, ready = [f"s{n:04}" for n in range(1300)], [f"r{n:04}" for n in range(1300)]
    seed(kit, jobs=dict.fromkeys(apart + ready, data()))
    kit.seed(suspect=dict.fromkeys(apart, 1), ready=dict.fromkeys(ready, 1))
    claimed = [unique for _ in range(2) for unique, _ in claims_of(step(kit, count=9999, suspects=9999))]
    assert sorted(claimed) == sorted(apart + ready)


# --- the same call again


def test_a_repeated_step_claims_nothing_more(kit: Kit):
    seed(kit, "a", "b", "c", "d", suspect={"s": 1}, state={"a": "4;1;0;0;0\nerr"})
    kit.seed(jobs={"s": data("s")})
    kit.replays(work.step(kit.keys, "w", StepRequest(count=2, suspects=1)))
    assert set(kit.read("l:w")) == {"s", "a", "b"}


def test_a_repeated_step_leaves_out_what_is_not_held_any_more(kit: Kit):
    seed(kit, "a", "b", suspect={"s": 1, "t": 2})
    kit.seed(jobs={"s": data("s"), "t": data("t")})
    call = work.step(kit.keys, "w", StepRequest(count=2, suspects=2))
    first, number = kit.run(call), kit.seq
    kit.run(work.release(kit.keys, "w", [("a", "1", 0), ("s", "1", 0)]))
    again = kit.run(call, seq=number)
    assert (claims_of(again), again.apart) == ([("t", "1"), ("b", "1")], 1)
    assert (again.now, again.ready) == (first.now, first.ready)


def test_a_step_that_claims_five_hundred_is_repeated_whole(kit: Kit):
    seed(kit, *[f"j{n:03}" for n in range(500)])
    call = work.step(kit.keys, "w", StepRequest(count=500))
    first = kit.run(call)
    assert kit.run(call, seq=kit.seq) == first


def test_without_its_session_a_repeated_step_claims_others(kit: Kit):
    seed(kit, "a", "b")
    call = work.step(kit.keys, "w", StepRequest(count=1))
    claimed = [claims_of(kit.run(call, session=name)) for name in ("one", "two")]
    assert claimed == [[("a", "1")], [("b", "1")]]


def test_two_workers_claim_no_job_twice(kit: Kit):
    seed(kit, *"abcdef")
    kit.worker("v")
    claimed = [kit.claim(2, worker=worker) for worker in "wvw"]
    assert sorted(unique for claim in claimed for unique, _ in claim) == list("abcdef")
    assert set(kit.read("l:v")) == {"c", "d"}
