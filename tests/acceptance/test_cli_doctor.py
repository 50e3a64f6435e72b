"""``taskq doctor`` on real servers, and a worker that refuses what it refuses."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_kit import Cli
from servers import TestServer

from taskq.broker.address import parse_url
from taskq.broker.connection import Link
from taskq.broker.doctor import Finding, examine
from taskq.broker.keys import QueueKeys
from taskq.errors import AuthenticationFailed, BrokerUnavailable

Make = Callable[..., TestServer]


@pytest.fixture
def taskq(tmp_path: Path, namespace: str) -> Cli:
    """The command line without an app."""
    return Cli(
        {"TASKQ_NAMESPACE": namespace, "TASKQ_EMBEDDED": "0", "PYTHONPATH": str(Path(__file__).parents[1])}, tmp_path
    )


def look(url: str, namespace: str, *queues: str) -> list[Finding]:
    link = Link(parse_url(url))
    try:
        return examine(link, namespace, queues)
    finally:
        link.close()


def refusals(found: list[Finding]) -> dict[str, str]:
    return {one.name: one.text for one in found if one.level == "refuse"}


def test_a_usable_server_is_exit_0(any_server: TestServer, taskq: Cli) -> None:
    done = taskq("doctor", TASKQ_URL=any_server.url)
    assert (done.code, done.err) == (0, "")
    assert {line.split()[0] for line in done.out.splitlines()} == {"ok", "warn"}


def test_json_has_every_finding(server: TestServer, taskq: Cli) -> None:
    said = taskq("doctor", "--json", TASKQ_URL=server.url).json()
    assert said["usable"] is True
    assert {"version", "role", "memory-policy", "clock", "scripts", "keys"} <= {one["name"] for one in said["findings"]}


def test_looking_writes_nothing(start_server: Make, namespace: str) -> None:
    server = start_server()
    look(server.url, namespace, "default")
    with server.client() as client:
        assert client.keys() == []


def test_a_server_that_evicts_is_exit_3(start_server: Make, taskq: Cli) -> None:
    refused = taskq("doctor", TASKQ_URL=start_server(maxmemory_policy="allkeys-lru").url)
    assert (refused.code, refused.err) == (3, "")
    assert "refuse  memory-policy" in refused.out


@pytest.mark.fault(18)
def test_a_worker_does_not_start_on_a_server_that_evicts(start_server: Make, taskq: Cli) -> None:
    url = start_server(maxmemory_policy="allkeys-lru").url
    refused = taskq("worker", "--pool", "thread", "-A", "apps.acceptance:app", TASKQ_URL=url)
    assert refused.code == 3
    assert refused.err.splitlines()[-1].startswith("taskq: maxmemory-policy is 'allkeys-lru'")
    assert "Traceback" not in refused.err


def test_a_replica_is_refused(start_server: Make, namespace: str) -> None:
    master, replica = start_server(tcp=True), start_server()
    with replica.client() as client:
        client.replicaof("127.0.0.1", master.port)
    assert f"127.0.0.1:{master.port}" in refusals(look(replica.url, namespace))["role"]


@pytest.mark.corrupts
def test_a_newer_schema_is_refused(server: TestServer, namespace: str) -> None:
    with server.client() as client:
        client.hset(QueueKeys(namespace, "mail").key("meta"), "schema", "99")
    assert "mail has schema '99'" in refusals(look(server.url, namespace, "mail"))["schema"]


@pytest.mark.corrupts
def test_the_doctor_finds_the_queues_by_itself(server: TestServer, taskq: Cli, namespace: str) -> None:
    with server.client() as client:
        client.sadd(f"{namespace}:queues", "mail")
        client.hset(QueueKeys(namespace, "mail").key("meta"), "schema", "text")
    assert taskq("doctor", TASKQ_URL=server.url).code == 3


@pytest.mark.parametrize("key", ["ready", "meta", "jobs", "wake"])
@pytest.mark.corrupts
def test_a_key_of_another_type_is_refused_by_name(server: TestServer, namespace: str, key: str) -> None:
    name = QueueKeys(namespace, "mail").key(key)
    with server.client() as client:
        client.set(name, "by hand")
    assert f"{name} is a string" in refusals(look(server.url, namespace, "mail"))["keys"]


@pytest.mark.corrupts
def test_a_command_on_a_key_of_another_type_is_exit_3(server: TestServer, taskq: Cli, namespace: str) -> None:
    with server.client() as client:
        client.sadd(f"{namespace}:queues", "mail")
        client.set(QueueKeys(namespace, "mail").key("ready"), "by hand")
    refused = taskq("status", TASKQ_URL=server.url)
    assert (refused.code, refused.out, refused.err.count("\n")) == (3, "", 1)


@pytest.fixture
def user(start_server: Make) -> Callable[..., str]:
    """A server on which users can be made; returns the url for one with some commands."""
    server = start_server(tcp=True)

    def make(*commands: str) -> str:
        with server.client() as client:
            client.acl_setuser("bob", enabled=True, passwords=["+s3cret"], keys=["*"], commands=["-@all", *commands])
        return server.url.replace("://", "://bob:s3cret@")

    return make


def test_a_right_to_scripts_that_is_missing_is_refused(user: Callable[..., str], namespace: str) -> None:
    text = refusals(look(user("+@all", "-evalsha_ro"), namespace))["scripts"]
    assert ("bob" in text, "evalsha" in text, "s3cret" in text) == (True, True, False)


def test_what_may_not_be_asked_is_a_warning(user: Callable[..., str], namespace: str) -> None:
    found = look(user("+@all", "-info", "-config", "-type"), namespace)
    assert {one.name for one in found if one.level == "warn"} == {"server", "keys"}


def test_a_wrong_password_is_told_without_it(user: Callable[..., str], namespace: str) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        look(user("+@all").replace("s3cret", "wr0ng"), namespace)
    assert "wr0ng" not in str(caught.value)


def test_a_wrong_password_is_exit_3(user: Callable[..., str], taskq: Cli) -> None:
    refused = taskq("status", TASKQ_URL=user("+@all").replace("s3cret", "wr0ng"))
    assert (refused.code, refused.err.count("\n"), "wr0ng" in refused.err) == (3, 1, False)


def test_a_database_that_is_not_there_is_exit_3(start_server: Make, taskq: Cli) -> None:
    refused = taskq("doctor", TASKQ_URL=start_server(tcp=True).url + "/99999")
    assert (refused.code, refused.err.count("\n")) == (3, 1)


def test_nobody_there_is_exit_4(taskq: Cli) -> None:
    gone = taskq("doctor", TASKQ_URL="redis://127.0.0.1:1")
    assert (gone.code, gone.out, gone.err.count("\n")) == (4, "", 1)


@pytest.fixture
def peer() -> Iterator[Callable[[bytes | None], int]]:
    """Listens and answers whatever comes with some bytes, or hangs up for None; returns the port."""
    with contextlib.ExitStack() as stack:

        def listen(answer: bytes | None) -> int:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def serve() -> None:
                with contextlib.suppress(OSError):  # closed at the end of the test
                    while True:
                        with listening.accept()[0] as caller:
                            caller.recv(4096)
                            if answer:
                                caller.sendall(answer)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            stack.callback(thread.join, 10)
            stack.callback(listening.shutdown, socket.SHUT_RDWR)
            return listening.getsockname()[1]

        yield listen


def test_what_is_no_redis_server_is_exit_3(peer: Callable[..., int], taskq: Cli) -> None:
    refused = taskq("doctor", TASKQ_URL=f"redis://127.0.0.1:{peer(b'HTTP/1.1 400 Bad Request')}")
    assert (refused.code, "no Redis server" in refused.err) == (3, True)


def test_a_peer_that_hangs_up_gets_a_hint_at_tls(peer: Callable[..., int], namespace: str) -> None:
    with pytest.raises(BrokerUnavailable, match=r"TLS mismatch.*rediss://"):
        look(f"redis://127.0.0.1:{peer(None)}", namespace)
