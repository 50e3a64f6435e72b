"""The scripts as they are shipped, on the server's own clock: one job's whole life on every kind of server."""

from __future__ import annotations

import time

import pytest
from broker_kit import TIMES, Kit, claims_of, commands_of, job

from taskq.broker import jobs, queues, scripts, work, workers
from taskq.broker.call import Command
from taskq.broker.session import Session
from taskq.broker.work import FullSettlement, StepRequest
from taskq.model.discipline import Discipline


@pytest.fixture
def session(kit: Kit):
    session = Session(kit.link.address)
    yield session
    session.close()


def test_every_script_loads(kit: Kit, session: Session):
    for script in scripts.load().values():
        sha = session.read(Command(("SCRIPT", "LOAD", script.source), bytes.decode))
        assert sha == script.sha


@pytest.mark.parametrize("discipline", Discipline)
def test_a_job_lives_and_ends_on_the_servers_clock(kit: Kit, session: Session, discipline):
    before = time.time()
    session.run(queues.declare(kit.keys, discipline, 0, "me"))
    assert session.run(jobs.enqueue(kit.keys, [job("a"), job("b", delay_ms=20), job("c")])) == "AAA"
    assert session.run(workers.register(kit.keys, "w", TIMES))
    reply = session.run(work.step(kit.keys, "w", StepRequest(count=2)))
    assert abs(reply.now / 1_000_000 - before) < 60
    order = "ca" if discipline is Discipline.LIFO else "ac"
    assert claims_of(reply) == [(unique, "1") for unique in order]
    done = [FullSettlement("a", "1", "o", b"record", 60_000, b"", "")]
    assert session.run(work.step(kit.keys, "w", StepRequest(plain=["c", "1"], full=done))).letters == "AA"
    deadline = time.monotonic() + 5
    while not claims_of(reply := session.run(work.step(kit.keys, "w", StepRequest(count=1)))):
        assert time.monotonic() < deadline
    assert claims_of(reply) == [("b", "1")]
    assert session.run(workers.heartbeat(kit.keys, "w", TIMES)).held == 1
    assert session.run(work.release(kit.keys, "w", [("b", "1", 0)])) == "A"
    assert session.run(jobs.cancel(kit.keys, "b")) == "C"
    assert session.run(work.step(kit.keys, "w", StepRequest(count=1))).claims == []
    assert session.run(workers.deregister(kit.keys, "w")) == 0
    [ended] = session.run(work.ended(kit.keys))[1]
    assert session.run(work.end(kit.keys, [work.Finish("b", ended.reason, b"", 0, "", False)])) == "A"
    assert set(kit.snapshot()) == {"meta", "r:a"}
    assert kit.counters() == {"enqueued": 3, "done": 2, "cancelled": 1}


def test_a_step_runs_as_few_commands_for_a_hundred_jobs_as_for_one(kit: Kit, session: Session):
    session.run(queues.declare(kit.keys, Discipline.FIFO, 0, "me"))
    session.run(workers.register(kit.keys, "w", TIMES))
    session.run(jobs.enqueue(kit.keys, [job(f"j{n:03}") for n in range(250)]))
    few, many = (work.step(kit.keys, "w", StepRequest(count=count)) for count in (1, 100))
    assert commands_of(kit, few) <= 19
    assert commands_of(kit, many) <= 24
    held = list(kit.read("l:w"))[:100]
    settle = work.step(kit.keys, "w", StepRequest(plain=[part for unique in held for part in (unique, "1")]))
    assert commands_of(kit, settle) <= 19


@pytest.mark.parametrize(("count", "commands"), [(1, 8), (2, 13)])
def test_an_enqueue_runs_few_commands(kit: Kit, session: Session, count, commands):
    session.run(queues.declare(kit.keys, Discipline.FIFO, 0, "me"))
    assert commands_of(kit, jobs.enqueue(kit.keys, [job(f"j{n}") for n in range(count)])) <= commands
