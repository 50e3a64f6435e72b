"""A machine that starts no more threads for a moment: the call fails, and the next one works as if nothing had been."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from client_kit import DEADLINE, client_app, later
from coordination_kit import left_over
from data_queue_kit import unfinished

from taskq import TaskQ

NO_THREAD = "can't start new thread"


@pytest.fixture
def app(url, namespace):
    with client_app("starts", url, namespace) as app:
        yield app


@pytest.fixture
def refuse(monkeypatch) -> Callable[[str], Callable[[], None]]:
    """Let no thread of a name start, until what it returns is called."""
    start = threading.Thread.start

    def begin(name: str) -> Callable[[], None]:
        def refused(thread: threading.Thread) -> None:
            if thread.name == name:
                raise RuntimeError(NO_THREAD)
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refused)
        return monkeypatch.undo

    return begin


@pytest.fixture(params=["taskq-listener", "taskq-poller"])
def start_again(request, refuse) -> Callable[[], None]:
    """One of the threads by which results come does not start until it is called."""
    return refuse(request.param)


def waits(app: TaskQ) -> list[Any]:
    return app._listener._registry.watches()


def test_a_wait_for_a_result_works_after_one_that_could_not_begin(app, add, worker, start_again):
    result = add.delay(1, 2)
    with pytest.raises(RuntimeError, match=NO_THREAD):
        result.result(DEADLINE)
    assert waits(app) == []
    start_again()
    later(worker.run_all)
    assert result.result(DEADLINE) == 3


def test_a_callback_works_after_one_that_could_not_be_added(app, add, worker, start_again):
    result, called, told = add.delay(1, 2), [], threading.Event()
    with pytest.raises(RuntimeError, match=NO_THREAD):
        result.add_done_callback(called.append)
    assert (waits(app), result._done_callbacks) == ([], [])
    start_again()
    result.add_done_callback(lambda _: told.set())
    worker.run_all()
    assert told.wait(DEADLINE)
    assert called == [], "it was refused"


def test_an_app_whose_threads_could_not_be_started_closes(app, add, start_again):
    with pytest.raises(RuntimeError, match=NO_THREAD):
        add.delay(1).result(DEADLINE)
    app.close()


def test_an_item_is_given_back_where_its_lease_could_not_be_kept(app, refuse):
    queue = app.Queue("items")
    queue.put("a")
    start_again = refuse("taskq-keeper")
    with pytest.raises(RuntimeError, match=NO_THREAD), queue.claim():
        pytest.fail("claimed without a lease")
    assert (queue.qsize(), queue.info().running, left_over(app)) == (1, 0, {})
    start_again()
    with queue.claim() as item:
        assert item == "a"
    assert unfinished(queue) == 0
