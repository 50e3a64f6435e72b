"""What listens for ends: what it costs, what it leaves behind, and how it outlives its connection."""

from __future__ import annotations

import concurrent.futures
import gc
import queue as standard
import subprocess
import sys
import threading

import pytest
from client_kit import DEADLINE, client_app, commands_of, later
from handworker import HandWorker
from worker_kit import wait_until

from taskq import TaskQ
from taskq.broker.results import channel
from taskq.client import poller
from taskq.client.watching import Registry, Watch
from taskq.errors import BrokerUnavailable, Indeterminate
from taskq.model.outcome import ErrorInfo, decode_record


@pytest.fixture
def app(any_server, namespace):
    with client_app("client", any_server.url, namespace) as app:
        yield app


@pytest.fixture
def own_server(start_server):
    """A server that the test may harm."""
    return start_server(appendonly="yes", appendfsync="always")


@pytest.fixture
def own_app(own_server, namespace):
    with TaskQ("client", own_server.url, namespace, call_deadline=30) as app:
        app.task(name="add")(pow)
        app.Queue("default").qsize()
        yield app


# -- what it costs ---


def test_who_is_told_reads_nothing(start_server, namespace):
    server = start_server()
    with TaskQ("client", server.url, namespace) as app:
        add = app.task(name="add")(pow)
        app.Queue("default").qsize()
        worker = HandWorker(app)
        with worker.serving():
            add.delay(2, 2).get(DEADLINE)
            wait_until(lambda: app._listener.epoch is not None, "it listens", DEADLINE)
            with server.client() as client:
                client.config_resetstat()
                for _ in range(20):
                    assert add.delay(2, 3).get(DEADLINE) == 8
                assert (commands_of(client, "mget"), commands_of(client, "hstrlen")) == (0, 0)


def test_done_of_a_result_that_will_be_announced_asks_nobody(own_app, own_server):
    add, worker = own_app.tasks["add"], HandWorker(own_app)
    waited = add.delay(2, 1)
    with pytest.raises(TimeoutError):
        waited.get(0.05)
    wait_until(lambda: own_app._listener.epoch is not None, "it listens", DEADLINE)
    fresh = add.delay(2, 2)
    with pytest.raises(TimeoutError):
        waited.get(0.05)  # it is read during the subscription that stands now
    with own_server.client() as client:
        client.config_resetstat()
        assert (waited.done(), fresh.done(), commands_of(client, "get")) == (False, False, 0)
    worker.run_all()
    wait_until(lambda: waited.done() and fresh.done(), "both are announced", DEADLINE)


# -- what it leaves behind ---


@pytest.mark.fault(41)
def test_a_wait_that_ended_leaves_nothing_behind(app, add, worker):
    result = add.delay(1)
    with pytest.raises(TimeoutError):
        result.get(0.01)
    assert app._listener._registry.waiting() == 0


@pytest.mark.fault(41)
def test_a_dropped_handle_is_forgotten(app, add, worker, listening):
    add.delay(1)
    gc.collect()
    assert len(app._listener._registry._known) == 0


def test_the_standard_librarys_waits_leave_nothing_behind(app, add):
    results = [add.delay(number) for number in range(3)]
    concurrent.futures.wait(results, 0.01)
    assert app._listener._registry.waiting() == 0


@pytest.mark.usefixtures("listening")
def test_closing_the_app_ends_waits_with_an_error(app, add):
    result = add.delay(1)
    later(app.close)
    with pytest.raises(BrokerUnavailable, match="closed"):
        result.get(DEADLINE)


def test_closing_ends_the_threads_and_the_next_use_starts_anew(app, add, worker):
    others = set(threading.enumerate())
    with worker.serving():
        add.delay(1).get(DEADLINE)
        app.close()
        names = {"taskq-listener", "taskq-poller"}
        wait_until(
            lambda: not [t for t in threading.enumerate() if t.name in names and t not in others],
            "its threads end",
            DEADLINE,
        )
        assert add.delay(2).get(DEADLINE) == 2


