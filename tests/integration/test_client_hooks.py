"""What hooks are told of sending, and what goes on with the jobs that follow."""

from __future__ import annotations

import queue

import pytest
from client_kit import client_app

from taskq.errors import JobConflict, PayloadTooLarge
from taskq.model.job import decode_body


@pytest.fixture
def app(any_server, namespace):
    with client_app("client", any_server.url, namespace) as app:
        yield app


@pytest.fixture
def told(app):
    """What ``after_send`` was told: ids and errors."""
    told = []
    app.hooks.after_send(lambda sending, error: told.append((sending.job_id, type(error))))
    return told


@pytest.fixture
def stamped(app):
    """A hook adds a header to each call."""

    @app.hooks.before_send
    def stamp(sending):
        sending.headers["stamp"] = sending.job_id


def test_a_call_that_was_sent_is_told_without_an_error(add, told):
    assert told == [(add.delay(1).id, type(None))]


def test_a_call_that_finds_no_room_is_told_with_the_error(app, add, told):
    small = app.Queue("small", maxsize=1)
    add.apply_async((1,), queue=small, job_id="a")
    with pytest.raises(queue.Full):
        add.apply_async((1,), queue=small, job_id="b", timeout=0)
    assert told == [("small/a", type(None)), ("small/b", queue.Full)]


def test_a_call_whose_id_is_taken_is_told_with_the_error(add, told):
    add.apply_async((1,), job_id="a")
    with pytest.raises(JobConflict):
        add.apply_async((2,), job_id="a")
    assert told[1:] == [("default/a", JobConflict)]


def test_a_call_that_is_refused_after_the_hooks_saw_it_is_told_with_the_error(app, told):
    task = app.task(name="large")(len)
    with pytest.raises(PayloadTooLarge):
        task.apply_async((b"x" * (app.settings.max_body + 1),), job_id="a")
    assert told == [("default/a", PayloadTooLarge)]


async def sent_in_a_loop(add):
    return await add.aio.delay(1)


def test_a_call_from_an_event_loop_is_told_too(add, told):
    import asyncio

    result = asyncio.run(sent_in_a_loop(add))
    assert told == [(result.id, type(None))]


def test_jobs_of_many_are_not_told_one_by_one(add, told):
    add.delay_many(range(3))
    assert told == []


def test_jobs_of_many_are_marked_as_such(app, add):
    marks = []
    app.hooks.before_send(lambda sending: marks.append(sending.many))
    add.delay(0)
    add.delay_many(range(2))
    assert marks == [False, True, True]


def test_both_hooks_see_one_memo(app, add, told):
    read = []
    app.hooks.before_send(lambda sending: sending.memo.update({"key": sending.job_id}))
    app.hooks.after_send(lambda sending, error: read.append(sending.memo["key"]))
    assert read == [add.delay(1).id]


@pytest.mark.usefixtures("stamped")
@pytest.mark.parametrize("kind", ["link", "link_error"])
def test_what_hooks_add_goes_on_with_what_follows_and_what_the_caller_gave_does_not(add, worker, kind):
    parent = add.apply_async((1,), headers={"own": 1}, **{kind: add.si(2)})
    (link,) = worker.claim_one().body.meta[kind]
    assert decode_body(link[3].partition(b"\n")[2]).meta["headers"] == {"stamp": parent.id}


def test_without_hooks_nothing_goes_on(add, worker):
    add.apply_async((1,), headers={"own": 1}, link=add.si(2))
    (link,) = worker.claim_one().body.meta["link"]
    assert "headers" not in decode_body(link[3].partition(b"\n")[2]).meta
