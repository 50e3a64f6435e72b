"""Following what becomes of jobs and workers: what is told, to whom, and how it outlives its connection."""

from __future__ import annotations

import itertools
import logging
import time

import pytest
from client_kit import client_app
from coordination_kit import in_thread, until
from worker_kit import POOLS, bench

from taskq import TaskQ
from taskq.broker import keys
from taskq.broker import lifecycle as calls
from taskq.broker.call import Command
from taskq.client import lifecycle
from taskq.client.lifecycle import KINDS, LifecycleEvent, follow
from taskq.errors import AuthenticationFailed, BrokerUnavailable, InvalidOption, InvalidQueueName, InvalidTimeout

PATIENCE = 20.0  # seconds after which an event will not come any more
UP = b'W\n{"kind":"worker-up","worker":"w1","at":12.5,"pool":"thread","queues":["default","b"]}'
VANISHED = b'W\n{"kind":"worker-down","worker":"w1","at":12.5,"pool":"","queues":[],"vanished":true}'


@pytest.fixture
def app(any_server, namespace):
    with client_app("client", any_server.url, namespace) as app:
        yield app


@pytest.fixture
def quick(monkeypatch):
    """Renews and looks as often as it can."""
    monkeypatch.setattr(lifecycle, "RENEWAL", 0.02)
    monkeypatch.setattr(lifecycle, "LOOK", 0.02)


def take(following, count):
    """Return the next events; fails where they do not come."""
    with in_thread(lambda: list(itertools.islice(following, count))) as events:
        return events(PATIENCE)


def kinds(following, count):
    return [event.kind for event in take(following, count)]


def say(app, message):
    """Publish as a worker does."""
    with in_thread(app.broker.link().exchange, publish(app, message)) as answer:
        answer(PATIENCE)


def publish(app, message):
    return Command(("PUBLISH", keys.events(app.settings.namespace), message), int).pack()


# -- what is told ---


@pytest.mark.parametrize("pool", POOLS)
def test_the_life_of_a_job_is_told_by_every_pool(server, namespace, tmp_path, pool):
    with bench(server.url, namespace, tmp_path) as rig, follow(rig.app.app, kinds=calls.JOB_KINDS) as following:
        rig.start(pool)
        job = rig.app.fail_until.delay(1, 1)
        events = take(following, 5)
    assert [(event.kind, event.attempt) for event in events] == [
        ("enqueued", None), ("started", 1), ("retried", 1), ("started", 2), ("succeeded", 2),
    ]  # fmt: skip
    assert {(event.id, event.queue, event.task) for event in events} == {
        (job.id, "default", "apps.acceptance.fail_until")
    }
    assert len({event.worker for event in events[1:]} - {None}) == 1
    assert (events[2].error_type, events[2].error_message) == ("ValueError", "try 1")
    assert 0 < events[2].delay <= 0.01
    assert all(abs(event.at - time.time()) < PATIENCE for event in events)


@pytest.mark.parametrize("pool", POOLS)
def test_the_end_of_a_child_and_of_a_worker_are_told(server, namespace, tmp_path, pool):
    with bench(server.url, namespace, tmp_path) as rig:
        worker = rig.start(pool)
        with follow(rig.app.app, kinds=set(KINDS) - {"worker-up"}) as following:
            rig.app.die.delay(1)
            assert kinds(following, 3) == ["enqueued", "started", "crashed"]
            worker.stop()
            ends = itertools.dropwhile(lambda event: event.kind != "worker-down", following)
            assert take(ends, 1)[0].vanished is False


def test_the_first_job_of_a_queue_that_the_app_knows_is_told(app, add):
    app.Queue("later")
    with follow(app) as following:
        add.apply_async((1,), queue="later")
        add.delay(1)
        assert [event.queue for event in take(following, 2)] == ["later", "default"]


def test_a_queue_that_another_app_makes_is_found(app, other, quick):
    with follow(app) as following:
        other.send_task("add", (1,), queue="fresh", send_by_name=True)
        assert take(following, 1)[0].queue == "fresh"
        other.send_task("add", (1,), queue="fresh", send_by_name=True)
        assert take(following, 1)[0].kind == "enqueued"
        assert following.watched == {"default", "fresh"}


def test_a_queue_of_items_is_not_watched(app):
    app.Queue("items").put(1)
    with follow(app) as following:
        assert following.watched == {"default"}