SILENT_EXIT = """
import sys
from taskq import TaskQ
app = TaskQ("exit", sys.argv[1], sys.argv[2])
result = app.task(name="add")(pow).delay(1, 1)
result.add_done_callback(print)
try:
    result.get(0.05)
except TimeoutError:
    pass
"""


def test_a_process_ends_quietly_while_it_listens(any_server, namespace):
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", SILENT_EXIT, any_server.url, namespace],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# -- what could be missed ---


class Told:
    """A sink that remembers what it was told."""

    def __init__(self):
        self.heard = []

    def _settle(self, job_id, data):
        self.heard.append(decode_record(data).error)

    def _vanish(self, job_id):
        self.heard.append("vanished")

    def _covered(self, epoch): ...


@pytest.mark.parametrize(("dead", "why"), [(False, None), (True, ErrorInfo("ValueError", "why"))])
def test_a_job_that_ends_between_two_reads_of_the_poller_is_not_missed(app, add, worker, dead, why):
    result, sink = add.delay(1), Told()
    job = worker.claim_one()
    worker.raise_(job, ValueError("why")) if dead else worker.run(job)
    registry = Registry()
    registry.add(Watch(sink, [result.id], pushed=True, wake=None))
    poller.Poller(app.broker, registry, lambda _: None)._probe(result.id, deep=True)
    assert sink.heard == [why]


def kill_subscribers(server):
    with server.client() as client:
        return client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


def test_an_end_that_was_announced_while_nobody_listened_is_found(own_app, own_server, monkeypatch):
    monkeypatch.setattr(poller, "LONGEST_INTERVAL", 60.0)  # the safety net would find it too
    add, worker = own_app.tasks["add"], HandWorker(own_app)
    with worker.serving():
        add.delay(2, 2).get(DEADLINE)
    waiting = add.delay(2, 3)
    found = standard.Queue()
    waiting.add_done_callback(lambda done: found.put(done.get()))
    wait_until(lambda: own_app._listener.epoch is not None, "it listens", DEADLINE)
    before = own_app._listener.epoch
    assert kill_subscribers(own_server) == 1
    worker.run_all()
    assert found.get(timeout=DEADLINE) == 8
    wait_until(lambda: own_app._listener.epoch not in {None, before}, "it listens again", DEADLINE)


def test_what_was_sent_before_the_connection_was_lost_is_read_again(own_app, own_server):
    add, worker = own_app.tasks["add"], HandWorker(own_app)
    with worker.serving():
        add.delay(2, 2).get(DEADLINE)
    wait_until(lambda: own_app._listener.epoch is not None, "it listens", DEADLINE)
    result, before = add.delay(2, 3), own_app._listener.epoch
    kill_subscribers(own_server)
    worker.run_all()
    wait_until(lambda: own_app._listener.epoch not in {None, before}, "it listens again", DEADLINE)
    assert result.done()


def test_waiting_survives_a_restart_of_the_server(own_app, own_server):
    add = own_app.tasks["add"]
    result = add.delay(2, 3)
    found = standard.Queue()
    result.add_done_callback(lambda done: found.put(done.get()))
    wait_until(lambda: own_app._listener.epoch is not None, "it listens", DEADLINE)
    own_server.restart()
    HandWorker(own_app).run_all()
    assert found.get(timeout=3 * DEADLINE) == 8


def test_a_waiter_is_told_when_the_server_is_gone_for_good(start_server, namespace):
    server = start_server()
    with TaskQ("client", server.url, namespace, call_deadline=0.3) as app:
        result = app.task(name="t")(len).delay([])
        server.kill()
        with pytest.raises((BrokerUnavailable, Indeterminate)):
            result.get()


def test_nonsense_on_the_channel_does_not_stop_the_listener(own_app, own_server):
    add, worker = own_app.tasks["add"], HandWorker(own_app)
    result = add.delay(2, 3)
    with pytest.raises(TimeoutError):
        result.get(0.05)
    with own_server.client() as client:
        client.publish(channel(own_app.settings.namespace, own_app._listener.token), b"\xffnonsense")
    later(worker.run_all)
    assert result.get(DEADLINE) == 8
