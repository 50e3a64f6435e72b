"""Condition: the contract of ``threading.Condition``, between threads, tasks and processes, and after losses."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from worker_kit import wait_until

from taskq import TaskQ
from taskq.broker.call import Command
from taskq.client import signals
from taskq.client.operation import Hear, perform
from taskq.errors import InvalidOption, InvalidTimeout, LeaseLost, NotHeld, PrimitiveConflict

DEADLINE = 20.0  # seconds: the machine may run other suites


@pytest.fixture
def app(url, namespace):
    with TaskQ("condition", url, namespace) as app:
        yield app


@pytest.fixture
def other(url, namespace):
    with TaskQ("other", url, namespace) as other:
        yield other


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


def in_line(server, condition, number):
    with server.client() as client:
        key = condition._keys.key("waiting")
        wait_until(lambda: client.zcard(key) == number and not condition.locked(), f"{number} in line", DEADLINE)


def wait(condition, timeout=DEADLINE):
    with condition:
        return condition.wait(timeout)


def stand(threads, server, condition, number=1, timeout=DEADLINE):
    """Have threads wait one after another, each when the one before is in line."""
    waits = []
    for _ in range(number):
        waits.append(threads.submit(wait, condition, timeout))
        in_line(server, condition, len(waits))
    return waits


def results(waits):
    return [one.result(DEADLINE) for one in waits]


# -- the contract


@pytest.mark.parametrize("make", [lambda app: None, lambda app: app.Lock("l"), lambda app: app.RLock("l")])
def test_the_lock_is_taken_and_given_back_through_it(app, threads, make):
    condition = app.Condition("c", make(app))
    with condition as entered:
        assert entered is condition
        assert condition.locked()
        assert condition.fence is not None
        assert threads.submit(condition.acquire, False).result(DEADLINE) is False
    assert condition.acquire(timeout=1)
    condition.release()
    assert (condition.locked(), condition.fence) == (False, None)


@pytest.mark.parametrize(
    "call", [lambda c: c.wait(), lambda c: c.wait(0), lambda c: c.notify(), lambda c: c.notify_all()]
)
def test_without_the_lock_nothing_goes(app, call):
    condition = app.Condition("c")
    with pytest.raises(NotHeld, match=r"Condition\('c'\) is not held here") as caught:
        call(condition)
    assert isinstance(caught.value, RuntimeError)


def test_the_default_lock_belongs_to_its_thread(app, threads):
    condition = app.Condition("c")
    with condition:
        assert isinstance(threads.submit(condition.notify).exception(DEADLINE), NotHeld)


def test_notify_wakes_as_many_as_it_says_in_the_order_in_which_they_came(app, threads, server):
    condition = app.Condition("c")
    waits = stand(threads, server, condition, 3)
    with condition:
        condition.notify(2)
    assert results(waits[:2]) == [True, True]
    assert not waits[2].done()
    with condition:
        condition.notify()
    assert results(waits[2:]) == [True]


def test_notify_all_wakes_all(app, threads, server):
    condition = app.Condition("c")
    waits = stand(threads, server, condition, 8)
    with condition:
        condition.notify_all()
    assert results(waits) == [True] * 8


def test_nobody_wakes_before_the_lock_is_free(app, threads, server):
    condition = app.Condition("c")
    waits = stand(threads, server, condition, 2)
    with condition:
        condition.notify_all()
        in_lock = app.broker.keys(condition._keys.queue).key("line")
        with server.client() as client:
            wait_until(lambda: client.zcard(in_lock) == 2, "both are in line for the lock", DEADLINE)
        assert not any(one.done() for one in waits)
    assert results(waits) == [True, True]


@pytest.mark.parametrize("n", [0, -1])
def test_to_notify_none_wakes_none(app, threads, server, n):
    condition = app.Condition("c")
    waits = stand(threads, server, condition)
    with condition:
        condition.notify(n)
    in_line(server, condition, 1)
    with condition:
        condition.notify()
    assert results(waits) == [True]


def test_a_notification_is_not_kept_for_who_comes_later(app):
    condition = app.Condition("c")
    with condition:
        condition.notify_all()
        assert condition.wait(0.05) is False


@pytest.mark.parametrize("timeout", [0.05, 0, -1])
def test_a_wait_that_runs_out_of_time_is_false_and_has_the_lock_again(app, threads, timeout):
    condition = app.Condition("c")
    with condition:
        started = time.monotonic()
        assert condition.wait(timeout) is False
        assert time.monotonic() - started >= timeout
        assert threads.submit(condition.acquire, False).result(DEADLINE) is False
    assert not condition.locked()


def test_a_lock_taken_several_times_is_free_during_the_wait_and_then_as_before(app, threads, server):
    condition = app.Condition("c", app.RLock("l"))

    def run():
        with condition, condition, condition:
            woken = condition.wait(DEADLINE)
            depths = []
            for _ in range(3):
                depths.append(condition._lock._own().depth)
                condition.release()
            left = condition._lock._own()
            for _ in range(3):
                condition.acquire()
            return woken, depths, left

    waits = [threads.submit(run)]
    in_line(server, condition, 1)
    with condition:
        condition.notify()
    assert results(waits) == [(True, [3, 2, 1], None)]


def test_the_fence_grows_with_each_wait(app):
    condition = app.Condition("c")
    with condition:
        before = condition.fence
        condition.wait(0)
        assert condition.fence > before


def test_wait_for_returns_what_the_predicate_said_last(app, threads, server):
    condition, items = app.Condition("c"), []

    def take():
        with condition:
            return condition.wait_for(lambda: items and items[-1], DEADLINE)

    waits = [threads.submit(take)]
    for item in (0, 0, 7):
        in_line(server, condition, 1)
        with condition:
            items.append(item)
            condition.notify()
    assert results(waits) == [7]


@pytest.mark.parametrize(("timeout", "calls"), [(0, 2), (0.05, 2)])
def test_wait_for_gives_up_after_its_timeout(app, timeout, calls):
    condition, called = app.Condition("c"), []
    with condition:
        assert condition.wait_for(lambda: called.append(None), timeout) is None
    assert len(called) == calls


def test_wait_for_does_not_wait_for_what_is_true(app):
    condition = app.Condition("c")
    assert condition.wait_for(lambda: "yes") == "yes"


def test_two_conditions_share_a_lock(app, threads, server):
    lock = app.Lock("l")
    one, two = app.Condition("one", lock), app.Condition("two", lock)
    waits = stand(threads, server, one) + stand(threads, server, two)
    with lock:
        two.notify()
    assert waits[1].result(DEADLINE) is True
    assert not waits[0].done()
    with two:
        one.notify()
    assert waits[0].result(DEADLINE) is True


def test_another_lock_for_the_same_condition_is_refused(app, other):
    lock = app.Lock("l")
    mine = app.Condition("c", lock)
    assert app.Condition("c", lock) is mine
    with pytest.raises(PrimitiveConflict, match=r"Condition\('c'\)"):
        app.Condition("c")
    with mine:
        mine.wait(0)
    theirs = other.Condition("c")
    with theirs:
        for call in (theirs.wait, theirs.notify):
            with pytest.raises(PrimitiveConflict, match="lock 'lock:l', made by 'condition, "):
                call()
        assert theirs.fence is not None


def test_arguments_are_checked(app, other):
    condition = app.Condition("c")
    for lock in (threading.Lock(), app.Semaphore("s"), other.Lock("l")):
        with pytest.raises(InvalidOption, match="of the same app"):
            app.Condition("d", lock)
    with condition:
        with pytest.raises(InvalidTimeout, match="timeout"):
            condition.wait("x")
        with pytest.raises(TypeError, match="whole number"):
            condition.notify(1.5)


def test_nothing_is_left_after_a_wait_however_it_ends(app, threads, server):
    condition = app.Condition("c")
    waits = stand(threads, server, condition, 8)
    with condition:
        condition.wait(0)
        condition.notify_all()
    results(waits)
    assert (len(app._listener.signals), len(app._sender.keeper)) == (0, 0)
    with server.client() as client:
        assert client.exists(*map(condition._keys.key, ("waiting", "seen", "line", "holders", "fences"))) == 0


# -- asyncio


async def until(reached):
    async with asyncio.timeout(DEADLINE):
        while not await reached():  # noqa: ASYNC110 (the server is asked)
            await asyncio.sleep(0.005)


async def begin(condition, number=1):
    """Have tasks wait one after another."""

    async def run():
        async with condition:
            return await condition.aio.wait(DEADLINE)

    tasks = []
    for _ in range(number):
        tasks.append(asyncio.ensure_future(run()))
        await until(lambda: waits_in_loop(condition, len(tasks)))
    return tasks


async def waits_in_loop(condition, number):
    count = Command(("ZCARD", condition._keys.key("waiting")), int)
    return await condition._app.broker.aread(count) == number and not await condition.aio.locked()


def test_tasks_wait_and_notify(app, threads, server):
    async def main():
        condition, items = app.Condition("c"), []
        tasks = await begin(condition, 3)
        async with condition.aio:
            await condition.aio.notify(2)
        first = await asyncio.gather(*tasks[:2])
        assert not tasks[2].done()

        async def take():
            async with condition as entered:
                assert entered is condition
                return await condition.aio.wait_for(lambda: items, DEADLINE)

        taken = asyncio.ensure_future(take())
        await until(lambda: waits_in_loop(condition, 2))
        assert await condition.aio.acquire()
        items.append(1)
        await condition.aio.notify_all()
        await condition.aio.release()
        return first, await tasks[2], await taken

    assert asyncio.run(main()) == ([True, True], True, [1])


def test_a_cancelled_task_has_the_lock_again_before_it_ends(app):
    async def main():
        condition, seen = app.Condition("c"), []

        async def run():
            async with condition:
                try:
                    await condition.aio.wait()
                except asyncio.CancelledError:
                    seen.append(condition.fence)
                    raise

        task = asyncio.ensure_future(run())
        await until(lambda: waits_in_loop(condition, 1))
        await condition.aio.acquire()
        mine = condition.fence
        task.cancel()
        await until(lambda: waits_for_lock(condition))
        task.cancel()  # also of one that is on its way back
        await asyncio.sleep(0)
        assert not task.done()
        await condition.aio.release()
        await asyncio.gather(task, return_exceptions=True)
        return task.cancelled(), seen[0] > mine, await condition.aio.locked()

    assert asyncio.run(main()) == (True, True, False)
    assert (len(app._listener.signals), len(app._sender.keeper)) == (0, 0)


async def waits_for_lock(condition):
    return await condition._app.broker.aread(Command(("ZCARD", condition._keys.key("line")), int)) == 1


def test_a_task_cancelled_after_it_was_notified_hands_the_notification_on(app):
    async def main():
        condition = app.Condition("c")
        first, second = await begin(condition, 2)
        async with condition:
            await condition.aio.notify()
            first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        return first.cancelled(), await second

    assert asyncio.run(main()) == (True, True)


def test_a_task_cancelled_before_it_was_notified_wakes_nobody(app):
    async def main():
        condition = app.Condition("c")
        first, second = await begin(condition, 2)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert await waits_in_loop(condition, 1)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        return await waits_in_loop(condition, 0)

    assert asyncio.run(main())


def interrupt(app, operation, cancelled, *, ran):
    """Drive an operation, and cancel it at the needs of these numbers: in their place, or after they ``ran``."""
    answer, failure = None, None
    for number in itertools.count():
        need = operation.throw(failure) if failure else operation.send(answer)
        answer, failure = None, asyncio.CancelledError() if number in cancelled else None
        if failure is None or (ran and not isinstance(need, Hear)):
            answer = perform(one(need), app.broker)


def one(need):
    return (yield need)


# At a bell, standing in line, giving the lock back or waiting; and again none to five needs later.
# A loop always sends what gives the lock back; cut off twice before it is sent, only its lease would free the lock.
CUTS = [cut for cut in itertools.product(range(4), range(6), (False, True)) if cut != (2, 1, False)]


@pytest.mark.parametrize(("at", "again", "ran"), CUTS)
def test_wherever_a_wait_is_cancelled_and_then_again_it_has_the_lock_and_no_place(app, server, at, again, ran):
    app._listener.start()
    wait_until(lambda: app._listener.epoch is not None, "the listener listens", DEADLINE)
    condition = app.Condition("c", app.RLock("l"))
    with condition, condition:
        with pytest.raises(asyncio.CancelledError):
            interrupt(app, condition._wait(None), {at, at + again}, ran=ran)
        assert condition._lock._own().depth == 2
    with server.client() as client:
        assert client.exists(*map(condition._keys.key, ("waiting", "seen"))) == 0
        assert client.exists(*map(condition._lock._keys.key, ("holders", "line"))) == 0
    assert (len(app._listener.signals), len(app._sender.keeper)) == (0, 0)


# -- what is lost


@pytest.fixture
def deaf(app, monkeypatch):
    """Nothing that is told reaches the app's waiters until it is called: as when their connection was away."""
    app._listener.start()
    wait_until(lambda: app._listener.epoch is not None, "the listener listens", DEADLINE)
    deliver = signals.Signals.deliver
    mine = app._listener.signals
    monkeypatch.setattr(signals.Signals, "deliver", lambda self, *told: None if self is mine else deliver(self, *told))

    def hear_again():
        monkeypatch.undo()
        app._listener.signals.alarm()

    return hear_again


