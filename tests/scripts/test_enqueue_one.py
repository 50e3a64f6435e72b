"""enqueue_one.lua: for one job that is not delayed it does what enqueue.lua does, in every respect."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import NOW, Kit, data, job
from redis.exceptions import ResponseError

from taskq.broker import jobs, scripts
from taskq.broker.call import Call
from taskq.model.discipline import Discipline
from taskq.model.job import Job


@pytest.fixture
def pair(kit: Kit):
    """Two queues alike; the first is for the script under test, the second for its model."""
    other = Kit(kit.url, kit.keys.namespace, "model")
    yield kit, other
    other.close()


def calls(kit: Kit, model: Kit, made: Job, *, forced: bool = False) -> tuple[Call[str], Call[str]]:
    one = jobs.enqueue(kit.keys, [made], forced=forced)
    assert one.script.name == "enqueue_one"
    many = dataclasses.replace(jobs.enqueue(model.keys, [made], forced=forced), script=scripts.load()["enqueue"])
    return one, dataclasses.replace(many, keys=model.keys.fixed(many.script.keys))


def outcome(kit: Kit, call: Call[str], **numbers: object) -> tuple[object, object, object]:
    try:
        answer = kit.run(call, **numbers)
    except ResponseError as error:
        answer = str(error).partition(" ")[0].partition(",")[0]
    return answer, kit.snapshot(), kit.sessions()


def alike(pair, made: Job, *, forced: bool = False, **numbers: object) -> object:
    """Run both; return their common answer."""
    kit, model = pair
    one, many = calls(kit, model, made, forced=forced)
    found, wanted = outcome(kit, one, **numbers), outcome(model, many, **numbers)
    assert found == wanted
    return found[0]


def both(pair, action: str, *args: object, **options: object) -> None:
    for kit in pair:
        getattr(kit, action)(*args, **options)


@pytest.mark.parametrize("discipline", Discipline)
@pytest.mark.parametrize("paused", [None, "0", "1"])
@pytest.mark.parametrize("seq", [None, NOW - 5, NOW - 1, NOW, NOW + 5, "nan"])
def test_a_new_job(pair, discipline, paused, seq):
    both(pair, "declare", discipline)
    more = {name: str(value) for name, value in (("paused", paused), ("seq", seq)) if value is not None}
    if more:
        both(pair, "seed", meta=more)
    assert alike(pair, job("a", priority=-0.5)) == "A"
    assert alike(pair, job("b")) == "A"


@pytest.mark.parametrize("rank", [None, 0.0, -3.0, 1e300, 5e-324, 0.1])
def test_a_priority(pair, rank):
    both(pair, "declare", Discipline.PRIORITY)
    assert alike(pair, job("a", priority=rank)) == "A"
    assert pair[0].read("ready") == {"a": rank or 0.0}


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("maxsize", [0, 1, 2, 3])
def test_a_bound(pair, maxsize, forced):
    both(pair, "declare", Discipline.FIFO, maxsize)
    both(pair, "seed", jobs={"x": data(), "d": data()}, ready={"x": 1}, delayed={"d": NOW * 2})
    expected = "A" if forced or maxsize in {0, 3} else "F"
    assert alike(pair, job("a"), forced=forced) == expected
    assert alike(pair, job("x"), forced=forced) == "D"
    assert alike(pair, job("x", "other"), forced=forced) == "C"


@pytest.mark.parametrize("place", [{"ready": {"a": 5}}, {"dead": {"a": 5}}, {"lease_w": {"a": "1;5;0;0"}}])
@pytest.mark.parametrize("body", ["x", "other"])
def test_a_known_id(pair, place, body):
    both(pair, "declare")
    both(pair, "seed", jobs={"a": data()}, **place)
    assert alike(pair, job("a", body)) == ("D" if body == "x" else "C")


def test_an_undeclared_queue(pair):
    assert alike(pair, job("a")) == "U"


def test_a_token_that_is_there(pair):
    both(pair, "declare")
    both(pair, "seed", wake=["1"])
    alike(pair, job("a"))
    assert pair[0].read("wake") == ["1"]


@pytest.mark.parametrize(
    "made",
    [
        Job("", b"1;;;;\nx"),
        Job("a b", b"1;;;;\nx"),
        Job("a" * 65, b"1;;;;\nx"),
        Job("a", b""),
        Job("a", b"2;;;;\nx"),
        Job("a", b"1;x;;;\nx"),
        Job("a", b"1;;;;nan\nx"),
        Job("a", b"1;;;;inf\nx"),
        Job("a", b"\x00\xff"),
    ],
)
def test_a_malformed_job(pair, made):
    both(pair, "declare", Discipline.PRIORITY)
    assert str(alike(pair, made)).startswith("TASKQ_")
    assert pair[0].sessions() == {}


@pytest.mark.parametrize("letter", "ADCF")
def test_the_same_call_again(pair, letter):
    both(pair, "declare", Discipline.FIFO, 1)
    if letter != "A":
        both(pair, "seed", jobs={"z": data("body")}, ready={"z": 1})
    made = {"A": job("a"), "D": job("z", "body"), "C": job("z", "other"), "F": job("a")}[letter]
    for _ in range(3):
        assert alike(pair, made, seq=7) == letter
        both(pair, "advance", 1)
    assert alike(pair, made, seq=6) == "TASKQ_STALE"
    assert alike(pair, job("q"), seq=7) == "TASKQ_MIXUP"
    assert alike(pair, made, seq=0) == "TASKQ_ARGS"


@pytest.mark.parametrize("stored", ["garbage", "", "5", "x;y;z", "3;a;A"])
def test_a_damaged_or_older_session(pair, stored):
    both(pair, "declare")
    both(pair, "seed", **{"s:session": stored})
    assert alike(pair, job("a"), seq=9) == "A"


def test_both_scripts_know_each_others_replies(kit: Kit):
    kit.declare()
    one = jobs.enqueue(kit.keys, [job("a")])
    many = dataclasses.replace(one, script=scripts.load()["enqueue"])
    assert kit.run(one, seq=5) == kit.run(many, seq=5) == "A"
    assert kit.run(dataclasses.replace(many, first="b"), seq=6) == "D"
    with pytest.raises(ResponseError, match="TASKQ_STALE"):
        kit.run(one, seq=5)


def test_the_stored_reply_is_kept_for_five_minutes(kit: Kit):
    kit.declare()
    call = jobs.enqueue(kit.keys, [job("a")])
    kit.run(call, seq=5)
    kit.command("PEXPIRE", kit.keys.session(kit.session), 1000)
    kit.run(call, seq=5)
    assert 290_000 < kit.ttl("s:session") <= 300_000


def test_a_delayed_job_is_refused(kit: Kit):
    kit.declare()
    call = jobs.enqueue(kit.keys, [job("a")])
    kit.refused(dataclasses.replace(call, arguments=["0", "a", 5, b"1;;;;\nx"]), "TASKQ_ARGS")


@pytest.mark.parametrize("name", ["session", "meta", "jobs", "ready", "wake"])
@pytest.mark.parametrize("stored", [None, "3;old;A"])
def test_a_key_of_a_wrong_type_leaves_nothing_half_done(kit: Kit, name, stored):
    kit.declare()
    key = f"s:{kit.session}" if name == "session" else name
    if stored and name != "session":
        kit.seed(**{f"s:{kit.session}": stored})
    kit.command("DEL", kit.keys.key(key))
    kit.seed(**{key: {"x": 1} if name in {"meta", "jobs", "session", "wake"} else {"x": "x"}})
    kit.refused(jobs.enqueue(kit.keys, [job("a")]), "WRONGTYPE", seq=9)
