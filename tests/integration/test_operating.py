"""``app.inspect`` and ``app.control`` from a program, and from an event loop."""

from __future__ import annotations

import asyncio

import pytest
from client_kit import client_app

from taskq.broker import browsing
from taskq.broker.browsing import PAGE
from taskq.broker.finishing import finish_ended, relay_outbox
from taskq.errors import InvalidOption, InvalidQueueName, QueueConflict, UnknownOrExpired, UnknownQueue


@pytest.fixture
def app(any_server, namespace):
    with client_app("client", any_server.url, namespace) as app:
        yield app


@pytest.fixture
def count(app):
    @app.task(name="count")
    def count(number: int) -> int:
        return number

    return count


def test_jobs_come_in_the_order_in_which_they_will_run(app, count):
    sent = count.delay_many(range(PAGE + 200))
    assert [job.id for job in app.inspect.jobs()] == [result.id for result in sent]


def test_only_as_many_pages_are_read_as_are_asked_for(app, any_server, count):
    count.delay_many(range(4 * PAGE))

    def calls():
        with any_server.client() as client:
            return sum(
                found["calls"] for name, found in client.info("commandstats").items() if name.startswith("cmdstat_eval")
            )

    before = calls()
    assert len(list(app.inspect.jobs(state="ready", limit=20))) == 20
    few = calls() - before
    assert len(list(app.inspect.jobs(state="ready"))) == 4 * PAGE
    assert (few, calls() - before - few) == (1, 5)


@pytest.mark.corrupts
def test_a_job_that_is_damaged_is_listed_without_its_task(app, any_server, count):
    job = count.delay(1)
    with any_server.client() as client:
        client.hset(f"{app.settings.namespace}:{{default}}:jobs", job.unique, b"\xff\x00")
    (found,) = app.inspect.jobs()
    assert (found.id, found.task, found.enqueued) == (job.id, "", None)
    assert "damaged" in app.inspect.job(job.id).problem


def test_a_job_of_a_newer_taskq_is_listed_without_its_task(app, any_server, count):
    job = count.delay(1)
    key = f"{app.settings.namespace}:{{default}}:jobs"
    with any_server.client() as client:
        client.hset(key, job.unique, client.hget(key, job.unique).replace(b";1;", b";2;", 1))
    (found,) = app.inspect.jobs()
    assert (found.id, found.task) == (job.id, "")
    detail = app.inspect.job(job.id)
    assert (detail.enqueued, detail.task, detail.call) == (found.enqueued, "", "")
    assert detail.problem == "its envelope has version 2, this taskq reads 1: look with the newer one"
    assert list(app.inspect.jobs(task="count")) == []


def test_a_job_tells_how_often_it_was_given_back(app, any_server, count):
    job = count.delay(1)
    with any_server.client() as client:
        client.hset(f"{app.settings.namespace}:{{default}}:state", job.unique, b"3;0;0;0;3")
    assert app.inspect.job(job.id).defers == 3


def test_an_unknown_state_queue_or_job_is_named(app, count):
    count.delay(1)
    with pytest.raises(InvalidOption, match="state 'ded' is unknown, did you mean 'dead'"):
        app.inspect.jobs(state="ded")
    with pytest.raises(UnknownQueue, match=r"queue 'defalt' is unknown in namespace .*, did you mean 'default'"):
        app.inspect.jobs(queue="defalt")
    with pytest.raises(InvalidQueueName):
        app.control.pause("a b")
    with pytest.raises(UnknownOrExpired, match="default/nobody"):
        app.inspect.job("default/nobody")


def test_a_moved_job_keeps_its_time_and_leaves_nothing_behind(app, any_server, count):
    other = app.Queue("other")
    count.apply_async((0,), queue=other, countdown=50)
    job = count.apply_async((1,), countdown=100)
    moved = app.control.move(job.id, "other")
    detail = app.inspect.job(moved.now)
    assert (detail.state, detail.due - detail.enqueued) == ("delayed", pytest.approx(100, abs=2))
    with any_server.client() as client:
        left = {key.decode().rpartition("}:")[2] for key in client.keys(f"{app.settings.namespace}:{{default}}:*")}
    assert {name for name in left if not name.startswith("s:")} == {"meta", "wake", f"r:{job.unique}"}


