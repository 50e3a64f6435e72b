"""Data queues keep the contract of ``queue.Queue``, between threads and between processes."""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import os
import queue as standard
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from handworker import HandWorker
from worker_kit import POOLS, TESTS, bench, wait_until

from taskq import TaskQ
from taskq.broker import items
from taskq.broker.call import Command
from taskq.errors import (
    InvalidOption,
    InvalidPriority,
    InvalidTimeout,
    PayloadTooLarge,
    QueueConflict,
    SerializationError,
    ShutDown,
)

DEADLINE = 20.0  # seconds: the machine may run other suites
KINDS = ("Queue", "LifoQueue", "PriorityQueue")


@pytest.fixture
def url(any_server):
    return any_server.url


@pytest.fixture
def app(url, namespace):
    with TaskQ("items", url, namespace) as app:
        yield app


@pytest.fixture
def other(url, namespace):
    """Another app, as another process has one."""
    with TaskQ("other", url, namespace) as other:
        yield other


@pytest.fixture(params=KINDS)
def make(request, app) -> Callable[..., Any]:
    """Makes a queue of each kind; numbers are items that all of them take."""
    return lambda maxsize=0: getattr(app, request.param)("q", maxsize)


class Call:
    """A call that blocks, in a thread of its own."""

    def __init__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self._call = (function, args, kwargs)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        function, args, kwargs = self._call
        try:
            self.value = function(*args, **kwargs)
        except BaseException as error:
            self.error = error

    @property
    def blocks(self) -> bool:
        return self._thread.is_alive()

    def end(self) -> Any:
        self._thread.join(DEADLINE)
        assert not self.blocks, "still blocked"
        if self.error is not None:
            raise self.error
        return self.value


def in_line(queue, line: str) -> int:
    """How many stand in a line of the queue, or wait for ``join``."""
    card = "SCARD" if line == "joiners" else "ZCARD"
    return queue._app.broker.read(Command((card, queue._keys.key(line)), int))


def blocked(queue, line: str, calls: list[Call]) -> list[Call]:
    """Wait until all ``calls`` stand in a line."""
    wait_until(lambda: in_line(queue, line) == len(calls), f"{len(calls)} {line}: {[each.error for each in calls]}")
    assert all(call.blocks for call in calls)
    return calls


def drained(queue) -> list[Any]:
    found = []
    while True:
        try:
            found.append(queue.get_nowait())
        except standard.Empty:
            return found


def unfinished(queue) -> int:
    return queue._app.broker.run(items.stand(queue._keys)).unfinished


# -- order and values -------------------------------------------------------------------------------------------------


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


# -- blocking ---------------------------------------------------------------------------------------------------------


def test_an_empty_queue_refuses_who_does_not_wait(make):
    queue = make()
    for call in (queue.get_nowait, lambda: queue.get(block=False), lambda: queue.get_many(5, block=False)):
        with pytest.raises(standard.Empty):
            call()


def test_a_full_queue_refuses_who_does_not_wait(make):
    queue = make(maxsize=2)
    queue.put(1)
    queue.put_nowait(2)
    with pytest.raises(standard.Full):
        queue.put_nowait(3)
    with pytest.raises(standard.Full):
        queue.put(3, block=False)
    assert queue.qsize() == 2


@pytest.mark.parametrize("timeout", [0, 0.001, 0.3])
def test_a_wait_ends_after_its_timeout(make, timeout):
    queue = make(maxsize=1)
    started = time.monotonic()
    with pytest.raises(standard.Empty):
        queue.get(timeout=timeout)
    queue.put(1)
    with pytest.raises(standard.Full):
        queue.put(2, timeout=timeout)
    assert time.monotonic() - started >= 2 * timeout
    assert (in_line(queue, "getters"), in_line(queue, "putters")) == (0, 0)


def test_a_negative_timeout_is_an_error_but_where_nobody_waits(app):
    queue = app.Queue("q", maxsize=1)
    calls = [
        lambda block: queue.put(1, block, -1),
        lambda block: queue.get(block, -1),
        lambda block: queue.get_many(1, block, -0.001),
        lambda block: queue.claim(block, -1).__enter__(),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="non-negative"):
            call(True)
    queue.put(1, False, -1)
    assert queue.get(False, -1) == 1


