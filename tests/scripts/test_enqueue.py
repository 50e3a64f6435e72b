"""enqueue.lua: each id is accepted at most once, as ready or delayed, up to the queue's bound."""

from __future__ import annotations

import pytest
from broker_kit import NOW, NOW_MS, SECOND, Kit, data, job

from taskq.broker import jobs
from taskq.model.discipline import Discipline
from taskq.model.job import Job

DAY_MS = 86_400_000


def meta(discipline: str = "fifo", maxsize: int = 0, **more: object) -> dict:
    return {"discipline": discipline, "maxsize": str(maxsize)} | {name: str(value) for name, value in more.items()}


def test_an_undeclared_queue_takes_nothing(kit: Kit):
    assert kit.run(jobs.enqueue(kit.keys, [job("a")])) == "U"
    assert (kit.snapshot(), kit.sessions()) == ({}, {})


@pytest.mark.parametrize(
    ("discipline", "scores"),
    [
        ("fifo", {"a": NOW, "b": NOW + 1, "c": NOW + 2}),
        ("lifo", {"a": -NOW, "b": -NOW - 1, "c": -NOW - 2}),
        ("priority", {"a": 0, "b": 0, "c": 0}),
    ],
)
def test_a_batch_becomes_ready_in_order(kit: Kit, discipline, scores):
    kit.declare(Discipline(discipline))
    assert kit.run(jobs.enqueue(kit.keys, [job("a", "1"), job("b", "2"), job("c", "3")])) == "AAA"
    assert kit.snapshot() == {
        "meta": meta(discipline, seq=NOW + 2, enqueued=3),
        "jobs": {"a": data("1"), "b": data("2"), "c": data("3")},
        "ready": scores,
        "wake": ["1"],
    }


@pytest.mark.parametrize("priority", [0.0, -0.5, 1.5, -3.0, 1e300, 5e-324, float(2**53), None])
def test_the_priority_is_the_score_to_the_last_bit(kit: Kit, priority):
    kit.declare(Discipline.PRIORITY)
    kit.run(jobs.enqueue(kit.keys, [job("a", priority=priority)]))
    assert kit.read("ready") == {"a": priority or 0.0}


def test_the_sequence_goes_on_where_the_clock_stands_still_or_runs_back(kit: Kit):
    kit.declare()
    kit.run(jobs.enqueue(kit.keys, [job("a"), job("b")]))
    kit.run(jobs.enqueue(kit.keys, [job("c")]))
    kit.advance(-3600)
    kit.run(jobs.enqueue(kit.keys, [job("d")]))
    kit.advance(7200)
    kit.run(jobs.enqueue(kit.keys, [job("e")]))
    assert kit.read("ready") == {"a": NOW, "b": NOW + 1, "c": NOW + 2, "d": NOW + 3, "e": NOW + 3600 * SECOND}


def test_a_clock_of_1970_still_gives_a_readable_job(kit: Kit):
    kit.declare()
    kit.set_clock(5 * SECOND)
    kit.run(jobs.enqueue(kit.keys, [job("a")]))
    assert kit.read("jobs") == {"a": data(at_ms=5000)}
    kit.worker()
    assert kit.claim() == [("a", "1")]


def test_delayed_jobs_wait_by_the_servers_clock(kit: Kit):
    kit.declare()
    assert kit.run(jobs.enqueue(kit.keys, [job("a", delay_ms=1), job("b", delay_ms=DAY_MS * 3650)])) == "AA"
    assert kit.snapshot() == {
        "meta": meta(enqueued=2),
        "jobs": {"a": data(), "b": data()},
        "delayed": {"a": NOW + 1000, "b": NOW + DAY_MS * 3650 * 1000},
        "wake": ["1"],
    }


@pytest.mark.parametrize(("delay_ms", "token"), [(500, ["1"]), (1000, None), (2000, None)])
def test_a_delayed_job_wakes_a_worker_if_it_is_the_earliest(kit: Kit, delay_ms, token):
    kit.declare()
    kit.seed(delayed={"other": NOW + SECOND})
    kit.run(jobs.enqueue(kit.keys, [job("a", delay_ms=delay_ms)]))
    assert kit.read("wake") == token


def test_a_paused_queue_takes_jobs_but_wakes_nobody(kit: Kit):
    kit.declare()
    kit.seed(meta={"paused": "1"})
    assert kit.run(jobs.enqueue(kit.keys, [job("a")])) == "A"
    assert kit.read("ready") == {"a": NOW}
    assert kit.read("wake") is None


def test_there_is_never_more_than_one_token(kit: Kit):
    kit.declare()
    for unique in "abc":
        kit.run(jobs.enqueue(kit.keys, [job(unique), job(unique + "d", delay_ms=1)]))
    assert kit.read("wake") == ["1"]


