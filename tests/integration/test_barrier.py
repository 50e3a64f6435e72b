"""Barrier: the contract of ``threading.Barrier``, between threads, tasks and processes, and what dies or is lost."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from threading import BrokenBarrierError

import pytest
from worker_kit import wait_until

from taskq import TaskQ
from taskq.client import signals
from taskq.client.operation import Hear, perform
from taskq.errors import BrokerUnavailable, InvalidName, InvalidOption, InvalidTimeout, PrimitiveConflict

DEADLINE = 20.0  # seconds: the machine may run other suites
LEASE = 0.6  # seconds, where something dies


@pytest.fixture
def app(url, namespace):
    with TaskQ("barrier", url, namespace) as app:
        yield app


@pytest.fixture
def threads():
    with ThreadPoolExecutor(16) as pool:
        yield pool


@pytest.fixture
def spawn(url, namespace):
    """Start programs that get url and namespace; what still runs at the end is killed."""
    started = []

    def start(program, *args):
        command = [sys.executable, "-W", "error", "-c", program, url, namespace, *map(str, args)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def waiting(barrier, number):
    wait_until(lambda: barrier.n_waiting == number, f"{number} wait", DEADLINE)


def enter(threads, barrier, number, timeout=DEADLINE):
    """Have ``number`` threads wait, and return when the server knows them all."""
    before = barrier.n_waiting
    waits = [threads.submit(barrier.wait, timeout) for _ in range(number)]
    waiting(barrier, before + number)
    return waits


def fates(waits):
    """What each wait returned or raised."""
    return [type(wait.exception()).__name__ if wait.exception(DEADLINE) else wait.result() for wait in waits]


BROKEN = "BrokenBarrierError"


def test_all_are_released_with_the_order_of_their_arrival(app, threads):
    barrier = app.Barrier("b", 3)
    first = enter(threads, barrier, 1)
    second = enter(threads, barrier, 1)
    assert [barrier.wait(DEADLINE), *fates(first + second)] == [2, 0, 1]


def test_nobody_passes_before_all_have_come(app, threads):
    barrier = app.Barrier("b", 3)
    waits = enter(threads, barrier, 2)
    assert not any(wait.done() for wait in waits)
    barrier.wait(DEADLINE)
    assert sorted(fates(waits)) == [0, 1]


def test_it_is_used_again_and_again(app, threads):
    barrier = app.Barrier("b", 4)
    passed = list(threads.map(lambda _: [barrier.wait(DEADLINE) for _ in range(50)], range(4)))
    assert [sorted(generation) for generation in zip(*passed, strict=True)] == [[0, 1, 2, 3]] * 50


def test_what_it_says_of_itself(app, threads):
    barrier = app.Barrier("b", 3)
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (3, 0, False)
    waits = enter(threads, barrier, 2)
    assert (barrier.n_waiting, barrier.broken) == (2, False)
    barrier.abort()
    assert (barrier.n_waiting, barrier.broken) == (0, True)
    fates(waits)


def test_one_party_never_waits(app):
    barrier = app.Barrier("b", 1)
    assert [barrier.wait(0), barrier.wait()] == [0, 0]


def test_the_action_runs_once_before_anybody_is_released(app, threads):
    acted, seen = [], []
    barrier = app.Barrier("b", 3, action=lambda: acted.append(None))

    def run():
        for _ in range(20):
            barrier.wait(DEADLINE)
            seen.append(len(acted))
            barrier.wait(DEADLINE)

    for run_ in [threads.submit(run) for _ in range(3)]:
        run_.result(DEADLINE)
    assert seen == [number for number in range(1, 40, 2) for _ in range(3)]
    assert len(acted) == 40


def test_an_action_that_fails_breaks_the_barrier_and_only_its_party_gets_the_error(app, threads):
    def fail():
        raise LookupError

    barrier = app.Barrier("b", 3, action=fail)
    waits = enter(threads, barrier, 2)
    with pytest.raises(LookupError):
        barrier.wait(DEADLINE)
    assert fates(waits) == [BROKEN, BROKEN]
    assert barrier.broken


def test_abort_breaks_it_for_those_who_wait_and_those_who_come(app, threads):
    barrier = app.Barrier("b", 3)
    waits = enter(threads, barrier, 2)
    barrier.abort()
    assert fates(waits) == [BROKEN, BROKEN]
    with pytest.raises(BrokenBarrierError, match=r"Barrier\('b', 3\) is broken: .* reset\(\)"):
        barrier.wait()


def test_reset_breaks_it_for_those_who_wait_and_nobody_else(app, threads):
    barrier = app.Barrier("b", 2)
    waits = enter(threads, barrier, 1)
    barrier.reset()
    assert fates(waits) == [BROKEN]
    assert not barrier.broken
    again = enter(threads, barrier, 1)
    assert [barrier.wait(DEADLINE), *fates(again)] == [1, 0]


def test_reset_makes_a_broken_barrier_usable(app, threads):
    barrier = app.Barrier("b", 2)
    barrier.abort()
    barrier.reset()
    waits = enter(threads, barrier, 1)
    assert [barrier.wait(DEADLINE), *fates(waits)] == [1, 0]


def test_a_timeout_breaks_it_for_all(app, threads):
    barrier = app.Barrier("b", 3)
    waits = enter(threads, barrier, 1)
    started = time.monotonic()
    with pytest.raises(BrokenBarrierError):
        barrier.wait(0.05)
    assert time.monotonic() - started >= 0.05
    assert fates(waits) == [BROKEN]
    assert barrier.broken


@pytest.mark.parametrize(("default", "own"), [(0.01, None), (DEADLINE, 0.01), (None, 0), (None, -1)])
def test_the_timeout_is_the_waits_own_else_the_barriers(app, default, own):
    barrier = app.Barrier("b", 2, timeout=default)
    started = time.monotonic()
    with pytest.raises(BrokenBarrierError):
        barrier.wait(own)
    assert time.monotonic() - started < DEADLINE


def test_once_all_have_come_no_timeout_breaks_it(app, threads, server):
    go = threading.Event()
    barrier = app.Barrier("b", 2, action=lambda: go.wait(DEADLINE))
    short = threads.submit(barrier.wait, 2.0)
    waiting(barrier, 1)
    actor = threads.submit(barrier.wait, DEADLINE)
    with server.client() as client:
        calls = scripts_run(client)
        with pytest.raises(TimeoutError):
            short.result(2.2)
        assert scripts_run(client) - calls < 50, "it asks again and again"
    go.set()
    assert fates([short, actor]) == [0, 1]


def scripts_run(client):
    return client.info("commandstats")["cmdstat_evalsha"]["calls"]


@pytest.mark.parametrize("end", ["abort", "reset"])
def test_who_acts_while_it_is_broken_learns_it(app, threads, end):
    acting, go = threading.Event(), threading.Event()

    def act():
        acting.set()
        go.wait(DEADLINE)

    barrier = app.Barrier("b", 2, action=act)
    waits = [threads.submit(barrier.wait, DEADLINE) for _ in range(2)]
    assert acting.wait(DEADLINE)
    getattr(barrier, end)()
    go.set()
    assert fates(waits) == [BROKEN, BROKEN]
    assert barrier.broken is (end == "abort")


@pytest.mark.parametrize("action", [None, lambda: None])
def test_more_threads_than_parties_take_turns(app, threads, action):
    barrier = app.Barrier("b", 3, action=action)
    passed = list(threads.map(lambda _: barrier.wait(DEADLINE), range(12 * 8)))
    assert collections.Counter(passed) == dict.fromkeys(range(3), 12 * 8 // 3)


def test_those_who_come_while_one_acts_are_the_next_generation(app, threads):
    acting, go = threading.Event(), threading.Event()

    def act():
        acting.set()
        go.wait(DEADLINE)

    barrier = app.Barrier("b", 2, action=act)
    first = [threads.submit(barrier.wait, DEADLINE) for _ in range(2)]
    assert acting.wait(DEADLINE)
    beyond = [threads.submit(barrier.wait, DEADLINE) for _ in range(4)]
    wait_until(lambda: len(app._listener.signals) == 6, "six in line", DEADLINE)
    assert not any(wait.done() for wait in beyond)
    go.set()
    assert (sorted(fates(first)), sorted(fates(beyond))) == ([0, 1], [0, 0, 1, 1])


def test_nothing_is_left_after_a_wait_however_it_ends(app, threads, server):
    barrier = app.Barrier("b", 2)
    list(threads.map(lambda _: barrier.wait(DEADLINE), range(200)))
    with pytest.raises(BrokenBarrierError):
        barrier.wait(0)
    with pytest.raises(BrokenBarrierError):
        barrier.wait(0)
    assert (len(app._listener.signals), len(app._sender.keeper)) == (0, 0)
    with server.client() as client:
        assert client.exists(barrier._keys.key("arrived"), barrier._keys.key("deadlines")) == 0


def test_a_long_wait_outlives_its_lease(app, threads):
    barrier = app.Barrier("b", 2, lease=LEASE)
    waits = enter(threads, barrier, 1)
    with contextlib.suppress(TimeoutError):
        waits[0].exception(3 * LEASE)
    assert [barrier.wait(DEADLINE), *fates(waits)] == [1, 0]


@pytest.mark.parametrize("parties", [0, -1, 1.5, "2", True, 100_001])
def test_a_number_of_parties_that_cannot_be_is_refused(app, parties):
    with pytest.raises(InvalidOption, match="parties"):
        app.Barrier("b", parties)


async def coroutine():
    pass


@pytest.mark.parametrize("action", [3, coroutine])
def test_an_action_that_cannot_be_called_is_refused(app, action):
    with pytest.raises(InvalidOption, match="action"):
        app.Barrier("b", 2, action)


def test_other_arguments_are_checked(app):
    with pytest.raises(InvalidTimeout, match="timeout"):
        app.Barrier("b", 2, timeout="x")
    with pytest.raises(InvalidTimeout, match="timeout"):
        app.Barrier("b", 2).wait("x")
    with pytest.raises(InvalidTimeout, match="lease"):
        app.Barrier("b", 2, lease=0)
    with pytest.raises(InvalidName, match="barrier name"):
        app.Barrier("no spaces", 2)


def test_another_number_of_parties_is_refused_in_one_app_and_between_two(app, url, namespace):
    mine = app.Barrier("b", 2)
    with pytest.raises(PrimitiveConflict, match=r"Barrier\('b', 3\)"):
        app.Barrier("b", 3)
    mine.reset()
    with TaskQ("other", url, namespace) as other:
        theirs = other.Barrier("b", 3)
        for call in (theirs.wait, theirs.reset, theirs.abort):
            with pytest.raises(PrimitiveConflict, match="in use with 2 parties, made by 'barrier, "):
                call()


def test_each_handle_has_an_action_of_its_own(app, threads):
    acted = []
    one, two = app.Barrier("b", 2, lambda: acted.append("one")), app.Barrier("b", 2, lambda: acted.append("two"))
    waits = enter(threads, one, 1)
    two.wait(DEADLINE)
    assert (acted, fates(waits)) == (["two"], [0])


# -- asyncio


def test_tasks_wait_for_one_another_and_for_threads(app, threads):
    async def main():
        barrier = app.Barrier("b", 4)
        thread = threads.submit(barrier.wait, DEADLINE)
        indices = await asyncio.gather(*[barrier.aio.wait(DEADLINE) for _ in range(3)])
        return sorted([*indices, thread.result(DEADLINE)])

    assert asyncio.run(main()) == [0, 1, 2, 3]


async def n_waiting(barrier, number):
    async with asyncio.timeout(DEADLINE):
        while await barrier.aio.n_waiting() != number:  # noqa: ASYNC110 (others come in threads)
            await asyncio.sleep(0.005)


def test_a_cancelled_task_breaks_the_barrier(app, threads):
    async def main():
        barrier = app.Barrier("b", 3)
        thread = threads.submit(barrier.wait, DEADLINE)
        task = asyncio.ensure_future(barrier.aio.wait(DEADLINE))
        await n_waiting(barrier, 2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return task.cancelled(), fates([thread]), await barrier.aio.broken()

    assert asyncio.run(main()) == (True, [BROKEN], True)
    assert (len(app._listener.signals), len(app._sender.keeper)) == (0, 0)


def interrupt(app, operation, at, *, ran):
    """Drive an operation, and cancel it at its ``at``-th need: in its place, or after it ``ran``."""
    answer, failure = None, None
    for number in itertools.count():
        need = operation.throw(failure) if failure else operation.send(answer)
        answer, failure = None, asyncio.CancelledError() if number == at else None
        if failure is None or (ran and not isinstance(need, Hear)):
            answer = perform(one(need), app.broker)


def one(need):
    return (yield need)


@pytest.mark.parametrize(("at", "ran"), [(0, True), (1, False), (1, True), (2, False)])
def test_wherever_a_wait_is_cancelled_its_place_is_given_up(app, at, ran):
    barrier = app.Barrier("b", 2)
    with pytest.raises(asyncio.CancelledError):
        interrupt(app, barrier._wait(None), at, ran=ran)
    assert (barrier.n_waiting, barrier.broken) == (0, (at, ran) in {(1, True), (2, False)})
    assert (len(app._listener.signals), len(app._sender.keeper)) == (0, 0)


def test_the_last_to_come_that_is_cancelled_before_it_acts_has_another_one_act(app, threads):
    acted = []
    barrier = app.Barrier("b", 3, action=lambda: acted.append(None))
    waits = enter(threads, barrier, 2)
    with pytest.raises(asyncio.CancelledError):
        interrupt(app, barrier._wait(None), 1, ran=True)
    assert (sorted(fates(waits)), len(acted), barrier.broken) == ([0, 1], 1, False)


@pytest.mark.parametrize("ran", [False, True])
def test_the_last_to_come_that_is_cancelled_after_it_acted_releases_the_others(app, threads, ran):
    acted = []
    barrier = app.Barrier("b", 3, action=lambda: acted.append(None))
    waits = enter(threads, barrier, 2)
    with pytest.raises(asyncio.CancelledError):
        interrupt(app, barrier._wait(None), 2, ran=ran)
    assert (fates(waits), len(acted), barrier.broken) == ([0, 1], 1, False)


def test_a_task_cancelled_when_all_have_come_leaves_quietly(app, threads):
    acting, go = threading.Event(), threading.Event()

    def act():
        acting.set()
        go.wait(DEADLINE)

    barrier = app.Barrier("b", 3, action=act)

    async def main():
        task = asyncio.ensure_future(barrier.aio.wait(DEADLINE))
        await n_waiting(barrier, 1)
        waits = [threads.submit(barrier.wait, DEADLINE) for _ in range(2)]
        await asyncio.to_thread(acting.wait, DEADLINE)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        go.set()
        return task.cancelled(), sorted(fates(waits)), await barrier.aio.broken()

    assert asyncio.run(main()) == (True, [1, 2], False)


def test_reset_and_abort_from_a_loop(app):
    async def main():
        barrier = app.Barrier("b", 2)
        await barrier.aio.abort()
        with pytest.raises(BrokenBarrierError):
            await barrier.aio.wait()
        await barrier.aio.reset()
        return await asyncio.gather(barrier.aio.wait(DEADLINE), barrier.aio.wait(DEADLINE))

    assert sorted(asyncio.run(main())) == [0, 1]


def test_an_action_that_failed_while_the_server_was_away_is_run_by_nobody_else(app):
    def fail():
        raise LookupError

    operation = app.Barrier("b", 1, action=fail)._wait(None)
    need = operation.send(None)
    for _ in range(2):  # a bell, and the arrival as the last one
        need = operation.send(perform(one(need), app.broker))
    with pytest.raises(LookupError):  # and no other need, such as leaving so that another one acts
        operation.throw(BrokerUnavailable())


# -- what is lost


@pytest.fixture
def deaf(app, monkeypatch):
    """Nothing that is told reaches the app's waiters until it is called: as when their connection was away."""
    app._listener.start()
    wait_until(lambda: app._listener.epoch is not None, "the listener listens", DEADLINE)
    monkeypatch.setattr(signals.Signals, "deliver", lambda *_: None)

    def hear_again():
        monkeypatch.undo()
        app._listener.signals.alarm()

    return hear_again