@pytest.mark.parametrize("timeout", ["1", float("nan"), True])
def test_a_timeout_that_is_no_number_is_an_error(app, timeout):
    with pytest.raises(InvalidTimeout, match="no number of seconds"):
        app.Queue("q").get(timeout=timeout)


def test_who_waits_gets_what_another_process_puts(make, other):
    queue = make()
    [call] = blocked(queue, "getters", [Call(queue.get)])
    getattr(other, type(queue).__name__)("q").put(5)
    assert call.end() == 5


def test_who_waits_for_room_puts_when_another_process_takes(make, other):
    queue = make(maxsize=1)
    queue.put(1)
    [call] = blocked(queue, "putters", [Call(queue.put, 1)])
    assert getattr(other, type(queue).__name__)("q", 1).get() == 1
    call.end()
    assert (queue.get(), queue.qsize()) == (1, 0)


def test_getters_are_served_in_the_order_in_which_they_came(app):
    queue = app.Queue("q")
    calls: list[Call] = []
    for _ in range(5):
        blocked(queue, "getters", [*calls, call := Call(queue.get, timeout=DEADLINE)])
        calls.append(call)
    for number, call in enumerate(calls):
        queue.put(number)
        assert call.end() == number


def test_putters_are_served_in_the_order_in_which_they_came(app):
    queue = app.Queue("q", maxsize=1)
    queue.put("first")
    calls: list[Call] = []
    for number in range(5):
        blocked(queue, "putters", [*calls, call := Call(queue.put, number, timeout=DEADLINE)])
        calls.append(call)
    got = [queue.get()]
    for call in calls:
        call.end()
        got.append(queue.get())
    assert got == ["first", 0, 1, 2, 3, 4]


def test_a_bound_that_is_raised_lets_all_in_who_wait(app, url, namespace):
    queue = app.Queue("q", maxsize=1)
    queue.put(0)
    calls = blocked(queue, "putters", [Call(queue.put, number) for number in range(1, 11)])
    with TaskQ("later", url, namespace) as later:
        later.Queue("q", maxsize=20).put(11)
    for call in calls:
        call.end()
    assert sorted(drained(queue)) == list(range(12))


@pytest.mark.parametrize("line", ["getters", "putters"])
def test_a_wait_costs_three_calls_however_long_it_is(start_server, namespace, line):
    server = start_server()
    with TaskQ("items", server.url, namespace) as app, server.client() as client:
        queue = app.Queue("q", maxsize=1)
        with pytest.raises(standard.Empty):
            queue.get(timeout=0.05)  # subscribes
        waiting, other = (queue.get, lambda: queue.put(1)) if line == "getters" else (lambda: queue.put(1), queue.get)
        if line == "putters":
            queue.put(0)
        client.config_resetstat()
        [call] = blocked(queue, line, [Call(waiting)])
        other()
        call.end()
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 3 + 1, "one is the other side's"


# -- counting ---------------------------------------------------------------------------------------------------------


def test_lengths_are_told(make):
    queue = make(maxsize=2)
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


def test_a_purge_drops_all_items_and_counts_them_as_finished(make):
    queue = make()
    queue.put_many([1, 2, 3])
    queue.get()
    assert queue.purge() == 2
    assert (queue.qsize(), unfinished(queue)) == (0, 1)


def test_more_task_done_than_items_is_an_error(make):
    queue = make()
    with pytest.raises(ValueError, match=r"task_done\(\) called too many times"):
        queue.task_done()
    queue.put(1)
    queue.get()
    queue.task_done()
    with pytest.raises(ValueError, match="too many times"):
        queue.task_done()


def test_join_returns_at_once_where_nothing_is_unfinished(make):
    queue = make()
    queue.join()
    queue.put(1)
    queue.get()
    queue.task_done()
    Call(queue.join).end()


