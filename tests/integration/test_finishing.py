"""Endings and follow-ups: one that is damaged stops no other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers import TestServer

from taskq.broker import jobs, queues, work
from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
from taskq.broker.call import Command
from taskq.broker.finishing import finish_ended, follow_ups, relay_outbox
from taskq.model.discipline import Discipline
from taskq.model.job import Job, encode_body, encode_header


@pytest.fixture
def broker(server: TestServer, namespace: str) -> Iterator[Broker]:
    broker = Broker(parse_url(server.url), namespace)
    for name in ("q", "next"):
        broker.run(queues.declare(broker.keys(name), Discipline.FIFO, 0, "test"))
    yield broker
    broker.close()


def job(unique: str) -> Job:
    return Job(unique, encode_header("reply").encode() + encode_body("t", b"\x90"))


def test_a_foreign_reason_with_braces_stops_no_other_ending(broker: Broker) -> None:
    keys = broker.keys("q")
    broker.run(jobs.enqueue(keys, [job("a"), job("b")]))
    broker.run(jobs.cancel(keys, "a"))
    broker.run(jobs.cancel(keys, "b"))
    broker.read(Command(("HSET", keys.key("ended"), "a", "by {hand"), int))
    assert finish_ended(broker, keys) == 2
    assert broker.run(work.ended(keys))[1] == []


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