@pytest.mark.parametrize(
    ("batch", "letters", "waiting"),
    [
        (["a"], "A", {"x", "a"}),
        (["a", "b"], "AA", {"x", "a", "b"}),
        (["a", "b", "c"], "AAF", {"x", "a", "b"}),
        (["a", "b", "c", "x", "d"], "AAFDF", {"x", "a", "b"}),
        (["x", "a", "b", "c"], "DAAF", {"x", "a", "b"}),
    ],
)
def test_a_full_queue_accepts_a_prefix(kit: Kit, batch, letters, waiting):
    kit.declare(maxsize=4)
    kit.seed(jobs={"x": data(), "y": data()}, ready={"x": 1}, delayed={"y": NOW * 2})
    assert kit.run(jobs.enqueue(kit.keys, [job(unique) for unique in batch])) == letters
    assert set(kit.read("ready")) == waiting
    assert set(kit.read("jobs")) == waiting | {"y"}


def test_after_the_first_refusal_nothing_of_the_batch_is_accepted(kit: Kit):
    kit.declare(maxsize=2)
    batch = [job("a"), job("b", delay_ms=5), job("c"), job("a"), job("d")]
    assert kit.run(jobs.enqueue(kit.keys, batch)) == "AAFDF"
    assert kit.counters() == {"enqueued": 2}


def test_a_full_queue_changes_nothing(kit: Kit):
    kit.declare(maxsize=1)
    kit.run(jobs.enqueue(kit.keys, [job("a")]))
    before = kit.snapshot()
    assert kit.run(jobs.enqueue(kit.keys, [job("b"), job("c")])) == "FF"
    assert kit.snapshot() == before


@pytest.mark.parametrize("over", [{"a": 1}, {"a": 1, "b": 2, "c": 3}])
def test_the_bound_holds_for_a_queue_that_is_over_it(kit: Kit, over):
    kit.declare(maxsize=1)
    kit.seed(jobs=dict.fromkeys(over, data()), ready=over)
    assert kit.run(jobs.enqueue(kit.keys, [job("z"), job("a")])) == "FD"


def test_forced_passes_the_bound(kit: Kit):
    kit.declare(maxsize=1)
    assert kit.run(jobs.enqueue(kit.keys, [job("a"), job("b")], forced=True)) == "AA"


def test_leased_and_dead_jobs_take_no_room(kit: Kit):
    kit.declare(maxsize=1)
    kit.seed(jobs={"a": data(), "b": data()}, lease_w={"a": "1;5;0;0"}, dead={"b": NOW})
    assert kit.run(jobs.enqueue(kit.keys, [job("c")])) == "A"


@pytest.mark.parametrize(
    ("again", "letter"),
    [
        (job("a", "body"), "D"),
        (job("a", "other"), "C"),
        (job("a", "body", delay_ms=500), "D"),
        (job("a", "body", priority=1.0), "C"),
    ],
)
@pytest.mark.parametrize(
    "place", [{"ready": {"a": 5}}, {"delayed": {"a": 5}}, {"dead": {"a": 5}}, {"lease_w": {"a": "1;5;0;0"}}]
)
def test_a_known_id_is_not_accepted_again(kit: Kit, again, letter, place):
    kit.declare()
    kit.seed(jobs={"a": data("body", at_ms=NOW_MS - 5)}, **place)
    before = kit.snapshot()
    assert kit.run(jobs.enqueue(kit.keys, [again])) == letter
    assert kit.snapshot() == before


def test_an_id_twice_in_one_batch_is_accepted_once(kit: Kit):
    kit.declare()
    assert kit.run(jobs.enqueue(kit.keys, [job("a", "1"), job("a", "1"), job("a", "2")])) == "ADC"
    assert kit.read("ready") == {"a": NOW}
    assert kit.counters() == {"enqueued": 1}


def test_an_id_whose_job_has_ended_is_new(kit: Kit):
    kit.declare()
    kit.seed(result_a="record")
    assert kit.run(jobs.enqueue(kit.keys, [job("a")])) == "A"


def test_a_repeated_call_has_no_second_effect(kit: Kit):
    kit.declare(maxsize=2)
    kit.replays(jobs.enqueue(kit.keys, [job("a"), job("b", delay_ms=5), job("c")]))
    assert kit.counters() == {"enqueued": 2}


def test_a_repeated_call_is_answered_after_the_job_has_ended(kit: Kit):
    kit.declare()
    call = jobs.enqueue(kit.keys, [job("a")])
    kit.run(call)
    kit.command("DEL", kit.keys.key("jobs"), kit.keys.key("ready"))
    assert kit.run(call, seq=kit.seq) == "A"
    assert kit.read("ready") is None