def test_who_was_notified_while_its_connection_was_away_learns_it(app, other, threads, server, deaf):
    waits = stand(threads, server, app.Condition("c"), 2)
    with other.Condition("c") as theirs:
        theirs.notify_all()
    deaf()
    assert results(waits) == [True, True]


def test_who_runs_out_of_time_after_it_was_notified_was_notified(app, other, threads, server, deaf):
    waits = stand(threads, server, app.Condition("c"), timeout=2.0)
    with other.Condition("c") as theirs:
        theirs.notify()
    assert results(waits) == [True]


def test_a_connection_that_is_cut_harms_nobody(app, other, threads, server):
    waits = stand(threads, server, app.Condition("c"), 3)
    with server.client() as client:
        client.client_kill_filter(_type="pubsub")
    with other.Condition("c") as theirs:
        theirs.notify_all()
    assert results(waits) == [True] * 3


def test_a_wait_outlives_a_restart_of_the_server(start_server, namespace, threads):
    server = start_server(appendonly="yes", appendfsync="always")
    with TaskQ("condition", server.url, namespace) as app:
        condition = app.Condition("c")
        waits = stand(threads, server, condition, 2)
        server.restart()
        with condition:
            condition.notify_all()
        assert results(waits) == [True, True]


def test_when_the_server_loses_all_who_waits_wakes(start_server, namespace, threads):
    server = start_server()
    with TaskQ("condition", server.url, namespace) as app:
        waits = stand(threads, server, app.Condition("c"), 2)
        server.restart()
        assert results(waits) == [True, True]