def test_join_waits_for_every_item(make, other):
    queue = make()
    queue.put_many([1, 2])
    calls = blocked(queue, "joiners", [Call(queue.join), Call(getattr(other, type(queue).__name__)("q").join)])
    for _ in range(2):
        assert all(call.blocks for call in calls)
        queue.get()
        queue.task_done()
    for call in calls:
        call.end()


def test_join_waits_for_what_is_put_while_it_waits(app):
    queue = app.Queue("q")
    queue.put(1)
    [call] = blocked(queue, "joiners", [Call(queue.join)])
    queue.put(2)
    queue.task_done()
    assert call.blocks
    queue.task_done()
    call.end()


# -- shutdown ---------------------------------------------------------------------------------------------------------


def test_a_queue_that_is_shut_down_takes_nothing_and_gives_what_it_has(make):
    queue = make()
    queue.put_many([1, 1])
    queue.shutdown()
    for call in (lambda: queue.put(1), lambda: queue.put_nowait(1), lambda: queue.put_many([1])):
        with pytest.raises(ShutDown, match="takes no more items"):
            call()
    assert (queue.get(), queue.get_nowait()) == (1, 1)
    for call in (queue.get, queue.get_nowait, lambda: queue.get(timeout=5), lambda: queue.get_many(3)):
        with pytest.raises(ShutDown, match="shut down and empty"):
            call()


def test_a_shutdown_is_one_of_the_standard_library_where_it_has_one():
    assert issubclass(ShutDown, getattr(standard, "ShutDown", Exception))


@pytest.mark.parametrize("immediate", [False, True])
def test_a_shutdown_ends_blocked_getters(make, other, immediate):
    queue = make()
    calls = blocked(queue, "getters", [Call(queue.get) for _ in range(4)])
    getattr(other, type(queue).__name__)("q").shutdown(immediate)
    for call in calls:
        with pytest.raises(ShutDown):
            call.end()


@pytest.mark.parametrize("immediate", [False, True])
def test_a_shutdown_ends_blocked_putters(make, immediate):
    queue = make(maxsize=1)
    queue.put(1)
    calls = blocked(queue, "putters", [Call(queue.put, 2) for _ in range(4)])
    queue.shutdown(immediate)
    for call in calls:
        with pytest.raises(ShutDown):
            call.end()
    assert queue.qsize() == (0 if immediate else 1)


def test_a_shutdown_lets_join_wait_for_the_rest(make):
    queue = make()
    queue.put(1)
    [call] = blocked(queue, "joiners", [Call(queue.join)])
    queue.shutdown()
    assert call.blocks
    queue.get()
    queue.task_done()
    call.end()


def test_an_immediate_shutdown_drops_the_items_and_ends_join(make):
    queue = make()
    queue.put_many([1, 2])
    [call] = blocked(queue, "joiners", [Call(queue.join)])
    queue.shutdown(immediate=True)
    call.end()
    with pytest.raises(ShutDown):
        queue.get()


def test_an_immediate_shutdown_lets_join_wait_for_what_was_taken(make):
    queue = make()
    queue.put_many([1, 2])
    queue.get()
    [call] = blocked(queue, "joiners", [Call(queue.join)])
    queue.shutdown(immediate=True)
    assert call.blocks
    queue.task_done()
    call.end()


def test_a_second_shutdown_may_be_immediate(app):
    queue = app.Queue("q")
    queue.put(1)
    queue.shutdown()
    queue.shutdown(immediate=True)
    with pytest.raises(ShutDown):
        queue.get_nowait()


def test_a_queue_opens_again(make):
    queue = make()
    queue.shutdown()
    queue.reopen()
    queue.put(1)
    assert queue.get() == 1
    with pytest.raises(standard.Empty):
        queue.get_nowait()


# -- bulk -------------------------------------------------------------------------------------------------------------


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


# -- claims -----------------------------------------------------------------------------------------------------------


def test_a_claimed_item_is_finished_at_the_end_of_the_block(make):
    queue = make()
    queue.put(1)
    with queue.claim() as item:
        assert item == 1
        assert (queue.qsize(), queue.info().running, unfinished(queue)) == (0, 1, 1)
    assert (queue.qsize(), queue.info().running, unfinished(queue)) == (0, 0, 0)


