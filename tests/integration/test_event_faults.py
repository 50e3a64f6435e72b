"""Events when servers restart, connections are cut, and waiters die or are cancelled."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from coordination_kit import (
    Board,
    CancelledAt,
    Program,
    cancel_everywhere,
    in_thread,
    left_over,
    long_form,
    own_threads,
    until,
)

from taskq import TaskQ

WAITERS = 250  # in each of four processes: 200 of events, 50 of one lock
# Greenlets that wait for one of four Events or for the lock; prints "ready", then how the waits ended, as counts.
CROWD = """
from gevent import monkey
monkey.patch_all()
import collections, sys
import gevent
from taskq import TaskQ
url, namespace, waiters = sys.argv[1:]
app = TaskQ("crowd", url, namespace)
fences = []
def wait(number):
    try:
        if number % 5:
            return app.Event(f"e{number % 5}").wait(60)
        with app.Lock("l", lease=5) as lock:
            fences.append(lock.fence)
        return True
    except Exception as error:
        return repr(error)
greenlets = [gevent.spawn(wait, number) for number in range(int(waiters))]
print("ready", flush=True)
gevent.joinall(greenlets)
print(dict(collections.Counter(str(each.value) for each in greenlets)), flush=True)
print(*fences, flush=True)
print(len(app._listener.signals), len(app._sender.keeper), flush=True)
"""


@pytest.fixture
def app(lone_server, namespace):
    with TaskQ("faults", lone_server.url, namespace) as app:
        yield app


def commands(client, *names) -> list[int]:
    counted = client.info("commandstats")
    return [counted.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names]


def waiting(event) -> int:
    return sum(len(crowd._waiters) for crowd in event._crowds.values())


# -- what a wait costs


def test_a_wait_for_a_set_event_is_one_round_trip(start_server, namespace):
    server = start_server()
    with TaskQ("cost", server.url, namespace) as app, server.client() as client:
        event = app.Event("e")
        event.set()
        event.wait(5)
        client.config_resetstat()
        assert event.wait(5)
        assert commands(client, "evalsha", "srem", "hget") == [1, 0, 0]


def test_who_was_told_asks_nothing_more(start_server, namespace):
    server = start_server()
    with TaskQ("cost", server.url, namespace) as app, server.client() as client:
        event, board = app.Event("e"), Board(client, namespace)
        event.wait(0.01)
        client.config_resetstat()
        with in_thread(event.wait, 20) as woken:
            until(lambda: board.listed("e") == 1)
            event.set()
            assert woken() is True
        assert commands(client, "evalsha", "srem", "hget") == [2, 0, 0], "one to wait, one to set"


# -- connections and servers


@pytest.mark.parametrize("cleared", [False, True])
def test_an_event_set_while_the_waiter_listens_to_nothing_wakes_it(app, board, lone_server, namespace, cleared):
    with TaskQ("other", lone_server.url, namespace) as other, in_thread(app.Event("e").wait, 20) as woken:
        until(lambda: board.listed("e") == 1)
        board.client.client_kill_filter(_type="pubsub")
        other.Event("e").set()
        if cleared:
            other.Event("e").clear()
        started = time.monotonic()
        assert woken() is True
        assert time.monotonic() - started < 5, "not at the end of a long look"
    assert left_over(app) == {}


def test_a_wait_outlives_a_lost_connection(app, board):
    with in_thread(app.Event("e").wait, 20) as woken:
        until(lambda: board.listed("e") == 1)
        board.client.client_kill_filter(_type="pubsub")
        until(lambda: board.listeners() == 1)
        until(lambda: app._listener.epoch is not None)
        app.Event("e").set()
        assert woken() is True


def test_an_event_of_a_server_that_forgot_everything_still_wakes(start_server, namespace):
    server = start_server()
    with TaskQ("faults", server.url, namespace) as app, server.client() as client:
        board = Board(client, namespace)
        for _ in range(3):
            app.Event("e").set()
            app.Event("e").clear()
        with in_thread(app.Event("e").wait, 20) as woken:
            until(lambda: board.listed("e") == 1)
            server.restart()
            app.Event("e").set()
            app.Event("e").clear()
            assert woken() is True


@pytest.mark.timeout(180)
def test_a_thousand_waits_outlive_a_restart_of_the_server(start_server, namespace):
    server = start_server(appendonly="yes", appendfsync="always")
    crowd = [Program(CROWD, server.url, namespace, WAITERS) for _ in range(4)]
    try:
        with TaskQ("faults", server.url, namespace) as app:
            lock = app.Lock("l", lease=5)
            lock.acquire()
            for program in crowd:
                assert program.line(60) == "ready"
            with server.client() as client:
                board = Board(client, namespace)
                until(lambda: board.in_line("lock", "l") == WAITERS // 5 * 4, "all lock waits stand in line", 60)
                for number in (1, 2, 3, 4):
                    until(lambda number=number: board.listed(f"e{number}") == 4, "all processes wait", 60)
            app.Event("e1").set()
            app.Event("e2").set()
            app.Event("e2").clear()
            lock.release()
            server.restart()
            app.Event("e3").set()
            app.Event("e4").set()
            fences: list[str] = []
            for program in crowd:
                assert program.line(100) == str({"True": WAITERS})
                fences += program.line().split()
                assert program.line() == "0 0", "no signal and no hold is left"
            assert len(set(fences)) == len(fences) == WAITERS // 5 * 4, "each had the lock once, and alone"
            with server.client() as client:
                assert Board(client, namespace).places() == {}
    finally:
        for program in crowd:
            program.close()


# -- death and cancelling


def test_a_killed_waiter_is_forgotten_at_the_next_set(app, board, start_program):
    program = start_program("import sys; from taskq import TaskQ; TaskQ('dead', *sys.argv[1:]).Event('e').wait()")
    until(lambda: board.listed("e") == 1)
    program.kill()
    app.Event("e").set()
    assert board.listed("e") == 0


def test_a_wait_that_is_cancelled_leaves_nothing_wherever_it_was(app, board):
    event = app.Event("e")

    async def main() -> int:
        await event.aio.wait(0.02)  # everything is connected

        async def run(at: int) -> bool:
            return await CancelledAt(event.aio.wait(0.05), at)

        cancelled, woken = await cancel_everywhere(run, app, board, event, {})
        assert woken is False
        return cancelled

    assert asyncio.run(main()) >= 3, "it was cancelled while it asked, while it waited, and while it left"


def test_a_cancelled_wait_takes_nothing_from_its_neighbours(app, board, lone_server, namespace):
    async def main() -> None:
        event = app.Event("e")
        stays, goes = (asyncio.ensure_future(event.aio.wait(20)) for _ in range(2))
        await asyncio.to_thread(until, lambda: waiting(event) == 2)
        await asyncio.to_thread(until, lambda: board.listed("e") == 1)
        goes.cancel()
        with pytest.raises(asyncio.CancelledError):
            await goes
        await event.aio.set()
        assert await stays is True

    asyncio.run(main())
    assert left_over(app) == {}


@pytest.mark.timeout(long_form("WAITS", 10_000) // 50 + 120)
def test_waits_leave_nothing_behind(app, board):
    count = long_form("WAITS", 10_000)
    event, pulse = app.Event("never"), app.Event("pulse")
    event.wait(0.01)
    threads = own_threads()
    stop = threading.Event()

    def beat() -> None:
        while not stop.is_set():
            pulse.set()
            pulse.clear()

    def wait(times: int) -> None:
        for number in range(times):
            if number % 2:
                assert event.wait(0.001) is False
            else:
                pulse.wait(0.005)

    beating = threading.Thread(target=beat)
    waiters = [threading.Thread(target=wait, args=(count // 8,)) for _ in range(8)]
    for thread in (beating, *waiters):
        thread.start()
    for waiter in waiters:
        waiter.join()
    stop.set()
    beating.join()
    assert left_over(app, event, pulse) == {}
    assert board.places() == {}
    assert own_threads() == threads


def test_many_threads_that_come_first_together_are_all_woken(lone_server, namespace, board):
    for number in range(20):
        with TaskQ("first", lone_server.url, namespace) as app:
            event, start, answers = app.Event(f"e{number}"), threading.Barrier(8), []

            def wait(event=event, start=start, answers=answers) -> None:
                start.wait()
                answers.append(event.wait(20))

            threads = [threading.Thread(target=wait) for _ in range(8)]
            for thread in threads:
                thread.start()
            until(lambda event=event: waiting(event) == 8)
            assert len(event._crowds) == 1
            event.set()
            for thread in threads:
                thread.join(10)
            assert answers == [True] * 8


def test_a_forked_child_waits_by_itself(app, board, start_program):
    program = start_program("""
import os, sys, threading
from taskq import TaskQ
event = TaskQ("fork", *sys.argv[1:]).Event("e")
event.wait(0.05)
waiting = threading.Thread(target=event.wait, args=(20,))
waiting.start()
child = os.fork()
if not child:
    print("child", event.wait(20), flush=True)
    os._exit(0)
os.waitpid(child, 0)
waiting.join()
print("parent", not waiting.is_alive(), flush=True)
""")
    until(lambda: board.listed("e") == 2)
    app.Event("e").set()
    assert [program.line(), program.line()] == ["child True", "parent True"]
