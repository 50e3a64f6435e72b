"""move.lua: a job that no worker has ends, to go on in another queue."""

from __future__ import annotations

import pytest
from broker_kit import NOW, SECOND, Kit, data, job

from taskq.broker import browsing, jobs, work
from taskq.broker.finishing import finish_of
from taskq.model.discipline import Discipline
from taskq.model.job import split_data


@pytest.mark.parametrize(("place", "due"), [("ready", "0"), ("delayed", "1.8e+15"), ("suspect", "1.8e+15")])
def test_a_job_leaves_its_place_and_says_where_to(kit: Kit, place, due):
    kit.seed(jobs={"a": data(), "b": data()}, **{place: {"a": NOW, "b": NOW}})
    assert kit.run(browsing.move(kit.keys, "a", "other", "fresh")) == "M"
    assert kit.read(place) == {"b": NOW}
    target, unique, when = kit.read("ended")["a"].removeprefix("moved ").split()
    assert (target, unique, float(when)) == ("other", "fresh", float(due))
    assert kit.read("jobs") == {"a": data(), "b": data()}, "until it has ended"


def test_one_of_the_dead_says_so(kit: Kit):
    kit.seed(jobs={"a": data()}, dead={"a": NOW})
    assert kit.run(browsing.move(kit.keys, "a", "other", "fresh")) == "M"
    assert kit.snapshot() == {"jobs": {"a": data()}, "ended": {"a": "moved other fresh dead"}}


def test_one_that_is_on_its_way_says_where_to(kit: Kit):
    kit.seed(jobs={"a": data()}, ready={"a": 1})
    kit.run(browsing.move(kit.keys, "a", "other", "fresh"))
    assert kit.run(browsing.move(kit.keys, "a", "third", "again")) == "moved other fresh 0"


@pytest.mark.parametrize("stored", ["", "garbage", data().replace(";1;", ";0;", 1), "0000000000001;1;x;;;\nbody"])
def test_one_that_no_queue_would_take_stays(kit: Kit, stored):
    kit.seed(jobs={"a": stored}, ready={"a": 1})
    before = kit.snapshot()
    assert kit.run(browsing.move(kit.keys, "a", "other", "fresh")) == "X"
    assert kit.snapshot() == before


@pytest.mark.parametrize(
    ("letter", "keys"),
    [
        ("L", {"lease_w": {"a": "1;5;0;0"}}),
        ("E", {"ended": {"a": "expired"}}),
        ("E", {"quarantine": {"a": NOW}}),
    ],
)
def test_a_job_that_is_elsewhere_stays(kit: Kit, letter, keys):
    kit.seed(jobs={"a": data()}, **keys)
    before = kit.snapshot()
    assert kit.run(browsing.move(kit.keys, "a", "other", "fresh")) == letter
    assert kit.snapshot() == before


def test_an_unknown_job_is_unknown(kit: Kit):
    assert kit.run(browsing.move(kit.keys, "a", "other", "fresh")) == "N"


def test_a_repeated_call_has_no_second_effect(kit: Kit):
    kit.seed(jobs={"a": data()}, ready={"a": 1})
    kit.replays(browsing.move(kit.keys, "a", "other", "fresh"))


@pytest.mark.parametrize(("target", "unique"), [("", "x"), ("a b", "x"), ("a", ""), ("a", "x y"), ("a\n", "x")])
def test_what_is_no_queue_or_id_is_refused(kit: Kit, target, unique):
    kit.seed(jobs={"a": data()}, ready={"a": 1})
    kit.refused(browsing.move(kit.keys, "a", target, unique), "TASKQ_ARGS")


def test_room_in_a_full_queue_is_told(kit: Kit, listen):
    kit.declare(Discipline.FIFO, 1)
    kit.run(jobs.enqueue(kit.keys, [job("a")]))
    from taskq.broker import queues
    from taskq.broker.keys import channels

    kit.run(queues.wait_room(kit.keys, "t/1", "0"))
    with listen(kit, channels(kit.keys.namespace) + "t") as messages:
        kit.run(browsing.move(kit.keys, "a", "other", "fresh"))
        assert messages(1) == [b"~1\n"]


def finished(kit: Kit, unique: str = "a") -> work.Finish:
    now, (ended,) = kit.run(work.ended(kit.keys, unique))
    return finish_of(ended, now, "q")


@pytest.mark.parametrize("place", ["delayed", "suspect"])
def test_what_follows_is_the_job_itself_due_when_it_was(kit: Kit, place):
    kit.seed(jobs={"a": data("body")}, **{place: {"a": NOW + 5 * SECOND}})
    kit.run(browsing.move(kit.keys, "a", "other", "fresh"))
    ((field, message),) = finished(kit).follow_ups
    delay, _, moved = message.partition(b"\n")
    assert (field, int(delay)) == ("other/fresh", 5000)
    assert moved == data("body").partition(";")[2].encode()


def test_the_time_after_which_it_may_not_start_stays(kit: Kit):
    kit.seed(jobs={"a": data(flags="", expires_ms=60_000)}, ready={"a": 1})
    kit.advance(20)
    kit.run(browsing.move(kit.keys, "a", "other", "fresh"))
    ((_, message),) = finished(kit).follow_ups
    header, _ = split_data(b"%013d;" % 0 + message.partition(b"\n")[2])
    assert header.expires_ms == 40_000


def test_one_from_the_dead_is_as_new(kit: Kit):
    kit.seed(jobs={"a": data(expires_ms=1000)}, dead={"a": NOW})
    kit.advance(60)
    kit.run(browsing.move(kit.keys, "a", "other", "fresh"))
    ((_, message),) = finished(kit).follow_ups
    delay, _, moved = message.partition(b"\n")
    assert (delay, moved) == (b"0", data(expires_ms=1000).partition(";")[2].encode())


def test_who_waits_for_it_is_told_where_it_went(kit: Kit):
    kit.seed(jobs={"a": data()}, ready={"a": 1})
    kit.run(browsing.move(kit.keys, "a", "other", "fresh"))
    assert b"moved, it is job other/fresh now" in finished(kit).record
    assert kit.run(work.end(kit.keys, [finished(kit)])) == "A"
    assert kit.snapshot().keys() == {"outbox", "r:a", "meta"}
    assert kit.snapshot()["meta"] == {"moved": "1"}


def test_a_signed_job_goes_on_with_the_header_that_was_made_for_it(kit: Kit):
    kit.seed(jobs={"a": data("body")}, ready={"a": 1})
    assert kit.run(browsing.move(kit.keys, "a", "other", "fresh", "1;;;;;s1:key:mac")) == "M"
    ((_, message),) = finished(kit).follow_ups
    assert message == b"0\n1;;;;;s1:key:mac\nbody"


@pytest.mark.parametrize("sealed", ["two words", "two\nlines", "nul\0"])
def test_a_header_that_a_reason_cannot_carry_is_refused(kit: Kit, sealed):
    kit.seed(jobs={"a": data()}, ready={"a": 1})
    before = kit.snapshot()
    with pytest.raises(Exception, match="TASKQ_ARGS"):
        kit.run(browsing.move(kit.keys, "a", "other", "fresh", sealed))
    assert kit.snapshot() == before
