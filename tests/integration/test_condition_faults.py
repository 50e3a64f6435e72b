"""Conditions when waiters die, leases are lost, connections are cut and servers restart."""

from __future__ import annotations

import json
import signal

import pytest
from condition_kit import in_line, results, stand, wait
from coordination_kit import DEADLINE, until

from taskq import TaskQ
from taskq.errors import LeaseLost


@pytest.fixture
def app(url, namespace):
    with TaskQ("condition", url, namespace) as app:
        yield app


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
    until(lambda: all(hold.lost for hold in condition._lock._holds), "the loss is noticed")
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
        until(lambda: len(client.pubsub_channels()) == 1, "the server knows that it is gone")
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
