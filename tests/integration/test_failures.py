"""What a server's refusal means to a user: one class, one line, no secret, nothing half done."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from broker_kit import TIMES, Kit, job
from tcp_kit import greeting

from taskq.broker import jobs, queues, work, workers
from taskq.broker.address import parse_url
from taskq.broker.keys import registry
from taskq.broker.queues import META_TTL_MS
from taskq.broker.session import Session
from taskq.broker.work import FullSettlement, StepRequest
from taskq.errors import (
    AuthenticationFailed,
    BrokerFull,
    BrokerReadOnly,
    BrokerUnavailable,
    Indeterminate,
    InvalidPriority,
    SchemaTooNew,
    WrongServer,
    WrongType,
)
from taskq.model.discipline import Discipline
from taskq.model.job import Job

SECRET = "s3cret-pass"


@pytest.fixture
def kit(server, namespace):
    kit = Kit(server.url, namespace)
    kit.declare()
    yield kit
    kit.close()


@pytest.fixture
def own(namespace, start_server):
    """A queue on a server of its own, whose settings the test may change."""
    kit = Kit(start_server(save="3600 1").url, namespace)
    kit.declare()
    kit.command("SADD", registry(namespace), kit.keys.queue)  # as fsck wants it in the end
    kit.command("PEXPIRE", kit.keys.key("meta"), META_TTL_MS)
    yield kit
    kit.link.close()


@pytest.fixture
def open_session():
    opened = []

    def make(url: str, deadline: float = 0.3) -> Session:
        opened.append(Session(parse_url(url), deadline=deadline))
        return opened[-1]

    yield make
    for session in opened:
        session.close()


@pytest.fixture
def user(kit, namespace):
    """Make a user of the server with the given rights; return its url with a password."""

    def make(*rights: str, password: str = SECRET) -> str:
        kit.command("ACL", "SETUSER", namespace, "reset", "on", f">{SECRET}", *rights)
        return f"unix://{namespace}:{password}@{kit.link.address.path}"

    yield make
    kit.command("ACL", "DELUSER", namespace)


def raised(error: type[Exception], session: Session, call) -> str:
    with pytest.raises(error) as caught:
        session.run(call)
    message = str(caught.value)
    assert "\n" not in message
    assert SECRET not in message
    assert caught.value.__cause__ is None
    return message


def test_a_wrong_password_is_told_at_once_without_it(kit, user, open_session):
    url = user("~*", "+@all", password="wrong-" + SECRET)
    started = time.monotonic()
    message = raised(AuthenticationFailed, open_session(url, 30), jobs.enqueue(kit.keys, [job("a")]))
    assert "refused the user or the password" in message
    assert time.monotonic() - started < 5


def test_a_missing_password_is_told(own, open_session):
    url = f"unix://{own.link.address.path}"
    own.command("CONFIG", "SET", "requirepass", SECRET)
    raised(AuthenticationFailed, open_session(url), jobs.enqueue(own.keys, [job("a")]))
    own.command("CONFIG", "SET", "requirepass", "")


def test_a_missing_right_is_named(kit, user, open_session):
    url = user("~*", "+@all", "-evalsha")
    message = raised(AuthenticationFailed, open_session(url), jobs.enqueue(kit.keys, [job("a")]))
    assert "evalsha" in message


def test_a_missing_right_to_the_keys_is_told(kit, user, open_session):
    url = user("~other:*", "+@all")
    raised(AuthenticationFailed, open_session(url), jobs.enqueue(kit.keys, [job("a")]))
    assert kit.read("jobs") is None


def test_a_user_without_channels_settles_all_the_same(kit, user, open_session):
    session = open_session(user("~*", "+@all", "resetchannels"))
    session.run(jobs.enqueue(kit.keys, [job("a")]))
    session.run(workers.register(kit.keys, "w", TIMES))
    session.run(work.step(kit.keys, "w", StepRequest(count=1)))
    settled = [FullSettlement("a", "1", "o", b"record", 60_000, b"", "token")]
    assert session.run(work.step(kit.keys, "w", StepRequest(full=settled))).letters == "A"
    assert kit.read("r:a") == "record"


@pytest.mark.fault(17)
def test_out_of_memory_takes_no_job_and_lets_workers_go_on(own, server, open_session):
    session = open_session(f"unix://{own.link.address.path}")
    session.run(jobs.enqueue(own.keys, [job("a")]))
    session.run(workers.register(own.keys, "w", TIMES))
    before = own.snapshot()
    own.command("CONFIG", "SET", "maxmemory", "1")
    message = raised(BrokerFull, session, jobs.enqueue(own.keys, [job("b")]))
    assert "maxmemory" in message
    assert own.snapshot() == before
    session.run(workers.heartbeat(own.keys, "w", TIMES))
    assert session.run(work.step(own.keys, "w", StepRequest(count=1))).claims[0] == b"a"
    settled = [FullSettlement("a", "1", "o", b"record", 60_000, b"", "")]
    assert session.run(work.step(own.keys, "w", StepRequest(full=settled))).letters == "A"
    own.command("CONFIG", "SET", "maxmemory", "0")
    assert session.run(jobs.enqueue(own.keys, [job("b")])) == "A"


def read_only_replica(kit: Kit) -> None:
    kit.command("REPLICAOF", "127.0.0.1", "1")


def too_few_replicas(kit: Kit) -> None:
    kit.command("CONFIG", "SET", "min-replicas-to-write", "1")


def disk_that_fails(kit: Kit) -> None:
    (Path(kit.command("CONFIG", "GET", "dir")[1].decode()) / "dump.rdb").mkdir()  # no file can be renamed to it
    kit.command("BGSAVE")
    deadline = time.monotonic() + 10
    while b"rdb_last_bgsave_status:err" not in kit.command("INFO", "persistence"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.fault(36)
@pytest.mark.parametrize(
    ("trouble", "word"),
    [(read_only_replica, "read only"), (too_few_replicas, "NOREPLICAS"), (disk_that_fails, "MISCONF")],
)
def test_a_server_that_takes_no_writes_is_waited_for_then_told(own, open_session, trouble, word):
    trouble(own)
    session = open_session(f"unix://{own.link.address.path}", 0.3)
    started = time.monotonic()
    message = raised(BrokerReadOnly, session, jobs.enqueue(own.keys, [job("a")]))
    assert word in message
    assert 0.2 < time.monotonic() - started < 5
    assert own.read("jobs") is None


def test_a_server_that_takes_writes_again_gets_the_waiting_call(own, open_session):
    read_only_replica(own)
    session = open_session(f"unix://{own.link.address.path}", 20)
    with pytest.raises(BrokerReadOnly):
        session.run(jobs.enqueue(own.keys, [job("a")]), 0.1)
    own.command("REPLICAOF", "NO", "ONE")
    assert session.run(jobs.enqueue(own.keys, [job("a")])) == "A"


def test_a_key_of_a_wrong_type_is_told(kit, server, open_session):
    kit.seed(ready="text")
    message = raised(WrongType, open_session(server.url), jobs.enqueue(kit.keys, [job("a")]))
    assert "another type" in message
    message = raised(WrongType, open_session(server.url), workers.register(kit.keys, "w", TIMES))
    assert f"{kit.keys.key('ready')} is a string, not a zset" in message


def test_a_newer_schema_is_told(kit, server, open_session):
    kit.seed(meta={"schema": "99"})
    call = queues.declare(kit.keys, Discipline.FIFO, 0, "me")
    assert "schema '99'" in raised(SchemaTooNew, open_session(server.url), call)


def test_a_priority_that_is_not_finite_is_told(kit, server, open_session):
    bad = Job("a", b"1;;;;nan\nbody")
    assert "'a' is not finite" in raised(InvalidPriority, open_session(server.url), jobs.enqueue(kit.keys, [bad]))


def test_after_a_refusal_the_session_goes_on(kit, server, open_session):
    session = open_session(server.url)
    bad = Job("a", b"1;;;;nan\nbody")
    raised(InvalidPriority, session, jobs.enqueue(kit.keys, [bad]))
    assert session.run(jobs.enqueue(kit.keys, [job("b")])) == "A"


HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
TLS_ALERT = b"\x15\x03\x03\x00\x02\x02\x46"
FOREIGN = {
    "http": {"answer": HTTP},
    "smtp": {"first": b"220 mail.example.org ESMTP\r\n", "answer": b"502 unknown command\r\n"},
    "ssh": {"first": b"SSH-2.0-OpenSSH_9.6\r\n"},
    "mysql": {"first": b"\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00"},
    "tls": {"answer": TLS_ALERT},
    "random": {"answer": bytes(range(256))},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_server_that_is_no_redis_is_told_in_bounded_time(kit, open_session, kind):
    with greeting(**FOREIGN[kind]) as url:
        session = open_session(url, 0.5)
        started = time.monotonic()
        message = raised((WrongServer, BrokerUnavailable), session, jobs.enqueue(kit.keys, [job("a")]))
        assert "127.0.0.1" in message
        assert time.monotonic() - started < 5


def test_a_foreign_server_is_asked_anew_each_time(kit, open_session):
    with greeting(answer=HTTP) as url:
        session = open_session(url, 0.5)
        for _ in range(2):
            raised(WrongServer, session, jobs.enqueue(kit.keys, [job("a")]))


def test_a_tls_server_at_a_plain_url_brings_a_hint(kit, open_session):
    with greeting(answer=TLS_ALERT) as url:
        message = raised(WrongServer, open_session(url, 0.5), jobs.enqueue(kit.keys, [job("a")]))
    assert "TLS" in message


def test_a_server_that_hangs_up_at_every_plain_call_brings_a_hint(kit, open_session):
    with greeting() as url:
        message = raised(Indeterminate, open_session(url, 0.5), jobs.enqueue(kit.keys, [job("a")]))
    assert "TLS" in message


def test_a_plain_server_at_a_tls_url_brings_a_hint_and_does_not_hang(kit, start_server, open_session):
    plain = start_server(tcp=True).url
    started = time.monotonic()
    session = open_session(plain.replace("redis://", "rediss://"), 0.5)
    message = raised(BrokerUnavailable, session, jobs.enqueue(kit.keys, [job("a")]))
    assert "TLS" in message
    assert time.monotonic() - started < 8
