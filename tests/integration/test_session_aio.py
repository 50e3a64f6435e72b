"""The asyncio session: the same numbers and retry rules, and a cancelled caller mixes up nobody's reply."""

from __future__ import annotations

import asyncio

import pytest
from broker_kit import Kit, job
from chaos.proxy import Fault, Proxy
from tcp_kit import greeting, nobody

from taskq.broker import jobs
from taskq.broker.address import parse_url
from taskq.broker.aio import AsyncSession
from taskq.broker.call import Command
from taskq.errors import BrokerUnavailable, Indeterminate, WrongServer


@pytest.fixture
def kit(server, namespace):
    kit = Kit(server.url, namespace)
    kit.declare()
    yield kit
    kit.close()


@pytest.fixture
def proxy(server):
    with Proxy(server.socket) as proxy:
        yield proxy


def run(url: str, work, deadline: float = 20.0):
    """Run ``work(session)`` in a loop of its own."""

    async def main():
        session = AsyncSession(parse_url(url), deadline=deadline)
        try:
            return await work(session)
        finally:
            await session.close()

    return asyncio.run(main())


@pytest.mark.parametrize("cut", [-1, 0, 1, 5, 10])
def test_a_call_whose_reply_was_cut_is_there_once(kit, proxy, cut):
    async def work(session: AsyncSession) -> list[str]:
        proxy.coming.extend([Fault(request=0) if cut < 0 else Fault(reply=cut)] * 2)
        return [await session.run(jobs.enqueue(kit.keys, [job(unique)])) for unique in "ab"]

    assert run(proxy.url, work) == ["A", "A"]
    assert sorted(kit.read("ready")) == ["a", "b"]
    assert kit.counters() == {"enqueued": 2}


def test_a_call_that_is_never_answered_is_indeterminate(kit, proxy):
    proxy.always = Fault(reply=0)
    with pytest.raises(Indeterminate, match=r"the enqueue\w* may have run"):
        run(proxy.url, lambda session: session.run(jobs.enqueue(kit.keys, [job("a")])), 0.4)


def test_a_refused_connection_is_reported(kit):
    with nobody() as url, pytest.raises(BrokerUnavailable, match="cannot be reached"):
        run(url, lambda session: session.run(jobs.enqueue(kit.keys, [job("a")])), 0.3)


def test_a_server_that_is_no_redis_is_told(kit):
    with greeting(answer=b"HTTP/1.1 400 Bad Request\r\n\r\n") as url, pytest.raises(WrongServer):
        run(url, lambda session: session.run(jobs.enqueue(kit.keys, [job("a")])), 0.3)


def test_scripts_are_sent_again_after_a_flush(kit, server):
    async def work(session: AsyncSession) -> list[str]:
        answers = []
        for unique in "abc":
            kit.command("SCRIPT", "FLUSH")
            answers.append(await session.run(jobs.enqueue(kit.keys, [job(unique)])))
        return answers

    assert run(server.url, work) == ["A", "A", "A"]


@pytest.mark.fault(15)
@pytest.mark.parametrize("turns", range(6))
def test_a_cancelled_call_takes_effect_once_and_its_reply_answers_nobody(kit, server, turns):
    async def work(session: AsyncSession) -> tuple[str, list[str]]:
        task = asyncio.ensure_future(session.run(jobs.enqueue(kit.keys, [job("a")])))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        echoes = [await session.read(Command(("ECHO", f"e{n}"), bytes.decode)) for n in range(3)]
        return await session.run(jobs.enqueue(kit.keys, [job("a")])), echoes

    answer, echoes = run(server.url, work)
    assert echoes == ["e0", "e1", "e2"]
    assert answer in {"A", "D"}
    assert list(kit.read("ready")) == ["a"]
    assert kit.counters() == {"enqueued": 1}


def test_tasks_share_a_session_without_mixing_replies(kit, server):
    async def produce(session: AsyncSession, name: str) -> list[bool]:
        found = []
        for n in range(30):
            found.append(await session.run(jobs.enqueue(kit.keys, [job(f"{name}{n}")])) == "A")
            found.append(await session.read(Command(("ECHO", f"{name}{n}"), bytes.decode)) == f"{name}{n}")
        return found

    async def work(session: AsyncSession) -> list[list[bool]]:
        return await asyncio.gather(*(produce(session, name) for name in "abcd"))

    assert all(all(found) for found in run(server.url, work))
    assert len(kit.read("ready")) == 120