@pytest.fixture
def other(url, namespace):
    with TaskQ("other", url, namespace) as other:
        yield other


def test_who_was_released_while_its_connection_was_away_learns_it(app, other, threads, deaf):
    waits = enter(threads, app.Barrier("b", 3), 2)
    assert other.Barrier("b", 3).wait(DEADLINE) == 2
    deaf()
    assert sorted(fates(waits)) == [0, 1]


def test_who_was_broken_off_while_its_connection_was_away_learns_it(app, other, threads, deaf):
    waits = enter(threads, app.Barrier("b", 3), 2)
    other.Barrier("b", 3).reset()
    deaf()
    assert fates(waits) == [BROKEN, BROKEN]


def test_who_runs_out_of_time_after_it_was_released_is_released(app, other, threads, deaf):
    waits = enter(threads, app.Barrier("b", 2), 1, timeout=2.0)
    assert other.Barrier("b", 2).wait(DEADLINE) == 1
    assert fates(waits) == [0]


def test_a_connection_that_is_cut_harms_nobody(app, other, server, threads):
    waits = enter(threads, app.Barrier("b", 3), 2)
    with server.client() as client:
        client.client_kill_filter(_type="pubsub")
    assert other.Barrier("b", 3).wait(DEADLINE) == 2
    assert sorted(fates(waits)) == [0, 1]


