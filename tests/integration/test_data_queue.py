"""Data queues keep the contract of ``queue.Queue``: order, values, lengths, bulk, and what a name holds."""

from __future__ import annotations

import datetime as dt
import decimal
import queue as standard
import uuid

import pytest
from data_queue_kit import DEADLINE, Call, drained, unfinished
from handworker import HandWorker

from taskq import TaskQ
from taskq.broker.call import Command
from taskq.errors import InvalidOption, InvalidPriority, PayloadTooLarge, QueueConflict, SerializationError


@pytest.fixture
def app(any_server, namespace):
    with TaskQ("items", any_server.url, namespace) as app:
        yield app


# -- order and values ---


@pytest.mark.parametrize(
    ("kind", "order"), [("Queue", [2, 3, 1]), ("LifoQueue", [1, 3, 2]), ("PriorityQueue", [1, 2, 3])]
)
def test_items_leave_in_the_order_of_their_kind(app, kind, order):
    queue = getattr(app, kind)("q")
    for item in (2, 3, 1):
        queue.put(item)
    assert [queue.get() for _ in range(3)] == order


def test_priorities_are_numbers_or_first_elements_and_equals_leave_in_order(app):
    queue = app.PriorityQueue("q")
    put = [(2, "b"), 10**400 // 10**399, -1.5, [0.25, "list"], (2, "a"), (-1.5, object.__name__), 2, (1e300,), 0]
    for item in put:
        queue.put(item)
    assert drained(queue) == [-1.5, (-1.5, "object"), 0, [0.25, "list"], (2, "b"), (2, "a"), 2, 10, (1e300,)]


@pytest.mark.parametrize("item", ["text", None, True, (), ("x", 1), float("nan"), (float("inf"),), 10**400, {"a": 1}])
def test_an_item_without_a_priority_is_refused(app, item):
    queue = app.PriorityQueue("q")
    with pytest.raises(InvalidPriority, match="put a finite number, or a tuple that begins with one"):
        queue.put(item)
    assert queue.empty()


@pytest.mark.parametrize(
    "item",
    [
        None, (), (1, (2, [3])), [1, (2,)], b"\x00;\n\xff", "", "ü\n;", 2**200, -(2**64), 1.5, float("inf"), True,
        {"a": (1,)}, {1: b"x"}, {1, 2}, dt.datetime(2026, 2, 3, tzinfo=dt.UTC), dt.date(2026, 1, 2),
        dt.timedelta(seconds=1.5), decimal.Decimal("1.10"), uuid.UUID(int=5), "x" * 1_000_000,
    ],
    ids=lambda item: repr(item)[:20],
)  # fmt: skip
def test_a_value_arrives_as_it_was_put(app, other, item):
    app.Queue("q").put(item)
    got = other.Queue("q").get(timeout=DEADLINE)
    assert (got, type(got)) == (item, type(item))


def test_an_item_is_a_copy(app):
    queue, item = app.Queue("q"), [1]
    queue.put(item)
    item.append(2)
    assert queue.get() == [1]


def test_what_is_no_data_is_refused_and_nothing_of_a_batch_is_put(app):
    queue = app.Queue("q")
    with pytest.raises(SerializationError, match="item"):
        queue.put_many([1, object()])
    assert queue.empty()


def spoil(queue, at):
    """Replace the item at that place by one that nobody can read."""
    name = queue._keys.key("items")
    (member, score) = queue._app.broker.read(Command(("ZRANGE", name, at, at, "WITHSCORES"), list))
    queue._app.broker.read(Command(("ZREM", name, member), int))
    queue._app.broker.read(Command(("ZADD", name, score, member[:16] + b";\xc1"), int))


def test_one_that_cannot_be_read_costs_no_other(app):
    queue = app.Queue("q")
    queue.put_many("abcd")
    spoil(queue, 2)
    assert queue.get_many(10) == ["a", "b"]
    with pytest.raises(SerializationError):
        queue.get_many(10)
    assert queue.get_many(10) == ["d"]
    assert queue.empty()


def test_one_that_is_too_large_is_refused(any_server, namespace):
    with TaskQ("small", any_server.url, namespace, max_body=1024) as app:
        queue = app.Queue("q")
        with pytest.raises(PayloadTooLarge, match=r"item of queue 'q' has 2003 bytes, over max_body of 1024"):
            queue.put(b"x" * 2000)
        assert queue.empty()


# -- counting ---


def test_lengths_are_told(make_queue):
    queue = make_queue(maxsize=2)
    assert (queue.qsize(), queue.empty(), queue.full()) == (0, True, False)
    queue.put(1)
    assert (queue.qsize(), queue.empty(), queue.full()) == (1, False, False)
    queue.put(2)
    assert (queue.qsize(), queue.empty(), queue.full()) == (2, False, True)


def test_a_queue_without_a_bound_is_never_full(app):
    for maxsize in (0, -1):
        queue = app.Queue(f"q{maxsize}", maxsize)
        queue.put_many(range(100))
        assert not queue.full()


def test_a_purge_drops_all_items_and_counts_them_as_finished(make_queue):
    queue = make_queue()
    queue.put_many([1, 2, 3])
    queue.get()
    assert queue.purge() == 2
    assert (queue.qsize(), unfinished(queue)) == (0, 1)


def test_more_task_done_than_items_is_an_error(make_queue):
    queue = make_queue()
    with pytest.raises(ValueError, match=r"task_done\(\) called too many times"):
        queue.task_done()
    queue.put(1)
    queue.get()
    queue.task_done()
    with pytest.raises(ValueError, match="too many times"):
        queue.task_done()


def test_length_is_right_where_another_process_was_the_first_to_put(app, other):
    queue = app.Queue("q")
    assert queue.qsize() == 0, "nobody has said yet what it holds"
    other.Queue("q").put_many("abc")
    assert queue.qsize() == 3


# -- bulk ---


def test_many_are_put_and_got_in_order(app):
    queue = app.Queue("q")
    queue.put_many(range(2500))
    got = [queue.get_many(1000) for _ in range(3)]
    assert got == [list(range(1000)), list(range(1000, 2000)), list(range(2000, 2500))]


def test_large_items_travel_in_several_calls(app):
    queue = app.Queue("q")
    queue.put_many([bytes([number]) * 1_000_000 for number in range(10)])
    first = queue.get_many(1000)
    assert 1 <= len(first) < 10
    rest = []
    while not queue.empty():
        rest += queue.get_many(1000)
    assert [item[0] for item in first + rest] == list(range(10))


def test_nothing_may_be_put_in_bulk(app):
    queue = app.Queue("q")
    queue.put_many([])
    assert queue.empty()


def test_a_bulk_waits_for_room_and_keeps_its_order(app):
    queue = app.Queue("q", maxsize=10)
    call = Call(queue.put_many, range(95))
    got: list[int] = []
    while len(got) < 95:
        got += queue.get_many(7, timeout=DEADLINE)
    call.end()
    assert got == list(range(95))


def test_a_bulk_that_does_not_fit_says_how_many_were_put(app):
    queue = app.Queue("q", maxsize=3)
    with pytest.raises(standard.Full) as refused:
        queue.put_many(range(5), block=False)
    assert refused.value.accepted == 3
    with pytest.raises(standard.Full) as refused:
        queue.put_many(range(5), timeout=0.05)
    assert refused.value.accepted == 0
    assert drained(queue) == [0, 1, 2]


@pytest.mark.parametrize("most", [0, -1, 1.5, "1", True, None])
def test_a_number_of_items_that_cannot_be_used_is_an_error(app, most):
    with pytest.raises(InvalidOption, match="whole number"):
        app.Queue("q").get_many(most)


# -- one name ---


def test_a_name_that_holds_jobs_takes_no_items(app, other):
    app.task(name="add", queue="q")(pow).delay(1, 2)
    for use in (lambda q: q.put(1), lambda q: q.get_nowait(), lambda q: q.task_done(), lambda q: q.shutdown()):
        with pytest.raises(
            QueueConflict, match=r"queue 'q' holds jobs since 'items, .*' declared it, so it takes no items"
        ):
            use(other.Queue("q"))
    assert other.Queue("q").qsize() == 1


def test_a_name_that_holds_items_takes_no_jobs(app, other):
    app.Queue("q").put(1)
    with pytest.raises(
        QueueConflict, match=r"queue 'q' holds items since 'items, .*' declared it, so it takes no jobs"
    ):
        other.task(name="add", queue="q")(pow).delay(1, 2)
    assert app.Queue("q").get() == 1


def test_a_queue_of_another_discipline_is_refused(app, other):
    app.Queue("q").put(1)
    with pytest.raises(QueueConflict, match="is lifo here, but fifo since 'items, "):
        other.LifoQueue("q").put(1)


def test_a_worker_of_a_queue_of_items_takes_none_and_is_not_harmed(app):
    queue = app.Queue("q")
    queue.put_many([1, 2])
    worker = HandWorker(app, "q")
    try:
        assert worker.claim(count=10) == []
    finally:
        worker.close()
    assert drained(queue) == [1, 2]
