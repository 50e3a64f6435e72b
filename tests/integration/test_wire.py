"""The supervisor's connection: what a reply refuses is told, not raised into the loop."""

from __future__ import annotations

import select

from servers import TestServer

from taskq.broker import work, workers
from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
from taskq.broker.connection import Link
from taskq.broker.work import StepRequest
from taskq.broker.workers import LeaseTimes
from taskq.errors import Fenced, TaskqError
from taskq.worker.wire import Wire


def receive(wire: Wire, links: list[Link]) -> None:
    assert select.select([links[-1].fileno()], [], [], 10)[0]
    wire.receive()


def test_a_step_without_a_lease_is_refused_as_fenced(server: TestServer, namespace: str) -> None:
    broker = Broker(parse_url(server.url), namespace)
    links: list[Link] = []
    wire = Wire(broker, lambda function: function(), "test", lambda link, _: links.append(link) if link else None)
    wire.connect()
    answers: list[object] = []
    refusals: list[TaskqError] = []
    call = work.step(broker.keys("q"), "nobody", StepRequest(count=1))
    wire.call(call, "session", 1, answers.append, refusals.append)
    while wire.busy:
        receive(wire, links)
    assert (answers, [type(error) for error in refusals]) == ([], [Fenced])
    wire.close()
    broker.close()


def test_a_step_with_a_lease_is_answered(server: TestServer, namespace: str) -> None:
    broker = Broker(parse_url(server.url), namespace)
    links: list[Link] = []
    wire = Wire(broker, lambda function: function(), "test", lambda link, _: links.append(link) if link else None)
    wire.connect()
    broker.run(workers.register(broker.keys("q"), "w", LeaseTimes()))
    answers: list[object] = []
    wire.call(work.step(broker.keys("q"), "w", StepRequest(count=1)), "session", 1, answers.append, answers.append)
    while wire.busy:
        receive(wire, links)
    assert [type(answer) for answer in answers] == [work.StepReply]
    wire.close()
    broker.close()
