"""The trace keeps the rules of the Trace Event Format."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from report_kit import NOON, make_run, trace_of

NEEDED = {
    "X": {"name", "cat", "ts", "dur", "pid", "tid"},
    "M": {"name", "args", "pid", "tid"},
    "C": {"name", "ts", "args", "pid"},
    "i": {"name", "ts", "s", "pid", "tid"},
}


def mixed() -> list[Any]:
    """Two workers of two slots, overlapping clocks, failures, and a job that never started."""
    runs = [make_run(n // 4, worker=f"w{n % 2}", slot=n // 2 % 2, id=f"default/j{n}") for n in range(20)]
    early = make_run(1, id="default/early", worker="w0", started=NOON + 0.7499, finished=NOON + 1.2)
    return [
        *runs, early, make_run(2, id="default/f", slot=1, ending="failed", error="ValueError", message="no"),
        make_run(3, id="default/x", worker="", ending="expired", started=None, claimed=None, error="JobExpired"),
    ]  # fmt: skip


def events(kind: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = trace_of(*mixed())["traceEvents"]
    return [one for one in found if not kind or one["ph"] == kind]


def test_every_event_has_the_fields_of_its_kind() -> None:
    assert [one for one in events() if not NEEDED[one["ph"]] <= set(one)] == []


def test_times_are_whole_microseconds_from_the_first() -> None:
    times = [one[name] for one in events() for name in ("ts", "dur") if name in one]
    assert [one for one in times if not isinstance(one, int) or one < 0] == []
    assert min(one["ts"] for one in events() if "ts" in one) == 0


def test_process_and_thread_numbers_are_whole() -> None:
    assert {type(one.get(name, 0)) for one in events() for name in ("pid", "tid")} == {int}


def test_every_process_and_thread_with_events_has_a_name() -> None:
    named = {(one["name"], one["pid"], one["tid"]) for one in events("M")}
    needed = {("thread_name", one["pid"], one["tid"]) for one in events() if one["ph"] in "Xi"}
    assert needed <= named
    assert {("process_name", pid, 0) for _, pid, _ in needed} <= named


def test_events_of_a_thread_do_not_overlap() -> None:
    threads = defaultdict(list)
    for one in events("X"):
        threads[one["pid"], one["tid"]].append((one["ts"], one["ts"] + one["dur"]))
    for spans in threads.values():
        spans.sort()
        assert [after for before, after in pairwise(spans) if after[0] < before[1]] == []


def test_each_job_that_ran_is_one_event_with_its_facts() -> None:
    found = {one["args"]["id"]: one for one in events("X")}
    job = found["default/f"]
    assert len(found) == 22
    assert (job["name"], job["dur"], job["args"]["waited_ms"]) == ("proj.tasks.add", 250_000, 500.0)
    assert (job["args"]["error"], job["args"]["ending"]) == ("ValueError: no", "failed")


def test_a_worker_is_a_process_and_a_slot_a_thread() -> None:
    names = {(one["name"], one["args"]["name"]) for one in events("M") if one["name"] != "thread_sort_index"}
    assert {("process_name", "w0 (default)"), ("thread_name", "child 40, slot 1")} <= names


def test_a_job_that_never_started_is_an_instant() -> None:
    (instant,) = events("i")
    assert (instant["args"]["id"], instant["s"]) == ("default/x", "t")


def test_the_waiting_of_each_queue_is_counted_up_and_down_to_nothing() -> None:
    levels = [one["args"]["jobs"] for one in events("C") if one["name"] == "waiting in default"]
    assert (max(levels), min(levels), levels[-1]) == (5, 0, 0)


def test_waiting_is_told_in_the_order_of_time() -> None:
    times = [one["ts"] for one in events("C")]
    assert times == sorted(times)


def test_the_first_moment_is_told() -> None:
    assert trace_of(make_run())["otherData"]["base_seconds"] == NOON


@pytest.mark.parametrize("hostile", ['"', "\\", "\u2028", "\ud800", "</script>", "\x00"])
def test_a_hostile_name_is_read_back_as_it_was(hostile: str) -> None:
    found = [one["name"] for one in trace_of(make_run(task=hostile))["traceEvents"] if one["ph"] == "X"]
    assert found == [hostile]


def test_a_report_of_nothing_is_a_trace() -> None:
    assert {one["ph"] for one in trace_of()["traceEvents"]} == {"M"}
