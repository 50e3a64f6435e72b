"""Locks when their holders or waiters die, stop, lose their connection or are cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from coordination_kit import (
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
from taskq.errors import LeaseLost

LEASE = 1.0  # seconds
HOLDER = """
import sys
from taskq import TaskQ
url, namespace, lease = sys.argv[1:]
lock = TaskQ("holder", url, namespace).Lock("l", lease=float(lease))
lock.acquire()
print(lock.fence, flush=True)
sys.stdin.readline()
try:
    lock.release()
    print("released", flush=True)
except Exception as error:
    print(type(error).__name__, flush=True)
"""
# Adds one to the number in a file as often as it can. A killed process leaves either the old number or the new one.
COUNTER = """
import os, pathlib, sys, threading
from taskq import TaskQ
url, namespace, lease, folder = sys.argv[1:]
lock = TaskQ("counter", url, namespace).Lock("l", lease=float(lease))
number, log = pathlib.Path(folder, "number"), os.open(f"{folder}/log", os.O_APPEND | os.O_WRONLY | os.O_CREAT)
new = pathlib.Path(folder, f"new-{os.getpid()}")
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
while not stop.is_set():
    with lock:
        pathlib.Path(folder, "holder").write_text(str(os.getpid()))
        value = int(number.read_text()) + 1
        with new.open("w") as file:
            file.write(str(value))
            file.flush()
            os.fsync(file.fileno())
        new.rename(number)
        os.write(log, b"%d\\n" % value)
