"""Which slots are woken, and which may rest."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from taskq.worker.pools.roster import PATIENCE, Roster

LATE, SOON = PATIENCE * 2, PATIENCE / 2


def test_first_job_wakes_one_slot():
    assert Roster(3).hail() == [0]


def test_more_jobs_wake_nobody_while_a_slot_is_on_watch():
    roster = Roster(3)
    roster.hail()
    assert roster.hail() == []


def test_slot_that_starts_a_long_job_wakes_a_successor_for_what_waits():
    roster = Roster(3)
    roster.hail()
    assert roster.leave(waiting=True) == [1]


def test_slot_that_starts_a_long_job_wakes_nobody_when_nothing_waits():
    roster = Roster(3)
    roster.hail()
    assert roster.leave(waiting=False) == []


def test_next_job_wakes_a_slot_when_all_awake_ones_run_long_jobs():
    roster = Roster(3)
    roster.hail()
    roster.leave(waiting=False)
    assert roster.hail() == [1]


def test_nobody_is_woken_when_all_slots_are_busy():
    roster = Roster(1)
    roster.hail()
    roster.leave(waiting=True)
    assert roster.hail() == []


def test_slot_does_not_rest_while_jobs_wait():
    roster = Roster(2)
    roster.hail()
    assert not roster.rest(0, deque([1]))


def test_slot_rests_when_nothing_waits():
    roster = Roster(2)
    roster.hail()
    assert roster.rest(0, deque())
    assert roster.all_rest


def test_last_slot_to_rest_is_the_first_to_be_woken():
    roster = Roster(3)
    roster.hail()
    roster.leave(waiting=True)
    roster.back()
    roster.rest(1, deque())
    roster.rest(0, deque())
    assert roster.hail() == [0]


def test_backlog_that_moves_wakes_nobody():
    roster = Roster(8)
    roster.hail()
    assert roster.adjust(SOON) == []


def test_backlog_that_stands_doubles_the_watch_each_time():
    roster = Roster(8)
    roster.hail()
    assert [roster.adjust(LATE) for _ in range(4)] == [[1], [2, 3], [4, 5, 6, 7], []]


def test_slots_beyond_the_wanted_watch_rest_when_the_backlog_moves():
    roster = Roster(8)
    roster.hail()
    roster.adjust(LATE)
    assert not roster.surplus(1)
    roster.adjust(SOON)
    assert roster.surplus(1)
    assert not roster.surplus(0)


@given(st.lists(st.integers(0, 4), max_size=200), st.integers(1, 5))
def test_waiting_jobs_always_have_a_slot_on_its_way_while_one_is_free(steps, size):
    """Any order of arrivals, starts and ends keeps the books and never strands a job."""
    roster, pending = Roster(size), deque()
    watching: set[int] = set()
    long: set[int] = set()
    for step in steps:
        if step == 0:
            pending.append(object())
            watching.update(roster.hail())
        elif step == 1 and watching and pending:
            slot = min(watching)
            pending.popleft()
            watching.remove(slot)
            long.add(slot)
            watching.update(roster.leave(waiting=bool(pending)))
        elif step == 2 and long:
            slot = min(long)
            long.remove(slot)
            roster.back()
            watching.add(slot)
        elif step == 3 and watching:
            slot = max(watching)
            if roster.rest(slot, pending):
                watching.remove(slot)
        elif step == 4:
            watching.update(roster.adjust(LATE if pending else 0.0))
        assert roster.watch == len(watching)
        assert roster.resting == size - len(watching) - len(long)
        assert not pending or watching or not roster.resting
