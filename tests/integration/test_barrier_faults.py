"""Barriers when parties die, connections are cut and servers restart."""

from __future__ import annotations

import os
import signal
import time

import pytest
from barrier_kit import BROKEN, LEASE, enter, fates, waiting
from coordination_kit import DEADLINE, one

from taskq import TaskQ
from taskq.client.operation import perform
from taskq.errors import BrokerUnavailable


@pytest.fixture
def app(url, namespace):
    with TaskQ("barrier", url, namespace) as app:
        yield app


@pytest.mark.leaves
def test_an_action_that_failed_while_the_server_was_away_is_run_by_nobody_else(app):
    def fail():
        raise LookupError

    operation = app.Barrier("b", 1, action=fail)._wait(None)
    need = operation.send(None)
    for _ in range(2):  # a bell, and the arrival as the last one
        need = operation.send(perform(one(need), app.broker))
    with pytest.raises(LookupError):  # and no other need, such as leaving so that another one acts
        operation.throw(BrokerUnavailable())


# -- connections and servers


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
