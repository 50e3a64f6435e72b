"""The claim loop on a real server: what it says and asks when the worker is full."""

from __future__ import annotations

import select
import time
from types import SimpleNamespace
from typing import Any

import pytest
from servers import TestServer

from taskq.broker import jobs, queues, workers
from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
from taskq.broker.call import Command
from taskq.broker.connection import Link
from taskq.broker.workers import LeaseTimes
from taskq.model.discipline import Discipline
from taskq.model.job import Job, encode_body, encode_header
from taskq.worker.claims import Claims
from taskq.worker.leases import ServedQueue
from taskq.worker.options import QueueChoice
from taskq.worker.wire import Wire


class Loop:
    """A worker of ``room`` slots that takes jobs and never finishes them."""

    def __init__(self, broker: Broker, room: int) -> None:
        self.room = room
        self.taken: list[str] = []
        self.links: dict[Wire, Link] = {}
        owner: Any = SimpleNamespace(
            wanted=lambda: (self.room, 0), claimed=self._claimed, noticed=lambda *_: None, fenced=lambda *_: None,
            reconciled=lambda *_: None,
        )  # fmt: skip
        self.claims = Claims(lambda function: function(), self._watch, owner)
        queue = ServedQueue(QueueChoice("q"), broker.keys("q"), "w")
        broker.run(workers.register(queue.keys, "w", LeaseTimes()))
        self.claims.open(broker, [queue])

    def _claimed(self, leases: list) -> None:
        self.taken += [lease.unique for lease in leases]
        self.room -= len(leases)

    def _watch(self, link: Link | None, wire: Wire) -> None:
        if link is None:
            self.links.pop(wire, None)
        else:
            self.links[wire] = link

    def run_until(self, condition, timeout: float = 10.0) -> None:
        limit = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < limit
            self.claims.pump(time.monotonic())
            pause = min(0.02, max(0.0, self.claims.deadline(time.monotonic()) - time.monotonic()))
            ready = select.select([link.fileno() for link in self.links.values()], [], [], pause)[0]
            for wire, link in list(self.links.items()):
                if link.fileno() in ready:
                    wire.receive()


@pytest.mark.corrupts
def test_a_full_worker_sets_the_token_when_a_delayed_job_is_due(server: TestServer, namespace: str) -> None:
    broker = Broker(parse_url(server.url), namespace)
    keys = broker.keys("q")
    data = encode_header().encode() + encode_body("t", b"\x90")
    broker.run(queues.declare(keys, Discipline.FIFO, 0, "test"))
    broker.run(jobs.enqueue(keys, [Job("now", data), Job("later", data, delay_ms=300)]))
    loop = Loop(broker, room=1)
    loop.run_until(lambda: loop.taken)
    token = Command(("LLEN", keys.key("wake")), int)
    loop.run_until(lambda: broker.run(queues.inspect(keys)).ready == 1)
    assert broker.read(token) == 1
    assert loop.taken == ["now"]
    loop.claims.close()
    broker.close()


@pytest.mark.corrupts
def test_a_token_that_comes_when_there_is_no_more_room_is_passed_on(server: TestServer, namespace: str) -> None:
    broker = Broker(parse_url(server.url), namespace)
    keys = broker.keys("q")
    broker.run(queues.declare(keys, Discipline.FIFO, 0, "test"))
    loop = Loop(broker, room=1)
    with server.client() as client:
        name = keys.key("wake")
        loop.run_until(lambda: loop.claims.drained)  # it waits for a token
        loop.room = 0  # it was paused
        broker.run(jobs.enqueue(keys, [Job("one", encode_header().encode() + encode_body("t", b"\x90"))]))
        loop.run_until(lambda: client.llen(name) == 1, timeout=1.0)
    assert loop.taken == []
    loop.claims.close()
    broker.close()