def test_a_cancelled_job_is_told(app, add):
    with follow(app, kinds=["cancelled"]) as following:
        add.apply_async((1,), countdown=100).cancel()
        add.delay(1)
        app.Queue("default").purge()
        assert kinds(following, 2) == ["cancelled", "cancelled"]


def test_a_failed_job_is_told_with_its_reason(app, add, worker):
    job = add.delay(1)
    with follow(app) as following:
        worker.raise_(worker.claim_one(), ValueError("no"))
        found = take(following, 3)
    assert [event.kind for event in found] == ["started", "failed", "dead"]
    assert {event.id for event in found} == {job.id}


def test_whoever_follows_is_told(app, add):
    with follow(app) as one, follow(app) as two:
        job = add.delay(1)
        assert take(one, 1) == take(two, 1)
        assert one is not two
    assert job.cancel()


def test_a_worker_is_told(app):
    with follow(app) as following:
        say(app, UP)
        say(app, VANISHED)
        assert take(following, 2) == [
            LifecycleEvent("worker-up", 12.5, worker="w1", pool="thread", queues=("default", "b")),
            LifecycleEvent("worker-down", 12.5, worker="w1", vanished=True),
        ]


@pytest.mark.parametrize(
    "message",
    [
        b"", b"x", b"J", b"J \n", b"J q 1 0 \nnonsense", b"J q 1 0 \nstarted 1 1 0 900 0 0\n", b"J q x 0 \n",
        b"J q 1 0 \nfar-out 1 1 0 1 0 0\na", b"J q 1 0 \nstarted 1 1\na", b"J q 1 0 \n\xff 1 1 0 1 0 0\na",
        b"W\n", b"W\n[]", b'W\n{"kind":"x","worker":"w","at":1}', b'W\n{"kind":"worker-up","worker":"w","at":1e300}',
    ],
)  # fmt: skip
def test_a_damaged_message_is_skipped_with_a_warning(app, caplog, message):
    with follow(app) as following, caplog.at_level(logging.WARNING):
        say(app, message)
        say(app, UP)
        assert kinds(following, 1) == ["worker-up"]
    assert [record.action for record in caplog.records] == ["event_damaged"]


# -- what is chosen ---


def test_only_chosen_queues_are_told_and_watched(app, add):
    with follow(app, queues=["b"]) as following:
        add.delay(1)
        add.apply_async((1,), queue="b")
        say(app, UP)
        assert [event.queue or event.kind for event in take(following, 2)] == ["b", "worker-up"]
    assert add.app.broker.read(calls_of(app, "default")) is None


def calls_of(app, queue):
    return Command(("HGET", app.broker.keys(queue).key("meta"), "watch"), lambda reply: reply)


@pytest.mark.parametrize("queues", [["a"], ["c", "a"]])
def test_a_worker_of_other_queues_is_not_told(app, add, queues):
    with follow(app, queues=queues) as following:
        say(app, UP)
        add.apply_async((1,), queue="a")
        assert kinds(following, 1) == ["enqueued"]


@pytest.mark.parametrize("pattern", ["add", "a*", "[ab]dd", ["x", "add"]])
def test_only_chosen_tasks_are_told(app, add, pattern):
    with follow(app, tasks=pattern) as following:
        app.send_task("sub.add", (1,), send_by_name=True)
        say(app, UP)
        add.delay(1)
        assert [event.task for event in take(following, 1)] == ["add"]


def test_only_chosen_kinds_are_told(app, add, worker):
    with follow(app, kinds="succeeded") as following:
        add.delay(1)
        worker.run_all()
        assert kinds(following, 1) == ["succeeded"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"kinds": ["starte"]}, InvalidOption, "did you mean 'started'"),
        ({"kinds": [5]}, InvalidOption, "kind 5 of events is unknown; there are enqueued"),
        ({"queues": ["a b"]}, InvalidQueueName, "a b"),
        ({"duration": "soon"}, InvalidTimeout, "soon"),
    ],
)
def test_what_cannot_be_followed_is_refused(app, options, error, words):
    with pytest.raises(error, match=words):
        follow(app, **options)


# -- how it ends ---


def test_it_ends_after_its_time(app):
    with in_thread(lambda: list(follow(app, duration=0.1))) as events:
        assert events(PATIENCE) == []


