"""``rediss://``: every connection checks the server's certificate and host name, and says what is wrong with them."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from cli_kit import Cli
from fsck_kit import what_is_wrong
from servers import TestServer, free_ports, redis_program, require_redis
from worker_kit import TESTS, bench, wait_until

from taskq import TaskQ
from taskq.broker.address import parse_url
from taskq.broker.aio import AsyncSession
from taskq.broker.connection import Link
from taskq.broker.diagnosis import Facts, check
from taskq.broker.doctor import server_time
from taskq.broker.lifecycle import Feed
from taskq.broker.session import Session
from taskq.broker.subscription import Subscription
from taskq.errors import BrokerError, InvalidURL, WrongServer

PATIENCE = 30.0  # seconds
SOON = 2.0  # seconds; a refusal is not tried again for the whole deadline
DAYS = "2"  # that a certificate holds

Start = Callable[..., str]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA, and certificates with their keys: for this machine, for another one, and for a client."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on PATH to make certificates")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    def alone(name: str, *extra: str) -> None:
        request = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", DAYS, "-subj", f"/CN={name}")
        openssl(*request, "-keyout", f"{name}.key", "-out", f"{name}.pem", *extra)

    alone("ca")
    alone("self", "-addext", "subjectAltName=DNS:localhost")
    for name, names in {"here": "DNS:localhost", "elsewhere": "DNS:elsewhere.example", "client": "DNS:c"}.items():
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", "csr")
        (folder / "names").write_text(f"subjectAltName={names}")
        signed = ("x509", "-req", "-in", "csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", DAYS)
        openssl(*signed, "-extfile", "names", "-out", f"{name}.pem")
    openssl("rsa", "-in", "client.key", "-aes128", "-passout", "pass:canary", "-out", "locked.key")
    (folder / "text").write_text("no certificate")
    return folder


@pytest.fixture(scope="module")
def start(certificates: Path) -> Iterator[Start]:
    """Start servers with a certificate; the value is the url. Each is started once and left to the other tests.

    Debian's Redis: the Valkey of the ``embedded`` extra is built without TLS.
    """
    program = redis_program()
    if program is None:
        (pytest.fail if require_redis() else pytest.skip)("no redis-server on PATH")
    urls: dict[tuple[str, bool], str] = {}
    running: list[TestServer] = []

    def make(name: str = "here", *, asks: bool = False) -> str:
        if (name, asks) not in urls:
            port, _ = free_ports()
            server = TestServer(
                program, tls_port=str(port), tls_cert_file=str(certificates / f"{name}.pem"),
                tls_key_file=str(certificates / f"{name}.key"), tls_ca_cert_file=str(certificates / "ca.pem"),
                tls_auth_clients="yes" if asks else "no",
            )  # fmt: skip
            try:
                server.start()
            except RuntimeError as error:
                server.stop()
                if "TLS support" in str(error) or "Bad directive" in str(error):
                    pytest.skip(f"{program} was built without TLS")
                raise
            running.append(server)
            urls[name, asks] = f"rediss://localhost:{port}"
        return urls[name, asks]

    try:
        yield make
        assert [line for server in running for line in what_is_wrong(server.url)] == []
    finally:
        for server in running:
            server.stop()


def by_session(url: str) -> None:
    session = Session(parse_url(url))
    try:
        session.read(server_time())
    finally:
        session.close()


def by_coroutine(url: str) -> None:
    async def ask() -> None:
        session = AsyncSession(parse_url(url))
        try:
            await session.read(server_time())
        finally:
            await session.close()

    asyncio.run(ask())


def by_app(url: str) -> None:
    with TaskQ("app", url) as app:
        app.Queue("default").qsize()


def by_feed(url: str) -> None:
    with TaskQ("app", url) as app:
        feed = Feed(app.broker)
        try:
            feed.open()
        finally:
            feed.close()


WAYS = pytest.mark.parametrize("way", [by_session, by_coroutine, by_app, by_feed])


@WAYS
def test_a_server_whose_ca_is_named_is_used(start: Start, certificates: Path, way: Callable[[str], None]) -> None:
    way(f"{start()}?ssl_ca_certs={certificates}/ca.pem")


@WAYS
@pytest.mark.parametrize("name", ["self", "here"])
def test_a_certificate_that_nobody_known_signed_is_refused_at_once(
    start: Start, way: Callable[[str], None], name: str
) -> None:
    url, began = start(name), time.monotonic()
    with pytest.raises(WrongServer, match=r"self-signed.*; name the CA that signed it by ssl_ca_certs=") as caught:
        way(url)
    assert (time.monotonic() - began < SOON, str(caught.value).count("\n")) == (True, 0)


@WAYS
def test_a_certificate_of_another_host_is_refused(start: Start, certificates: Path, way: Callable[[str], None]) -> None:
    url = f"{start('elsewhere')}?ssl_ca_certs={certificates}/ca.pem"
    with pytest.raises(WrongServer, match="not valid for 'localhost'; give the host name that it was made for"):
        way(url)


@WAYS
def test_a_server_that_wants_a_certificate_says_so(
    start: Start, certificates: Path, way: Callable[[str], None]
) -> None:
    # It hangs up, and its reason may be lost with that.
    with pytest.raises(BrokerError, match="give one by ssl_certfile and ssl_keyfile in the url"):
        way(f"{start(asks=True)}?ssl_ca_certs={certificates}/ca.pem")


@WAYS
def test_a_server_that_wants_a_certificate_gets_it(
    start: Start, certificates: Path, way: Callable[[str], None]
) -> None:
    own = f"ssl_certfile={certificates}/client.pem&ssl_keyfile={certificates}/client.key"
    way(f"{start(asks=True)}?ssl_ca_certs={certificates}/ca.pem&{own}")


@WAYS
@pytest.mark.parametrize("option", ["ssl_cert_reqs=none", "ssl_check_hostname=no&ssl_ca_certs={folder}/ca.pem"])
def test_only_who_says_so_goes_unchecked(
    start: Start, certificates: Path, way: Callable[[str], None], option: str
) -> None:
    way(f"{start('elsewhere')}?{option.format(folder=certificates)}")


def test_a_listener_never_listens_to_a_stranger(start: Start) -> None:
    subscription = Subscription(Link(parse_url(start("self"))), "taskq:reply:x")
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        subscription.open()


def test_nothing_is_left_to_read_of_a_new_connection(start: Start, certificates: Path) -> None:
    """A worker's loop reads what a selector announces; session tickets, which are no reply, stopped it for 15 s."""
    link = Link(parse_url(f"{start()}?ssl_ca_certs={certificates}/ca.pem"))
    link.connect()
    try:
        assert not select.select([link.fileno()], [], [], 0.3)[0]
    finally:
        link.close()


