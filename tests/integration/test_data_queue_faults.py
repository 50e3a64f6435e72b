"""Data queues survive the death of whoever uses them, and of the server."""

from __future__ import annotations

import contextlib
import os
import queue as standard
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from data_queue_kit import Call, in_line
from worker_kit import wait_until

from taskq import TaskQ
from taskq.broker import items
from taskq.broker.call import Command
from taskq.errors import LeaseLost

DEADLINE = 30.0  # seconds: the machine may run other suites
LEASE = 1.0  # seconds
SLACK = 1.0  # seconds after a lease within which an item is back

ACTOR = """
import sys, threading, time
from taskq import TaskQ
from taskq.errors import LeaseLost

url, namespace, what, count = sys.argv[1:]
app = TaskQ("actor", url, namespace)
queue = app.Queue("q", 1 if what == "put" else 0)

def act():
    if what == "get":
        sys.stdout.write(f"{queue.get()}\\n")  # one write: other threads do the same
        sys.stdout.flush()
    elif what == "put":
        queue.put("from the actor")
    elif what == "claim":
        try:
            with queue.claim(lease=1.0) as item:
                print("has", item, flush=True)
                sys.stdin.readline()
        except LeaseLost as error:
            print("lost", error, flush=True)
        else:
            print("kept", flush=True)

threads = [threading.Thread(target=act) for _ in range(int(count))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.fixture
def app(url, namespace):
    with TaskQ("faults", url, namespace) as app:
        yield app


class Actor:
    """Another process with ``count`` threads that do one thing."""

    def __init__(self, app: TaskQ, what: str, count: int = 1) -> None:
        url = str(app.settings.url)
        self.process = subprocess.Popen(
            [sys.executable, "-c", ACTOR, url, app.settings.namespace, what, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> float:
        """Kill it; return when, once it is gone."""
        self.process.kill()
        killed = time.monotonic()
        self.process.wait()
        return killed


@pytest.fixture
def actors() -> Iterator[Any]:
    """Makes actors, of which none outlives the test."""
    with contextlib.ExitStack() as stack:

        def make(app: TaskQ, what: str, count: int = 1) -> Actor:
            actor = Actor(app, what, count)
            stack.callback(actor.process.__exit__, None, None, None)
            stack.callback(actor.process.kill)
            return actor

        yield make


def await_line(queue, line: str, length: int) -> None:
    wait_until(lambda: in_line(queue, line) == length, f"{length} {line}")


# -- claims -----------------------------------------------------------------------------------------------------------


def test_an_item_of_a_killed_process_comes_back_to_who_waited_before(app, actors):
    queue = app.Queue("q")
    holder = actors(app, "claim")
    await_line(queue, "getters", 1)
    waiting = [Call(queue.get) for _ in range(3)]
    await_line(queue, "getters", 4)
    queue.put("a")
    assert holder.line() == "has a"
    killed = holder.kill()
    [first] = [call for call in wait_until(lambda: [c for c in waiting if c.ended_at], "an end") if call.end() == "a"]
    assert first.ended_at - killed < LEASE + SLACK
    queue.shutdown()


@pytest.mark.parametrize("timeout", [DEADLINE, 0.05])
def test_an_item_of_a_killed_process_comes_back_to_who_comes_later(app, actors, timeout):
    queue = app.Queue("q")
    queue.put("a")
    holder = actors(app, "claim")
    assert holder.line() == "has a"
    killed = holder.kill()
    while True:
        with contextlib.suppress(standard.Empty):
            assert queue.get(timeout=timeout) == "a"
            break
        assert time.monotonic() - killed < DEADLINE
    assert time.monotonic() - killed < LEASE + SLACK


def test_an_item_whose_holder_was_killed_long_ago_comes_back_within_a_lease(app, actors):
    queue = app.Queue("q")
    queue.put("a")
    holder = actors(app, "claim")
    assert holder.line() == "has a"
    holder.kill()
    app.broker.read(Command(("HINCRBY", queue._keys.key("tally"), "tick", -60_000_000), int))  # a minute ago
    started = time.monotonic()
    assert queue.get(timeout=DEADLINE) == "a"
    assert time.monotonic() - started < LEASE + SLACK


def test_a_process_that_stood_still_for_longer_than_its_lease_is_told_at_the_end(app, actors):
    queue = app.Queue("q")
    queue.put("a")
    holder = actors(app, "claim")
    assert holder.line() == "has a"
    os.kill(holder.process.pid, signal.SIGSTOP)
    with queue.claim(timeout=DEADLINE, lease=LEASE) as item:
        assert item == "a"
        os.kill(holder.process.pid, signal.SIGCONT)
        holder.go_on()
        assert holder.line().startswith("lost the claim on item 1 of queue 'q'")
    assert app.broker.run(items.stand(queue._keys)).unfinished == 0


def test_a_process_that_stood_still_keeps_what_nobody_else_took(app, actors):
    queue = app.Queue("q")
    queue.put("a")
    holder = actors(app, "claim")
    assert holder.line() == "has a"
    os.kill(holder.process.pid, signal.SIGSTOP)
    ends = time.monotonic() + 1.5 * LEASE
    wait_until(lambda: time.monotonic() > ends, "its lease is over")
    os.kill(holder.process.pid, signal.SIGCONT)
    holder.go_on()
    assert holder.line() == "kept"


def test_a_lease_that_was_lost_hides_no_error_of_the_block(app):
    queue = app.Queue("q")
    queue.put("a")
    claim = queue.claim()
    claim.__enter__()
    app.broker.read(Command(("DEL", queue._keys.key("claims"), queue._keys.key("claimed")), int))
    assert not claim.__exit__(ZeroDivisionError, ZeroDivisionError(), None)


def test_a_lease_that_was_lost_is_told_where_the_block_ended_well(app):
    queue = app.Queue("q")
    queue.put("a")
    with pytest.raises(LeaseLost, match="item 1 of queue 'q' was lost"), queue.claim():
        app.broker.read(Command(("DEL", queue._keys.key("claims"), queue._keys.key("claimed")), int))


# -- who waits and dies -----------------------------------------------------------------------------------------------


def test_getters_that_were_killed_delay_nobody(app, actors):
    queue = app.Queue("q")
    crowd = actors(app, "get", 30)
    await_line(queue, "getters", 30)
    waiting = [Call(queue.get) for _ in range(5)]
    await_line(queue, "getters", 35)
    crowd.kill()
    started = time.monotonic()
    queue.put_many(range(5))
    assert sorted(call.end() for call in waiting) == list(range(5))
    assert time.monotonic() - started < 1.0


def test_putters_that_were_killed_delay_nobody(app, actors):
    queue = app.Queue("q", 1)
    queue.put(0)
    crowd = actors(app, "put", 30)
    await_line(queue, "putters", 30)
    waiting = [Call(queue.put, number) for number in range(1, 6)]
    await_line(queue, "putters", 35)
    crowd.kill()
    started = time.monotonic()
    assert sorted(queue.get(timeout=DEADLINE) for _ in range(6)) == list(range(6))
    for call in waiting:
        call.end()
    assert time.monotonic() - started < 1.0


@pytest.mark.leaves
def test_getters_that_stand_still_delay_the_others_for_a_moment_only(app, actors):
    """The server believes that they hear: each that is told lets an item lie until another looks by itself."""
    queue = app.Queue("q")
    crowd = actors(app, "get", 10)
    await_line(queue, "getters", 10)
    waiting = [Call(queue.get) for _ in range(5)]
    await_line(queue, "getters", 15)
    os.kill(crowd.process.pid, signal.SIGSTOP)
    started = time.monotonic()
    for number in range(10):
        queue.put(number)
    got = [call.end() for call in waiting]
    assert time.monotonic() - started < 5.0
    os.kill(crowd.process.pid, signal.SIGCONT)
    got += [int(crowd.line()) for _ in range(5)]
    assert sorted(got) == list(range(10))


# -- the server -------------------------------------------------------------------------------------------------------


def test_a_restart_of_the_server_ends_no_wait(start_server, namespace):
    server = start_server(appendonly="yes", appendfsync="always")
    with TaskQ("faults", server.url, namespace) as app, TaskQ("other", server.url, namespace) as other:
        empty, full = app.Queue("empty"), app.Queue("full", 5)
        full.put_many(range(5))
        getters = [Call(empty.get) for _ in range(100)]
        putters = [Call(full.put, number) for number in range(5, 105)]
        await_line(empty, "getters", 100)
        await_line(full, "putters", 100)
        server.restart()
        other.Queue("empty").put_many(range(100))
        assert sorted(call.end() for call in getters) == list(range(100))
        taken = other.Queue("full", 5)
        assert sorted(taken.get(timeout=DEADLINE) for _ in range(105)) == list(range(105))
        for call in putters:
            call.end()


def test_items_and_claims_survive_a_restart_of_the_server(start_server, namespace):
    server = start_server(appendonly="yes", appendfsync="always")
    with TaskQ("faults", server.url, namespace) as app:
        queue = app.Queue("q")
        queue.put_many("abc")
        with queue.claim(lease=LEASE) as item:
            server.restart()
            assert (item, queue.get(), queue.qsize()) == ("a", "b", 1)
        queue.task_done()
        queue.get()
        queue.task_done()
        queue.join()


def test_an_outage_longer_than_a_lease_takes_no_claim_away(start_server, namespace):
    server = start_server(appendonly="yes", appendfsync="always")
    with TaskQ("faults", server.url, namespace) as app:
        queue = app.Queue("q")
        queue.put("a")
        with queue.claim(lease=LEASE):
            server.kill()
            ends = time.monotonic() + 1.5 * LEASE
            wait_until(lambda: time.monotonic() > ends, "its lease is over")
            server.start()
            with TaskQ("other", server.url, namespace) as other, pytest.raises(standard.Empty):
                other.Queue("q").get(timeout=2 * LEASE)


def test_a_listener_whose_connection_was_killed_misses_nothing(start_server, namespace):
    server = start_server()
    with TaskQ("faults", server.url, namespace) as app, server.client() as client:
        queue = app.Queue("q", 1)
        for number in range(5):
            waiting = Call(queue.get)
            await_line(queue, "getters", 1)
            client.client_kill_filter(_type="pubsub")
            queue.put(number)
            assert waiting.end() == number
        queue.put("full")
        waiting = Call(queue.put, "next")
        await_line(queue, "putters", 1)
        client.client_kill_filter(_type="pubsub")
        assert queue.get() == "full"
        waiting.end()
        joining = Call(queue.join)
        await_line(queue, "joiners", 1)
        client.client_kill_filter(_type="pubsub")
        for _ in range(7):
            queue.task_done()
        joining.end()


def test_nothing_is_left_of_thousands_of_waits(start_server, namespace):
    server = start_server()
    with TaskQ("faults", server.url, namespace) as app, server.client() as client:
        queue = app.Queue("q", 4)

        def consume() -> None:
            for number in range(625):
                if number % 5:
                    queue.get()
                    queue.task_done()
                else:
                    with queue.claim():
                        pass

        def give_up() -> None:
            for _ in range(100):
                with contextlib.suppress(standard.Empty):
                    app.Queue("never").get(timeout=0.001)

        threads = threading.active_count()
        calls = [Call(consume) for _ in range(8)] + [Call(give_up) for _ in range(4)]
        calls += [Call(queue.put_many, range(1250)) for _ in range(4)]
        for call in calls:
            call.end(60)
        queue.join()
        wait_until(lambda: threading.active_count() <= threads + 2, "only listener and keeper are left")
        assert (len(app._listener.signals), len(app._sender.keeper)) == (0, 0)
        names = {key.decode().partition("}:")[2] for key in client.keys(f"{namespace}:{{*")}
        assert {name for name in names if not name.startswith("s:")} == {"meta", "tally"}
        sessions = [name for name in names if name.startswith("s:")]
        assert len(sessions) <= 4
        keys = client.keys(f"{namespace}:{{*")
        assert [key for key in keys if client.pttl(key) < 0] == [], "all that is left goes some day"
