"""Sessions and their retry loop: every call takes effect once, whatever happens to its connection."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from broker_kit import Kit, job
from chaos.proxy import NONE, Fault, Proxy
from tcp_kit import nobody

from taskq.broker import jobs, queues
from taskq.broker.address import parse_url
from taskq.broker.call import Command
from taskq.broker.session import Session
from taskq.errors import BrokerUnavailable, Indeterminate

REPLY = len(b"*1\r\n$1\r\nA\r\n")  # what the server answers to the enqueue of one job


@pytest.fixture
def kit(server, namespace):
    kit = Kit(server.url, namespace)
    kit.declare()
    yield kit
    kit.close()


@pytest.fixture
def open_session():
    opened = []

    def make(url: str, deadline: float = 20.0) -> Session:
        opened.append(Session(parse_url(url), deadline=deadline))
        return opened[-1]

    yield make
    for session in opened:
        session.close()


@pytest.fixture
def proxy(server):
    with Proxy(server.socket) as proxy:
        yield proxy


@pytest.fixture
def known_scripts(kit, open_session, server):
    """The server knows the scripts, so that a call is one exchange."""
    open_session(server.url).run(jobs.enqueue(kit.keys, [job("warm")]))


def cut_after(count: int) -> Fault:
    """A connection that passes so many bytes of replies, or no request if -1."""
    return Fault(request=0) if count < 0 else Fault(reply=count)


def ready(kit: Kit) -> list[str]:
    return sorted(set(kit.read("ready") or {}) - {"warm"})


@pytest.mark.usefixtures("known_scripts")
@pytest.mark.parametrize("cut", [-1, 0, 1, 3, 4, 5, 8, 9, REPLY - 1])
def test_a_call_whose_reply_was_cut_is_there_once(kit, proxy, open_session, cut):
    proxy.coming.extend([cut_after(cut)] * 3)
    session = open_session(proxy.url)
    assert session.run(jobs.enqueue(kit.keys, [job("a")])) == "A"
    assert session.run(jobs.enqueue(kit.keys, [job("b")])) == "A"
    assert ready(kit) == ["a", "b"]
    assert kit.counters() == {"enqueued": 3}
    assert not proxy.coming


@pytest.mark.usefixtures("known_scripts")
@pytest.mark.parametrize("cut", [-1, 0, 5, REPLY - 1])
def test_a_call_in_two_halves_whose_reply_was_cut_is_there_once(kit, proxy, open_session, cut):
    session = open_session(proxy.url)
    proxy.coming.extend([cut_after(cut)] * 2)
    flights = []
    for unique in "ab":
        flights.append(session.begin(jobs.enqueue(kit.keys, [job(unique)])))
        assert session.finish(flights[-1]) == "A"
    assert ready(kit) == ["a", "b"]
    assert kit.counters() == {"enqueued": 3}


def test_a_call_in_two_halves_is_sent_again_after_a_flush(kit, server, open_session):
    session = open_session(server.url)
    for unique in "ab":
        kit.command("SCRIPT", "FLUSH")
        assert session.finish(session.begin(jobs.enqueue(kit.keys, [job(unique)]))) == "A"
    assert kit.counters() == {"enqueued": 2}


def test_a_call_in_two_halves_to_nobody_is_reported_at_its_end_and_frees_the_session(kit, open_session):
    with nobody() as url:
        session = open_session(url, 0.2)
        for _ in range(2):
            flight = session.begin(jobs.enqueue(kit.keys, [job("a")]))
            with pytest.raises(BrokerUnavailable):
                session.finish(flight)


@pytest.mark.parametrize("cut", [0, 5, 40])
def test_a_call_whose_script_was_unknown_and_whose_reply_was_cut_is_there_once(kit, proxy, open_session, cut):
    kit.command("SCRIPT", "FLUSH")
    proxy.coming.append(cut_after(cut))
    assert open_session(proxy.url).run(jobs.enqueue(kit.keys, [job("a")])) == "A"
    assert ready(kit) == ["a"]
    assert kit.counters() == {"enqueued": 1}


@pytest.mark.usefixtures("known_scripts")
def test_a_call_that_is_never_answered_is_indeterminate_and_safe_to_send_again(kit, proxy, open_session):
    proxy.always = Fault(reply=0)
    session = open_session(proxy.url, 0.4)
    started = time.monotonic()
    with pytest.raises(Indeterminate, match=r"the enqueue\w* may have run"):
        session.run(jobs.enqueue(kit.keys, [job("a")]))
    assert time.monotonic() - started < 5
    proxy.always = NONE
    assert session.run(jobs.enqueue(kit.keys, [job("a")])) == "D"
    assert ready(kit) == ["a"]


@pytest.mark.fault(19)
def test_scripts_are_sent_again_after_a_flush(kit, server, open_session):
    session = open_session(server.url)
    for unique in "abc":
        assert session.run(jobs.enqueue(kit.keys, [job(unique)])) == "A"
        kit.command("SCRIPT", "FLUSH")
    assert ready(kit) == ["a", "b", "c"]


def test_a_connection_that_the_server_closed_is_opened_again(kit, server, open_session):
    session = open_session(server.url)
    session.run(jobs.enqueue(kit.keys, [job("a")]))
    kit.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert session.run(jobs.enqueue(kit.keys, [job("b")])) == "A"


def test_a_server_that_restarts_between_calls_is_found_again(namespace, start_server, open_session):
    server = start_server(appendonly="yes", appendfsync="always")
    kit, session = Kit(server.url, namespace), open_session(server.url)
    session.run(queues.declare(kit.keys, None, None, "me"))
    assert session.run(jobs.enqueue(kit.keys, [job("a")])) == "A"
    server.restart()
    assert session.run(jobs.enqueue(kit.keys, [job("b")])) == "A"
    kit.link.close()
    assert ready(kit) == ["a", "b"]
    kit.close()


def test_a_call_waits_for_a_server_that_comes_back(namespace, start_server, open_session):
    server = start_server(appendonly="yes", appendfsync="always")
    kit, session = Kit(server.url, namespace), open_session(server.url)
    session.run(queues.declare(kit.keys, None, None, "me"))
    server.kill()
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(session.run(jobs.enqueue(kit.keys, [job("a")]))))
    waiting.start()
    server.start()
    waiting.join(30)
    assert answers == ["A"]
    kit.link.close()
    kit.close()


@pytest.mark.parametrize("operation", ["run", "read"])
def test_a_refused_connection_is_reported_in_bounded_time(kit, open_session, operation):
    with nobody() as url:
        session = open_session(url, 0.3)
        started = time.monotonic()
        operate = {
            "run": lambda: session.run(jobs.enqueue(kit.keys, [job("a")])),
            "read": lambda: session.read(jobs.result(kit.keys, "a")),
        }[operation]
        with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:\d+/0 cannot be reached: Connection refused"):
            operate()
        assert time.monotonic() - started < 3


def test_a_server_that_was_never_reached_is_reported_soon_whatever_the_deadline(kit, open_session):
    with nobody() as url:
        session = open_session(url, 600.0)
        started = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            session.run(jobs.enqueue(kit.keys, [job("a")]))
        assert time.monotonic() - started < 10


def test_a_missing_socket_is_named(open_session, kit, tmp_path):
    with pytest.raises(BrokerUnavailable, match=r"nobody\.sock"):
        open_session(f"unix://{tmp_path}/nobody.sock", 0.2).run(jobs.enqueue(kit.keys, [job("a")]))


def test_threads_share_a_session_without_mixing_replies(kit, server, open_session):
    session = open_session(server.url)
    wrong = []

    def produce(name: str) -> None:
        for n in range(60):
            if session.run(jobs.enqueue(kit.keys, [job(f"{name}{n}")])) != "A":
                wrong.append(name)
            if session.read(Command(("ECHO", f"{name}{n}"), bytes.decode)) != f"{name}{n}":
                wrong.append(name)

    threads = [threading.Thread(target=produce, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(ready(kit)) == 240


class Interrupt(BaseException):
    """What a signal handler may raise anywhere."""


def test_the_reply_of_an_interrupted_call_answers_no_later_call(kit, server, open_session):
    session = open_session(server.url)

    def interrupt(*_: object) -> None:
        raise Interrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(Interrupt):
            session.read(Command(("BLPOP", kit.keys.key("never"), 1), lambda reply: reply))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert session.read(Command(("ECHO", "mine"), bytes.decode)) == "mine"
    assert session.run(jobs.enqueue(kit.keys, [job("a")])) == "A"


FORK = """
import os, sys, threading
sys.path[:0] = [sys.argv[1]]
from broker_kit import job
from taskq.broker import jobs
from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
from taskq.broker.keys import QueueKeys
from taskq.model.job import IdGenerator, Job

