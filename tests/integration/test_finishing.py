"""Endings and follow-ups: one that is damaged stops no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from servers import TestServer

from taskq.broker import jobs, queues, work
from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
from taskq.broker.call import Command
from taskq.broker.finishing import finish_ended, follow_ups, relay_outbox
from taskq.broker.session import Session
from taskq.broker.workers import LeaseTimes
from taskq.model.discipline import Discipline
from taskq.model.job import Job, encode_body, encode_header
from taskq.worker.reaper import Reaper


@pytest.fixture
def broker(server: TestServer, namespace: str) -> Iterator[Broker]:
    broker = Broker(parse_url(server.url), namespace)
    for name in ("q", "next"):
        broker.run(queues.declare(broker.keys(name), Discipline.FIFO, 0, "test"))
    yield broker
    broker.close()


def job(unique: str) -> Job:
    return Job(unique, encode_header("reply").encode() + encode_body("t", b"\x90"))


@pytest.mark.corrupts
def test_a_foreign_reason_with_braces_stops_no_other_ending(broker: Broker) -> None:
    keys = broker.keys("q")
    broker.run(jobs.enqueue(keys, [job("a"), job("b")]))
    broker.run(jobs.cancel(keys, "a"))
    broker.run(jobs.cancel(keys, "b"))
    broker.read(Command(("HSET", keys.key("ended"), "a", "by {hand"), int))
    assert finish_ended(broker, keys) == 2
    assert broker.run(work.ended(keys))[1] == []


@pytest.mark.corrupts
def test_endings_of_newer_jobs_stay_and_stop_no_other(broker: Broker) -> None:
    keys, left = broker.keys("q"), []
    names = [f"new{number}" for number in range(60)]
    broker.run(jobs.enqueue(keys, [job("a")]))
    broker.run(jobs.cancel(keys, "a"))
    for name in names:
        broker.read(Command(("HSET", keys.key("jobs"), name, b"1;2;{}"), int))
        broker.read(Command(("HSET", keys.key("ended"), name, "expired"), int))
    finish_ended(broker, keys, left=left.append)
    assert left
    assert {name.decode() for name in broker.read(Command(("HKEYS", keys.key("ended")), list))} == set(names)
    assert broker.run(queues.inspect(keys)).dead == 0


def newer(broker: Broker, queue: str, number: int, *, size: int = 0) -> None:
    """Write endings of newer jobs."""
    keys, names = broker.keys(queue), [f"new{n}" for n in range(number)]
    stored = b"1;2;{}" + b"x" * size
    broker.read(Command(("HSET", keys.key("jobs"), *[part for name in names for part in (name, stored)]), int))
    broker.read(Command(("HSET", keys.key("ended"), *[part for name in names for part in (name, "expired")]), int))


@pytest.mark.corrupts
@pytest.mark.parametrize(("number", "size"), [(3000, 0), (60, 400_000)])
def test_endings_behind_thousands_of_newer_ones_are_finished_after_a_few_looks(
    broker: Broker, number: int, size: int
) -> None:
    keys, reaper = broker.keys("q"), Reaper(broker, LeaseTimes(0.1, 0.6), lambda: None)
    newer(broker, "q", number, size=size)
    names = [f"a{n}" for n in range(5)]
    broker.run(jobs.enqueue(keys, [job(name) for name in names]))
    for name in names:
        broker.run(jobs.cancel(keys, name))
    session = Session(broker.address, deadline=20)
    for _ in range(number // 1000 + 2):
        reaper.run_once(session, ("finish", "q", ""))
    left = broker.read(Command(("HLEN", keys.key("ended")), int))
    session.close()
    assert left == number


@pytest.mark.corrupts
def test_one_look_behind_newer_endings_is_bounded_and_the_next_goes_on_there(broker: Broker) -> None:
    keys = broker.keys("q")
    newer(broker, "q", 3000)
    calls: list[str] = []

    class Counting:
        def run(self, call: Any, deadline: float | None = None) -> Any:
            calls.append(call)
            return broker.run(call, deadline)

        read = broker.read

    places: list[str] = []
    for _ in range(4):
        finish_ended(Counting(), keys, left=places.append, after=places[-1] if places else "0")
    assert len(calls) <= 4 * 21
    assert places[0] != "0"
    assert "0" in places, "it comes round"


@pytest.mark.corrupts
def test_a_worker_rests_before_it_looks_at_endings_of_newer_jobs_again(broker: Broker) -> None:
    keys, reaper = broker.keys("q"), Reaper(broker, LeaseTimes(0.1, 0.6), lambda: None)
    broker.read(Command(("HSET", keys.key("ended"), "new", "expired"), int))
    broker.read(Command(("HSET", keys.key("jobs"), "new", b"1;2;{}"), int))
    session = Session(broker.address, deadline=5)
    reaper.run_once(session, ("finish", "q", ""))
    reaper.finish("q")
    assert not reaper._waiting
    reaper.finish("next")
    assert reaper._waiting == {("finish", "next", "")}


@pytest.mark.corrupts
def test_the_cancellation_of_a_newer_job_has_its_result(broker: Broker) -> None:
    keys = broker.keys("q")
    broker.read(Command(("HSET", keys.key("jobs"), "new", b"1;2;{}"), int))
    broker.read(Command(("ZADD", keys.key("ready"), 1, "new"), int))
    assert broker.run(jobs.cancel(keys, "new")) == "C"
    assert finish_ended(broker, keys, "new") == 1
    assert broker.read(jobs.result(keys, "new")) is not None
    assert broker.run(jobs.find(keys, "new")) is None


@pytest.mark.corrupts
def test_a_damaged_message_stops_no_other_follow_up(broker: Broker) -> None:
    keys = broker.keys("q")
    good = follow_ups([("next", "n1", 0, job("n1").data)])
    for name, message in [*good, ("next/n2", b"soon\ndata"), ("no queue/n3", b"0\ndata"), ("next/n4", b"0\nno header")]:
        broker.read(Command(("HSET", keys.key("outbox"), name, message), int))
    assert relay_outbox(broker, broker.keys, "q") == 2
    assert broker.read(jobs.outbox(keys)) == []
    assert broker.run(queues.inspect(broker.keys("next"))).ready == 1


def test_a_link_that_is_none_is_left_out() -> None:
    assert follow_ups([("q", "u", 5, b"d"), ("q", "u"), 7, ("a b", "u", 0, b"")]) == [("q/u", b"5\nd")]  # type: ignore[list-item]
