"""Barriers between threads: the contract of ``threading.Barrier``."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from threading import BrokenBarrierError

import pytest
from barrier_kit import BROKEN, LEASE, HeldAction, enter, fates, waiting
from coordination_kit import DEADLINE, until

from taskq import TaskQ
from taskq.errors import InvalidName, InvalidOption, InvalidTimeout, PrimitiveConflict


@pytest.fixture
def app(url, namespace):
    with TaskQ("barrier", url, namespace) as app:
        yield app


def test_all_are_released_with_the_order_of_their_arrival(app, threads):
    barrier = app.Barrier("b", 3)
    first = enter(threads, barrier, 1)
    second = enter(threads, barrier, 1)
    assert [barrier.wait(DEADLINE), *fates(first + second)] == [2, 0, 1]


def test_nobody_passes_before_all_have_come(app, threads):
    barrier = app.Barrier("b", 3)
    waits = enter(threads, barrier, 2)
    assert not any(wait.done() for wait in waits)
    barrier.wait(DEADLINE)
    assert sorted(fates(waits)) == [0, 1]


def test_it_is_used_again_and_again(app, threads):
    barrier = app.Barrier("b", 4)
    passed = list(threads.map(lambda _: [barrier.wait(DEADLINE) for _ in range(50)], range(4)))
    assert [sorted(generation) for generation in zip(*passed, strict=True)] == [[0, 1, 2, 3]] * 50


def test_what_it_says_of_itself(app, threads):
    barrier = app.Barrier("b", 3)
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (3, 0, False)
    waits = enter(threads, barrier, 2)
    assert (barrier.n_waiting, barrier.broken) == (2, False)
    barrier.abort()
    assert (barrier.n_waiting, barrier.broken) == (0, True)
    fates(waits)


def test_one_party_never_waits(app):
    barrier = app.Barrier("b", 1)
    assert [barrier.wait(0), barrier.wait()] == [0, 0]


def test_the_action_runs_once_before_anybody_is_released(app, threads):
    acted, seen = [], []
    barrier = app.Barrier("b", 3, action=lambda: acted.append(None))

    def run():
        for _ in range(20):
            barrier.wait(DEADLINE)
            seen.append(len(acted))
            barrier.wait(DEADLINE)

    for run_ in [threads.submit(run) for _ in range(3)]:
        run_.result(DEADLINE)
    assert seen == [number for number in range(1, 40, 2) for _ in range(3)]
    assert len(acted) == 40


def test_an_action_that_fails_breaks_the_barrier_and_only_its_party_gets_the_error(app, threads):
    def fail():
        raise LookupError

    barrier = app.Barrier("b", 3, action=fail)
    waits = enter(threads, barrier, 2)
    with pytest.raises(LookupError):
        barrier.wait(DEADLINE)
    assert fates(waits) == [BROKEN, BROKEN]
    assert barrier.broken


def test_abort_breaks_it_for_those_who_wait_and_those_who_come(app, threads):
    barrier = app.Barrier("b", 3)
    waits = enter(threads, barrier, 2)
    barrier.abort()
    assert fates(waits) == [BROKEN, BROKEN]
    with pytest.raises(BrokenBarrierError, match=r"Barrier\('b', 3\) is broken: .* reset\(\)"):
        barrier.wait()


def test_reset_breaks_it_for_those_who_wait_and_nobody_else(app, threads):
    barrier = app.Barrier("b", 2)
    waits = enter(threads, barrier, 1)
    barrier.reset()
    assert fates(waits) == [BROKEN]
    assert not barrier.broken
    again = enter(threads, barrier, 1)
    assert [barrier.wait(DEADLINE), *fates(again)] == [1, 0]


def test_reset_makes_a_broken_barrier_usable(app, threads):
    barrier = app.Barrier("b", 2)
    barrier.abort()
    barrier.reset()
    waits = enter(threads, barrier, 1)
    assert [barrier.wait(DEADLINE), *fates(waits)] == [1, 0]


def test_a_timeout_breaks_it_for_all(app, threads):
    barrier = app.Barrier("b", 3)
    waits = enter(threads, barrier, 1)
    started = time.monotonic()
    with pytest.raises(BrokenBarrierError):
        barrier.wait(0.05)
    assert time.monotonic() - started >= 0.05
    assert fates(waits) == [BROKEN]
    assert barrier.broken


@pytest.mark.parametrize(("default", "own"), [(0.01, None), (DEADLINE, 0.01), (None, 0), (None, -1)])
def test_the_timeout_is_the_waits_own_else_the_barriers(app, default, own):
    barrier = app.Barrier("b", 2, timeout=default)
    started = time.monotonic()
    with pytest.raises(BrokenBarrierError):
        barrier.wait(own)
    assert time.monotonic() - started < DEADLINE


def test_once_all_have_come_no_timeout_breaks_it(app, threads, server):
    go = threading.Event()
    barrier = app.Barrier("b", 2, action=lambda: go.wait(DEADLINE))
    short = threads.submit(barrier.wait, 2.0)
    waiting(barrier, 1)
    actor = threads.submit(barrier.wait, DEADLINE)
    with server.client() as client:
        calls = scripts_run(client)
        with pytest.raises(TimeoutError):
            short.result(2.2)
        assert scripts_run(client) - calls < 50, "it asks again and again"
    go.set()
    assert fates([short, actor]) == [0, 1]


def scripts_run(client):
    return client.info("commandstats")["cmdstat_evalsha"]["calls"]


@pytest.mark.parametrize("end", ["abort", "reset"])
def test_who_acts_while_it_is_broken_learns_it(app, threads, end):
    act = HeldAction()
    barrier = app.Barrier("b", 2, action=act)
    waits = [threads.submit(barrier.wait, DEADLINE) for _ in range(2)]
    assert act.begun.wait(DEADLINE)
    getattr(barrier, end)()
    act.end.set()
    assert fates(waits) == [BROKEN, BROKEN]
    assert barrier.broken is (end == "abort")


@pytest.mark.parametrize("action", [None, lambda: None])
def test_more_threads_than_parties_take_turns(app, threads, action):
    barrier = app.Barrier("b", 3, action=action)
    passed = list(threads.map(lambda _: barrier.wait(DEADLINE), range(12 * 8)))
    assert collections.Counter(passed) == dict.fromkeys(range(3), 12 * 8 // 3)


def test_those_who_come_while_one_acts_are_the_next_generation(app, threads):
    act = HeldAction()
    barrier = app.Barrier("b", 2, action=act)
    first = [threads.submit(barrier.wait, DEADLINE) for _ in range(2)]
    assert act.begun.wait(DEADLINE)
    beyond = [threads.submit(barrier.wait, DEADLINE) for _ in range(4)]
    until(lambda: len(app._listener.signals) == 6, "six in line")
    assert not any(wait.done() for wait in beyond)
    act.end.set()
    assert (sorted(fates(first)), sorted(fates(beyond))) == ([0, 1], [0, 0, 1, 1])


def test_nothing_is_left_after_a_wait_however_it_ends(app, threads, server):
    barrier = app.Barrier("b", 2)
    list(threads.map(lambda _: barrier.wait(DEADLINE), range(200)))
    with pytest.raises(BrokenBarrierError):
        barrier.wait(0)
    with pytest.raises(BrokenBarrierError):
        barrier.wait(0)
    assert (len(app._listener.signals), len(app._sender.keeper)) == (0, 0)
    with server.client() as client:
        assert client.exists(barrier._keys.key("arrived"), barrier._keys.key("deadlines")) == 0


def test_a_long_wait_outlives_its_lease(app, threads):
    barrier = app.Barrier("b", 2, lease=LEASE)
    waits = enter(threads, barrier, 1)
    with contextlib.suppress(TimeoutError):
        waits[0].exception(3 * LEASE)
    assert [barrier.wait(DEADLINE), *fates(waits)] == [1, 0]


@pytest.mark.parametrize("parties", [0, -1, 1.5, "2", True, 100_001])
def test_a_number_of_parties_that_cannot_be_is_refused(app, parties):
    with pytest.raises(InvalidOption, match="parties"):
        app.Barrier("b", parties)


async def coroutine():
    pass


@pytest.mark.parametrize("action", [3, coroutine])
def test_an_action_that_cannot_be_called_is_refused(app, action):
    with pytest.raises(InvalidOption, match="action"):
        app.Barrier("b", 2, action)


def test_other_arguments_are_checked(app):
    with pytest.raises(InvalidTimeout, match="timeout"):
        app.Barrier("b", 2, timeout="x")
    with pytest.raises(InvalidTimeout, match="timeout"):
        app.Barrier("b", 2).wait("x")
    with pytest.raises(InvalidTimeout, match="lease"):
        app.Barrier("b", 2, lease=0)
    with pytest.raises(InvalidName, match="barrier name"):
        app.Barrier("no spaces", 2)


def test_another_number_of_parties_is_refused_in_one_app_and_between_two(app, url, namespace):
    mine = app.Barrier("b", 2)
    with pytest.raises(PrimitiveConflict, match=r"Barrier\('b', 3\)"):
        app.Barrier("b", 3)
    mine.reset()
    with TaskQ("other", url, namespace) as other:
        theirs = other.Barrier("b", 3)
        for call in (theirs.wait, theirs.reset, theirs.abort):
            with pytest.raises(PrimitiveConflict, match="in use with 2 parties, made by 'barrier, "):
                call()


def test_each_handle_has_an_action_of_its_own(app, threads):
    acted = []
    one, two = app.Barrier("b", 2, lambda: acted.append("one")), app.Barrier("b", 2, lambda: acted.append("two"))
    waits = enter(threads, one, 1)
    two.wait(DEADLINE)
    assert (acted, fates(waits)) == (["two"], [0])
