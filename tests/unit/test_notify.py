"""What a service manager is told."""

from __future__ import annotations

import math
import os
import socket
import tempfile
from collections.abc import Iterator

import pytest

from taskq.worker.notify import STATUS_EVERY, Notifier


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"{folder}/notify")
        sock.setblocking(False)
        yield sock


def heard(manager: socket.socket) -> list[str]:
    found: list[str] = []
    while True:
        try:
            found += manager.recv(4096).decode().splitlines()
        except BlockingIOError:
            return found


def test_its_variables_are_not_for_the_children() -> None:
    environ = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "1", "HOME": "/"}
    Notifier.take(environ)
    assert environ == {"HOME": "/"}


def test_ready_is_said_with_the_status(manager: socket.socket) -> None:
    Notifier.take({"NOTIFY_SOCKET": manager.getsockname()}).ready("running")
    assert heard(manager) == ["READY=1", "STATUS=running"]


def test_an_abstract_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"taskq-test-{os.getpid()}-{os.urandom(4).hex()}"
        manager.bind(f"\0{name}")
        manager.setblocking(False)
        Notifier(f"@{name}").stopping()
        assert heard(manager)[0] == "STOPPING=1"


def test_a_sign_of_life_is_due_twice_in_the_watchdogs_time(manager: socket.socket) -> None:
    notifier = Notifier.take(
        {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}
    )
    for now in (10.0, 10.9, 11.0, 11.5):
        notifier.tick(now, lambda: "")
    assert (heard(manager), notifier.deadline()) == (["WATCHDOG=1"] * 2, 12.0)


@pytest.mark.parametrize("variables", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}])
def test_no_sign_of_life_is_given_that_nobody_asked_for(manager: socket.socket, variables: dict[str, str]) -> None:
    notifier = Notifier.take({"NOTIFY_SOCKET": manager.getsockname(), **variables})
    notifier.tick(10.0, lambda: "")
    assert (heard(manager), notifier.deadline()) == ([], 10.0 + STATUS_EVERY)


def test_the_status_is_said_when_it_changes(manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname())
    for now, status in ((10.0, "a"), (20.0, "a"), (30.0, "b")):
        notifier.tick(now, lambda status=status: status)
    assert heard(manager) == ["STATUS=a", "STATUS=b"]


def test_without_a_manager_the_loop_sleeps_as_long_as_it_likes() -> None:
    assert Notifier.take({}).deadline() == math.inf


@pytest.mark.parametrize("address", ["/nowhere/notify", "/" + "x" * 200, "@" + "x" * 200, "a\0b", "vsock:2:1"])
def test_a_manager_that_cannot_be_reached_stops_nothing(address: str) -> None:
    Notifier.take({"NOTIFY_SOCKET": address}).ready("running")
