"""Every script, with its connection cut at every kind of place: it takes effect once, and the caller gets the answer.

The calls run on a clock that stands still, so that what a cut leaves behind is compared key by key with what one run
leaves behind.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from broker_kit import Kit, Snapshot, guarded
from chaos.cut_cases import CASES, TWICE_WITHOUT_SESSION
from chaos.proxy import NONE, Fault, Proxy
from servers import TestServer

from taskq.broker import scripts
from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
from taskq.broker.call import Call, Command
from taskq.broker.connection import Link
from taskq.errors import BrokerUnavailable, Indeterminate

DEADLINE = 10.0  # seconds for which a call is repeated; one cut costs a few milliseconds
SHORT = 0.05  # seconds, where no answer will ever come
NAMESPACE = "cuts"
ECHO = Command(("ECHO", "mine"), bytes.decode)

# Where the connection is cut, for requests and replies of n bytes.
IN_REQUEST: dict[str, Callable[[int], int]] = {
    "before the request": lambda _: 0,
    "in the request": lambda n: n // 2,
    "before the last byte of the request": lambda n: n - 1,
    "after the request": lambda n: n,
}
IN_REPLY: dict[str, Callable[[int], int]] = {
    "before the reply": lambda _: 0,
    "after a byte of the reply": lambda _: 1,
    "in the reply": lambda n: n // 2,
    "before the last byte of the reply": lambda n: n - 1,
    "after the reply": lambda n: n,
}


@dataclass(frozen=True)
class Expected:
    """What one run answers, leaves and tells, what a second one with another session does, and the exchange's bytes."""

    answer: Any
    state: Snapshot
    told: list[bytes]
    again: Any
    state_again: Snapshot
    request: int
    reply: int

    def fault(self, place: str) -> Fault:
        """Return the cut at ``place``; every second one without a RST."""
        if place in IN_REQUEST:
            return Fault(request=IN_REQUEST[place](self.request), reset=list(IN_REQUEST).index(place) % 2 == 0)
        return Fault(reply=IN_REPLY[place](self.reply), reset=list(IN_REPLY).index(place) % 2 == 0)


class Rig:
    """A server, the proxy before it, and one case's queue on it."""

    def __init__(self, server: TestServer, proxy: Proxy) -> None:
        self.server = server
        self.proxy = proxy
        self.kit = Kit(server.url, NAMESPACE)
        self._listener = Link(parse_url(server.url))
        self._listener.exchange(Command(("PSUBSCRIBE", f"{NAMESPACE}:reply:*"), bytes).pack())
        self._known: dict[str, Expected] = {}

    def prepare(self, name: str) -> Call[Any]:
        """Bring the server into the state of a case; return its call."""
        self.proxy.coming.clear()
        self.proxy.always = NONE
        self.kit.command("FLUSHALL")
        self.kit.link.close()
        self.kit = Kit(self.server.url, NAMESPACE)
        call = CASES[name](self.kit)
        call = dataclasses.replace(call, script=guarded(call.script.name))
        self.kit.command("SCRIPT", "LOAD", call.script.source)
        self.told()
        return call

    def told(self) -> list[bytes]:
        """Return what scripts told waiters since this was asked last; all of them live."""
        self.kit.command("PUBLISH", f"{NAMESPACE}:reply:rig", "last")
        found = []
        while (message := self._listener.receive())[3] != b"last":
            found.append(message[2].rpartition(b":")[2] + message[3])
        return found

    def expected(self, name: str) -> Expected:
        """Run a case without a fault."""
        if name not in self._known:
            call = self.prepare(name)
            with self.broker() as broker:
                broker.read(ECHO)
                self.proxy.arm(NONE)
                answer = broker.run(call)
                ((request, reply),) = self.proxy.passed()
            state, told = self.kit.snapshot(), self.told()
            again = self.kit.run(call, session="another")
            self._known[name] = Expected(answer, state, told, again, self.kit.snapshot(), request, reply)
        return self._known[name]

    def broker(self, deadline: float = DEADLINE) -> _Closing:
        return _Closing(parse_url(self.proxy.url), NAMESPACE, deadline=deadline)

    def close(self) -> None:
        self.kit.link.close()
        self._listener.close()

    def forget_sessions(self) -> None:
        """Lose the stored replies, as a failover may; in the proxy's thread."""
        with self.server.client() as client:
            for key in client.scan_iter(f"{NAMESPACE}:*:s:*"):
                client.delete(key)


