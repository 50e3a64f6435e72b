"""The supervisor's connection: what a reply refuses is told, not raised into the loop."""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from servers import TestServer
from tcp_kit import Listener

from taskq.broker import work, workers
from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
from taskq.broker.connection import Link
from taskq.broker.work import StepRequest
from taskq.broker.workers import LeaseTimes
from taskq.errors import Fenced, TaskqError
from taskq.worker import wire as module
from taskq.worker.wire import Wire

PATIENCE = 10.0  # seconds
BODY = b"0123456789"
REPLY = b"$10\r\n" + BODY + b"\r\n"


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


# --- a reply that comes in pieces ---


class Slow:
    """A wire to a server that sends its reply in pieces, and the loop around it.

    Attributes:
        answers: what the wire told of its call.
        longest: seconds that the longest ``receive`` took.
    """

    def __init__(self, url: str, reply_timeout: float) -> None:
        self.answers: list[Any] = []
        self.longest = 0.0
        self._inbox: deque[Callable[[], None]] = deque()
        self._link: Link | None = None
        self._broker = Broker(parse_url(url), "ns")
        self._wire = Wire(self._broker, self._inbox.append, "slow", self._watch, reply_timeout)
        self._wire.connect()

    def _watch(self, link: Link | None, _: Wire) -> None:
        self._link = link

    def run(self, ended: Callable[[], bool], packed: bytes = b"*1\r\n$3\r\nGET\r\n") -> None:
        """Send a call and turn the loop until ``ended``, at most PATIENCE; close it all."""
        self._wire.command(packed, self.answers.append, self.answers.append)
        until = time.monotonic() + PATIENCE
        while not ended() and (now := time.monotonic()) < until:
            self._wire.tick(now)
            while self._inbox:
                self._inbox.popleft()()
            number = [self._link.fileno()] if self._link is not None else []
            reads, writes = ([], number) if self._wire.writing else (number, [])
            if any(select.select(reads, writes, [], 0.01)):
                began = time.monotonic()
                self._wire.turn()
                self.longest = max(self.longest, time.monotonic() - began)
        self._wire.close()
        self._broker.close()


def in_pieces(pause: float, over: threading.Event) -> Callable[[socket.socket], None]:
    """Serve by sending each byte of REPLY after a pause in seconds; what follows the last is silence."""

    def serve(connection: socket.socket) -> None:
        connection.recv(100)
        for byte in REPLY:
            if over.wait(pause):
                return
            connection.sendall(bytes([byte]))
        over.wait(PATIENCE)

    return serve


def test_a_reply_that_comes_in_pieces_is_read_without_a_wait() -> None:
    over = threading.Event()
    with Listener(in_pieces(0.05, over)) as server:
        slow = Slow(server.url, 15.0)
        slow.run(lambda: bool(slow.answers))
        over.set()
    assert slow.answers == [BODY]
    assert slow.longest < 0.4  # the whole takes 0.85


def test_a_reply_may_take_longer_than_the_wait_for_its_next_piece() -> None:
    over = threading.Event()
    with Listener(in_pieces(0.05, over)) as server:
        slow = Slow(server.url, 0.5)  # and the whole takes 0.85
        slow.run(lambda: bool(slow.answers))
        over.set()
    assert slow.answers == [BODY]


def answers_the_second(first: bytes, over: threading.Event) -> tuple[list[object], Callable[[socket.socket], None]]:
    """Return what says ``first`` on the first connection and the whole reply on others, and where it notes them."""
    served: list[object] = []

    def serve(connection: socket.socket) -> None:
        connection.recv(100)
        served.append(connection)
        connection.sendall(REPLY if len(served) > 1 else first)
        over.wait(PATIENCE)

    return served, serve


def test_a_reply_that_stops_in_the_middle_is_asked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "taskq.worker")
    over = threading.Event()
    served, serve = answers_the_second(REPLY[:-4], over)
    with Listener(serve) as server:
        slow = Slow(server.url, 0.3)
        slow.run(lambda: bool(slow.answers))
        over.set()
    assert (slow.answers, len(served)) == ([BODY], 2)
    assert "no reply for 0.3 s" in caplog.text


def test_a_reply_that_drips_without_an_end_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "taskq.worker")
    monkeypatch.setattr(module, "WHOLE", 0.4)
    over = threading.Event()
    with Listener(in_pieces(0.05, over)) as server:
        slow = Slow(server.url, 5.0)
        slow.run(lambda: "lost" in caplog.text)
        over.set()
    assert slow.answers == []
    assert "the reply is not whole after 0.4 s" in caplog.text


# --- a large call that the server takes in pieces ---


class Taker:
    """Takes a large call in pieces of 64 kB with a pause in seconds before each, and answers when it has all.

    Args:
        most: bytes that the first connection takes; all where None.
    """

    def __init__(self, pause: float, most: int | None = None) -> None:
        self.over = threading.Event()
        self.served = 0
        self._pause = pause
        self._most = most

    def __call__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        self.served += 1
        limit = self._most if self._most is not None and self.served == 1 else len(CALL)
        taken = 0
        while taken < limit:
            if self.over.wait(self._pause) or not (data := connection.recv(min(65_536, limit - taken))):
                return
            taken += len(data)
        if taken == len(CALL):
            connection.sendall(REPLY)
        self.over.wait(PATIENCE)


CALL = b"x" * 8_000_000  # more than the system takes at once


def test_a_large_call_that_is_taken_slowly_is_sent_once_without_a_wait() -> None:
    taker = Taker(0.01)
    with Listener(taker) as server:
        slow = Slow(server.url, 1.0)  # and the whole takes more
        began = time.monotonic()
        slow.run(lambda: bool(slow.answers), CALL)
        took = time.monotonic() - began
        taker.over.set()
    assert (slow.answers, taker.served, took > 1.0) == ([BODY], 1, True)
    assert slow.longest < 0.5


def test_a_large_call_that_is_not_taken_is_sent_over_another_connection(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "taskq.worker")
    taker = Taker(0.0, most=200_000)
    with Listener(taker) as server:
        slow = Slow(server.url, 0.6)
        slow.run(lambda: bool(slow.answers), CALL)
        taker.over.set()
    assert (slow.answers, taker.served) == ([BODY], 2)
    assert "no reply for 0.6 s" in caplog.text


def test_a_large_call_that_drips_without_an_end_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "taskq.worker")
    monkeypatch.setattr(module, "WHOLE", 0.8)
    taker = Taker(0.1)
    with Listener(taker) as server:
        slow = Slow(server.url, 5.0)
        slow.run(lambda: "lost" in caplog.text, CALL)
        taker.over.set()
    assert slow.answers == []
    assert "the call is not whole after 0.8 s" in caplog.text


def test_garbage_instead_of_a_reply_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "taskq.worker")
    over = threading.Event()
    served, serve = answers_the_second(b"HTTP/1.1 400\r\n\r\n", over)
    with Listener(serve) as server:
        slow = Slow(server.url, 5.0)
        slow.run(lambda: bool(slow.answers))
        over.set()
    assert (slow.answers, len(served)) == ([BODY], 2)
