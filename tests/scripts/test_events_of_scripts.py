"""What each script tells while a queue is watched: which events, with what in them; and nothing while it is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from broker_kit import NOW, SECOND, TIMES, Kit, data, job

from taskq.broker import jobs, keys, lifecycle, queues, work, workers
from taskq.broker.address import parse_url
from taskq.broker.call import Command
from taskq.broker.connection import Link
from taskq.broker.lifecycle import LifecycleEvent, parse_events
from taskq.broker.work import Finish, FullSettlement, StepRequest
from taskq.model.job import Job, encode_body
from taskq.model.outcome import ErrorInfo, add_error

MAX_EVENTS = 1000
Told = Callable[[], list[LifecycleEvent]]
BODY = encode_body("mail.send", b"\x91\x01")
GUARD = {"tick": str(NOW), "grace": str(NOW)}
META = {"discipline": "fifo", "maxsize": "0"} | GUARD
ERRORS = add_error(
    add_error(b"", ErrorInfo("ValueError", "old", "t")), ErrorInfo("app.Late", "new; one\n\xe9", "t" * 2000)
)
SECRET = "hush"


@pytest.fixture
def told(kit: Kit) -> Iterator[Told]:
    """Returns the events of what ran since, of at most one message."""
    channel = keys.events(kit.keys.namespace)
    link = Link(kit.link.address, timeout=10)
    link.exchange(Command(("SUBSCRIBE", channel), bytes).pack())

    def read() -> list[LifecycleEvent]:
        kit.command("PUBLISH", channel, "last")
        found = []
        while (message := link.receive()[2]) != b"last":
            found.append(message)
        assert len(found) <= 1, "one message a script"
        return [event for message in found for event in parse_events(message)]

    yield read
    link.close()


def watch(kit: Kit) -> None:
    assert kit.run(lifecycle.watch(kit.keys))


def put(kit: Kit, *uniques: str, body: bytes = BODY) -> None:
    """Store jobs; text, as the kit seeds it, could not hold an encoded body."""
    kit.command(
        "HSET", kit.keys.key("jobs"), *[part for unique in uniques for part in (unique, data("").encode() + body)]
    )


def sent(unique: str, body: bytes = BODY, *, delay_ms: int = 0, **header: Any) -> Job:
    made = job(unique, "", delay_ms=delay_ms, **header)
    return Job(unique, made.data + body, delay_ms)


def event(kind: str, unique: str = "a", **more: Any) -> LifecycleEvent:
    return LifecycleEvent(
        **{"kind": kind, "at": NOW / 1e6, "queue": "q", "id": f"q/{unique}", "task": "mail.send"} | more
    )


def worked(kind: str, unique: str = "a", **more: Any) -> LifecycleEvent:
    return event(kind, unique, **{"worker": "w", "attempt": 1, "delivery": 1} | more)


def seed(kit: Kit, *, state: str = "", lease: str = "1;5;1;0", **more: Any) -> None:
    """A watched queue with job ``a`` at worker ``w``."""
    put(kit, "a")
    kit.seed(meta=META, lease_w={"a": lease}, workers={"w": NOW + 10 * SECOND}, **more)
    if state:
        kit.seed(state={"a": state})
    watch(kit)


def settle(
    kit: Kit, verdict: str, *, errors: bytes = b"", ms: int = 5000, delivery: str = "1", worker: str = "w"
) -> None:
    full = FullSettlement("a", delivery, verdict, b"record", ms, errors, "")
    kit.run(work.step(kit.keys, worker, StepRequest(full=[full])))


# -- jobs that come ---


def test_one_job_is_enqueued(kit: Kit, told: Told):
    kit.declare()
    watch(kit)
    kit.run(jobs.enqueue(kit.keys, [sent("a")]))
    assert told() == [event("enqueued")]


def test_of_many_those_that_are_accepted(kit: Kit, told: Told):
    put(kit, "old")
    kit.seed(meta=META | {"maxsize": "3"}, ready={"old": 1})
    watch(kit)
    batch = [sent("old"), sent("a", flags="i"), sent("b", delay_ms=1500), sent("full")]
    assert kit.run(jobs.enqueue(kit.keys, batch)) == "DAAF"
    assert told() == [event("enqueued"), event("enqueued", "b", delay=1.5)]


@pytest.mark.parametrize("letter", "DCF")
def test_a_job_that_is_not_accepted_is_not_told(kit: Kit, told: Told, letter):
    put(kit, "a")
    kit.seed(meta=META | {"maxsize": "1"}, ready={"a": 1})
    watch(kit)
    offered = {"D": sent("a"), "C": sent("a", b"other"), "F": sent("b")}[letter]
    assert kit.run(jobs.enqueue(kit.keys, [offered])) == letter
    assert told() == []


def test_a_follow_up_is_enqueued_once(kit: Kit, told: Told):
    kit.declare()
    watch(kit)
    call = jobs.relay(kit.keys, [sent("a"), sent("b", delay_ms=2000), Job("bad", b"")])
    assert kit.run(call) == "AAX"
    assert told() == [event("enqueued"), event("enqueued", "b", delay=2.0)]
    kit.run(call)
    assert told() == []


def test_a_dead_job_that_is_retried_is_enqueued(kit: Kit, told: Told):
    put(kit, "a", "b")
    kit.seed(meta=META, dead={"a": NOW})
    watch(kit)
    assert kit.run(jobs.requeue(kit.keys, ["a", "b", "gone"])) == 1
    assert told() == [event("enqueued")]


# -- jobs with a worker ---


@pytest.mark.parametrize(
    ("state", "delivery", "attempt"), [("", 1, 1), ("4;2;0;0;0\nerrors", 5, 3)], ids=["first", "third"]
)
def test_a_claimed_job_is_started(kit: Kit, told: Told, state, delivery, attempt):
    put(kit, "a")
    kit.seed(meta=META, ready={"a": 5}, **({"state": {"a": state}} if state else {}))
    kit.worker()
    watch(kit)
    kit.claim()
    assert told() == [worked("started", delivery=delivery, attempt=attempt)]


def test_a_suspect_is_started(kit: Kit, told: Told):
    put(kit, "a")
    kit.seed(meta=META, suspect={"a": NOW}, state={"a": "1;0;1;0;0"})
    kit.worker()
    watch(kit)
    kit.claim(0, suspects=1)
    assert told() == [worked("started", delivery=2)]


def test_a_damaged_job_is_quarantined(kit: Kit, told: Told):
    kit.seed(meta=META, jobs={"a b\n": "no header"}, ready={"a b\n": 5})
    kit.worker()
    watch(kit)
    kit.claim()
    assert told() == [event("quarantined", "a b\n", worker="w", task=None)]


@pytest.mark.parametrize("state", ["", "3;1;0;0;0\nold"])
def test_a_job_without_a_result_has_succeeded(kit: Kit, told: Told, state):
    seed(kit, state=state)
    kit.run(work.step(kit.keys, "w", StepRequest(plain=["a", "1", "gone", "1"])))
    assert told() == [worked("succeeded", attempt=2 if state else 1)]


@pytest.mark.parametrize(("verdict", "kind"), [("o", "succeeded"), ("x", "cancelled")])
def test_a_job_with_a_result_has_ended(kit: Kit, told: Told, verdict, kind):
    seed(kit)
    settle(kit, verdict)
    assert told() == [worked(kind)]


def test_a_retried_job_says_when_and_why(kit: Kit, told: Told):
    seed(kit, state="1;1;0;0;0\nold", lease="2;5;1;0")
    settle(kit, "r", ms=250, errors=ERRORS, delivery="2")
    why = {"error_type": "app.Late", "error_message": "new; one\n\xe9"}
    assert told() == [worked("retried", delivery=2, attempt=2, delay=0.25, **why)]


def test_a_failed_job_is_dead_after_that(kit: Kit, told: Told):
    seed(kit)
    settle(kit, "f", errors=ERRORS)
    why = {"error_type": "app.Late", "error_message": "new; one\n\xe9"}
    assert told() == [worked("failed", **why), event("dead", worker="w")]


def test_a_crashed_job_says_why(kit: Kit, told: Told):
    seed(kit)
    settle(kit, "c", errors=ERRORS)
    assert told() == [worked("crashed", error_type="app.Late", error_message="new; one\n\xe9")]


def test_a_stale_settlement_is_not_told(kit: Kit, told: Told):
    seed(kit, lease="2;5;1;0")
    settle(kit, "f", delivery="1")
    assert told() == []


def test_what_a_step_settles_is_told_before_what_it_claims(kit: Kit, told: Told):
    seed(kit, ready={"b": 5})
    put(kit, "b")

    kit.run(work.step(kit.keys, "w", StepRequest(plain=["a", "1"], count=1)))
    assert told() == [worked("succeeded"), worked("started", "b")]


@pytest.mark.parametrize("lease", ["1;5;0;0", "1;5;1;0"])
def test_only_a_started_job_of_a_vanished_worker_is_lost(kit: Kit, told: Told, lease):
    seed(kit, lease=lease)
    kit.command("ZADD", kit.keys.key("workers"), NOW - 1, "w")
    assert kit.run(workers.reap(kit.keys, "w", TIMES)) == (1, 0)
    assert told() == ([worked("lost")] if lease == "1;5;1;0" else [])


def test_a_job_given_back_is_not_told(kit: Kit, told: Told):
    seed(kit)
    assert kit.run(work.release(kit.keys, "w", [("a", "1", 0)])) == "A"
    assert told() == []


def test_a_job_given_back_for_later_is_not_told(kit: Kit, told: Told):
    seed(kit)
    assert kit.run(work.release(kit.keys, "w", [("a", "1", 1000)])) == "A"
    assert told() == []


def test_a_reconciled_job_is_not_told(kit: Kit, told: Told):
    seed(kit)
    assert kit.run(workers.reconcile(kit.keys, "w", [])) == (1, [])
    assert told() == []


@pytest.mark.parametrize("way", ["release", "reconcile", "reap"])
def test_a_damaged_lease_quarantines_its_job(kit: Kit, told: Told, way):
    seed(kit, lease="1;nan;0;0")
    if way == "release":
        kit.run(work.release(kit.keys, "w", [("a", "1", 0)]))
    elif way == "reconcile":
        kit.run(workers.reconcile(kit.keys, "w", []))
    else:
        kit.command("ZADD", kit.keys.key("workers"), NOW - 1, "w")
        kit.run(workers.reap(kit.keys, "w", TIMES))
    assert told() == [event("quarantined", worker=None if way == "release" else "w")]


# -- jobs that end inside a script: told when they are finished ---


@pytest.mark.parametrize(
    ("reason", "kinds"),
    [
        ("cancelled", ["cancelled"]), ("purged", ["cancelled"]), ("moved to b 0", ["cancelled"]),
        ("expired", ["expired"]), ("unknown", ["failed", "dead"]), ("crashed", ["dead"]), ("lost", ["dead"]),
        ("by hand", ["dead"]),
    ],
)  # fmt: skip
def test_a_job_that_ended_inside_a_script_is_told_once(kit: Kit, told: Told, reason, kinds):
    put(kit, "a")
    kit.seed(meta=META, state={"a": "1;0;0;0;0"}, ended={"a": reason})
    watch(kit)
    call = work.end(kit.keys, [Finish("a", reason, b"record", 1000, "", "dead" in kinds, b"")])
    assert kit.run(call) == "A"
    assert told() == [event(kind) for kind in kinds]
    assert kit.run(call) == "S"
    assert told() == []


def test_an_unknown_task_says_so(kit: Kit, told: Told):
    put(kit, "a")
    kit.seed(meta=META, ended={"a": "unknown"})
    watch(kit)
    kit.run(work.end(kit.keys, [Finish("a", "unknown", b"", 0, "", True, ERRORS)]))
    assert told()[0] == event("failed", error_type="app.Late", error_message="new; one\n\xe9")


@pytest.mark.parametrize("way", ["cancel", "purge"])
def test_who_ends_a_job_leaves_the_telling_to_who_finishes_it(kit: Kit, told: Told, way):
    put(kit, "a")
    kit.seed(meta=META, ready={"a": 5})
    watch(kit)
    kit.run(jobs.cancel(kit.keys, "a") if way == "cancel" else queues.purge(kit.keys))
    assert told() == []
    assert kit.read("ended") == {"a": "cancelled" if way == "cancel" else "purged"}


# -- bounds and faults ---


@pytest.mark.parametrize(
    "call",
    [
        lambda kit: jobs.enqueue(kit.keys, [sent("n")]),
        lambda kit: jobs.enqueue(kit.keys, [sent("n"), sent("m")]),
        lambda kit: work.step(kit.keys, "w", StepRequest(plain=["a", "1"], count=5)),
        lambda kit: jobs.requeue(kit.keys, ["d"]),
    ],
    ids=["enqueue_one", "enqueue", "step", "requeue"],
)
def test_a_repeated_call_tells_nothing(kit: Kit, told: Told, call):
    seed(kit, ready={"r": 5}, dead={"d": NOW})
    put(kit, "r", "d")

    kit.run(call(kit), seq=7)
    assert told() != []
    kit.run(call(kit), seq=7)
    assert told() == []


def published(kit: Kit) -> int:
    lines = kit.command("INFO", "commandstats").decode().splitlines()
    return sum(int(line.split("calls=")[1].split(",")[0]) for line in lines if line.startswith("cmdstat_publish:"))


@pytest.mark.parametrize("before", ["nobody", "over"])
def test_nothing_is_published_while_nobody_watches(kit: Kit, before):
    put(kit, "d", "e")
    kit.seed(meta=META, dead={"d": NOW}, ended={"e": "expired"})
    kit.worker()
    if before == "over":
        kit.run(lifecycle.watch(kit.keys, 1000))
        kit.advance(1)
    count = published(kit)
    kit.run(jobs.enqueue(kit.keys, [sent("a")]))
    kit.run(jobs.enqueue(kit.keys, [sent("b"), sent("c")]))
    kit.run(jobs.requeue(kit.keys, ["d"]))
    kit.run(jobs.relay(kit.keys, [sent("f")]))
    kit.run(work.end(kit.keys, [Finish("e", "expired", b"", 0, "", False)]))
    assert len(kit.claim()) == 5
    settled = [FullSettlement("c", "1", "f", b"", 0, b"", ""), FullSettlement("d", "1", "r", b"", 5, b"", "")]
    assert kit.run(work.step(kit.keys, "w", StepRequest(plain=["a", "1"], full=settled))).letters == "AAA"
    assert kit.run(work.release(kit.keys, "w", [("b", "1", 0)])) == "A"
    assert published(kit) == count
    assert "watch" not in kit.read("meta")


def test_a_run_tells_a_thousand_events_and_how_many_more_there_were(kit: Kit, told: Told):
    kit.declare()
    watch(kit)
    kit.run(jobs.enqueue(kit.keys, [sent(f"j{n:04}") for n in range(MAX_EVENTS + 1)]))
    events = told()
    assert [each.id for each in events[:-1]] == [f"q/j{n:04}" for n in range(MAX_EVENTS)]
    assert events[-1] == LifecycleEvent("gap", NOW / 1e6, "q", missed=1)


def test_a_run_tells_errors_up_to_a_megabyte(kit: Kit, told: Told):
    uniques = [f"j{n}" for n in range(20)]
    put(kit, *uniques)
    kit.seed(meta=META, workers={"w": NOW + 10 * SECOND})
    kit.seed(lease_w=dict.fromkeys(uniques, "1;5;1;0"))
    watch(kit)
    errors = add_error(b"", ErrorInfo("E", "m", "t" * 60_000))
    full = [FullSettlement(unique, "1", "r", b"", 5, errors, "") for unique in uniques]
    kit.run(work.step(kit.keys, "w", StepRequest(full=full)))
    assert [each.error_type for each in told()] == ["E"] * 16 + [None] * 4


def test_errors_too_large_for_an_event_stay_out_of_it(kit: Kit, told: Told):
    seed(kit)
    settle(kit, "r", errors=add_error(b"", ErrorInfo("E", "m", "t" * 70_000)))
    assert told() == [worked("retried", delay=5.0)]


@pytest.mark.parametrize("name", ["t", "n" * 31, "n" * 32, "n" * 200])
def test_the_longest_name_of_a_task_is_told_and_no_argument(kit: Kit, told: Told, name):
    kit.declare()
    watch(kit)
    made = Job("a", b"1;ix;token1234567;86400000;\n" + encode_body(name, b"secret" * 100))
    kit.run(jobs.enqueue(kit.keys, [made]))
    assert [each.task for each in told()] == [name]


@pytest.mark.parametrize(
    "body", [b"", b"\x92", b"\x92\xda\x01\x00", b"no msgpack", b"\x92\xa9mail", b"\x92\xd9\xffshort"]
)
def test_a_body_without_a_name_has_no_task(kit: Kit, told: Told, body):
    kit.declare()
    watch(kit)
    kit.run(jobs.enqueue(kit.keys, [sent("a", body)]))
    assert told() == [event("enqueued", task=None)]


def test_a_missing_right_to_the_channel_undoes_nothing(kit: Kit):
    kit.declare()
    watch(kit)
    name = kit.keys.namespace
    kit.command("ACL", "SETUSER", name, "reset", "on", f">{SECRET}", "~*", "+@all", "resetchannels")
    address = dataclasses.replace(parse_url(kit.url), username=name, password=SECRET)
    link, kit.link = kit.link, Link(address)
    try:
        assert kit.run(jobs.enqueue(kit.keys, [sent("a")])) == "A"
        assert kit.run(jobs.enqueue(kit.keys, [sent("b"), sent("c")])) == "AA"
    finally:
        kit.link.close()
        kit.link = link
        kit.command("ACL", "DELUSER", name)
    assert sorted(kit.read("ready")) == ["a", "b", "c"]


def test_a_meta_of_a_wrong_type_hinders_no_finish_that_did_not_need_it(kit: Kit):
    put(kit, "a")
    kit.seed(meta="text", ended={"a": "by hand"})
    assert kit.run(work.end(kit.keys, [Finish("a", "by hand", b"", 0, "", False)])) == "A"
