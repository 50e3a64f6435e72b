"""step.lua over keys that somebody changed by hand: nothing stops the queue, nothing is lost, nothing grows."""

from __future__ import annotations

import pytest
from broker_kit import NOW, SECOND, Kit, claims_of, data
from redis.exceptions import ResponseError

from taskq.broker import work
from taskq.broker.work import StepReply, StepRequest

META = {"discipline": "fifo", "maxsize": "0"}
WORKERS = {"w": NOW + 10 * SECOND}
AT = data()[:13]


def step(kit: Kit, **request: object) -> StepReply:
    return kit.run(work.step(kit.keys, "w", StepRequest(**{"count": 10, "suspects": 1} | request)))


def seed(kit: Kit, **more: object) -> None:
    kit.seed(meta=META, workers=WORKERS, jobs={"good": data()}, ready={"good": 9})
    kit.seed(**more)


DAMAGED_DATA = [
    "",
    AT,
    f"{AT};",
    f"{AT};1;;;;",
    f"{AT};1;;;\nbody",
    f"{AT};0;;;;\nbody",
    f"{AT};x;;;;\nbody",
    f"{AT};2",
    f"{AT};02;;;;\nbody",
    f"{AT};-2;;;;\nbody",
    f"{AT};2.5;;;;\nbody",
    f"{AT};1000;;;;\nbody",
    ";2;;;;\nbody",
    f"{AT};1;x;;;\nbody",
    f"{AT};1;x;;soon;\nbody",
    ";1;;;;\nbody",
    "abcdefghijklm;1;;;;\nbody",
    "-800000000000;1;;;;\nbody",
    "\x00\x01\x02\x7f" * 30,
    '{"id": "json"}',
    "\n" * 40,
    ";" * 40,
]


@pytest.mark.parametrize("stored", DAMAGED_DATA)
@pytest.mark.parametrize("place", ["ready", "suspect"])
def test_a_damaged_envelope_goes_to_quarantine_as_it_is(kit: Kit, stored, place):
    seed(kit, jobs={"bad": stored})
    kit.seed(**{place: {"bad": 1}})
    assert claims_of(step(kit)) == [("good", "1")]
    assert kit.snapshot() == {
        "meta": META | {"quarantined": "1"},
        "workers": WORKERS,
        "jobs": {"good": data(), "bad": stored},
        "l:w": {"good": "1;9;0;0"},
        "quarantine": {"bad": NOW},
    }


@pytest.mark.parametrize(
    "unique",
    [
        "",
        " ",
        "a b",
        "a\nb",
        "a|b",
        "a;b",
        "\x1b[31mred",
        "<script>alert(1)</script>",
        "../../x",
        "a{b}",
        "\u202eright",
        "*",
    ],
)
def test_an_id_that_no_producer_may_give_goes_to_quarantine(kit: Kit, unique):
    seed(kit, jobs={unique: data()}, ready={unique: 1})
    assert claims_of(step(kit)) == [("good", "1")]
    assert kit.read("quarantine") == {unique: NOW}
    assert kit.sessions()[f"s:{kit.session}"].endswith("|good")


def test_an_id_without_a_body_goes_to_quarantine(kit: Kit):
    seed(kit, ready={"bad": 1}, state={"bad": "1;0;0;0;0"})
    assert claims_of(step(kit)) == [("good", "1")]
    assert kit.read("quarantine") == {"bad": NOW}


@pytest.mark.parametrize("state", ["garbage", "", "1;0;0;0", "1;0;0;0;x", "-1;0;0;0;0", "nan;0;0;0;0", "\x00"])
def test_a_damaged_state_goes_to_quarantine(kit: Kit, state):
    seed(kit, jobs={"bad": data()}, state={"bad": state}, ready={"bad": 1})
    assert claims_of(step(kit)) == [("good", "1")]
    assert kit.read("quarantine") == {"bad": NOW}
    assert kit.read("state") == {"bad": state}


@pytest.mark.parametrize("score", [float("inf"), float("-inf")])
def test_an_infinite_place_goes_to_quarantine(kit: Kit, score):
    seed(kit, jobs={"bad": data()}, ready={"bad": score})
    assert claims_of(step(kit)) == [("good", "1")]
    assert kit.read("quarantine") == {"bad": NOW}


def test_a_body_without_a_state_is_as_good_as_new(kit: Kit):
    seed(kit)
    assert claims_of(step(kit)) == [("good", "1")]


@pytest.mark.parametrize("rank", ["nan", "-nan", "inf", "-inf", "first", "0x10p", "1e999"])
def test_a_damaged_priority_counts_as_none_when_the_job_is_due(kit: Kit, rank):
    kit.seed(meta={"discipline": "priority"}, workers=WORKERS)
    kit.seed(jobs={"bad": f"{AT};1;;;;{rank}\nbody"}, delayed={"bad": NOW})
    assert claims_of(step(kit)) == [("bad", "1")]
    assert kit.read("l:w") == {"bad": "1;0;0;0"}


def test_a_due_id_without_a_body_goes_to_quarantine(kit: Kit):
    kit.seed(meta={"discipline": "priority"}, workers=WORKERS, delayed={"bad": NOW})
    assert step(kit).claims == []
    assert kit.read("quarantine") == {"bad": NOW}


@pytest.mark.parametrize("name", ["delayed", "suspect"])
def test_an_infinite_due_time_is_far_away(kit: Kit, name):
    seed(kit, **{name: {"never": float("inf")}})
    reply = step(kit)
    assert claims_of(reply) == [("good", "1")]
    assert (reply.next_due or reply.suspect_due) == 2**53
    assert kit.read(name) == {"never": float("inf")}