def test_a_claimed_item_goes_back_to_its_place_where_the_block_raises(app):
    queue = app.Queue("q")
    queue.put_many("abc")
    with pytest.raises(ZeroDivisionError), queue.claim():
        raise ZeroDivisionError
    assert (drained(queue), unfinished(queue)) == (["a", "b", "c"], 3)


def test_an_item_that_goes_back_wakes_who_waits(app):
    queue = app.Queue("q")
    queue.put("a")
    with contextlib.suppress(ZeroDivisionError), queue.claim():
        [call] = blocked(queue, "getters", [Call(queue.get)])
        raise ZeroDivisionError
    assert call.end() == "a"


def test_a_claim_waits_as_get_does(app):
    queue = app.Queue("q")
    with pytest.raises(standard.Empty), queue.claim(block=False):
        pass
    with pytest.raises(standard.Empty), queue.claim(timeout=0.01):
        pass
    queue.shutdown()
    with pytest.raises(ShutDown), queue.claim():
        pass


def test_a_claim_is_kept_for_as_long_as_its_block_takes(app, other):
    queue = app.Queue("q")
    queue.put("a")
    with queue.claim(lease=0.3), pytest.raises(standard.Empty):
        other.Queue("q").get(timeout=1.5)
    assert unfinished(queue) == 0


def test_an_item_that_cannot_be_read_here_goes_back(url, namespace, app):
    with TaskQ("pickles", url, namespace, serializer="pickle", allow_pickle=True) as pickles:
        pickles.Queue("q").put({"a": 1})
        with pytest.raises(SerializationError), app.Queue("q").claim():
            pass
        assert pickles.Queue("q").get() == {"a": 1}


def test_several_claims_of_a_thread_are_independent(app):
    queue = app.Queue("q")
    queue.put_many("ab")
    with queue.claim() as first, contextlib.suppress(ZeroDivisionError), queue.claim() as second:
        assert (first, second) == ("a", "b")
        raise ZeroDivisionError
    assert drained(queue) == ["b"]


# -- one name ---------------------------------------------------------------------------------------------------------


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


def test_a_worker_of_a_queue_of_items_takes_none_and_is_not_harmed(app, url, namespace):
    queue = app.Queue("q")
    queue.put_many([1, 2])
    worker = HandWorker(app, "q")
    try:
        assert worker.claim(count=10) == []
    finally:
        worker.close()
    assert drained(queue) == [1, 2]


# -- processes --------------------------------------------------------------------------------------------------------

PRODUCER = """
import sys
from taskq import TaskQ

url, namespace, name, start, stop = sys.argv[1:]
with TaskQ("producer", url, namespace) as app:
    queue = app.Queue("q", 500)
    for number in range(int(start), int(stop)):
        queue.put((name, number))
"""
CONSUMER = """
import sys
from taskq import TaskQ
from taskq.errors import ShutDown

url, namespace = sys.argv[1:]
with TaskQ("consumer", url, namespace) as app:
    queue = app.Queue("q", 500)
    try:
        while True:
            name, number = queue.get()
            print(name, number)
            queue.task_done()
    except ShutDown:
        pass
"""


def start(code: str, *arguments: object, stdout: int | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=stdout, text=True)


def test_every_item_of_several_producers_is_consumed_once_and_in_their_order(app, url, namespace):
    queue = app.Queue("q", 500)
    queue.put("warm")
    queue.get()
    queue.task_done()
    consumers = [start(CONSUMER, url, namespace, stdout=subprocess.PIPE) for _ in range(2)]
    producers = [start(PRODUCER, url, namespace, name, 0, 5000) for name in "ab"]
    printed = [Call(consumer.communicate) for consumer in consumers]
    for producer in producers:
        assert producer.wait(60) == 0
    queue.join()
    queue.shutdown()
    seen = [[line.split() for line in call.end()[0].splitlines()] for call in printed]
    assert [consumer.wait(DEADLINE) for consumer in consumers] == [0, 0]
    assert Counter((name, int(number)) for lines in seen for name, number in lines) == Counter(
        (name, number) for name in "ab" for number in range(5000)
    )
    for lines in seen:
        for producer in "ab":
            numbers = [int(number) for name, number in lines if name == producer]
            assert numbers == sorted(numbers)