"""


@pytest.fixture
def app(lone_server, namespace):
    with TaskQ("faults", lone_server.url, namespace) as app:
        yield app


# -- death


def test_a_killed_holders_lock_goes_to_the_next_within_its_lease(app, board, start_program):
    holder = start_program(HOLDER, LEASE)
    fence = int(holder.line())
    lock = app.Lock("l", lease=LEASE)
    with in_thread(lock.acquire, timeout=20) as acquired:
        until(lambda: board.in_line("lock", "l") == 1)
        holder.kill()
        killed = time.monotonic()
        assert acquired() is True
        assert time.monotonic() - killed < LEASE + 1
    assert lock.fence > fence
    lock.release()


def test_so_it_does_when_the_first_in_line_is_killed_with_it(app, board, start_program):
    holder = start_program(HOLDER, LEASE)
    holder.line()
    first = start_program(HOLDER, LEASE)
    until(lambda: board.in_line("lock", "l") == 1)
    lock = app.Lock("l", lease=LEASE)
    with in_thread(lock.acquire, timeout=20) as acquired:
        until(lambda: board.in_line("lock", "l") == 2)
        holder.kill()
        first.kill()
        killed = time.monotonic()
        assert acquired() is True
        assert time.monotonic() - killed < LEASE + 1
    lock.release()


def test_a_killed_holders_lock_comes_back_also_to_who_only_tries_now_and_then(app, start_program):
    holder = start_program(HOLDER, 0.2)
    holder.line()
    holder.kill()
    lock = app.Lock("l", lease=0.2)
    tries = 0
    while not lock.acquire(blocking=False):
        tries += 1
        assert tries < 5
        time.sleep(0.3)  # how seldom it tries is the point
    lock.release()


def test_a_killed_waiter_is_passed_over_at_once(app, board, start_program):
    lock = app.Lock("l", lease=10)
    lock.acquire()
    dead = start_program(HOLDER, 10)
    until(lambda: board.in_line("lock", "l") == 1)
    with in_thread(lock.acquire, timeout=20) as acquired:
        until(lambda: board.in_line("lock", "l") == 2)
        dead.kill()
        until(lambda: board.listeners() == 1)
        started = time.monotonic()
        lock.release()
        assert acquired() is True
        assert time.monotonic() - started < 1
    lock.release()


def test_a_stopped_holder_learns_that_its_lock_is_lost(app, board, start_program):
    holder = start_program(HOLDER, LEASE)
    fence = int(holder.line())
    lock = app.Lock("l", lease=LEASE)
    holder.signal(signal.SIGSTOP)
    assert lock.acquire(timeout=20) is True
    assert lock.fence > fence
    holder.signal(signal.SIGCONT)
    holder.tell()
    assert holder.line() == "LeaseLost"
    assert lock.fence > fence, "and takes nothing from who has it now"
    lock.release()


def test_a_holder_that_lives_keeps_it_however_long(app, board, start_program):
    lock = app.Lock("l", lease=0.2)
    lock.acquire()
    fence = lock.fence
    with in_thread(app.Lock("l", lease=0.2).acquire, timeout=1) as acquired:
        assert acquired() is False
    assert lock.fence == fence
    lock.release()


def test_the_fence_of_a_lost_lock_is_an_error(app, board):
    lock = app.Lock("l", lease=LEASE)
    lock.acquire()
    board.client.delete(board.key("lock", "l", "holders"), board.key("lock", "l", "fences"))

    def lost():
        try:
            return lock.fence is None
        except LeaseLost:
            return True

    until(lost)
    with pytest.raises(LeaseLost):
        lock.release()
    assert left_over(app, lock) == {}


def test_rlock_that_was_lost_is_not_taken_again(app, board):
    lock = app.RLock("r", lease=LEASE)
    lock.acquire()
    lock._holds[-1].lose()
    with pytest.raises(LeaseLost, match="ran out meanwhile; release it"):
        lock.acquire()
    lock.release()
    assert lock.acquire(timeout=5)
    lock.release()


def test_what_was_raised_inside_is_not_hidden_by_a_lost_lease(app, board):
    lock = app.Lock("l", lease=LEASE)

    def lose(error: Exception | None = None) -> None:
        with lock:
            board.client.delete(board.key("lock", "l", "holders"), board.key("lock", "l", "fences"))
            if error is not None:
                raise error

    with pytest.raises(KeyError):
        lose(KeyError())
    with pytest.raises(LeaseLost):
        lose()


@pytest.mark.timeout(long_form("COUNTER_SECONDS", 8) + 90)
def test_a_counter_under_the_lock_loses_nothing_while_processes_are_killed(server, namespace, tmp_path):
    seconds, kills = long_form("COUNTER_SECONDS", 8), 0
    (tmp_path / "number").write_text("0")

    def start() -> Program:
        return Program(COUNTER, server.url, namespace, LEASE, tmp_path)

    programs = [start() for _ in range(8)]
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            time.sleep(random.uniform(0.2, 1.0))  # between two kills
            victim = random.choice(programs)
            if random.random() < 0.5:
                holding = [program for program in programs if str(program.pid) == _read(tmp_path / "holder")]
                victim = holding[0] if holding else victim
            victim.kill()
            victim.close()
            kills += 1
            programs[programs.index(victim)] = start()
        for program in programs:
            assert program.end() == 0
    finally:
        for program in programs:
            program.close()
    logged = [int(line) for line in (tmp_path / "log").read_text().split()]
    total = int((tmp_path / "number").read_text())
    assert [value for value, times in Counter(logged).items() if times > 1] == [], "two held it at once"
    assert set(logged) <= set(range(1, total + 1))
    assert total - len(logged) <= kills, "each that was killed may have counted once without saying so"
    assert logged == sorted(logged)
    assert total > seconds, "and it goes on"


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


# -- connections


def test_a_lock_released_while_the_waiter_listens_to_nothing_is_taken(app, board, lone_server, namespace):
    with TaskQ("other", lone_server.url, namespace) as other:
        held = other.Lock("l", lease=10)
        held.acquire()
        with in_thread(app.Lock("l", lease=10).acquire, timeout=20) as acquired:
            until(lambda: board.in_line("lock", "l") == 1)
            board.client.client_kill_filter(_type="pubsub")
            held.release()
            started = time.monotonic()
            assert acquired() is True
            assert time.monotonic() - started < 5, "not at the end of a lease, or of a long look"
        app.Lock("l", lease=10).release()


def test_who_lost_its_connection_is_overtaken_by_nobody_once_it_is_back(app, board, lone_server, namespace):
    with contextlib.ExitStack() as stack:
        apps = [app, *(stack.enter_context(TaskQ(name, lone_server.url, namespace)) for name in ("b", "c", "d"))]
        locks = [each.Lock("l", lease=10) for each in apps]
        order: list[int] = []

        def use(number: int) -> None:
            with locks[number]:
                order.append(number)
                if number == 1:  # it may have it before the first is back: in line, or served
                    until(lambda: 0 in order or board.in_line("lock", "l") == 2)

        locks[3].acquire()
        stack.enter_context(in_thread(use, 0))
        until(lambda: board.in_line("lock", "l") == 1)
        (listening,) = board.client.client_list(_type="pubsub")
        for number in (1, 2):
            stack.enter_context(in_thread(use, number))
            until(lambda number=number: board.in_line("lock", "l") == number + 1)
        board.client.client_kill_filter(_id=listening["id"])
        locks[3].release()
        until(lambda: len(order) == 3)
        assert order in ([1, 0, 2], [0, 1, 2])
    assert board.places() == {}


# -- cancelling


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore"])
@pytest.mark.parametrize("held", [False, True])
def test_a_cancelled_acquire_leaves_nothing_wherever_it_was(app, board, lone_server, namespace, kind, held):
    with TaskQ("other", lone_server.url, namespace) as other:
        obstacle = getattr(other, kind)("x")
        if held:
            obstacle.acquire()

        async def main() -> int:
            thing = getattr(app, kind)("x")
            await thing.aio.acquire(timeout=0.02)  # everything is connected
            if not held:
                await thing.aio.release()

            async def run(at: int) -> bool:
                taken = await CancelledAt(thing.aio.acquire(timeout=0.05), at)
                if taken:
                    await thing.aio.release()
                return taken

            cancelled, taken = await cancel_everywhere(run, app, board, thing, board.places())
            assert taken is not held
            return cancelled

        points = asyncio.run(main())
        assert points >= (2 if held else 1), "it was cancelled while it asked, and while it waited"
        if held:
            obstacle.release()


def test_a_waiter_cancelled_at_its_turn_passes_it_on(app, board):
    """The permit was given, and the waiter is cancelled before it heard so."""

    async def main() -> None:
        lock = app.Lock("l", lease=10)
        await lock.aio.acquire()
        waiting = asyncio.ensure_future(lock.aio.acquire())
        await asyncio.to_thread(until, lambda: board.in_line("lock", "l") == 1)
        lock.release()  # blocks the loop, so that nobody hears before the next line
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await lock.aio.acquire(timeout=5) is True
        await lock.aio.release()

    asyncio.run(main())
    assert board.places() == {}


# -- leaks


@pytest.mark.timeout(long_form("WAITS", 10_000) // 50 + 120)
def test_waits_leave_nothing_behind(app, board, lone_server, namespace):
    count = long_form("WAITS", 10_000)
    with TaskQ("other", lone_server.url, namespace) as other:
        held, lock, free = other.Lock("held"), app.Lock("held"), app.Lock("free")
        held.acquire()
        assert lock.acquire(timeout=0.01) is False
        threads = own_threads() + 1  # the keeper of what is held now and then

        def wait(times: int) -> None:
            for number in range(times):
                if number % 2:
                    assert lock.acquire(timeout=0.001) is False
                else:
                    with free:
                        pass

        waiters = [threading.Thread(target=wait, args=(count // 8,)) for _ in range(8)]
        for waiter in waiters:
            waiter.start()
        for waiter in waiters:
            waiter.join()
        assert left_over(app, lock, free) == {}
        held.release()
        assert own_threads() <= threads
    assert board.places() == {}


def test_a_forked_child_holds_nothing_of_its_parents(lone_server, namespace, start_program):
    program = start_program("""
import os, sys
from taskq import TaskQ
lock = TaskQ("fork", *sys.argv[1:3]).Lock("l", lease=10)
lock.acquire()
fence = lock.fence
child = os.fork()
if not child:
    answers = [lock.fence, lock.acquire(timeout=0.05)]
    try:
        lock.release()
    except RuntimeError as error:
        answers.append(type(error).__name__)
    print(answers, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(lock.fence == fence, flush=True)
lock.release()
""")
    assert program.line() == "[None, False, 'NotHeld']"
    assert program.line() == "True"
    assert program.end() == 0


def test_two_threads_of_a_forked_child_may_both_begin(lone_server, namespace, start_program):
    program = start_program("""
import os, sys, threading
from taskq import TaskQ
app = TaskQ("fork", *sys.argv[1:3])
with app.Lock("l"):
    pass
child = os.fork()
if not child:
    def use(number):
        with app.Lock(f"l{number}"):
            pass
    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print(len(app._sender.keeper), flush=True)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
""")
    assert [program.line(), program.line()] == ["0", "0"]
