"""step.lua, its first half: finished jobs are settled, each only by the worker that holds that delivery."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import NOW, SECOND, Kit, claims_of, data

from taskq.broker import keys, work
from taskq.broker.work import FullSettlement, StepReply, StepRequest
from taskq.errors import Fenced

META = {"discipline": "fifo", "maxsize": "0"}
WORKERS = {"w": NOW + 10 * SECOND}
REST = {"meta": META, "workers": WORKERS}
VERDICTS = "oxfrc"


def full(unique: str = "a", delivery: str = "2", verdict: str = "o", **more: object) -> FullSettlement:
    return FullSettlement(
        **{
            "unique": unique,
            "delivery": delivery,
            "verdict": verdict,
            "record": b"",
            "ms": 5000,
            "errors": b"",
            "reply": "",
        }
        | more
    )


def step(kit: Kit, *settled: FullSettlement, **request: object) -> StepReply:
    return kit.run(work.step(kit.keys, "w", StepRequest(full=list(settled), **request)))


def seed(kit: Kit, state: str = "1;3;0;0;0\nold", lease: str = "2;5;1;0") -> None:
    kit.seed(**REST, jobs={"a": data(), "b": data()}, state={"a": state}, lease_w={"a": lease, "b": "1;6;0;0"})


def left(kit: Kit, *, counter: dict[str, int] | None = None) -> dict:
    """Return what stays of a seeded queue when job a is gone."""
    meta = META | {name: str(value) for name, value in (counter or {}).items()}
    return {"meta": meta, "workers": WORKERS, "jobs": {"b": data()}, "l:w": {"b": "1;6;0;0"}}


def test_plain_success_leaves_nothing(kit: Kit):
    seed(kit)
    assert step(kit, plain=["a", "2"]).letters == "A"
    assert kit.snapshot() == left(kit, counter={"done": 1})


@pytest.mark.parametrize(("verdict", "counter"), [("o", "done"), ("x", "cancelled")])
@pytest.mark.parametrize("record", [b"", b"record\n|;"])
def test_an_ended_job_leaves_its_result_only(kit: Kit, verdict, counter, record):
    seed(kit)
    assert step(kit, full(verdict=verdict, record=record)).letters == "A"
    assert kit.snapshot() == left(kit, counter={counter: 1}) | ({"r:a": record.decode()} if record else {})
    if record:
        assert 4000 < kit.ttl("r:a") <= 5000


def test_a_result_without_a_time_to_live_is_not_stored(kit: Kit):
    seed(kit)
    assert step(kit, full(record=b"record", ms=0)).letters == "A"
    assert kit.snapshot() == left(kit, counter={"done": 1})


def test_a_failed_job_is_dead_with_its_errors(kit: Kit):
    seed(kit)
    assert step(kit, full(verdict="f", record=b"record", errors=b"new\n\0;")).letters == "A"
    assert kit.snapshot() == left(kit, counter={"failed": 1}) | {
        "jobs": {"a": data(), "b": data()}, "state": {"a": "2;4;0;0;0\nnew\n\0;"}, "dead": {"a": NOW}, "r:a": "record",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("state", "after", "place"),
    [
        ("1;3;0;0;0\nold", "2;4;0;0;0\nnew", "delayed"),
        ("1;3;0;1;2", "2;4;0;1;2\nnew", "delayed"),
        ("1;0;1;0;0", "2;1;1;0;0\nnew", "suspect"),  # a job that crashed once goes on waiting apart
        ("1;0;0;2;0", "2;1;0;2;0\nnew", "suspect"),
        ("garbage", "2;1;0;0;0\nnew", "delayed"),
    ],
)
def test_a_retry_waits_with_its_history(kit: Kit, state, after, place):
    seed(kit, state)
    assert step(kit, full(verdict="r", ms=1500, record=b"ignored", errors=b"new")).letters == "A"
    assert kit.snapshot() == left(kit, counter={"retried": 1}) | {
        "jobs": {"a": data(), "b": data()}, "state": {"a": after}, place: {"a": NOW + 1500_000},
    }  # fmt: skip


def test_a_retry_without_delay_may_be_claimed_in_the_same_step(kit: Kit):
    seed(kit)
    assert claims_of(step(kit, full(verdict="r", ms=0), count=5)) == [("a", "3")]


@pytest.mark.parametrize(
    ("state", "after", "place"),
    [
        ("1;3;0;0;0\nold", "2;3;1;0;0\nold", {"suspect": {"a": NOW}}),
        ("1;0;1;0;0", "2;0;2;0;0", {"suspect": {"a": NOW + SECOND}}),
        ("1;0;2;0;0", "2;0;3;0;0", {"suspect": {"a": NOW + 2 * SECOND}}),
        ("1;0;3;1;0", "2;0;4;1;0", {"suspect": {"a": NOW + 4 * SECOND}}),
        ("1;0;4;0;0", "2;0;5;0;0", {"ended": {"a": "crashed"}}),
        ("1;0;0;9;0", "2;0;1;9;0", {"suspect": {"a": NOW + 60 * SECOND}}),
        ("garbage", "2;0;1;0;0", {"suspect": {"a": NOW}}),
    ],
)
def test_a_crash_is_counted_and_the_fifth_ends_the_job(kit: Kit, state, after, place):
    seed(kit, state)
    assert step(kit, full(verdict="c", record=b"ignored")).letters == "A"
    assert kit.snapshot() == left(kit, counter={"crashes": 1}) | {
        "jobs": {"a": data(), "b": data()}, "state": {"a": after}, **place,
    }  # fmt: skip


def test_the_errors_of_a_crash_replace_the_old_ones(kit: Kit):
    seed(kit)
    step(kit, full(verdict="c", errors=b"new"))
    assert kit.read("state") == {"a": "2;3;1;0;0\nnew"}


def test_a_job_crashes_five_times_and_no_more(kit: Kit):
    seed(kit, "0;0;0;0;0", "1;5;0;0")
    deliveries = [1]
    while not kit.read("ended"):
        step(kit, full(delivery=str(deliveries[-1]), verdict="c"))
        kit.advance(60)
        kit.seed(workers={"w": kit.now + SECOND})
        deliveries += [int(delivery) for _, delivery in kit.claim(0, suspects=1)]
    assert deliveries == [1, 2, 3, 4, 5]
    assert kit.read("ended") == {"a": "crashed"}


# --- who may settle


@pytest.mark.parametrize("verdict", ["plain", *VERDICTS])
@pytest.mark.parametrize("lease", [None, "1;5;0;0", "3;5;0;0", "22;5;0;0"])
def test_a_settlement_of_another_delivery_changes_nothing(kit: Kit, verdict, lease):
    kit.seed(**REST, jobs={"a": data()}, ready={"z": 9}, wake=["1"], lease_v={"a": "2;5;0;0"})
    if lease:
        kit.seed(lease_w={"a": lease})
    before = kit.snapshot()
    if verdict == "plain":
        reply = step(kit, plain=["a", "2"])
    else:
        reply = step(kit, full(verdict=verdict, record=b"record", follow_ups=[("q/x", b"0\nx")]))
    assert reply.letters == "S"
    assert kit.snapshot() == before


def test_a_fenced_worker_settles_nothing(kit: Kit):
    seed(kit)
    kit.command("DEL", kit.keys.key("workers"))
    before = kit.snapshot()
    request = StepRequest(plain=["b", "1"], full=[full(record=b"record")], started=["a"], count=5)
    with pytest.raises(Fenced):
        kit.run(work.step(kit.keys, "w", request))
    assert (kit.snapshot(), kit.sessions()) == (before, {})


def test_each_settlement_has_its_letter_plain_ones_first(kit: Kit):
    kit.seed(**REST, jobs=dict.fromkeys("abcd", data()), lease_w=dict.fromkeys("abcd", "1;5;0;0"))
    reply = step(
        kit, full("c", "1"), full("x", "1"), full("d", "9"), full("d", "1"), plain=["a", "1", "b", "2", "x", "1"]
    )
    assert reply.letters == "ASS" + "ASSA"


@pytest.mark.parametrize("first", VERDICTS)
@pytest.mark.parametrize("second", VERDICTS)
def test_a_job_settled_twice_in_one_call_is_settled_once(kit: Kit, first, second):
    seed(kit)
    assert step(kit, full(verdict=first), full(verdict=second)).letters == "AS"
    assert sum(kit.counters().values()) == 1


def test_a_plain_settlement_given_twice_counts_once(kit: Kit):
    seed(kit)
    step(kit, full(), plain=["a", "2", "a", "2"])
    assert kit.snapshot() == left(kit, counter={"done": 1})


# --- marks, follow-ups, publish


@pytest.mark.parametrize(
    ("verdict", "marks"),
    [
        ("plain", {"z": "t"}),
        ("o", {"z": "t"}),
        ("x", {"z": "t"}),
        ("f", {"z": "t"}),
        ("r", {"a": "r", "z": "t"}),
        ("c", {"a": "r", "z": "t"}),
    ],
)
def test_the_mark_of_a_revoked_job_goes_with_the_job(kit: Kit, verdict, marks):
    seed(kit)
    kit.seed(revoked={"a": "r", "z": "t"})
    reply = step(kit, plain=["a", "2"]) if verdict == "plain" else step(kit, full(verdict=verdict))
    assert kit.read("revoked") == marks
    assert reply.revoked == len(marks)


@pytest.mark.parametrize(
    ("started", "leases"),
    [
        (["b"], {"a": "2;5;1;0", "b": "1;6;1;0"}),
        (["a"], {"a": "2;5;1;0", "b": "1;6;0;0"}),
        (["b", "x", "b"], {"a": "2;5;1;0", "b": "1;6;1;0"}),
    ],
)
def test_started_jobs_are_marked_in_their_lease(kit: Kit, started, leases):
    seed(kit)
    step(kit, started=started)
    assert kit.snapshot() == {
        **REST, "jobs": {"a": data(), "b": data()}, "state": {"a": "1;3;0;0;0\nold"}, "l:w": leases,
    }  # fmt: skip


def test_a_job_settled_in_the_same_call_is_not_marked(kit: Kit):
    seed(kit)
    step(kit, plain=["a", "2"], started=["a"])
    assert kit.read("l:w") == {"b": "1;6;0;0"}


def test_a_suspect_is_marked_too(kit: Kit):
    seed(kit, lease="2;-5.5;0;1")
    step(kit, started=["a"])
    assert kit.read("l:w")["a"] == "2;-5.5;1;1"


def test_follow_ups_of_accepted_settlements_go_to_the_outbox(kit: Kit):
    seed(kit)
    kit.seed(jobs={"c": data()}, lease_w={"c": "1;7;0;0"})
    step(
        kit,
        full("x", follow_ups=[("q/never", b"0\nn")]),
        full("a", follow_ups=[("q/one", b"0\n1"), ("q/two", b"5\n2")]),
        full("b", "7", follow_ups=[("q/stale", b"0\n3")]),
        full("b", "1", verdict="f", follow_ups=[("q/error", b"0\n4")]),
        plain=["c", "1"],
        started=["b"],
    )
    assert kit.read("outbox") == {"q/one": "0\n1", "q/two": "5\n2", "q/error": "0\n4"}


def test_each_producer_is_told_once_a_step(kit: Kit, listen):
    names = "abcdef"
    kit.seed(**REST, jobs=dict.fromkeys(names, data()), lease_w=dict.fromkeys(names, "1;5;0;0"))
    channel = keys.channels(kit.keys.namespace)
    settled = [
        full("a", "1", record=b"one", reply="me"),
        full("b", "1", "f", record=b"two\n", reply="me"),
        full("c", "9", record=b"stale", reply="me"),
        full("c", "1", "r", record=b"again", reply="me"),
        full("d", "1", record=b"x" * 16_385, reply="me"),
        full("e", "1", record=b"other", reply="you"),
        full("f", "1", record=b"kept to itself"),
    ]
    with listen(kit, channel + "me") as messages:
        step(kit, *settled)
        assert messages(1) == [b"q\na 3\noneb 4\ntwo\nd 0\n"]


@pytest.mark.parametrize(("size", "told"), [(16_384, True), (16_385, False)])
def test_a_large_result_is_announced_and_not_sent_along(kit: Kit, listen, size, told):
    seed(kit)
    with listen(kit, keys.channels(kit.keys.namespace) + "me") as messages:
        step(kit, full(record=b"x" * size, reply="me"))
        assert messages(1) == [b"q\na %d\n" % (size if told else 0) + b"x" * (size if told else 0)]
    assert len(kit.read("r:a")) == size


def test_a_result_that_nobody_asked_to_be_told_is_not_announced(kit: Kit, listen):
    seed(kit)
    with listen(kit, keys.channels(kit.keys.namespace)) as messages:
        step(kit, full(record=b"r"))
        assert messages(0) == []


def test_a_repeated_step_settles_and_tells_nothing_more(kit: Kit, listen):
    seed(kit)
    call = work.step(
        kit.keys, "w", StepRequest(full=[full(record=b"r", reply="me", follow_ups=[("q/x", b"0\nx")])], started=["b"])
    )
    with listen(kit, keys.channels(kit.keys.namespace) + "me") as messages:
        kit.replays(call)
        messages(1)
    assert kit.counters() == {"done": 1}


def test_without_its_session_a_repeated_settlement_is_stale(kit: Kit):
    seed(kit)
    call = work.step(kit.keys, "w", StepRequest(plain=["b", "1"], full=[full(record=b"r")]))
    assert kit.run(call).letters == "AA"
    before = kit.snapshot()
    assert kit.run(call, session="another").letters == "SS"
    assert kit.snapshot() == before


def test_a_full_step_of_five_hundred_fits(kit: Kit):
    names = [f"j{n:03}" for n in range(1000)]
    kit.seed(**REST, jobs=dict.fromkeys(names, data()), lease_w=dict.fromkeys(names, "1;5;0;0"))
    plain = [part for name in names[:500] for part in (name, "1")]
    reply = step(kit, *[full(name, "1", record=b"r", reply="me") for name in names[500:]], plain=plain)
    assert reply.letters == "A" * 1000
    assert kit.counters() == {"done": 1000}
    assert "jobs" not in kit.snapshot()


# --- arguments


@pytest.mark.parametrize(
    "bad",
    [
        {"verdict": "?"}, {"verdict": ""}, {"delivery": "x"}, {"delivery": "nan"}, {"ms": -1}, {"ms": "nan"},
        {"ms": "1e3"}, {"ms": 10**17},
    ],
)  # fmt: skip
def test_a_malformed_settlement_is_refused_with_the_whole_call(kit: Kit, bad):
    seed(kit)
    request = StepRequest(plain=["b", "1"], full=[full(), full("b", **{"delivery": "1"} | bad)], count=5)
    kit.refused(work.step(kit.keys, "w", request), "TASKQ_ARGS")


@pytest.mark.parametrize(
    ("index", "value"),
    [(index, value) for index in range(3, 10) for value in ("nan", "-1", "")]
    + [(index, "9") for index in range(6, 10)],
)
def test_counts_that_do_not_fit_are_refused(kit: Kit, index, value):
    seed(kit)
    call = work.step(
        kit.keys, "w", StepRequest(plain=["b", "1"], full=[full(follow_ups=[("q/x", b"")])], started=["b"])
    )
    arguments = list(call.arguments)
    arguments[index] = value
    kit.refused(dataclasses.replace(call, arguments=arguments), "TASKQ_ARGS")


@pytest.mark.parametrize("index", [0, 2, "x"])
def test_a_follow_up_of_no_settlement_is_refused(kit: Kit, index):
    seed(kit)
    call = work.step(kit.keys, "w", StepRequest(full=[full(follow_ups=[("q/x", b"")])]))
    kit.refused(dataclasses.replace(call, arguments=[*call.arguments[:-3], index, "q/x", ""]), "TASKQ_ARGS")


def test_a_missing_result_key_is_refused(kit: Kit):
    seed(kit)
    call = work.step(kit.keys, "w", StepRequest(full=[full()]))
    kit.refused(dataclasses.replace(call, keys=call.keys[:-1]), "TASKQ_ARGS")


def test_more_than_the_servers_stack_holds_is_refused(kit: Kit):
    seed(kit)
    kit.refused(work.step(kit.keys, "w", StepRequest(plain=["b", "1"] * 2001)), "TASKQ_ARGS")
