"""fsck finds nothing where nothing is wrong, and looks at all there is, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from client_kit import client_app
from coordination_kit import until
from fsck_kit import count_surveys
from handworker import HandWorker

from taskq.broker import fsck, jobs, workers
from taskq.errors import BrokerError, BrokerUnavailable, Indeterminate, InvalidQueueName, UnknownQueue

pytestmark = pytest.mark.corrupts
LOAD_SECONDS = 3.0  # a hundred looks, each at other moments of what runs
HALF_HOUR = 1800.0  # seconds


def test_an_empty_namespace_is_in_order(hand):
    assert hand.findings(strict=True) == []


def test_jobs_in_every_place_are_in_order(hand, app, add, fail, worker):
    fail.delay()
    worker.run_all()  # dead
    add.delay(1)
    worker.claim_one()  # running
    add.apply_async((1,), countdown=HALF_HOUR)
    add.delay(2)
    app.AsyncResult(add.delay(3).id).cancel()  # ended
    assert hand.findings() == []


def test_a_system_at_rest_is_in_order(hand, add, worker):
    add.delay_many(range(700))
    worker.run_all()
    add.delay(1)
    assert hand.findings(strict=True) == []


def test_moved_jobs_are_counted(hand, app, add, fail, worker):
    app.Queue("other").qsize()
    dead = fail.delay()
    worker.run_all()
    waiting = add.delay(2)
    assert app.control.move(waiting.id, "other").now
    assert app.control.move(dead.id, "other").now
    assert app.Queue("default").info().counters["moved"] == 2
    assert hand.findings() == []


def test_what_is_held_and_waited_for_is_in_order(hand, app, threads):
    with app.Lock("a"), app.Semaphore("s", 2), app.Semaphore("s", 2), app.Condition("c"):
        assert hand.findings() == []
    items = app.Queue("items")
    items.put(1)
    items.put(2)
    with items.claim():
        assert hand.findings() == []
    barrier = app.Barrier("b", 2)
    waiting = threads.submit(barrier.wait, 20)
    until(lambda: barrier.n_waiting == 1)
    assert hand.findings() == []
    barrier.wait(20)
    waiting.result(20)
    assert hand.findings() == []


def test_no_false_alarm_while_jobs_come_and_run(hand, app, add, fail, worker):
    """Workers come and go, jobs fail, are delayed, cancelled and moved, locks change hands."""
    app.Queue("other").qsize()
    stop, errors = threading.Event(), list[BaseException]()

    def repeatedly(act) -> threading.Thread:
        def run() -> None:
            try:
                while not stop.is_set():
                    act()
            except BaseException as error:
                errors.append(error)
                raise

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def produce() -> None:
        add.delay_many(range(100))
        fail.delay()
        add.apply_async((1,), countdown=0.01)
        add.delay(1).cancel()
        app.control.move(add.delay(1).id, "other")

    def come_and_go() -> None:
        brief = HandWorker(app)
        for claimed in brief.claim(count=5):
            brief.run(claimed)
        brief.broker.run(workers.deregister(brief.broker.keys("default"), brief.id))
        brief.close()

    def hold() -> None:
        with app.Lock("busy"):
            pass

    running = [repeatedly(act) for act in (produce, come_and_go, hold, hold)]
    end, looks = time.monotonic() + LOAD_SECONDS, 0
    with worker.serving(), HandWorker(app, "other").serving():
        while time.monotonic() < end:
            assert hand.findings() == []
            looks += 1
        stop.set()
        for thread in running:
            thread.join(20)
    assert not errors
    assert looks > 3
    assert worker.settled > 100


def test_only_the_named_queues_are_looked_at(hand, app, job):
    app.Queue("other").qsize()
    hand.client.zadd(hand.key("ready"), {"ghost": 1})
    assert list(app.inspect.fsck(queue="other")) == []
    assert len(list(app.inspect.fsck(queue=["other", "default"]))) == 1


def test_a_queue_that_is_unknown_is_refused(app, job):
    with pytest.raises(UnknownQueue, match="did you mean 'default'"):
        app.inspect.fsck(queue="defualt")
    with pytest.raises(InvalidQueueName):
        app.inspect.fsck(queue="a b")


def test_what_was_put_right_meanwhile_is_not_repaired_again(hand, app, job):
    hand.client.zadd(hand.key("ready"), {"ghost": 1})
    (finding,) = app.inspect.fsck()
    assert app.control.repair(finding)
    assert not app.control.repair(finding)


def test_a_coroutine_looks_and_repairs(hand, app, job):
    hand.client.zadd(hand.key("ready"), {"ghost": 1})

    async def mend() -> list[bool]:
        return [await app.control.aio.repair(one) async for one in app.inspect.aio.fsck(strict=True)]

    assert asyncio.run(mend()) == [True]
    assert hand.findings(strict=True) == []


def test_every_job_of_a_large_queue_is_looked_at(hand, add):
    sent = add.delay_many(range(3000))
    lost = [result.unique for result in sent][::3]
    hand.client.zrem(hand.key("ready"), *lost)
    assert {id_ for _, _, id_ in hand.findings()} == set(lost)
    assert hand.repair() == [True] * 1000
    assert hand.findings() == []


def test_the_calls_do_not_grow_with_the_workers(hand, app, add, monkeypatch):
    add.delay_many(range(2000))
    seen = count_surveys(app, monkeypatch)
    assert hand.findings() == []
    alone = len(seen)
    hand.client.zadd(hand.key("workers"), {f"w{number}": 10**17 for number in range(1000)})
    assert hand.findings() == []
    assert len(seen) - alone <= alone


def test_a_worker_between_each_two_pages_does_not_end_the_look(hand, app, add, monkeypatch):
    """Each page is read at its second try, and their sum is more than one page may have."""
    monkeypatch.setattr(fsck, "TRIES", 3)
    add.delay_many(range(3000))

    def enter(seen: list[str]) -> None:
        hand.client.zadd(hand.key("workers"), {f"w{len(seen) // 2}": 10**17})

    seen = count_surveys(app, monkeypatch, enter)
    assert hand.findings() == []
    assert len(seen) > 2 * fsck.TRIES


def test_a_job_is_repaired_although_a_worker_came_meanwhile(hand, app, job):
    hand.client.zadd(hand.key("ready"), {"ghost": 1})
    (finding,) = app.inspect.fsck()
    hand.client.zadd(hand.key("workers"), {"new": 10**17})
    assert app.control.repair(finding)
    assert hand.findings() == []


def test_a_repair_for_which_workers_come_too_fast_is_refused(hand, app, job, monkeypatch):
    hand.client.zadd(hand.key("ready"), {"ghost": 1})
    (finding,) = app.inspect.fsck()
    monkeypatch.setattr(fsck, "TRIES", 3)
    seen = list[str]()
    whole = app.broker.run

    def run(call):
        seen.append(call.script.name)
        hand.client.zadd(hand.key("workers"), {f"w{len(seen)}": 10**17})
        return whole(call)

    monkeypatch.setattr(app.broker, "run", run)
    with pytest.raises(BrokerError, match="come and go too fast"):
        app.control.repair(finding)
    assert seen == ["mend"] * 3


def test_a_producer_on_a_slow_link_gives_no_false_alarm(hand, app, job, monkeypatch):
    """It has declared its queue, and lists it a round trip later."""
    monkeypatch.undo()
    hand.client.srem(f"{app.settings.namespace}:queues", "default")
    late = threading.Timer(0.3, lambda: app.broker.read(jobs.register_queue(app.settings.namespace, "default")))
    late.start()
    assert hand.findings() == []
    late.join()


def test_a_server_that_is_away_is_told(namespace, start_server):
    server = start_server()
    with client_app("client", server.url, namespace, call_deadline=0.2) as app:
        app.tasks["add"].delay(1)
        server.kill()
        with pytest.raises((BrokerUnavailable, Indeterminate)):
            list(app.inspect.fsck())