def test_a_wait_outlives_a_restart_of_the_server(start_server, namespace, threads):
    server = start_server(appendonly="yes", appendfsync="always")
    with TaskQ("barrier", server.url, namespace) as app:
        barrier = app.Barrier("b", 4)
        waits = enter(threads, barrier, 3)
        server.restart()
        assert [barrier.wait(DEADLINE), *sorted(fates(waits))] == [3, 0, 1, 2]


def test_when_the_server_loses_all_who_waits_is_not_left_waiting(start_server, namespace, threads):
    server = start_server()
    with TaskQ("barrier", server.url, namespace) as app:
        waits = enter(threads, app.Barrier("b", 3), 2)
        server.restart()
        assert fates(waits) == [BROKEN, BROKEN]


# -- other processes

WAITER = """
import sys
from taskq import TaskQ
app = TaskQ("waiter", sys.argv[1], sys.argv[2])
app.Barrier("b", 3, lease=0.6).wait()
"""

ACTOR = """
import os, signal, sys
from taskq import TaskQ
app = TaskQ("actor", sys.argv[1], sys.argv[2])
app.Barrier("b", 3, action=lambda: os.kill(os.getpid(), signal.SIGKILL), lease=0.6).wait()
"""


def test_a_party_that_is_killed_breaks_the_barrier_within_its_lease_and_a_beat(app, threads, spawn):
    barrier = app.Barrier("b", 3, lease=LEASE)
    waits = enter(threads, barrier, 1)
    process = spawn(WAITER)
    waiting(barrier, 2)
    process.kill()
    killed = time.monotonic()
    assert fates(waits) == [BROKEN]
    assert time.monotonic() - killed < LEASE + LEASE / 5 + 1  # second, for a loaded machine
    assert barrier.broken


