"""Primitives, queues and results as arguments arrive as the same named thing, bound to the receiving app."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from taskq import AsyncResult, TaskQ
from taskq.coordination.event import Event as EventClass
from taskq.errors import SerializationError

MAKERS = {
    "Event": lambda app: app.Event("e"),
    "Lock": lambda app: app.Lock("l"),
    "Lock with a lease": lambda app: app.Lock("short", lease=3),
    "RLock": lambda app: app.RLock("r"),
    "Semaphore": lambda app: app.Semaphore("s", 3),
    "BoundedSemaphore": lambda app: app.BoundedSemaphore("b", 2, lease=5),
    "Condition": lambda app: app.Condition("c"),
    "Condition with a lock": lambda app: app.Condition("d", app.Lock("l")),
    "Queue": lambda app: app.Queue("q", maxsize=7),
    "LifoQueue": lambda app: app.LifoQueue("lifo"),
    "PriorityQueue": lambda app: app.PriorityQueue("ranked"),
}


@dataclass
class Event:
    """A class of the user's that is called like one of ours."""

    number: int


@pytest.fixture
def app(url, namespace):
    with TaskQ("producer", url, namespace) as app:

        @app.task(name="echo")
        def echo(*things: object) -> object:
            return things

        yield app


@pytest.fixture
def receiver(url, namespace):
    with TaskQ("worker", url, namespace) as app:

        @app.task(name="echo")
        def echo(*things: object) -> object:
            return things

        @app.task(name="annotated")
        def annotated(event: EventClass, mine: Event) -> None: ...

        yield app


def carried(sender, receiver, *things, task="echo"):
    """Return the arguments of a job as the worker's app reads them."""
    out, back = sender.tasks["echo"], receiver.tasks[task]
    payload = out.signature.encode_arguments(out.codec, things, {})
    args, kwargs = back.signature.decode_arguments(back.codec, payload)
    assert kwargs == {}
    return args


@pytest.mark.parametrize("kind", MAKERS)
def test_it_arrives_as_the_same_kind_and_name_of_the_receiving_app(app, receiver, kind):
    sent, made = MAKERS[kind](app), MAKERS[kind](receiver)
    (arrived,) = carried(app, receiver, sent)
    assert arrived is made
    assert arrived._app is receiver


def test_barrier_arrives_with_its_parties_and_timeout(app, receiver):
    (arrived,) = carried(app, receiver, app.Barrier("b", 3, timeout=5, lease=7))
    assert (repr(arrived), arrived._timeout, arrived._lease, arrived._app) == ("Barrier('b', 3)", 5, 7, receiver)


def test_barrier_with_an_action_is_refused(app, receiver):
    with pytest.raises(
        SerializationError, match=r"args\[0\] is Barrier\('b', 3\): it has an action, which cannot travel"
    ):
        carried(app, receiver, app.Barrier("b", 3, action=print))


def test_it_is_found_inside_of_containers(app, receiver):
    event, queue = app.Event("e"), app.Queue("q")
    ((first, (second,)), named) = carried(app, receiver, [event, (queue,)], {"lock": app.Lock("l")})
    assert (first, second, named["lock"]) == (receiver.Event("e"), receiver.Queue("q"), receiver.Lock("l"))


def test_result_arrives_as_a_handle_of_the_same_job(app, receiver):
    sent = app.tasks["echo"].delay(1)
    (arrived,) = carried(app, receiver, sent)
    assert type(arrived) is AsyncResult
    assert (arrived.id, arrived._app) == (sent.id, receiver)


def test_annotation_with_a_primitive_is_checked(app, receiver):
    arrived, _ = carried(app, receiver, app.Event("e"), {"number": 1}, task="annotated")
    assert arrived is receiver.Event("e")


def test_users_own_class_of_the_same_name_is_not_confused(app, receiver):
    _, mine = carried(app, receiver, app.Event("e"), {"number": 3}, task="annotated")
    assert mine == Event(3)


def test_event_that_was_passed_is_the_one_that_wakes(app, receiver):
    (arrived,) = carried(app, receiver, app.Event("go"))
    arrived.set()
    assert app.Event("go").wait(0)


def test_item_of_a_data_queue_may_be_an_event(app, receiver):
    app.Queue("things").put({"reply": app.Event("answer")})
    assert receiver.Queue("things").get(timeout=5)["reply"] is receiver.Event("answer")


def test_another_declaration_at_the_receiver_is_a_clear_error(app, receiver):
    semaphore = receiver.Semaphore("s", 5)
    with pytest.raises(Exception, match=r"Semaphore\('s', 3\): app 'worker' has Semaphore\('s', 5\)"):
        carried(app, receiver, app.Semaphore("s", 3))
    assert semaphore._limit == 5
