"""The proxy of the fault tests does what it says, or those tests would show nothing."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from chaos.proxy import Fault, Proxy
from tcp_kit import Listener

WORDS = b"0123456789"


@pytest.fixture
def received() -> list[bytes]:
    """What the server behind the proxy read, by read."""
    return []


@pytest.fixture
def proxy(received: list[bytes]) -> Iterator[Proxy]:
    """A proxy before a server that sends back what it reads."""

    def echo(connection: socket.socket) -> None:
        while data := connection.recv(100):
            received.append(data)
            connection.sendall(data)

    with Listener(echo) as listener, Proxy(int(listener.url.rpartition(":")[2])) as proxy:
        yield proxy


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def read(client: socket.socket, count: int = len(WORDS)) -> tuple[bytes, str]:
    """Return up to ``count`` bytes, and how the connection ended if it did before."""
    found = b""
    try:
        while len(found) < count:
            data = client.recv(count - len(found))
            if not data:
                return found, "ended"
            found += data
    except ConnectionResetError:
        return found, "reset"
    return found, ""


def test_everything_is_passed(proxy: Proxy) -> None:
    with connect(proxy) as client:
        client.sendall(WORDS)
        assert read(client) == (WORDS, "")
    assert proxy.accepted == 1


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("count", [0, 1, 9])
def test_a_reply_is_cut_after_so_many_bytes(proxy: Proxy, count: int, reset: bool, received: list[bytes]) -> None:
    proxy.coming.append(Fault(reply=count, reset=reset))
    with connect(proxy) as client:
        client.sendall(WORDS)
        assert read(client) == (WORDS[:count], "reset" if reset else "ended")
    assert b"".join(received) == WORDS


@pytest.mark.parametrize("count", [0, 1, 9])
def test_a_request_is_cut_after_so_many_bytes(proxy: Proxy, count: int, received: list[bytes]) -> None:
    proxy.coming.append(Fault(request=count))
    with connect(proxy) as client:
        client.sendall(WORDS)
        assert read(client)[1] == "reset"
    assert len(b"".join(received)) <= count


def test_what_is_said_of_the_next_connection_is_not_of_the_one_after_it(proxy: Proxy) -> None:
    proxy.coming.append(Fault(reply=0))
    for ending in ("reset", ""):
        with connect(proxy) as client:
            client.sendall(WORDS)
            assert read(client)[1] == ending


def test_an_open_connection_is_armed_and_its_bytes_are_counted_from_there(proxy: Proxy) -> None:
    with connect(proxy) as client:
        client.sendall(WORDS)
        read(client)
        proxy.arm(Fault(reply=5))
        client.sendall(WORDS)
        assert read(client) == (WORDS[:5], "reset")


def test_a_silent_connection_stays_open_until_it_goes_on(proxy: Proxy) -> None:
    with connect(proxy) as client:
        client.sendall(WORDS)
        read(client)
        proxy.silence()
        client.sendall(WORDS)
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.resume()
        client.settimeout(10)
        assert read(client) == (WORDS, "")


def test_a_fault_without_a_cut_is_silent_after_its_bytes(proxy: Proxy) -> None:
    proxy.coming.append(Fault(reply=3, silent=True))
    with connect(proxy) as client:
        client.sendall(WORDS)
        assert read(client, 3) == (WORDS[:3], "")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_open_connections_are_cut(proxy: Proxy) -> None:
    with connect(proxy) as client:
        client.sendall(WORDS)
        read(client)
        proxy.cut()
        assert read(client)[1] == "reset"


def test_connections_are_refused_until_it_listens_again(proxy: Proxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.listen()
    with connect(proxy) as client:
        client.sendall(WORDS)
        assert read(client) == (WORDS, "")


@pytest.mark.parametrize(("fault", "least"), [(Fault(delay=0.1), 0.2), (Fault(rate=100), 0.1)])
def test_a_slow_connection_takes_its_time(proxy: Proxy, fault: Fault, least: float) -> None:
    proxy.coming.append(fault)
    with connect(proxy) as client:
        started = time.monotonic()
        client.sendall(WORDS)
        assert read(client) == (WORDS, "")
        assert time.monotonic() - started >= least


def test_a_hook_is_called_before_the_cut(proxy: Proxy) -> None:
    seen: list[str] = []
    proxy.coming.append(Fault(reply=1, cutting=lambda: seen.append("cutting")))
    with connect(proxy) as client:
        client.sendall(WORDS)
        read(client)
    assert seen == ["cutting"]


def test_a_server_that_is_away_ends_the_connection() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    with Proxy(port) as proxy, connect(proxy) as client:
        assert read(client)[1] in {"ended", "reset"}