def test_another_thread_ends_it(app, add):
    following = follow(app)
    with in_thread(list, following) as events:
        following.close()
        assert events(PATIENCE) == []
    following.close()
    assert list(following) == []


def test_who_has_ended_leaves_no_connection(start_server, namespace):
    server = start_server()
    with TaskQ("client", server.url, namespace) as app, server.client() as client:
        with follow(app) as following:
            assert len(client.client_list(_type="pubsub")) == 1
            assert following.watched
        until(lambda: not client.client_list(_type="pubsub"), "its connection is closed")


def test_a_watch_is_renewed_while_it_waits(app, add, quick):
    add.delay(1)
    with follow(app) as following:
        first = app.broker.read(calls_of(app, "default"))
        with in_thread(next, following) as event:
            until(lambda: app.broker.read(calls_of(app, "default")) > first, "it is renewed")
            add.delay(1)
            assert event(PATIENCE).kind == "enqueued"


def test_who_comes_back_after_its_watch_is_over_finds_a_gap(app, add, monkeypatch):
    monkeypatch.setattr(lifecycle, "RENEWAL", 0.01)
    monkeypatch.setattr(lifecycle, "WATCH_MS", 0)
    with follow(app) as following:
        event = take(following, 1)[0]
    assert (event.kind, event.queue, event.missed) == ("gap", None, None)


# -- faults ---


def test_a_lost_connection_is_a_gap_and_then_it_goes_on(start_server, namespace, add_job):
    server = start_server()
    with TaskQ("client", server.url, namespace) as app, server.client() as client, follow(app) as following:
        add_job(app)
        assert kinds(following, 1) == ["enqueued"]
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        assert kinds(following, 1) == ["gap"]
        add_job(app)
        assert kinds(following, 1) == ["enqueued"]


@pytest.fixture
def add_job():
    return lambda app: app.send_task("add", (1,), send_by_name=True)


def test_a_server_that_restarts_is_a_gap_and_then_it_goes_on(start_server, namespace, add_job):
    server = start_server()
    with TaskQ("client", server.url, namespace) as app, follow(app) as following:
        server.restart()
        assert kinds(following, 1) == ["gap"]
        add_job(app)
        assert kinds(following, 1) == ["enqueued"]


def test_a_reader_that_falls_behind_is_cut_off_by_the_server_and_finds_a_gap(start_server, namespace):
    server = start_server(client_output_buffer_limit="pubsub 200000 0 0")
    with TaskQ("client", server.url, namespace) as app, server.client() as client, follow(app) as following:
        until(lambda: client.publish(keys.events(namespace), b"x" * 100_000) == 0 or None, "the server cuts it off")
        assert any(event.kind == "gap" for event in take(following, 1))


def test_a_connection_that_says_nothing_is_lost(app, monkeypatch):
    feed = calls.Feed(app.broker)
    feed.open()
    monkeypatch.setattr(calls, "SILENCE", 0.0)
    feed.ask()
    feed._link.wait(PATIENCE)
    feed._link.receive()  # somebody else gets the answer
    with pytest.raises(BrokerUnavailable, match="no answer"):
        feed.receive(0.01)


def test_a_server_that_answers_is_not_lost(app, monkeypatch):
    feed = calls.Feed(app.broker)
    feed.open()
    monkeypatch.setattr(calls, "SILENCE", 0.0)
    feed.ask()
    feed._link.wait(PATIENCE)
    assert feed.receive(0.01) is None
    feed.close()


def test_a_feed_that_was_closed_does_not_open_again(app):
    feed = calls.Feed(app.broker)
    feed.open()
    feed.close()
    with pytest.raises(BrokerUnavailable):
        feed.ask()
    assert not feed._link.connected


def test_a_server_that_is_not_there_is_told_at_once(namespace, tmp_path):
    with (
        TaskQ("client", f"unix://{tmp_path}/none", namespace, call_deadline=0.1) as app,
        pytest.raises(BrokerUnavailable),
    ):
        follow(app)


def test_a_missing_right_to_listen_is_told(start_server, namespace):
    server = start_server()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "me", "reset", "on", ">hush", "~*", "+@all", "resetchannels")
    url = f"unix://me:hush@{server.socket}"
    with TaskQ("client", url, namespace) as app, pytest.raises(AuthenticationFailed, match="denies a right"):
        follow(app)
