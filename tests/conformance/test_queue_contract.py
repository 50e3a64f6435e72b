"""What holds for every queue of items: https://docs.python.org/3/library/queue.html#queue-objects."""

from __future__ import annotations

import time

import pytest
from crew import Crew, Doing, raises, until

KINDS = pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])
ORDER = {"Queue": [3, 1, 2], "LifoQueue": [2, 1, 3], "PriorityQueue": [1, 2, 3]}


def of(actor, kind: str, name: str, **options):
    return getattr(actor, kind)(name, **options)


def line_up(crew: Crew, name: str, part: str, *starts) -> list[Doing]:
    return crew.in_line_one_by_one("", name, list(starts), part)


@KINDS
def test_items_leave_in_the_order_of_the_kind(crew: Crew, name, kind):
    a, b = crew(2)
    for item in (3, 1, 2):
        of(a, kind, name).put(item)
    assert of(b, kind, name).qsize() == 3
    assert [of(b, kind, name).get() for _ in range(3)] == ORDER[kind]
    assert of(a, kind, name).empty() is True


def test_of_items_of_equal_rank_the_first_leaves_first(crew: Crew, name):
    a, b = crew(2)
    for item in ([2, "x"], [1, "y"], [2, "w"], [-1.5, "z"], [1, "a"]):
        of(a, "PriorityQueue", name).put({"$tuple": item})
    assert [of(b, "PriorityQueue", name).get()[1] for _ in range(5)] == ["z", "y", "a", "x", "w"]


@KINDS
def test_an_empty_one_gives_nothing(crew: Crew, name, kind):
    a, _ = crew(2)
    for arguments in ((False,), (True, 0.02)):
        with raises("Empty"):
            of(a, kind, name).get(*arguments)
    with raises("Empty"):
        of(a, kind, name).get_nowait()
    assert crew.in_line("", name, "getters") == 0


@KINDS
def test_a_full_one_takes_nothing(crew: Crew, name, kind):
    a, b = crew(2)
    of(a, kind, name, maxsize=2).put(1)
    assert of(a, kind, name, maxsize=2).full() is False
    of(b, kind, name, maxsize=2).put(2)
    assert [of(actor, kind, name, maxsize=2).full() for actor in (a, b)] == [True, True]
    for arguments in ((3, False), (3, True, 0.02)):
        with raises("Full"):
            of(b, kind, name, maxsize=2).put(*arguments)
    with raises("Full"):
        of(b, kind, name, maxsize=2).put_nowait(3)
    assert of(a, kind, name, maxsize=2).qsize() == 2


@KINDS
@pytest.mark.parametrize("timeout", [None, 60])
def test_who_waits_for_an_item_has_it_when_it_is_put(crew: Crew, name, kind, timeout):
    a, b = crew(2)
    (waiting,) = line_up(crew, name, "getters", lambda: of(a, kind, name).start.get(True, timeout))
    assert not waiting.done
    of(b, kind, name).put(7)
    assert waiting.finish() == 7
    assert of(b, kind, name).empty() is True


@KINDS
@pytest.mark.parametrize("timeout", [None, 60])
def test_who_waits_for_room_has_it_when_an_item_is_taken(crew: Crew, name, kind, timeout):
    a, b = crew(2)
    of(a, kind, name, maxsize=1).put(1)
    (waiting,) = line_up(crew, name, "putters", lambda: of(a, kind, name, maxsize=1).start.put(2, True, timeout))
    assert not waiting.done
    assert of(b, kind, name, maxsize=1).get() == 1
    assert waiting.finish() is None
    assert of(b, kind, name, maxsize=1).get() == 2


def test_who_waits_longest_is_served_first(crew: Crew, name):
    *getters, putter = crew(min(crew.many, 4))
    waiting = line_up(
        crew, name, "getters", *[lambda each=each: of(each, "Queue", name).start.get() for each in getters]
    )
    for number, each in enumerate(waiting):
        of(putter, "Queue", name).put(number)
        assert each.finish() == number