@pytest.mark.parametrize("seq", ["nan", "inf", "text", "", "-5", "1e300"])
def test_a_damaged_sequence_starts_from_the_clock(kit: Kit, seq):
    seed(kit, delayed={"due": NOW}, jobs={"due": data()})
    kit.seed(meta={"seq": seq})
    assert claims_of(step(kit)) == [("good", "1"), ("due", "1")]
    assert kit.read("meta")["seq"] == str(NOW)


@pytest.mark.parametrize("discipline", [None, "heap"])
def test_a_queue_without_a_discipline_goes_on_as_fifo(kit: Kit, discipline):
    seed(kit, delayed={"due": NOW}, jobs={"due": data()})
    if discipline:
        kit.seed(meta={"discipline": discipline})
    else:
        kit.command("DEL", kit.keys.key("meta"))
    assert claims_of(step(kit)) == [("good", "1"), ("due", "1")]


@pytest.mark.parametrize("verdict", "oxfrc")
def test_a_lease_without_a_job_can_be_settled(kit: Kit, verdict):
    seed(kit, lease_w={"gone": "1;5;0;0"})
    settled = [work.FullSettlement("gone", "1", verdict, b"", 60_000, b"", "")]
    assert step(kit, full=settled).letters == "A"
    assert kit.read("l:w") == {"good": "1;9;0;0"}


@pytest.mark.parametrize("verdict", "oxfrc")
@pytest.mark.parametrize("lease", ["1;", "1;x;0;0", "1;nan;0;0", "1;5;0;0;0"])
def test_a_damaged_lease_does_not_stop_the_others(kit: Kit, verdict, lease):
    seed(kit, jobs={"bad": data()}, lease_w={"bad": lease})
    settled = [work.FullSettlement("bad", "1", verdict, b"", 60_000, b"", "")]
    reply = step(kit, full=settled, started=["bad"])
    assert (reply.letters, claims_of(reply)) == ("A", [("good", "1")])
    assert kit.read("l:w") == {"good": "1;9;0;0"}
    assert kit.read("quarantine") == ({"bad": NOW} if verdict == "c" else None)


@pytest.mark.parametrize("stored", ["garbage", "5", ";;", "x;y;z"])
def test_a_damaged_session_is_overwritten(kit: Kit, stored):
    seed(kit)
    kit.command("SET", kit.keys.session(kit.session), stored)
    kit.seq = 100
    assert claims_of(step(kit)) == [("good", "1")]


def test_the_quarantine_is_capped(kit: Kit):
    names = [f"bad{n:04}" for n in range(1000)]
    seed(kit, jobs=dict.fromkeys(names, "damaged"), quarantine={name: n for n, name in enumerate(names)})
    kit.seed(state={names[0]: "damaged", names[1]: "1;0;0;0;0", names[5]: "1;0;0;0;0"})
    for n in range(3):
        kit.seed(jobs={f"new{n}": ""}, ready={f"new{n}": n})
    step(kit)
    quarantine = kit.read("quarantine")
    assert len(quarantine) == 1000
    assert set(quarantine) == {*names[3:], "new0", "new1", "new2"}
    assert set(kit.read("jobs")) == {*names[3:], "new0", "new1", "new2", "good"}
    assert set(kit.read("state")) == {names[5]}


def test_a_quarantine_that_is_just_full_is_kept(kit: Kit):
    names = [f"bad{n:04}" for n in range(999)]
    seed(kit, quarantine={name: n for n, name in enumerate(names)}, ready={"new": 1})
    step(kit)
    assert set(kit.read("quarantine")) == {*names, "new"}


def test_the_cap_of_the_quarantine_spares_a_job_that_came_again_under_that_id(kit: Kit):
    names = [f"bad{n:04}" for n in range(1000)]
    seed(kit, jobs={"bad0000": data("again")}, delayed={"bad0000": NOW * 2})
    kit.seed(quarantine={name: n for n, name in enumerate(names)}, ready={"new": 1})
    step(kit)
    assert "bad0000" not in kit.read("quarantine")
    assert kit.read("jobs")["bad0000"] == data("again")


@pytest.mark.parametrize(
    "name",
    ["meta", "jobs", "state", "ready", "delayed", "l:w", "workers", "wake", "dead", "ended", "outbox", "suspect",
     "quarantine", "revoked"],
)  # fmt: skip
def test_a_key_of_a_wrong_type_loses_no_waiting_job(kit: Kit, name):
    waiting = {"ready": {"r": 1, "s": 2}, "delayed": {"d": NOW}, "suspect": {"u": NOW}}
    kit.seed(meta=META, workers=WORKERS, jobs=dict.fromkeys(["r", "s", "d", "u", "x"], data()), **waiting)
    kit.seed(ready={"bad": 0})
    saved = kit.command("DUMP", kit.keys.key(name))
    kit.command("DEL", kit.keys.key(name))
    kit.seed(**{name: ["wrong"] if name != "wake" else "wrong"})
    if name == "dead":  # the only key that this step does not touch
        step(kit, count=1)
    else:
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            step(kit, count=1)
    kit.command("DEL", kit.keys.key(name))
    if saved:
        kit.command("RESTORE", kit.keys.key(name), 0, saved)
    claimed = {unique for unique, _ in claims_of(step(kit, suspects=5))} | set(kit.read("l:w"))
    assert claimed == {"r", "s", "d", "u"}