def test_threads_share_a_queue(app):
    queue, taken = app.Queue("q", 20), Counter()
    lock = threading.Lock()

    def consume() -> None:
        while True:
            try:
                item = queue.get()
            except ShutDown:
                return
            with lock:
                taken[item] += 1
            queue.task_done()

    consumers = [Call(consume) for _ in range(8)]
    producers = [Call(queue.put_many, range(start, 1000, 8)) for start in range(8)]
    for call in producers:
        call.end()
    queue.join()
    queue.shutdown()
    for call in consumers:
        call.end()
    assert taken == Counter(range(1000))


def test_a_fork_uses_an_open_queue_of_its_own(app):
    queue = app.Queue("q")
    with pytest.raises(standard.Empty):
        queue.get(timeout=0.01)  # a listener with its thread is there
    pid = os.fork()
    if not pid:
        try:
            item = queue.get(timeout=DEADLINE)
            queue.put((item, "from the child"))
            os._exit(0)
        finally:
            os._exit(1)
    wait_until(lambda: in_line(queue, "getters") == 1, "the child waits")
    queue.put("from the parent")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert queue.get(timeout=DEADLINE) == ("from the parent", "from the child")


def test_a_wait_of_the_parent_outlives_a_fork(app):
    queue = app.Queue("q")
    [call] = blocked(queue, "getters", [Call(queue.get)])
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    queue.put(1)
    assert call.end() == 1


JOBS = """
from taskq import TaskQ

app = TaskQ("jobs")

@app.task(name="serve")
def serve() -> int:
    asked, answers = app.Queue("asked"), app.PriorityQueue("answers")
    with asked.claim(timeout=30) as number:
        answers.put((number, "claimed"))
    number = asked.get(timeout=30)
    answers.put((number, "got"))
    asked.task_done()
    return number

@app.task(name="aserve")
async def aserve() -> int:
    asked, answers = app.Queue("asked"), app.PriorityQueue("answers")
    async with asked.claim(timeout=30) as number:
        await answers.aio.put((number, "claimed"))
    number = await asked.aio.get(timeout=30)
    await answers.aio.put((number, "got"))
    await asked.aio.task_done()
    return number
"""


@pytest.mark.parametrize("pool", POOLS)
def test_jobs_of_every_pool_use_a_queue_by_its_name(server, namespace, tmp_path, monkeypatch, pool):
    (tmp_path / "queueing.py").write_text(JOBS)
    with bench(server.url, namespace, tmp_path) as rig, TaskQ("here", server.url, namespace) as app:
        environment = {**rig.environment(), "PYTHONPATH": f"{TESTS}{os.pathsep}{tmp_path}"}
        monkeypatch.setattr(rig, "environment", lambda: environment)
        worker = rig.start(pool, "-A", "queueing:app")
        task = "aserve" if pool == "asyncio" else "serve"
        results = [app.send_task(task, send_by_name=True) for _ in range(2)]
        asked, answers = app.Queue("asked"), app.PriorityQueue("answers")
        asked.put_many(range(4))
        got = sorted(answers.get(timeout=DEADLINE) for _ in range(4))
        assert [number for number, _ in got] == [0, 1, 2, 3]
        assert Counter(how for _, how in got) == {"claimed": 2, "got": 2}
        assert [result.get(DEADLINE) for result in results].count(0) <= 1
        asked.join()
        assert worker.stop() == 0


# -- items that cannot be read, or are too large


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


def test_one_that_is_too_large_is_refused(url, namespace):
    with TaskQ("small", url, namespace, max_body=1024) as app:
        queue = app.Queue("q")
        with pytest.raises(PayloadTooLarge, match=r"item of queue 'q' has 2003 bytes, over max_body of 1024"):
            queue.put(b"x" * 2000)
        assert queue.empty()


def test_length_is_right_where_another_process_was_the_first_to_put(app, other):
    queue = app.Queue("q")
    assert queue.qsize() == 0, "nobody has said yet what it holds"
    other.Queue("q").put_many("abc")
    assert queue.qsize() == 3
