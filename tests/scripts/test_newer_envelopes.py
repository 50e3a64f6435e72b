"""Jobs whose envelope is newer than the scripts: they come and go like others, and nothing in them is judged."""

from __future__ import annotations

import pytest
from broker_kit import NOW, NOW_MS, SECOND, TIMES, Kit, claims_of, data, job

from taskq.broker import browsing, jobs, keys, lifecycle, work, workers
from taskq.broker.call import Command
from taskq.broker.connection import Link
from taskq.broker.work import StepReply, StepRequest
from taskq.model.discipline import Discipline
from taskq.model.job import Job, encode_body

META = {"discipline": "fifo", "maxsize": "0"}
WORKERS = {"w": NOW + 10 * SECOND}
AT = data()[:13]
# What another version may put behind its number: nothing of it can be told from damage.
NEWER = [
    f"{AT};2;x;reply;0;nan\nbody",
    f"{AT};2;",
    f"{AT};2;\n",
    f"{AT};9;x;;soon;\nbody",
    f"{AT};10;{{}}",
    f'{AT};255;{{"flags": "x"}}\n\n\n',
    f"{AT};999;;;;;;;;;;;body",
]


def step(kit: Kit, **request: object) -> StepReply:
    return kit.run(work.step(kit.keys, "w", StepRequest(**{"count": 10, "suspects": 1} | request)))


def seed(kit: Kit, stored: str = NEWER[0], **more: object) -> None:
    kit.seed(meta=META, workers=WORKERS, jobs={"new": stored}, **more)


@pytest.mark.parametrize("stored", NEWER)
@pytest.mark.parametrize(("place", "apart"), [("ready", 0), ("suspect", 1)])
def test_it_is_claimed_as_it_is(kit: Kit, stored, place, apart):
    seed(kit, stored, **{place: {"new": 7}})
    assert step(kit).claims == [b"new", b"1;0;0;0;0", stored.encode()]
    assert kit.snapshot() == {
        "meta": META, "workers": WORKERS, "jobs": {"new": stored}, "l:w": {"new": f"1;7;0;{apart}"},
    }  # fmt: skip


def test_it_does_not_expire_here(kit: Kit):
    seed(kit, f"{NOW_MS - 1000:013};2;x;;0;\nbody", ready={"new": 7})
    assert claims_of(step(kit)) == [("new", "1")]


def test_one_that_was_revoked_ends_at_its_claim(kit: Kit):
    seed(kit, ready={"new": 7}, revoked={"new": "r"})
    assert step(kit).claims == []
    assert kit.read("ended") == {"new": "cancelled"}


def test_one_that_waits_can_be_cancelled(kit: Kit):
    seed(kit, delayed={"new": NOW + 5})
    assert kit.run(jobs.cancel(kit.keys, "new")) == "C"
    assert kit.read("ended") == {"new": "cancelled"}


@pytest.mark.parametrize("stored", NEWER)
@pytest.mark.parametrize("discipline", Discipline)
def test_it_becomes_ready_when_it_is_due(kit: Kit, discipline, stored):
    kit.seed(meta={"discipline": str(discipline)}, workers=WORKERS, jobs={"new": stored}, delayed={"new": NOW})
    assert claims_of(step(kit)) == [("new", "1")]


def test_a_priority_in_its_place_keeps_the_order(kit: Kit):
    kit.seed(meta={"discipline": "priority"}, workers=WORKERS, delayed={"new": NOW, "old": NOW})
    kit.seed(jobs={"new": f"{AT};2;;;;-3;more\nbody", "old": data(priority=-2)})
    assert [unique for unique, _ in claims_of(step(kit))] == ["new", "old"]


@pytest.mark.parametrize("stored", NEWER)
def test_it_goes_back_to_its_place(kit: Kit, stored):
    seed(kit, stored, lease_w={"new": "3;7;0;0"})
    assert kit.run(work.release(kit.keys, "w", [("new", "3", 0)])) == "A"
    assert kit.snapshot() == {
        "meta": META, "workers": WORKERS, "jobs": {"new": stored}, "state": {"new": "3;0;0;0;0"},
        "ready": {"new": 7}, "wake": ["1"],
    }  # fmt: skip


@pytest.mark.parametrize("stored", NEWER)
def test_it_is_deferred_without_an_end(kit: Kit, stored):
    seed(kit, stored, ready={"new": 7})
    for number in range(1, 51):
        assert claims_of(step(kit)) == [("new", str(number))]
        kit.run(work.release(kit.keys, "w", [("new", str(number), 1000)]))
        kit.advance(1)
    assert kit.read("delayed") == {"new": kit.now}
    assert kit.read("ended") is None
    assert kit.read("jobs") == {"new": stored}