def test_a_job_may_be_moved_there_and_back(app, count):
    count.apply_async((0,), queue="other")
    job = count.delay(1)
    there = app.control.move(job.id, "other").now
    back = app.control.move(there, "default").now
    assert [one.id for one in app.inspect.jobs(queue="default")] == [back]


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("who", ["a worker", "the same again"])
def test_a_job_whose_move_was_cut_short_goes_on_by_whoever_comes_next(app, count, calls, who):
    count.apply_async((0,), queue="other")
    job = count.delay(1)
    keys = app.broker.keys("default")
    assert app.broker.run(browsing.move(keys, job.unique, "other", "fresh")) == "M"
    if calls == 2:
        finish_ended(app.broker, keys)
    assert app.AsyncResult(job.id).state == "cancelled"
    if who == "a worker":  # as each of its queue does
        finish_ended(app.broker, keys)
        relay_outbox(app.broker, app.broker.keys, "default")
    else:
        assert app.control.move(job.id, "other").now == "other/fresh"
    assert app.inspect.job("other/fresh").call == "count(1)"


def test_a_dead_job_that_is_moved_is_as_new(app, any_server, count):
    count.apply_async((0,), queue="other")
    job = count.apply_async((1,), expires=0.2)
    with any_server.client() as client:  # it died, and its time to start has passed since
        prefix = f"{app.settings.namespace}:{{default}}:"
        client.zrem(f"{prefix}ready", job.unique)
        client.zadd(f"{prefix}dead", {job.unique: 1})
        stored = client.hget(f"{prefix}jobs", job.unique)
        client.hset(f"{prefix}jobs", job.unique, b"%013d" % 1 + stored[13:])
    moved = app.inspect.job(app.control.move(job.id, "other").now)
    assert moved.expires - moved.enqueued == pytest.approx(0.2)


def test_a_job_of_a_newer_taskq_is_not_moved(app, any_server, count):
    count.apply_async((0,), queue="other")
    job = count.delay(1)
    with any_server.client() as client:
        name = f"{app.settings.namespace}:{{default}}:jobs"
        client.hset(name, job.unique, client.hget(name, job.unique).replace(b";1;", b";2;", 1))
    assert app.control.move(job.id, "other").problem == "is of a newer taskq"
    assert [one.id for one in app.inspect.jobs(queue="default")] == [job.id]


def test_a_data_queue_cannot_be_paused(app):
    app.Queue("letters").put("a")
    with pytest.raises(QueueConflict, match="letters"):
        app.control.pause("letters")


def test_a_queue_whose_settings_are_gone_is_paused_all_the_same(app, any_server, count):
    count.delay(1)
    with any_server.client() as client:
        client.delete(f"{app.settings.namespace}:{{default}}:meta")
    app._sender.declared.clear()  # as in another process
    app.control.pause("default")
    assert app.inspect.queues()[0].paused


def test_a_purge_ends_however_fast_others_send(app, count):
    count.delay_many(range(250))
    assert app.control.purge("default", told=lambda _: count.delay_many(range(200))) == 250


def test_a_purge_ends_no_more_than_it_may(app, count):
    count.delay_many(range(5))
    assert [app.control.purge("default", most=most) for most in (0, 2, 9)] == [0, 2, 3]


def test_unknown_ids_are_passed_over(app, count):
    assert (app.control.retry(["nobody", "default/x"]), app.control.drop(["nobody"])) == (0, 0)


@pytest.mark.parametrize("score", ["inf", "-inf", "1e300"])
@pytest.mark.corrupts
def test_a_due_time_that_is_none_is_not_shown(app, any_server, count, score):
    job = count.apply_async((1,), countdown=60)
    with any_server.client() as client:
        client.zadd(f"{app.settings.namespace}:{{default}}:delayed", {job.unique: score})
    (found,) = app.inspect.jobs()
    assert (found.due, app.inspect.job(job.id).due) == (None, None)


def test_the_same_from_an_event_loop(app, count):
    job = count.delay(1)

    async def operate():
        names = [one.name for one in await app.inspect.aio.queues()]
        found = [one.id async for one in app.inspect.aio.jobs(state="ready")]
        await app.control.aio.pause("default")
        paused = (await app.inspect.aio.queues())[0].paused
        await app.control.aio.resume("default")
        detail = await app.inspect.aio.job(job.id)
        return names, found, paused, detail.call, await app.control.aio.purge("default")

    assert asyncio.run(operate()) == (["default"], [job.id], True, "count(1)", 1)