def test_a_lease_that_was_lost_before_the_wait_is_told_and_the_lock_taken_again(app, threads, server):
    condition = app.Condition("c")
    with condition:
        with server.client() as client:
            client.delete(condition._keys.key("holders"), condition._keys.key("fences"))
        with pytest.raises(LeaseLost):
            condition.wait()
        assert condition.fence is not None
        assert threads.submit(condition.acquire, False).result(DEADLINE) is False
    in_line(server, condition, 0)


def test_who_lost_the_lock_does_not_notify(app, server):
    condition = app.Condition("c", app.RLock("l", lease=0.5))
    condition.acquire()
    with server.client() as client:
        client.delete(condition._lock._keys.key("holders"), condition._lock._keys.key("fences"))
    wait_until(lambda: len(app._sender.keeper) == 0, "the loss is noticed", DEADLINE)
    for call in (condition.notify, condition.wait):
        with pytest.raises(LeaseLost, match=r"the lock of Condition\('c', RLock\('l'\)\)"):
            call()
    with pytest.raises(LeaseLost):
        condition.release()


def test_what_ended_the_wait_without_the_lock_is_not_hidden_by_its_absence(start_server, namespace, threads):
    server = start_server()
    with TaskQ("condition", server.url, namespace, call_deadline=1.0) as app:
        waits = stand(threads, server, app.Condition("c"))
        server.kill()
        app._listener.signals.alarm()
        assert isinstance(waits[0].exception(DEADLINE), ConnectionError)