def test_without_its_session_a_repeated_call_finds_its_jobs(kit: Kit):
    kit.declare()
    call = jobs.enqueue(kit.keys, [job("a")])
    kit.run(call)
    before = kit.snapshot()
    assert kit.run(call, session="another") == "D"
    assert kit.snapshot() == before


def test_the_stored_reply_is_kept_for_five_minutes(kit: Kit):
    kit.declare()
    kit.run(jobs.enqueue(kit.keys, [job("a")]))
    assert kit.sessions() == {"s:session": "1;a;A"}
    assert 290_000 < kit.ttl("s:session") <= 300_000


@pytest.mark.parametrize(
    "bad",
    [
        Job("", data().partition(";")[2].encode()),
        Job("a b", data().partition(";")[2].encode()),
        Job("a;b", data().partition(";")[2].encode()),
        Job("a\nb", data().partition(";")[2].encode()),
        Job("-a", data().partition(";")[2].encode()),
        Job("a" * 65, data().partition(";")[2].encode()),
        job("a", delay_ms=-1),
        job("a", delay_ms="1e3"),
        job("a", delay_ms="nan"),
        job("a", delay_ms=" 5"),
        job("a", delay_ms="0x10"),
        job("a", delay_ms=10**17),
        Job("a", b""),
        Job("a", b"1;;;;"),
        Job("a", b"1;;;\nbody"),
        Job("a", b"2;;;;\nbody"),
        Job("a", b"0;;;;\nbody"),
        Job("a", b"255;;;;\nbody"),
        Job("a", b"1;x;;;\nbody"),
        Job("a", b"1;;;soon;\nbody"),
        Job("a", b"\x00\xff" * 40),
    ],
)
def test_a_malformed_job_is_refused_with_its_whole_batch(kit: Kit, bad):
    kit.declare()
    kit.refused(jobs.enqueue(kit.keys, [job("good"), bad]), "TASKQ_ARGS")


@pytest.mark.parametrize("rank", ["nan", "-nan", "inf", "-inf", "1e999", "first", "1;2;nan\n"])
def test_a_priority_that_is_not_finite_is_refused(kit: Kit, rank):
    kit.declare(Discipline.PRIORITY)
    bad = Job("a", f"1;;;;{rank}\nbody".encode())
    if rank.startswith("1;"):  # fields of a later version follow; only the sixth is the priority
        assert kit.run(jobs.enqueue(kit.keys, [bad])) == "A"
    else:
        kit.refused(jobs.enqueue(kit.keys, [job("good"), bad]), "TASKQ_PRIORITY a")


@pytest.mark.parametrize("unique", ["a" * 64, "0", "A.b_c-d", "9-", "z.."])
@pytest.mark.parametrize("delay_ms", [0, 1])
def test_every_id_that_the_model_allows_is_accepted_and_claimed(kit: Kit, unique, delay_ms):
    kit.declare()
    kit.worker()
    kit.run(jobs.enqueue(kit.keys, [job(unique, delay_ms=delay_ms)]))
    kit.advance(1)
    assert kit.claim() == [(unique, "1")]


def test_values_that_are_no_triples_are_refused(kit: Kit):
    kit.declare()
    call = jobs.enqueue(kit.keys, [job("a"), job("b")])
    call.arguments.append("c")
    kit.refused(call, "TASKQ_ARGS")


@pytest.mark.parametrize("name", ["session", "meta", "jobs", "ready", "delayed", "wake"])
def test_a_key_of_a_wrong_type_is_noticed_before_the_first_write(kit: Kit, name):
    kit.declare()
    key = f"s:{kit.session}" if name == "session" else name
    kit.command("DEL", kit.keys.key(key))
    kit.seed(**{key: {"x": 1} if name in {"meta", "jobs", "session", "wake"} else {"x": "x"}})
    kit.refused(jobs.enqueue(kit.keys, [job("a"), job("b", delay_ms=5)]), "WRONGTYPE")


def test_the_largest_batch_is_accepted_whole(kit: Kit):
    kit.declare()
    batch = [job(f"r{n}", delay_ms=n % 2) for n in range(jobs.BATCH_JOBS)]
    assert kit.run(jobs.enqueue(kit.keys, batch)) == "A" * jobs.BATCH_JOBS
    assert len(kit.read("ready")) == len(kit.read("delayed")) == jobs.BATCH_JOBS // 2


def test_a_batch_far_above_the_largest_fits_the_servers_stack(kit: Kit):
    kit.declare()
    assert kit.run(jobs.enqueue(kit.keys, [job(f"r{n}") for n in range(9000)])) == "A" * 9000
    assert len(kit.read("ready")) == 9000
