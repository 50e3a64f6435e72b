"""Parts of a supervisor: one end of a lease counts once, frames stay small, a dead proxy is not hammered."""

from __future__ import annotations

import logging
import socket
import time
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from tcp_kit import Listener

from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
from taskq.broker.keys import QueueKeys
from taskq.broker.work import wait
from taskq.worker.claims import Claims
from taskq.worker.dispatch import Dispatcher, Hand
from taskq.worker.leases import Lease, ServedQueue
from taskq.worker.options import QueueChoice
from taskq.worker.protocol import MAX_FRAME
from taskq.worker.upkeep import Upkeep
from taskq.worker.wire import Wire


def served(worker: str) -> ServedQueue:
    return ServedQueue(QueueChoice("q"), QueueKeys("ns", "q"), worker)


def test_the_news_of_an_end_that_was_heard_before_does_not_end_the_new_lease() -> None:
    reaper: Any = SimpleNamespace(register=lambda *_: None)
    claims = Claims(lambda _: None, lambda *_: None, SimpleNamespace())  # type: ignore[arg-type]
    upkeep = Upkeep("w", claims, Dispatcher(claims, "w"), reaper, lambda _: None)
    queue = served("old")
    upkeep.fenced(queue, "old")
    assert queue.fenced
    queue.start_over("new")
    upkeep.fenced(queue, "old")
    assert not queue.fenced


def test_jobs_that_together_exceed_a_frame_travel_in_several() -> None:
    sent: list[bytes] = []
    child: Any = SimpleNamespace(slots=10, send=sent.append)
    claims = Claims(lambda _: None, lambda *_: None, SimpleNamespace())  # type: ignore[arg-type]
    dispatcher = Dispatcher(claims, "w")
    dispatcher.hands.append(Hand(child, ready=True, feeding=True))
    large = b"x" * (MAX_FRAME // 3)
    dispatcher.add([Lease(served("w"), str(i), "1", b"1;0;0;0;0", large, "w", 0) for i in range(4)])
    dispatcher.pump()
    assert dispatcher.held == len(sent) == 4


def test_a_proxy_that_accepts_and_hangs_up_is_not_hammered(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "taskq.worker")
    accepted: list[socket.socket] = []
    inbox: deque[Callable[[], None]] = deque()
    with Listener(accepted.append) as proxy:
        broker = Broker(parse_url(proxy.url), "ns")
        wire = Wire(broker, inbox.append, "test", lambda *_: None)
        wire.connect()
        wire.command(wait(["token"], 1.0).pack(), lambda _: None, lambda _: None)
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            wire.receive()
            while inbox:
                inbox.popleft()()
            time.sleep(0.001)
        wire.close()
        broker.close()
    assert 2 <= len(accepted) <= 8  # 50 ms, doubling


def test_what_was_called_back_from_behind_a_long_job_does_not_go_there_again() -> None:
    claims = Claims(lambda _: None, lambda *_: None, SimpleNamespace())  # type: ignore[arg-type]
    dispatcher = Dispatcher(claims, "w")
    children: list[Any] = [SimpleNamespace(slots=1, send=lambda _: None) for _ in range(2)]
    stuck, free = (Hand(child, ready=True, feeding=True, mean_us=10.0) for child in children)
    dispatcher.hands += [stuck, free]
    dispatcher.add([Lease(served("w"), str(i), "1", b"1;0;0;0;0", b"", "w", 0) for i in range(100)])
    dispatcher.pump()
    free.held.clear()  # all answered, while the first job of the other one runs on
    dispatcher.call_back(time.monotonic() + 1.0)
    dispatcher.back(stuck, list(stuck.held)[1:])
    dispatcher.pump()
    assert (len(stuck.held), len(free.held)) == (1, 49)