@pytest.mark.parametrize(
    ("before", "after"), [("0;0;0;0;5", "1;0;0;0;6"), ("0;2;0;1;6\ne", "1;2;0;1;6\ne"), ("0;0;0;0;20", "1;0;0;0;6")]
)
def test_deferrals_are_counted_as_far_as_the_delay_grows(kit: Kit, before, after):
    """So that a newer worker that does not know the task yet has most of its own bound left."""
    seed(kit, lease_w={"new": "1;7;0;0"}, state={"new": before})
    kit.run(work.release(kit.keys, "w", [("new", "1", 1000)]))
    assert kit.read("state") == {"new": after}
    assert kit.read("delayed") == {"new": NOW + SECOND}


@pytest.mark.parametrize(
    ("lease", "found"),
    [
        ("1;7;0;0", {"ready": {"new": 7}, "state": {"new": "1;0;0;0;0"}}),
        ("1;7;1;0", {"ready": {"new": 7}, "state": {"new": "1;0;0;1;0"}}),
    ],
)
def test_it_comes_back_from_a_worker_that_is_gone(kit: Kit, lease, found):
    kit.seed(meta=META | {"tick": str(NOW), "grace": str(NOW)}, workers={"w": NOW - 1})
    kit.seed(jobs={"new": NEWER[1]}, lease_w={"new": lease})
    assert kit.run(workers.reap(kit.keys, "w", TIMES)) == (1, 0)
    assert {name: kit.read(name) for name in ("ready", "state")} == found
    assert kit.read("quarantine") is None


def test_a_claim_that_was_lost_comes_back(kit: Kit):
    seed(kit, lease_w={"new": "1;7;0;0"})
    kit.run(workers.reconcile(kit.keys, "w", []))
    assert kit.read("ready") == {"new": 7}


def test_one_of_the_dead_can_be_put_back_in_line(kit: Kit):
    seed(kit, f"{NOW_MS - 5:013};2;{{}}\nbody", dead={"new": NOW}, state={"new": "9;1;0;0;6\ne"})
    assert kit.run(jobs.requeue(kit.keys, ["new"])) == 1
    assert kit.read("ready") == {"new": NOW}
    assert kit.read("jobs") == {"new": f"{AT};2;{{}}\nbody"}


def test_the_cap_of_the_quarantine_spares_it(kit: Kit):
    names = [f"bad{n:04}" for n in range(1000)]
    seed(kit, ready={"more": 1})
    kit.seed(jobs={names[0]: NEWER[4]}, delayed={names[0]: NOW * 2})
    kit.seed(quarantine={name: n for n, name in enumerate(names)})
    step(kit)
    assert kit.read("jobs")[names[0]] == NEWER[4]
    assert names[0] not in kit.read("quarantine")


@pytest.mark.parametrize("sent", [stored[14:] for stored in NEWER])
@pytest.mark.parametrize("discipline", Discipline)
def test_one_that_follows_a_job_is_taken(kit: Kit, discipline, sent):
    kit.declare(discipline)
    assert kit.run(jobs.relay(kit.keys, [job("old"), Job("new", sent.encode(), 5)])) == "AA"
    assert kit.read("jobs")["new"] == f"{AT};{sent}"
    assert kit.read("delayed") == {"new": NOW + 5000}


@pytest.mark.parametrize("more", [[], [job("old")]])
def test_no_producer_here_may_send_one(kit: Kit, more):
    kit.declare()
    kit.refused(jobs.enqueue(kit.keys, [*more, Job("new", b"2;;;;\nbody")]), "TASKQ_ARGS new")


def test_it_is_not_moved_since_what_is_left_of_its_time_is_unknown(kit: Kit):
    seed(kit, ready={"new": 7})
    before = kit.snapshot()
    assert kit.run(browsing.move(kit.keys, "new", "other", "fresh")) == "V"
    assert kit.snapshot() == before


def test_no_task_is_told_of_it(kit: Kit):
    seed(kit, ready={"new": 7})
    stored = f"{AT};2;;;;\n".encode() + encode_body("looks.like.one", b"")
    kit.command("HSET", kit.keys.key("jobs"), "new", stored)
    assert kit.run(lifecycle.watch(kit.keys))
    feed = Link(kit.link.address, timeout=10)
    feed.exchange(Command(("SUBSCRIBE", keys.events(kit.keys.namespace)), bytes).pack())
    step(kit)
    [event] = lifecycle.parse_events(feed.receive()[2])
    feed.close()
    assert (event.kind, event.id, event.task) == ("started", "q/new", None)