@pytest.mark.parametrize(("call", "error"), [("get", "Empty"), ("put", "Full")])
def test_a_wait_for_a_time_ends_when_it_is_over(crew: Crew, name, call, error):
    a, _ = crew(2)
    queue = of(a, "Queue", name, maxsize=1)
    if call == "put":
        queue.put(1)
    started = time.monotonic()
    with raises(error):
        getattr(queue, call)(*([2] if call == "put" else []), timeout=0.1)
    assert time.monotonic() - started >= 0.1


@pytest.mark.parametrize("call", ["get", "put"])
def test_a_negative_timeout_is_refused(crew: Crew, name, call):
    (a,) = crew(1)
    with raises("ValueError"):
        getattr(of(a, "Queue", name), call)(*([2] if call == "put" else []), timeout=-1)


@KINDS
def test_join_waits_until_all_that_was_put_is_finished(crew: Crew, name, kind):
    a, b, c = crew(3)
    for item in (1, 2):
        of(a, kind, name).put(item)
    joining = of(c, kind, name).start.join()
    for _ in range(2):
        crew.parked(c)
        assert not joining.done
        of(b, kind, name).get()
        crew.parked(c)
        assert not joining.done
        of(b, kind, name).task_done()
    assert joining.finish() is None


@KINDS
def test_join_of_one_with_nothing_unfinished_returns_at_once(crew: Crew, name, kind):
    a, b = crew(2)
    assert of(a, kind, name).join() is None
    of(a, kind, name).put(1)
    of(b, kind, name).get()
    of(b, kind, name).task_done()
    assert of(a, kind, name).join() is None


@KINDS
def test_more_cannot_be_finished_than_was_put(crew: Crew, name, kind):
    a, b = crew(2)
    with raises("ValueError"):
        of(a, kind, name).task_done()
    of(a, kind, name).put(1)
    of(b, kind, name).get()
    of(a, kind, name).task_done()
    with raises("ValueError"):
        of(b, kind, name).task_done()


@KINDS
def test_one_that_is_shut_down_takes_nothing_and_gives_what_it_has(crew: Crew, name, kind):
    a, b = crew(2)
    of(a, kind, name).put(1)
    of(b, kind, name).shutdown()
    with raises("ShutDown"):
        of(a, kind, name).put(2)
    assert of(a, kind, name).get() == 1
    with raises("ShutDown"):
        of(a, kind, name).get()


@pytest.mark.parametrize("immediate", [False, True])
def test_a_shutdown_ends_who_waits(crew: Crew, name, immediate):
    a, b, c = crew(3)
    waiting = line_up(
        crew, name, "getters", *[lambda each=each: of(each, "Queue", name).start.get() for each in (a, b)]
    )
    of(c, "Queue", name).shutdown(immediate)
    for each in waiting:
        with raises("ShutDown"):
            each.finish()


@KINDS
def test_an_immediate_shutdown_drops_what_waits_and_ends_join(crew: Crew, name, kind):
    a, b = crew(2)
    of(a, kind, name).put(1)
    joining = of(a, kind, name).start.join()
    crew.parked(a)
    of(b, kind, name).shutdown(immediate=True)
    assert joining.finish() is None
    with raises("ShutDown"):
        of(b, kind, name).get()


@KINDS
def test_many_producers_and_consumers_lose_and_double_nothing(crew: Crew, name, kind):
    actors = crew(4 if crew.many > 3 else 3)
    putting = [of(actor, kind, name, maxsize=5).start.put(number) for number in range(12) for actor in actors[:1]]
    getting = [of(actor, kind, name, maxsize=5).start.get() for _ in range(6) for actor in actors[1:3]]
    assert sorted(each.finish() for each in getting) == list(range(12))
    assert [each.finish() for each in putting] == [None] * 12
    until(lambda: of(actors[0], kind, name, maxsize=5).empty(), "it is empty")
