"""Each job finds its lane, and the figures of a report are right."""

from __future__ import annotations

import pytest
from report_kit import NOON, make_run

from taskq.report.lanes import lay_out
from taskq.report.summary import SLOWEST, percentile, summarize


def test_each_slot_has_a_lane() -> None:
    runs = [make_run(n, child=40 + n % 2, slot=n % 3) for n in range(6)]
    layout = lay_out(runs)
    assert sorted(lane.name for lane in layout.lanes) == [
        f"child {child}, slot {slot}" for child in (40, 41) for slot in (0, 1, 2)
    ]


def test_lanes_of_a_worker_and_of_a_child_lie_together() -> None:
    runs = [make_run(n, worker=f"w{n % 2}", child=n % 4, slot=n // 4) for n in range(12)]
    named = [(lane.worker, lane.name.partition(",")[0]) for lane in lay_out(runs).lanes]
    assert len(named) == 12
    assert [
        now
        for now, before in zip(named[1:], named, strict=False)
        if now != before and now in named[: named.index(before)]
    ] == []


def test_the_first_lane_of_a_child_leads() -> None:
    lanes = lay_out([make_run(n, child=n // 3, slot=n % 3) for n in range(6)]).lanes
    assert [lane.leads for lane in lanes] == [True, False, False] * 2


def test_jobs_that_never_started_share_the_last_lane() -> None:
    unstarted = [make_run(n, started=None, worker=worker) for n, worker in enumerate(["", "host.17.abc"])]
    layout = lay_out([*unstarted, make_run(5)])
    assert (layout.lane_of, layout.lanes[-1].worker) == ([1, 1, 0], "")


def test_jobs_come_by_start() -> None:
    late, early = make_run(0, started=NOON + 0.6), make_run(1, started=NOON + 0.1, finished=NOON + 5)
    assert lay_out([late, early]).runs == [early, late]


def test_children_one_after_another_share_lanes_where_there_are_too_many() -> None:
    layout = lay_out([make_run(n, child=n) for n in range(30)], most=10)
    assert ([lane.name for lane in layout.lanes], layout.shared) == (["30 slots in turn"], True)


def test_children_at_the_same_time_share_no_lane() -> None:
    runs = [make_run(n, child=n, slot=slot, started=NOON) for n in range(10) for slot in (0, 1)]
    assert len(set(lay_out(runs, most=5).lane_of)) == 20


def test_a_worker_is_named_with_what_it_worked_for() -> None:
    layout = lay_out([make_run(n, queue=queue) for n, queue in enumerate("bad")])
    assert layout.name_of("host.17.abc") == "host.17.abc (a, b, d)"


def test_the_name_of_a_worker_of_many_queues_stays_short() -> None:
    layout = lay_out([make_run(n, queue=f"q{n}") for n in range(9)])
    assert layout.name_of("host.17.abc") == "host.17.abc (q0, q1, q2, ...)"


def test_no_two_workers_share_a_lane() -> None:
    layout = lay_out([make_run(n, worker=f"w{n}", child=n) for n in range(10)], most=5)
    assert len(layout.lanes) == 10


@pytest.mark.parametrize(("part", "value"), [(0.5, 50.0), (0.95, 95.0), (1.0, 100.0), (0.0, 1.0)])
def test_a_percentile_is_one_of_the_values(part: float, value: float) -> None:
    assert percentile([float(n) for n in range(1, 101)], part) == value


def test_of_no_values_there_is_no_percentile() -> None:
    assert percentile([], 0.5) is None


def test_tasks_come_by_the_time_that_they_ran() -> None:
    runs = [make_run(n, task="often", finished=NOON + n + 0.51) for n in range(3)]
    found = summarize([*runs, make_run(9, task="long", finished=NOON + 99)])
    assert [(one.task, one.jobs) for one in found.tasks] == [("long", 1), ("often", 3)]


def test_only_what_went_wrong_is_failed() -> None:
    endings = ["succeeded", "failed", "crashed", "expired", "cancelled"]
    found = summarize([make_run(n, ending=ending) for n, ending in enumerate(endings)])
    assert (found.jobs, found.failed, found.cancelled) == (5, 3, 1)


def test_the_time_goes_from_the_first_start_to_the_last_end() -> None:
    assert summarize([make_run(0), make_run(10)]).seconds == pytest.approx(10.25)


def test_the_slowest_jobs_come_first() -> None:
    runs = [make_run(n, finished=NOON + n + 0.5 + n) for n in range(50)]
    assert [run.id for run in summarize(runs).slowest] == [run.id for run in reversed(runs[-SLOWEST:])]


def test_failures_of_one_kind_are_one_row_with_the_last_of_them() -> None:
    runs = [make_run(n, ending="failed", error="ValueError", message=str(n)) for n in range(3)]
    (row,) = summarize([*runs, make_run(9)]).failures
    assert (row.jobs, row.error, row.last) == (3, "ValueError", runs[-1])


def test_a_job_enqueued_in_the_same_millisecond_waited_no_time() -> None:
    assert make_run(enqueued=NOON + 0.5004).waited == 0.0