def test_a_listener_that_hears_nothing_for_long_stays_connected(start: Start, certificates: Path) -> None:
    url = f"{start()}?ssl_ca_certs={certificates}/ca.pem"
    heard: queue.Queue[bytes] = queue.Queue()
    subscription = Subscription(Link(parse_url(url)), "quiet", silence=0.05)
    subscription.open()

    def listen() -> None:
        with contextlib.suppress(Exception):  # it is closed at the end
            for message in subscription.messages():
                heard.put(message)

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        with pytest.raises(queue.Empty):
            heard.get(timeout=0.5)  # ten silences
        with redis.Redis.from_url(url) as client:
            assert client.publish("quiet", b"x" * 100_000) == 1  # more than a record of TLS
        assert heard.get(timeout=PATIENCE) == b"x" * 100_000
    finally:
        subscription.close()
        thread.join(PATIENCE)


def test_tls_is_1_2_at_least(start: Start, certificates: Path) -> None:
    link = Link(parse_url(f"{start()}?ssl_ca_certs={certificates}/ca.pem"))
    link.connect()
    try:
        assert link._connection._sock.version() in {"TLSv1.2", "TLSv1.3"}
    finally:
        link.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("ssl_ca_certs={f}/none", "ssl_ca_certs: .*none' cannot be read: No such file"),
        ("ssl_ca_certs={f}/text", "ssl_ca_certs: .* it must hold the certificate of a CA in PEM"),
        ("ssl_ca_certs={f}", "ssl_ca_certs: .* cannot be read: Is a directory"),
        ("ssl_certfile={f}/client.pem&ssl_keyfile={f}/none", "ssl_keyfile: .* cannot be read"),
        ("ssl_certfile={f}/client.pem", "ssl_certfile: .* the key of that one"),
        ("ssl_certfile={f}/client.pem&ssl_keyfile={f}/here.key", "key values mismatch.*: it must hold a certificate"),
        ("ssl_certfile={f}/client.pem&ssl_keyfile={f}/locked.key", "without a password"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_before_anything_is_sent(
    certificates: Path, options: str, said: str
) -> None:
    with (
        TaskQ("app", f"rediss://127.0.0.1:1?{options.format(f=certificates)}") as app,
        pytest.raises(InvalidURL, match=said) as caught,
    ):
        app.Queue("default").qsize()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://h?ssl_ca_certs=/ca.pem", "ssl_ca_certs is for rediss://; redis:// is not encrypted"),
        ("unix:///s?ssl_cert_reqs=none", "ssl_cert_reqs is for rediss://"),
        ("rediss://h?ssl_check_hostname=perhaps", "ssl_check_hostname must be true or false"),
        ("rediss://h?ssl_check_hostname=", "ssl_check_hostname must be true or false"),
        ("rediss://h?ssl_ca_certs=", "an option that names a file is empty"),
        ("rediss://h?ssl_keyfile=/k", "ssl_keyfile needs ssl_certfile"),
    ],
)
def test_options_that_would_not_count_are_refused(url: str, said: str) -> None:
    with pytest.raises(InvalidURL, match=said):
        parse_url(url)