url, namespace, kind = sys.argv[2:]
broker = Broker(parse_url(url), namespace)
keys = QueueKeys(namespace, "q")
ids = IdGenerator()

def send(name):
    for n in range(25):
        made = Job(f"{name}-{ids()}", job("x").data)
        letters = broker.enqueue("q", [made]) if kind == "broker" else broker.run(jobs.enqueue(keys, [made]))
        assert letters == "A", (name, n, letters)

def send_from_threads(name):
    threads = [threading.Thread(target=send, args=(f"{name}{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

send("parent")
children = []
for name in ("one", "two"):
    pid = os.fork()
    if pid == 0:
        send_from_threads(name)
        os._exit(0)
    children.append(pid)
send_from_threads("parent")
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
send("parent")
"""


@pytest.mark.parametrize("kind", ["session", "broker"])
def test_a_fork_loses_no_job_of_parent_or_children(kit, server, namespace, kind):
    here = str(Path(__file__).parents[1])
    script = [sys.executable, "-c", FORK, here, server.url, namespace, kind]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    names = [unique.partition("-")[0] for unique in ready(kit)]
    expected = {"parent": 50} | {f"{who}{n}": 25 for who in ("parent", "one", "two") for n in range(3)}
    assert {name: names.count(name) for name in sorted(set(names))} == expected
    assert len(kit.sessions()) == 3


FORK_WHILE_BUSY = """
import os, signal, sys, threading
from taskq.model.job import IdGenerator

ids = IdGenerator()
parent = ids()
taken, forked = threading.Event(), threading.Event()

def busy():
    with ids._lock:
        taken.set()
        forked.wait()

thread = threading.Thread(target=busy)
thread.start()
taken.wait()
pid = os.fork()
if pid == 0:
    signal.alarm(10)
    os._exit(0 if ids()[-8:] != parent[-8:] else 1)
forked.set()
thread.join()
assert os.waitpid(pid, 0)[1] == 0
"""


def test_a_child_makes_ids_of_its_own_whatever_the_parent_did_at_the_fork():
    script = [sys.executable, "-c", FORK_WHILE_BUSY]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
