"""The HTTP side of metrics: few connections, no waiting at its start and end, and addresses that cannot be used."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskq.cli import worker as command
from taskq.cli.main import run
from taskq.contrib import prometheus
from taskq.contrib.prometheus import PLACES, expose
from taskq.errors import InvalidOption
from taskq.worker.metrics import Meter

Ready = Callable[..., str]


def nothing() -> Any:
    """Return the figures of a worker that has none yet."""
    about = {
        "worker": "w", "pool": "thread", "ready": False, "state": "starting", "children": {"up": 0, "wanted": 1},
        "heartbeat_age": None, "claim_age": None,
    }  # fmt: skip
    return Meter(lambda _: lambda: None, lambda: about, list, list, 1).figures()


@pytest.fixture
def ready(caplog: pytest.LogCaptureFixture) -> Iterator[Ready]:
    """Begins to show ``nothing`` and returns the url of the log; it ends with the test."""
    caplog.set_level(logging.INFO, "taskq.worker")
    with contextlib.ExitStack() as stack:

        def begin(host: str = "127.0.0.1", read: Callable[[], Any] = nothing) -> str:
            stack.callback(expose(0, host)(read))
            return re.findall(r"metrics are at (http://\S+)", caplog.text)[-1]

        yield begin


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def idle(url: str, stack: contextlib.ExitStack, count: int) -> list[socket.socket]:
    return [stack.enter_context(socket.create_connection(("127.0.0.1", port_of(url)), 10)) for _ in range(count)]


def answering() -> int:
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_many_idle_connections_take_few_threads(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus._Handler, "timeout", 0.1)
    serve = prometheus._Server.process_request_thread
    seen: list[int] = []

    @functools.wraps(serve)  # its thread is named after it
    def count(self: Any, *about: Any) -> None:
        seen.append(answering())
        serve(self, *about)

    monkeypatch.setattr(prometheus._Server, "process_request_thread", count)
    url = ready()
    with contextlib.ExitStack() as stack:
        idle(url, stack, 4 * PLACES)
        until(lambda: len(seen) == 4 * PLACES)
    assert max(seen) <= PLACES + 1  # one may be about to end


def test_a_client_has_less_time_than_a_scrape_behind_it() -> None:
    assert prometheus._Handler.timeout == prometheus.IDLE <= 5


def test_a_scrape_behind_idle_connections_is_answered(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus._Handler, "timeout", 0.2)
    url = ready()
    with contextlib.ExitStack() as stack:
        idle(url, stack, 2 * PLACES)
        assert "taskq_worker_ready 0.0" in get(url)


def test_a_scrape_behind_clients_that_never_end_their_request_is_answered(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "LONGEST", 0.3)
    monkeypatch.setattr(prometheus, "LOOK", 0.05)
    url = ready()
    stop = threading.Event()

    def drip(connections: list[socket.socket]) -> None:
        while not stop.wait(0.02):
            for one in connections:
                with contextlib.suppress(OSError):
                    one.sendall(b"x")

    with contextlib.ExitStack() as stack:
        dripping = threading.Thread(target=drip, args=(idle(url, stack, PLACES),))
        dripping.start()
        try:
            began = time.monotonic()
            assert "taskq_worker_ready 0.0" in get(url)
            assert time.monotonic() - began < prometheus.IDLE
        finally:
            stop.set()
            dripping.join()


def test_an_accept_without_descriptors_does_not_spin(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[float] = []

    def full(_: object) -> Any:
        tried.append(time.monotonic())
        if len(tried) <= PLACES + 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(server[0])

    server: list[Any] = []
    accept = prometheus._Server.get_request
    monkeypatch.setattr(prometheus, "REST", 0.05)
    monkeypatch.setattr(prometheus._Server, "get_request", lambda self: server.append(self) or full(self))
    assert "taskq_worker_ready 0.0" in get(ready())
    assert tried[PLACES + 1] - tried[0] >= PLACES * 0.05


def test_without_room_for_a_thread_the_next_client_is_answered(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = [True] * (PLACES + 1)
    begin = prometheus._Server.process_request

    def process(self: Any, *about: Any) -> None:
        if failing:
            failing.pop()
            raise RuntimeError("can't start new thread")
        begin(self, *about)

    monkeypatch.setattr(prometheus, "REST", 0.01)
    monkeypatch.setattr(prometheus._Server, "process_request", process)
    url = ready()
    for _ in range(PLACES + 1):
        with pytest.raises((OSError, EOFError)):
            get(url)
    assert "taskq_worker_ready 0.0" in get(url)


def test_its_end_waits_for_nobody(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "taskq.worker")
    end = expose(0)(nothing)
    url = re.findall(r"metrics are at (http://\S+)", caplog.text)[-1]
    with contextlib.ExitStack() as stack:
        idle(url, stack, PLACES // 2)
        until(lambda: answering() >= PLACES // 2)
        began = time.monotonic()
        end()
        assert time.monotonic() - began < 0.2
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port_of(url)), 10)
    until(lambda: all(thread.name != "taskq-metrics" for thread in threading.enumerate()))


def test_its_start_asks_for_no_name(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(name: str = "") -> str:
        raise AssertionError(f"a resolver may take seconds for {name!r}")

    monkeypatch.setattr(socket, "getfqdn", slow)
    monkeypatch.setattr(socket, "gethostbyaddr", slow)
    assert "taskq_worker_ready 0.0" in get(ready("0.0.0.0"))


def test_a_reading_that_fails_is_logged_once_and_the_next_one_is_answered(
    ready: Ready, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = [True]

    def read() -> Any:
        if failing:
            failing.pop()
            raise LookupError("wrong")
        return nothing()

    url = ready(read=read)
    with pytest.raises((OSError, EOFError)):
        get(url)
    assert "taskq_worker_ready 0.0" in get(url)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == ["metrics could not be shown"]
    assert "Traceback" not in capsys.readouterr().err


def test_a_client_that_hangs_up_is_no_error(ready: Ready, caplog: pytest.LogCaptureFixture) -> None:
    going = threading.Event()
    url = ready(read=lambda: (going.wait(10), nothing())[1])
    with socket.create_connection(("127.0.0.1", port_of(url)), 10) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        until(answering)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # hangs up by a reset
    going.set()
    until(lambda: not answering())
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_an_address_of_version_6_is_shown_as_a_url_has_it(ready: Ready) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no ::1")
    url = ready("::1")
    assert re.fullmatch(r"http://\[::1]:\d+/metrics", url)
    assert "taskq_worker_ready 0.0" in get(url)


@pytest.mark.parametrize(
    ("host", "port", "shown"), [("a..b", 1, "'a..b:1'"), ("::1::", 1, "'[::1::]:1'"), ("127.0.0.1", 70_000, "70000'")]
)
def test_an_address_that_cannot_be_used_is_told(host: str, port: int, shown: str) -> None:
    with pytest.raises(InvalidOption) as told:
        expose(port, host)(nothing)
    assert str(told.value).startswith("metrics cannot be shown at '")
    assert f"{shown}: " in str(told.value)
    assert str(told.value).endswith("; choose another --metrics-port or --metrics-host")


# --- the command -----------------------------------------------------------------------------------------------------


def test_an_empty_address_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["worker", "--metrics-port", "0", "--metrics-host", ""]) == 2
    assert capsys.readouterr().err == (
        "taskq: --metrics-host '' names no address; give one of this machine, or leave it out\n"
    )


@pytest.mark.parametrize(
    ("arguments", "variable", "shown"),
    [(["--metrics-port", "0"], "", "--metrics-port"), ([], "0", "TASKQ_METRICS_PORT")],
)
def test_a_missing_package_names_who_needs_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    variable: str,
    shown: str,
) -> None:
    monkeypatch.setenv("TASKQ_METRICS_PORT", variable)
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    assert run(["worker", *arguments]) == 2
    assert capsys.readouterr().err == (
        f"taskq: {shown} needs prometheus-client, which is not installed: pip install 'taskq[prometheus]'\n"
    )