class _Closing(Broker):
    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with TestServer() as server, Proxy(server.socket) as proxy:
        rig = Rig(server, proxy)
        yield rig
        rig.close()


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first repetition follows soon, or the pauses were most of the time."""
    monkeypatch.setattr("taskq.broker.session.FIRST_PAUSE", 0.002)


def in_one_go(rig: Rig, call: Call[Any], strike: Callable[[], object]) -> Any:
    with rig.broker() as broker:
        broker.read(ECHO)
        strike()
        answer = broker.run(call)
        assert broker.read(ECHO) == "mine"
    return answer


def in_two_halves(rig: Rig, call: Call[Any], strike: Callable[[], object]) -> Any:
    with rig.broker() as broker:
        with broker.session() as session:
            session.read(ECHO)
            strike()
            answer = session.finish(session.begin(call))
            assert session.read(ECHO) == "mine"
        return answer


def in_a_loop(rig: Rig, call: Call[Any], strike: Callable[[], object]) -> Any:
    async def main() -> Any:
        broker = rig.broker()
        await broker.aread(ECHO)
        strike()
        answer = await broker.arun(call)
        assert await broker.aread(ECHO) == "mine"
        await broker.aclose()
        return answer

    return asyncio.run(main())


def on_a_new_connection(rig: Rig, call: Call[Any], strike: Callable[[], object]) -> Any:
    with rig.broker() as broker:
        strike()
        answer = broker.run(call)
        assert broker.read(ECHO) == "mine"
    return answer


DRIVERS = [in_one_go, in_two_halves, in_a_loop, on_a_new_connection]
# Who sends many jobs does so in two halves; these stand for calls with a session and for those without.
HALVED = {"step", "enqueue", "release", "heartbeat"}
WAYS = [(name, driver) for name in CASES for driver in DRIVERS if driver is not in_two_halves or name in HALVED]
ARRIVED = {"after the request", *IN_REPLY}  # the script has run, or will
ANSWERED = "after the reply"


def test_every_script_has_a_case() -> None:
    assert {name.partition(":")[0] for name in CASES} == set(scripts.load())


def test_what_is_said_of_second_runs_is_said_of_cases() -> None:
    assert set(TWICE_WITHOUT_SESSION) <= set(CASES)


@pytest.mark.fault(11, 12)
@pytest.mark.parametrize("place", [*IN_REQUEST, *IN_REPLY])
@pytest.mark.parametrize(("name", "driver"), WAYS)
def test_a_call_whose_connection_is_cut_takes_effect_once(rig: Rig, name: str, place: str, driver: Any) -> None:
    expected = rig.expected(name)
    call = rig.prepare(name)
    before, started = rig.proxy.accepted, time.monotonic()
    fault = expected.fault(place)
    begin = rig.proxy.coming.append if driver is on_a_new_connection else rig.proxy.arm
    answer = driver(rig, call, lambda: begin(fault))
    assert time.monotonic() - started < DEADLINE
    assert rig.proxy.accepted - before == 2, "the connection was given up"
    twice = not call.script.has_session and place in ARRIVED and place != ANSWERED
    if twice and place == "after the request":  # either run may be the first
        assert answer in (expected.answer, expected.again)
    else:
        assert answer == (expected.again if twice else expected.answer)
    assert rig.kit.snapshot() == expected.state
    told = rig.told()
    assert told == expected.told or (twice and told[: len(expected.told)] == expected.told)


@pytest.mark.parametrize("name", sorted(set(CASES) - set(TWICE_WITHOUT_SESSION)))
def test_a_second_run_changes_nothing_although_the_session_is_lost(rig: Rig, name: str) -> None:
    expected = rig.expected(name)
    assert expected.state_again == expected.state


@pytest.mark.parametrize("name", TWICE_WITHOUT_SESSION)
def test_the_list_of_what_only_a_session_protects_is_true(rig: Rig, name: str) -> None:
    expected = rig.expected(name)
    assert expected.state_again != expected.state


@pytest.mark.parametrize("place", IN_REPLY)
@pytest.mark.parametrize("name", CASES)
def test_a_call_whose_session_was_lost_with_its_reply_ends_as_after_a_second_run(
    rig: Rig, name: str, place: str
) -> None:
    expected = rig.expected(name)
    call = rig.prepare(name)
    fault = dataclasses.replace(expected.fault(place), cutting=rig.forget_sessions)
    answer = on_a_new_connection(rig, call, lambda: rig.proxy.coming.append(fault))
    if place == ANSWERED:
        assert (answer, rig.kit.snapshot()) == (expected.answer, expected.state)
    else:
        assert (answer, rig.kit.snapshot()) == (expected.again, expected.state_again)


@pytest.mark.parametrize("name", CASES)
def test_a_call_in_single_bytes_is_answered(rig: Rig, name: str) -> None:
    expected = rig.expected(name)
    call = rig.prepare(name)
    with rig.broker() as broker:
        rig.proxy.coming.append(Fault(piece=1))
        assert broker.run(call) == expected.answer
    assert rig.kit.snapshot() == expected.state


@pytest.mark.parametrize("place", IN_REPLY)
@pytest.mark.parametrize("name", ["enqueue", "heartbeat", "step", "take_permit"])
def test_a_cut_of_a_call_whose_script_the_server_forgot_takes_effect_once(rig: Rig, name: str, place: str) -> None:
    expected = rig.expected(name)
    call = rig.prepare(name)
    refusal = len(b"-NOSCRIPT No matching script. Please use EVAL.\r\n")
    rig.kit.command("SCRIPT", "FLUSH")
    fault = Fault(reply=refusal + max(1, IN_REPLY[place](expected.reply)))
    on_a_new_connection(rig, call, lambda: rig.proxy.coming.append(fault))
    assert rig.kit.snapshot() == expected.state


@pytest.mark.fault(11)
@pytest.mark.parametrize("name", CASES)
def test_a_call_that_is_never_answered_says_so_and_took_effect_once(rig: Rig, name: str) -> None:
    expected = rig.expected(name)
    call = rig.prepare(name)
    rig.proxy.always = Fault(reply=0)
    with rig.broker(SHORT) as broker, pytest.raises(Indeterminate, match=r"the \w+ may have run, repeating it"):
        broker.run(call)
    assert rig.kit.snapshot() == expected.state


@pytest.mark.fault(12)
@pytest.mark.parametrize("name", CASES)
def test_a_call_that_is_refused_a_connection_has_no_effect_and_works_later(rig: Rig, name: str) -> None:
    expected = rig.expected(name)
    call = rig.prepare(name)
    before = rig.kit.snapshot()
    rig.proxy.refuse()
    with rig.broker(SHORT) as broker:
        try:
            with pytest.raises(BrokerUnavailable, match="cannot be reached: Connection refused"):
                broker.run(call)
        finally:
            rig.proxy.listen()
        assert rig.kit.snapshot() == before
        assert broker.run(call) == expected.answer


@pytest.mark.fault(14)
@pytest.mark.parametrize("way", ["request", "reply"])
def test_a_half_open_connection_is_given_up_and_the_call_repeated(rig: Rig, way: str) -> None:
    expected = rig.expected("step")
    call = rig.prepare("step")
    rig.proxy.coming.append(Fault(**{way: 3}, silent=True))
    with rig.broker(2.0) as broker:  # a second without a byte
        assert broker.run(call) == expected.answer
    assert rig.kit.snapshot() == expected.state


@pytest.mark.fault(15)
@pytest.mark.parametrize("turns", range(1, 10))
@pytest.mark.parametrize("place", [*IN_REQUEST, *IN_REPLY])
def test_a_cancelled_call_whose_connection_is_cut_takes_effect_once(rig: Rig, place: str, turns: int) -> None:
    expected = rig.expected("step")
    call = rig.prepare("step")

    async def main() -> str:
        broker = rig.broker()
        await broker.aread(ECHO)
        rig.proxy.arm(expected.fault(place))
        task = asyncio.ensure_future(broker.arun(call))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        echo = await broker.aread(ECHO)
        await broker.aclose()
        return echo

    assert asyncio.run(main()) == "mine"
    assert rig.kit.snapshot() == expected.state


@pytest.mark.fault(13)
@pytest.mark.parametrize("name", ["enqueue", "heartbeat", "step"])
def test_a_slow_network_delays_the_answer_only(rig: Rig, name: str) -> None:
    expected = rig.expected(name)
    call = rig.prepare(name)
    with rig.broker() as broker:
        rig.proxy.coming.append(Fault(delay=0.2, rate=10_000))
        assert broker.run(call) == expected.answer
    assert rig.kit.snapshot() == expected.state


@pytest.mark.fault(10)
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_server_that_stalls_longer_than_a_client_waits_runs_the_call_once(
    rig: Rig, driver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request that was given up waits in the server, which runs it before or after the one that repeats it."""
    monkeypatch.setattr("taskq.broker.session.REPLY_TIMEOUT", 0.1)
    expected = rig.expected("step")
    call = rig.prepare("step")
    before, stall = rig.proxy.accepted, Command(("DEBUG", "SLEEP", 0.3), bytes).pack()
    answer = driver(rig, call, lambda: rig.kit.link.send(stall))
    assert rig.kit.link.receive() == b"OK"
    assert rig.proxy.accepted - before > 1, "the first request was given up"
    assert answer == expected.answer
    assert rig.kit.snapshot() == expected.state
