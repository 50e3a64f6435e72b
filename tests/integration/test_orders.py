"""Orders to workers and news of them: heard once, over lost connections, and at no cost to the worker's own work."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from chaos.proxy import Proxy
from servers import TestServer
from worker_kit import wait_until

from taskq.broker import workers
from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
from taskq.broker.call import Command
from taskq.broker.session import Session
from taskq.broker.workers import Order
from taskq.client import workers as asking
from taskq.client.operation import perform
from taskq.client.workers import Answer, ask, ask_workers, is_replaced, list_workers
from taskq.errors import InvalidOption
from taskq.worker import control
from taskq.worker.control import Control
from taskq.worker.inbox import Inbox
from taskq.worker.presence import Presence

Make = Callable[..., TestServer]


class Listening:
    """A loop with nothing but orders in it."""

    def __init__(self, url: str, namespace: str) -> None:
        self.broker = Broker(parse_url(url), namespace)
        self.inbox = Inbox()
        self.obeyed: list[str] = []
        self.control = Control(self.inbox.post, self.inbox.watch, "w", self.obeyed.append)

    def open(self) -> None:
        self.control.open(self.broker)

    def turn(self) -> None:
        """Go round once, in at most 10 ms."""
        now = time.monotonic()
        self.control.tick(now)
        self.inbox.wait(min(0.01, self.control.deadline(now) - now))

    def until(self, condition: Callable[[], Any], what: str) -> None:
        def turned() -> Any:
            self.turn()
            return condition()

        wait_until(turned, what)

    def order(self, command: Any, token: str = "t") -> None:
        self.broker.read(workers.order(self.broker.namespace, "w", Order(command, token, "me")))

    def write(self, data: bytes) -> None:
        self.broker.read(Command(("RPUSH", f"{self.broker.namespace}:control:w", data), int))

    def close(self) -> None:
        self.control.close()
        self.inbox.close()
        self.broker.close()


@pytest.fixture
def listening(url: str, namespace: str) -> Iterator[Listening]:
    made = Listening(url, namespace)
    yield made
    made.close()


@pytest.fixture
def listen_to(namespace: str) -> Iterator[Callable[[TestServer], Listening]]:
    """Make one for a server of its own."""
    made: list[Listening] = []

    def make(server: TestServer) -> Listening:
        made.append(Listening(server.url, namespace))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def broker(url: str, namespace: str) -> Iterator[Broker]:
    made = Broker(parse_url(url), namespace)
    yield made
    made.close()


# --- hearing --------------------------------------------------------------------------------------------------------


def test_orders_are_obeyed_in_the_order_in_which_they_were_given(listening: Listening) -> None:
    listening.order("pause", "t1")  # before it listens
    listening.open()
    listening.until(lambda: listening.obeyed, "the first")
    listening.order("resume", "t2")
    listening.order("stop", "t3")
    listening.until(lambda: len(listening.obeyed) == 3, "all")
    assert listening.obeyed == ["pause", "resume", "stop"]
    assert listening.control.heard == ["t1", "t2", "t3"]


def test_an_order_that_was_sent_twice_is_obeyed_once(listening: Listening) -> None:
    for token in ("t1", "t1", "t2"):
        listening.order("pause", token)
    listening.open()
    listening.until(lambda: "t2" in listening.control.heard, "the last")
    assert listening.obeyed == ["pause", "pause"]


@pytest.mark.parametrize("data", [b"", b"\x1b[31m\n", b"[]", b'{"command": "dance", "token": "t"}', b"\xff" * 100_000])
def test_a_damaged_order_is_logged_in_one_line_and_left_out(
    listening: Listening, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    listening.write(data)
    listening.order("pause")
    listening.open()
    listening.until(lambda: listening.obeyed, "the next one")
    (said,) = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert (said.startswith("an order that cannot be read"), said.isprintable(), len(said) < 200) == (True,) * 3


def test_orders_are_heard_after_the_server_was_away(start_server: Make, listen_to: Any) -> None:
    server = start_server()
    listening = listen_to(server)
    listening.open()
    listening.turn()
    server.kill()
    listening.turn()
    server.start()
    listening.order("pause")
    listening.until(lambda: listening.obeyed, "the order")


def test_a_server_that_is_away_at_first_keeps_nobody(start_server: Make, listen_to: Any) -> None:
    server = start_server()
    listening = listen_to(server)
    server.kill()
    listening.open()
    listening.turn()
    server.start()
    listening.order("pause")
    listening.until(lambda: listening.obeyed, "the order")


def test_who_waits_for_orders_costs_one_command_in_several_seconds(start_server: Make, listen_to: Any) -> None:
    server = start_server()
    listening = listen_to(server)
    listening.open()
    until = time.monotonic() + 1.0
    with server.client() as client:
        before: Any = client.info("stats")
        while time.monotonic() < until:
            listening.turn()
        after: Any = client.info("stats")
    assert after["total_commands_processed"] - before["total_commands_processed"] <= 2  # the first INFO is one


def test_an_end_while_it_waits_takes_no_time(listening: Listening) -> None:
    listening.open()
    listening.turn()
    began = time.monotonic()
    listening.control.close()
    assert time.monotonic() - began < 0.5  # of the seconds that the wait would last


def test_a_key_of_another_type_is_told_once_and_in_the_way_only_while_it_is_there(
    listening: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    key = f"{listening.broker.namespace}:control:w"
    listening.broker.read(Command(("SET", key, "by hand"), str))
    listening.open()
    until = time.monotonic() + 0.5
    turns = 0
    while time.monotonic() < until:
        listening.turn()
        turns += 1
    listening.broker.read(Command(("DEL", key), int))
    listening.order("pause")
    listening.until(lambda: listening.obeyed, "the order")
    warned = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert [one.getMessage().startswith("orders cannot be heard: ") for one in warned] == [True]
    assert turns < 150  # it sleeps between two tries


def test_an_order_is_heard_by_a_worker_whose_connection_was_cut_without_a_word(
    server: TestServer, broker: Broker, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "WAIT", 1.0)  # it gives a silent connection up three seconds later
    sign_in(broker, "w", {})
    with Proxy(server.socket) as proxy, ThreadPoolExecutor(1) as pool, server.client() as client:
        listening = Listening(proxy.url, namespace)
        listening.open()
        listening.until(lambda: any("blpop" in one["cmd"] for one in client.client_list()), "it waits")
        proxy.silence()
        asked = pool.submit(ask, broker, "w", "pause", timeout=20.0)
        listening.until(lambda: listening.obeyed, "the order")
        sign_in(broker, "w", {"state": "paused", "heard": listening.control.heard})
        assert asked.result(20) == Answer("w", "pause", "paused", True)
        listening.close()
    assert listening.obeyed == ["pause"]


# --- asking ---------------------------------------------------------------------------------------------------------


def sign_in(broker: Broker, worker: str, card: dict[str, Any] | None) -> None:
    """Be a worker that gave a sign of life just now."""
    broker.read(workers.sign_in(broker.namespace, worker, int(time.time())))
    if card is not None:
        broker.read(workers.write_card(broker.namespace, worker, json.dumps(card).encode(), 60_000))


def test_a_worker_that_does_not_answer_is_silent(broker: Broker) -> None:
    sign_in(broker, "w", {"state": "paused"})  # as it was already, before anybody asked
    assert ask(broker, "w", "pause", timeout=0.1) == Answer("w", "pause", "silent", False)


def test_an_order_that_nobody_hears_is_forgotten_within_a_minute(broker: Broker) -> None:
    sign_in(broker, "w", {})
    ask(broker, "w", "pause", timeout=0.0)
    left = broker.read(Command(("PTTL", f"{broker.namespace}:control:w"), int))
    assert 50_000 < left <= 60_000


def test_an_order_that_is_given_again_stands_there_once(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "AGAIN", 0.05)
    sign_in(broker, "w", {})
    ask(broker, "w", "pause", timeout=0.5)
    assert broker.read(Command(("LLEN", f"{broker.namespace}:control:w"), int)) == 1


def test_an_order_that_was_heard_is_not_given_again(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "AGAIN", 0.05)
    sign_in(broker, "w", {})
    asked = ask_workers(broker, ["w"], "stop", timeout=5.0, until_gone=True, give_up=0.3)
    given: list[bytes] = []

    def watched() -> Any:
        answer = None
        while True:
            try:
                need = asked.send(answer)
            except StopIteration as end:
                return end.value
            if getattr(need, "parts", [""])[0] == "RPUSH":
                given.append(need.parts[2])
                sign_in(broker, "w", {"state": "stopping", "heard": [json.loads(given[0])["token"]]})
            answer = yield need

    perform(watched(), broker)
    assert len(given) == 1


def test_a_worker_without_a_card_has_vanished(broker: Broker) -> None:
    sign_in(broker, "w", None)
    assert ask(broker, "w", "stop", timeout=5.0) == Answer("w", "stop", "vanished", False)


def test_whether_a_worker_that_vanished_is_replaced_can_be_asked_while_others_are_waited_for(broker: Broker) -> None:
    sign_in(broker, "w", None)
    heard: list[bool] = []
    perform(ask_workers(broker, ["w"], "stop", told=lambda one: heard.append(is_replaced(broker, one.worker))), broker)
    assert heard == [False]


@pytest.mark.parametrize(("command", "done"), [("stop", True), ("pause", False)])
def test_a_worker_that_has_signed_off_has_stopped(broker: Broker, command: Any, done: bool) -> None:
    assert ask(broker, "w", command, timeout=5.0) == Answer("w", command, "stopped", done)


def test_a_stop_that_goes_on_longer_than_one_waits_is_told_as_such(broker: Broker) -> None:
    asked = ask_workers(broker, ["w"], "stop", timeout=5.0, until_gone=True, give_up=0.1)
    sign_in(broker, "w", {})
    need = asked.send(None)
    order = json.loads(need.parts[2])  # type: ignore[union-attr]
    sign_in(broker, "w", {"state": "stopping", "heard": [order["token"]]})

    def rest() -> Any:
        answer = yield need
        while True:
            try:
                following = asked.send(answer)
            except StopIteration as end:
                return end.value
            answer = yield following

    assert perform(rest(), broker) == [Answer("w", "stop", "stopping", False)]


def test_a_command_that_is_none_is_refused(broker: Broker) -> None:
    with pytest.raises(InvalidOption, match="command 'stopp' is unknown, did you mean 'stop'"):
        ask(broker, "w", "stopp")  # type: ignore[arg-type]


def test_the_list_of_workers_has_ages_and_those_that_vanished(broker: Broker) -> None:
    sign_in(broker, "here", {"state": "running"})
    broker.read(workers.sign_in(broker.namespace, "gone", int(time.time()) - 100))
    gone, here = list_workers(broker)
    assert (here.id, here.state, here.vanished, here.age < 20) == ("here", "running", False, True)
    assert (gone.id, gone.vanished, 99 <= gone.age < 200) == ("gone", True, True)


# --- news -----------------------------------------------------------------------------------------------------------


class News:
    """What was announced in a namespace."""

    def __init__(self, client: Any, namespace: str) -> None:
        self._heard = client.pubsub(ignore_subscribe_messages=False)
        self._heard.subscribe(f"{namespace}:events")
        wait_until(lambda: self._heard.get_message(timeout=0.1), "subscribed")

    def next(self) -> dict[str, Any]:
        found = wait_until(lambda: self._heard.get_message(timeout=0.1), "news")
        kind, _, data = found["data"].partition(b"\n")
        assert kind == b"W"
        return dict(json.loads(data))

    def none_left(self) -> bool:
        return self._heard.get_message(timeout=0.1) is None

    def close(self) -> None:
        self._heard.close()


@pytest.fixture
def news(server: TestServer, namespace: str) -> Iterator[News]:
    with server.client() as client:
        made = News(client, namespace)
        yield made
        made.close()


@pytest.fixture
def session(url: str) -> Iterator[Session]:
    made = Session(parse_url(url), deadline=5.0)
    yield made
    made.close()


def presence(namespace: str, worker: str = "w") -> Presence:
    return Presence(namespace, worker, lambda: b"{}", {"pool": "thread", "queues": ["q"]}, 60.0)


NOW_US = 1_800_000_000_000_000


def test_a_worker_is_announced_at_its_first_beat_and_at_its_end(news: News, session: Session, namespace: str) -> None:
    one = presence(namespace)
    for second in range(3):
        one.beat(session, NOW_US + 1_000_000 * second)
    one.leave(session)
    up, down = news.next(), news.next()
    assert (up["kind"], up["worker"], up["pool"], up["queues"]) == ("worker-up", "w", "thread", ["q"])
    assert (down["kind"], down["worker"], down["pool"], down["queues"]) == ("worker-down", "w", "thread", ["q"])
    at = NOW_US / 1e6
    assert at <= up["at"] < at + 2 <= down["at"] < at + 60
    assert news.none_left()


def test_a_worker_that_vanished_is_announced_by_the_first_who_finds_it(
    news: News, session: Session, broker: Broker, namespace: str
) -> None:
    sign_in(broker, "gone", None)
    for finder in ("a", "b"):
        presence(namespace, finder).tell_vanished(session, ["gone"])
    said = news.next()
    assert (said["kind"], said["worker"], said["vanished"]) == ("worker-down", "gone", True)
    assert news.none_left()


def test_who_beats_or_has_signed_off_is_not_announced_as_vanished(
    news: News, session: Session, broker: Broker, namespace: str
) -> None:
    sign_in(broker, "here", {})
    presence(namespace).tell_vanished(session, ["here", "signed-off", "", "\ufffd"])
    assert news.none_left()


def test_a_right_to_announce_that_is_missing_costs_nothing_else(
    start_server: Make, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_server()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-publish")
        session = Session(parse_url(server.url), deadline=5.0)
        one = presence(namespace)
        one.beat(session, NOW_US)
        card = client.get(f"{namespace}:worker:w")
        one.leave(session)
        session.close()
    assert card == b"{}"
    assert [one for one in caplog.records if one.levelno > logging.DEBUG] == []


def test_a_card_that_cannot_be_made_does_not_cost_the_beat(
    session: Session, broker: Broker, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> bytes:
        raise RuntimeError("oops")

    Presence(namespace, "w", broken, {}, 60.0).beat(session, NOW_US)
    assert [one.id for one in list_workers(broker) if not one.vanished] == ["w"]
    assert "the card cannot be written" in caplog.text
