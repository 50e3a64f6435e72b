"""Counting what became of jobs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from taskq.broker.keys import QueueKeys
from taskq.broker.work import StepReply, StepRequest
from taskq.model.job import encode_body
from taskq.model.outcome import Verdict
from taskq.worker.answers import MAX_ANSWERS, Answers
from taskq.worker.claims import Claims
from taskq.worker.dispatch import Dispatcher, Hand
from taskq.worker.leases import Lease, ServedQueue
from taskq.worker.metrics import MAX_SERIES, OTHER, SLICE, Counters, Meter, with_zeros
from taskq.worker.options import QueueChoice
from taskq.worker.protocol import DEFERRED, Done, Ended, FrameReader, JobTally, TaskInfo
from taskq.worker.tally import BOUNDS, OUTCOMES, UNKNOWN, Buckets, Sums, Tally
from taskq.worker.wire import Wire

NONE = [0] * (len(BOUNDS) + 1)


def attempt(task: str | None = "t", attempts: int = 0, enqueued_ms: int = 1_000, offset_us: int = 0) -> Any:
    made = SimpleNamespace(
        frame=SimpleNamespace(queue="q"),
        batch=SimpleNamespace(offset_us=offset_us),
        header=SimpleNamespace(enqueued_ms=enqueued_ms),
        state=SimpleNamespace(attempts=attempts),
    )
    if task is not None:
        made.known = SimpleNamespace(task=SimpleNamespace(name=task))
    return made


def tallied(task: str = "t", jobs: int = 1, outcome: str = "succeeded") -> JobTally:
    return JobTally("q", task, outcome, jobs, NONE, 0.0, [jobs, *NONE[1:]], 0.5 * jobs)


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(-1.0, 0), (0.0, 0), (0.001, 0), (0.0011, 1), (1, 9), (1.0001, 10), (1800, len(BOUNDS) - 1), (1801, len(BOUNDS))],
)
def test_a_value_is_in_the_first_bucket_that_does_not_end_below_it(seconds: float, bucket: int) -> None:
    buckets = Buckets.empty()
    buckets.add(seconds)
    assert buckets.counts.index(1) == bucket
    assert buckets.total == max(0.0, seconds)


def test_buckets_that_another_version_has_more_are_left_out() -> None:
    buckets = Buckets.empty()
    buckets.merge([1] * (len(BOUNDS) + 5), 2.0)
    assert (buckets.counts, buckets.total) == ([1] * (len(BOUNDS) + 1), 2.0)


def test_what_was_taken_is_not_told_again() -> None:
    tally = Tally()
    tally.note(attempt(), None, 1.0, 0.5)
    assert ([one.jobs for one in tally.take()], tally.take()) == ([1], [])


def test_jobs_are_told_apart_by_queue_task_and_outcome() -> None:
    tally = Tally()
    for verdict in (None, Verdict.RETRY, Verdict.RETRY, Verdict.DEAD):
        tally.note(attempt(), None if verdict is None else Ended(1, verdict), 1.0)
    tally.note(attempt("u"), None, 1.0)
    assert {(one.task, one.outcome): one.jobs for one in tally.take()} == {
        ("t", "succeeded"): 1, ("t", "retried"): 2, ("t", "failed"): 1, ("u", "succeeded"): 1,
    }  # fmt: skip


def test_a_job_that_was_not_run_neither_waited_nor_ran() -> None:
    tally = Tally()
    tally.note(attempt(None), Ended(1, DEFERRED))
    (told,) = tally.take()
    assert (told.task, told.outcome, told.jobs, sum(told.runs), sum(told.waits)) == (UNKNOWN, "deferred", 1, 0, 0)


def test_a_wait_is_from_the_acceptance_to_the_first_start() -> None:
    tally = Tally()
    tally.note(attempt(enqueued_ms=5_000, offset_us=2_000_000), None, 3.5)
    tally.note(attempt(attempts=1), None, 100.0)
    (told,) = tally.take()
    assert (sum(told.waits), told.waited, sum(told.runs)) == (1, 0.5, 2)


def test_every_verdict_has_a_word() -> None:
    assert set(OUTCOMES) == {*Verdict, DEFERRED}


def test_what_children_tell_adds_up() -> None:
    counters = Counters()
    counters.merge([tallied(jobs=2)])
    counters.merge([tallied(jobs=3)])
    sums = counters.copy().jobs["q", "t", "succeeded"]
    assert (sums.jobs, sums.runs.counts[0], sums.runs.total) == (5, 5, 2.5)


def test_a_copy_does_not_change() -> None:
    counters = Counters()
    counters.merge([tallied()])
    before = counters.copy()
    counters.merge([tallied()])
    assert before.jobs["q", "t", "succeeded"].runs.counts[0] == 1


def test_names_without_number_are_bounded() -> None:
    counters = Counters()
    counters.merge([tallied(f"t{i}") for i in range(MAX_SERIES + 50)])
    jobs = counters.copy().jobs
    assert len(jobs) == MAX_SERIES + 1
    assert jobs["q", OTHER, "succeeded"].jobs == 50


class CountingLock:
    """Tells after each hold how many series were copied meanwhile."""

    def __init__(self, copied: list[int]) -> None:
        self.copied = copied
        self.holds: list[int] = []

    def __enter__(self) -> None:
        self.copied.clear()

    def __exit__(self, *_: object) -> None:
        self.holds.append(len(self.copied) // 2)  # waits and runs of each


def test_the_loop_never_waits_for_a_copy_of_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[int] = []
    copy = Buckets.copy
    monkeypatch.setattr(Buckets, "copy", lambda self: copied.append(1) or copy(self))
    counters = Counters()
    counters.merge([tallied(f"t{i}") for i in range(10 * SLICE + 1)])
    lock: Any = CountingLock(copied)
    counters._lock = lock
    assert len(counters.copy().jobs) == sum(lock.holds) == 10 * SLICE + 1
    assert max(lock.holds) == SLICE


# --- what is shown before it happens ---------------------------------------------------------------------------------


def test_what_may_happen_is_shown_as_0() -> None:
    counted = {("q", "t", "succeeded"): Sums(3)}
    shown = with_zeros(counted, ["q", "r"], ["t"])
    assert {key: sums.jobs for key, sums in shown.items()} == {
        (queue, task, outcome): 3 if (queue, task, outcome) in counted else 0
        for queue in ("q", "r")
        for task in ("t", UNKNOWN)
        for outcome in OUTCOMES.values()
    }


def test_what_may_happen_is_bounded_and_trouble_comes_first() -> None:
    shown = with_zeros({("q", "t", "succeeded"): Sums(3)}, ["q"], [f"t{i}" for i in range(300)])
    assert len(shown) == MAX_SERIES
    assert sum(outcome == "crashed" for _, _, outcome in shown) == 301
    assert sum(outcome == "succeeded" for _, _, outcome in shown) == 1


def test_what_was_counted_is_shown_beyond_the_bound() -> None:
    counted = {("q", f"t{i}", "failed"): Sums(1) for i in range(MAX_SERIES + 3)}
    assert with_zeros(counted, ["q"], ["u"]) == counted


def test_before_the_server_was_asked_nothing_is_said_of_it() -> None:
    meter = Meter(lambda _: lambda: None, dict, list, lambda: ["t"], 1)
    figures = meter.figures()
    assert (figures.up, figures.queues, figures.jobs) == (None, [], {})


# --- the loop's side -------------------------------------------------------------------------------------------------


def read(frames: list[bytes]) -> list[Done]:
    reader = FrameReader()
    return [payload for data in frames for _, payload in reader.feed(data)]


def test_a_tally_leaves_with_the_last_answers_that_it_counts() -> None:
    sent: list[bytes] = []
    tally = Tally()
    answers = Answers(sent.append, tally)
    for handle in range(3 * MAX_ANSWERS + 1):
        ended = Ended(handle, Verdict.DEAD) if handle % 2 else None
        tally.note(attempt(), ended, 1.0, 0.1)
        answers.add(handle, ended, 0.1, 0.0)
    answers.flush()
    assert [sum(one.jobs for one in done.tallies) for done in read(sent)] == [0, 0, 0, 3 * MAX_ANSWERS + 1]


def lease(unique: str, queue: ServedQueue | None = None) -> Lease:
    served = queue or ServedQueue(QueueChoice("q"), QueueKeys("ns", "q"), "w")
    return Lease(served, unique, "1", b"1;0;0;0;0", b"1000;1;;;;\n" + encode_body("t", b""), "w", 0)


def loop(counters: Counters) -> tuple[Claims, Dispatcher]:
    """A claim loop that is open to no server, and its dispatcher."""
    claims = Claims(lambda _: None, lambda *_: None, SimpleNamespace(noticed=lambda *_: None))  # type: ignore[arg-type]
    claims.open(SimpleNamespace(), [], counters)  # type: ignore[arg-type]
    dispatcher = Dispatcher(claims, "w", counters)
    dispatcher.tasks = {"t": TaskInfo(3, 1.0, 0.0, True, 0, False)}
    return claims, dispatcher


@pytest.fixture
def counters(monkeypatch: pytest.MonkeyPatch) -> Counters:
    monkeypatch.setattr(Wire, "connect", lambda self: None)
    return Counters()


@pytest.mark.parametrize(
    ("offence", "tries", "outcome"),
    [
        ("", True, "crashed"), ("revoked", True, "cancelled"), ("0.5", True, "retried"), ("0.5", False, "failed"),
    ],
)  # fmt: skip
def test_a_job_that_its_child_cannot_answer_for_counts_as_what_became_of_it(
    counters: Counters, offence: str, tries: bool, outcome: str
) -> None:
    _, dispatcher = loop(counters)
    dispatcher.tasks = {"t": TaskInfo(3, 1.0, 0.0, tries, 0, False)}
    hand = Hand(SimpleNamespace(slots=1))  # type: ignore[arg-type]
    hand.held[1] = lease("a")
    if offence:
        hand.offenders[1] = offence
    dispatcher.bury(hand, {1}, "killed")
    assert {key: one.jobs for key, one in counters.copy().jobs.items()} == {("q", "t", outcome): 1}


def test_a_revoked_job_that_waits_here_counts_as_cancelled(counters: Counters) -> None:
    _, dispatcher = loop(counters)
    dispatcher.add([lease("a"), lease("b")])
    dispatcher.drop_revoked("q", {"a": ""})
    assert {key: one.jobs for key, one in counters.copy().jobs.items()} == {("q", "t", "cancelled"): 1}


def test_an_outcome_after_the_lease_is_counted_as_dropped(counters: Counters) -> None:
    claims, _ = loop(counters)
    late = lease("a")
    late.queue.fenced = True
    claims.settle(late)
    claims.settle(lease("b"))
    assert counters.copy().dropped == {"q": 1}


def test_an_outcome_that_the_server_refuses_is_counted_as_dropped(counters: Counters) -> None:
    claims, _ = loop(counters)
    queue = lease("a").queue
    reply = StepReply(0, 0, 0, False, 0, 0, 0, 0, 0, "AS", [])
    claims._stepped(queue, "w", StepRequest(), reply, [lease("a", queue), lease("b", queue)])
    assert counters.copy().dropped == {"q": 1}