@pytest.mark.parametrize("option", ["ssl_cert_reqs=none", "ssl_cert_reqs=optional", "ssl_check_hostname=no"])
def test_the_doctor_warns_of_a_check_that_is_off(option: str) -> None:
    address = parse_url(f"rediss://:p@10.0.0.1?{option}")
    found = check(Facts(address, {}, 0.0, None, 1, "", {}, {}, {}))
    assert [one.level for one in found if one.name == "certificate"] == ["warn"]


def test_the_doctor_is_content_with_tls_that_checks() -> None:
    found = check(Facts(parse_url("rediss://:p@10.0.0.1"), {}, 0.0, None, 1, "", {}, {}, {}))
    assert {one.name for one in found} & {"certificate", "encryption", "password"} == set()


@pytest.fixture
def taskq(tmp_path: Path) -> Cli:
    """The command line of an app without a server."""
    return Cli({"TASKQ_APP": "apps.acceptance:app", "PYTHONPATH": str(TESTS)}, tmp_path)


@pytest.mark.parametrize("command", ["status", "worker --pool thread --log-level ERROR", "enqueue add 1 2", "doctor"])
def test_a_stranger_is_one_line_and_exit_3(start: Start, taskq: Cli, command: str) -> None:
    done = taskq(*command.split(), TASKQ_URL=start("self"))
    assert (done.code, done.err.count("\n"), "Traceback" in done.err) == (3, 1, False), done
    assert "its certificate is not trusted" in done.err


def test_jobs_run_and_results_come_back_over_tls(
    start: Start, certificates: Path, namespace: str, tmp_path: Path
) -> None:
    options = f"ssl_ca_certs={certificates}/ca.pem&ssl_certfile={certificates}/client.pem"
    with bench(f"{start(asks=True)}?{options}&ssl_keyfile={certificates}/client.key", namespace, tmp_path) as rig:
        worker = rig.start("thread")
        assert [job.result(PATIENCE) for job in [rig.app.add.delay(n, 1) for n in range(20)]] == list(range(1, 21))
        assert rig.app.nap.delay(1, 0.3).result(PATIENCE) == 1
        long = "x" * 900_000  # in many records, whose last ones the system does not take at once
        for job in (rig.app.told.delay(long, "sync"), asyncio.run(rig.app.told.aio.delay(long, "aio"))):
            assert job.result(PATIENCE).endswith(long)
        event = rig.app.app.Event("e")
        assert not event.wait(0.05)
        event.set()
        wait_until(event.is_set, "it is set")
        assert worker.stop() == 0
        assert " lost (" not in worker.lines()