def test_an_actor_that_is_killed_breaks_the_barrier(app, threads, spawn):
    waits = enter(threads, app.Barrier("b", 3, lease=LEASE), 2)
    assert spawn(ACTOR).wait(DEADLINE) == -signal.SIGKILL
    assert fates(waits) == [BROKEN, BROKEN]


RACE = """
import os, sys
from taskq import TaskQ
app = TaskQ("race", sys.argv[1], sys.argv[2])
log = os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND)
def note(*words):
    os.write(log, (" ".join(map(str, words)) + "\\n").encode())
generation = 0
barrier = app.Barrier("b", 4, action=lambda: note("act", generation))
for generation in range(int(sys.argv[4])):
    note("come", generation)
    note("pass", generation, barrier.wait(30))
"""


def test_processes_race_through_generations_and_none_passes_early_or_twice(spawn, tmp_path):
    log, generations = tmp_path / "log", 100
    log.touch()
    processes = [spawn(RACE, log, generations) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    lines = [line.split() for line in log.read_text().splitlines()]
    for generation in range(generations):
        mine = [line for line in lines if line[1] == str(generation)]
        assert [line[0] for line in mine] == ["come"] * 4 + ["act"] + ["pass"] * 4
        assert sorted(line[2] for line in mine[5:]) == list("0123")


def test_a_forked_child_is_a_party_of_its_own(app, threads):
    barrier = app.Barrier("b", 2)
    waits = enter(threads, barrier, 1)
    child = os.fork()
    if not child:
        try:
            os._exit(100 + barrier.wait(DEADLINE))
        finally:
            os._exit(1)
    assert fates(waits) == [0]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 101