# -- other processes

WAITER = """
import sys
from taskq import TaskQ
app = TaskQ("waiter", sys.argv[1], sys.argv[2])
with app.Condition("c") as condition:
    condition.wait()
"""


def test_a_waiter_that_was_killed_is_passed_over(app, threads, server, spawn):
    condition = app.Condition("c")
    process = spawn(WAITER)
    in_line(server, condition, 1)
    living = threads.submit(wait, condition)
    in_line(server, condition, 2)
    process.kill()
    assert process.wait(DEADLINE) == -signal.SIGKILL
    with server.client() as client:
        wait_until(lambda: len(client.pubsub_channels()) == 1, "the server knows that it is gone", DEADLINE)
    with condition:
        condition.notify()
    assert living.result(DEADLINE) is True


BUFFER = """
import json, pathlib, sys
from taskq import TaskQ
url, namespace, file, role, start, count = sys.argv[1:7]
app = TaskQ("buffer", url, namespace)
path, bound = pathlib.Path(file), 3
lock = app.Lock("l")
room, stuff = app.Condition("room", lock), app.Condition("stuff", lock)
def read():
    return json.loads(path.read_text())
taken = []
for item in range(int(start), int(start) + int(count)):
    with lock:
        if role == "put":
            assert room.wait_for(lambda: len(read()) < bound, 30)
            items = [*read(), item]
            assert len(items) <= bound
            path.write_text(json.dumps(items))
            stuff.notify()
        else:
            assert stuff.wait_for(read, 30)
            first, *items = read()
            taken.append(first)
            path.write_text(json.dumps(items))
            room.notify()
print(json.dumps(taken))
"""


def test_a_bounded_buffer_between_processes_loses_nothing(spawn, tmp_path):
    file, each = tmp_path / "items", 60
    file.write_text("[]")
    processes = [spawn(BUFFER, file, role, number * each, each) for number in range(2) for role in ("put", "get")]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    taken = [json.loads(output) for output in outputs]
    assert sorted(item for one in taken for item in one) == list(range(2 * each))
    for one in taken:  # of each producer in the order of production
        assert [item for item in one if item < each] == sorted(item for item in one if item < each)
    assert json.loads(file.read_text()) == []
