"""An exception that hits one caller in the middle of enqueueing (Ctrl-C, gevent.Timeout) is that one's alone."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

import pytest
from broker_kit import job
from data_queue_kit import Call
from worker_kit import wait_until

from taskq import TaskQ
from taskq.broker import broker, jobs
from taskq.broker.call import Command
from taskq.broker.connection import Link
from taskq.broker.session import Flight

SOON = 20.0  # seconds; a loaded machine needs one


class Interrupt(BaseException):
    """As Ctrl-C, or a gevent.Timeout, hits whatever a thread is doing."""


class Gate:
    """Holds each call to the server until it is let go, which says what becomes of it."""

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run = run
        self._orders: queue.Queue[Callable[[Callable[[], Any]], Any]] = queue.Queue()
        self.held: queue.Queue[Any] = queue.Queue()
        self.open = True

    def pass_through(self, link: Link, call: Any, session: str, seq: int) -> Any:
        def run() -> Any:
            return self._run(link, call, session, seq)

        if self.open:
            return run()
        self.held.put((link, call, session, seq))
        return self._orders.get(timeout=SOON)(run)

    def let_go(self, order: Callable[[Callable[[], Any]], Any] = lambda run: run()) -> Any:
        """Let the next call that is held do what ``order`` does with it; return the call."""
        held = self.held.get(timeout=SOON)
        self._orders.put(order)
        return held


def lost_reply(run: Callable[[], Any]) -> Any:
    run()
    raise Interrupt


def never_sent(_: Callable[[], Any]) -> Any:
    raise Interrupt


@pytest.fixture
def app(url, namespace):
    with TaskQ("interrupted", url, namespace) as app:
        app.Queue("q").info()
        yield app


@pytest.fixture
def gate(app, monkeypatch):
    gate = Gate(Link.run_script)

    def run_script(link: Link, call: Any, session: str, seq: int) -> Any:
        return gate.pass_through(link, call, session, seq)

    monkeypatch.setattr(Link, "run_script", run_script)
    return gate


def lane(app: TaskQ) -> Any:
    return app.broker._lanes["q", False]


def ready(app: TaskQ) -> list[str]:
    found = app.broker.read(Command(("ZRANGE", app.broker.keys("q").key("ready"), 0, -1), list))
    return sorted(unique.decode() for unique in found)


def forget(app: TaskQ) -> None:
    """Leave of all jobs what a worker leaves of those that are done and keep no result: nothing."""
    keys = app.broker.keys("q")
    with app.broker.session() as session:
        session.read(Command(("DEL", keys.key("jobs"), keys.key("ready")), int))


def enqueue(app: TaskQ, name: str) -> Call:
    return Call(app.broker.enqueue, "q", [job(name)])


def merged(app: TaskQ, gate: Gate, names: str = "bcd") -> list[Call]:
    """Have callers whose jobs travel together; their call is held."""
    gate.open = False
    first = enqueue(app, "a")
    wait_until(lambda: not gate.held.empty(), "the first call is on its way")
    riders = []
    for name in names:
        riders.append(enqueue(app, name))
        wait_until(lambda: len(lane(app).waiting) == len(riders), "it waits for that")
    gate.let_go()
    assert first.end() == "A"
    return riders


def ends(calls: list[Call]) -> list[Any]:
    """Return what the calls returned or raised."""
    found: list[Any] = []
    for call in calls:
        try:
            found.append(call.end())
        except Interrupt as error:
            found.append(type(error))
    return found


@pytest.mark.parametrize("what", [lost_reply, never_sent])
def test_who_rides_with_a_caller_that_is_interrupted_is_sent(app, gate, what):
    riders = merged(app, gate)
    gate.let_go(what)
    gate.let_go()
    assert sorted(ends(riders), key=str) == sorted(["A", "A", Interrupt], key=str)
    assert set("a") < set(ready(app))
    assert {name for name, end in zip("bcd", ends(riders), strict=True) if end == "A"} <= set(ready(app))


@pytest.mark.corrupts
def test_what_was_accepted_in_the_interrupted_call_is_not_accepted_again_after_its_end(app, gate):
    riders = merged(app, gate)

    def done_meanwhile(run: Callable[[], Any]) -> Any:
        run()
        gate.open = True
        forget(app)
        raise Interrupt

    gate.let_go(done_meanwhile)
    assert sorted(ends(riders), key=str) == sorted(["A", "A", Interrupt], key=str)
    assert ready(app) == []


def test_another_call_of_the_queue_in_between_takes_nobody_along(app, gate):
    riders = merged(app, gate)

    def overtaken(run: Callable[[], Any]) -> Any:
        run()
        gate.open = True
        link, _, session, _ = held
        numbering = app.broker._session._numbering
        link.run_script(jobs.cancel(app.broker.keys("q"), "nothing"), session, numbering.next())
        raise Interrupt

    wait_until(lambda: not gate.held.empty(), "it is held")
    held = gate.held.queue[0]
    gate.let_go(overtaken)
    found = ends(riders)
    assert (found.count(Interrupt), found.count("D")) == (1, 2), "they are known"
    assert ready(app) == list("abcd")


def test_the_repetition_may_be_interrupted_too(app, gate):
    riders = merged(app, gate)
    gate.let_go(lost_reply)
    gate.let_go(lost_reply)
    gate.let_go()
    assert sorted(ends(riders), key=str) == sorted(["A", Interrupt, Interrupt], key=str)
    assert ready(app) == list("abcd")


def test_where_nobody_is_left_nothing_is_repeated(app, gate):
    riders = merged(app, gate, "b")
    gate.let_go(never_sent)
    assert ends(riders) == [Interrupt]
    gate.open = True
    assert app.broker.enqueue("q", [job("e")]) == "A"
    assert ready(app) == ["a", "e"]


def test_a_newcomer_first_repeats_what_was_cut(app, gate):
    """Its call would have a higher number, and the one that was cut could not be repeated."""
    app.broker.enqueue("q", [job("a")])
    keys, ticket = app.broker.keys("q"), broker._Ticket([job("b")])
    flight = Flight(jobs.enqueue(keys, ticket.jobs), 0)
    app.broker._session.carry(flight)
    lane(app).cut = [ticket], flight
    assert app.broker.enqueue("q", [job("c")]) == "A"
    assert (ticket.letters, ready(app)) == ("A", list("abc"))


def test_who_is_interrupted_while_it_hands_out_the_answers_leaves_nobody_without(app, gate, monkeypatch):
    riders, hand_out = merged(app, gate), broker._hand_out

    def interrupted(tickets: list[Any], letters: str) -> None:
        monkeypatch.setattr(broker, "_hand_out", hand_out)
        gate.open = True
        raise Interrupt

    monkeypatch.setattr(broker, "_hand_out", interrupted)
    gate.let_go()
    assert sorted(ends(riders), key=str) == sorted(["A", "A", Interrupt], key=str)
    assert ready(app) == list("abcd")


def test_who_is_interrupted_while_it_gathers_takes_nobody_along(app, gate, monkeypatch):
    riders, made = merged(app, gate, ""), jobs.enqueue
    gate.open = False
    first = enqueue(app, "b")
    wait_until(lambda: not gate.held.empty(), "it is on its way")
    for name in "cd":
        riders.append(enqueue(app, name))
        wait_until(lambda: len(lane(app).waiting) == len(riders), "it waits for that")

    def interrupted(*_: Any, **__: Any) -> Any:
        monkeypatch.setattr(jobs, "enqueue", made)
        raise Interrupt

    monkeypatch.setattr(jobs, "enqueue", interrupted)
    gate.open = True
    gate.let_go()
    assert first.end() == "A"
    assert sorted(ends(riders), key=str) == sorted(["A", Interrupt], key=str)
    assert len(ready(app)) == 3


class Interrupting:
    """A lock that is held; waiting for it is interrupted."""

    def acquire(self, blocking: bool = True) -> bool:
        assert not blocking
        return False

    def __enter__(self) -> None:
        raise Interrupt

    def __exit__(self, *_: object) -> None: ...


def test_jobs_of_a_caller_that_is_interrupted_while_it_waits_are_not_sent(app, gate):
    app.broker.enqueue("q", [job("0")])
    gate.open = False
    first = enqueue(app, "a")
    wait_until(lambda: not gate.held.empty(), "the first call is on its way")
    flight, lane(app).flight = lane(app).flight, Interrupting()
    with pytest.raises(Interrupt):
        app.broker.enqueue("q", [job("b")])
    lane(app).flight = flight
    second = enqueue(app, "c")
    wait_until(lambda: len(lane(app).waiting) == 2, "it waits behind")
    gate.open = True
    gate.let_go()
    assert (first.end(), second.end(), ready(app)) == ("A", "A", ["0", "a", "c"])


def test_an_error_of_the_server_is_everybodys(app, gate):
    riders = merged(app, gate)

    def refused(_: Callable[[], Any]) -> Any:
        raise RuntimeError("refused")

    gate.let_go(refused)
    for rider in riders:
        with pytest.raises(Exception, match="refused"):
            rider.end()
