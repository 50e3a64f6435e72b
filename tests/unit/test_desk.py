"""What a child has not started yet."""

from __future__ import annotations

import pytest
from childdriver import job_data

from taskq.app import TaskQ
from taskq.worker import desk as module
from taskq.worker.answers import Answers
from taskq.worker.desk import MEMORY_INTERVAL, Desk, resident_kib
from taskq.worker.execution import Execution
from taskq.worker.joblog import JobLog
from taskq.worker.protocol import FrameReader, JobFrame, Jobs


class Bench:
    """A desk, and what it sent."""

    def __init__(self, **bounds):
        app = TaskQ("unit", url="redis://127.0.0.1:1/0")
        app.task(name="add")(_add)
        self.sent, self._reader = [], FrameReader()
        self.answers = Answers(self._send)
        self.desk = Desk(Execution(app, "w", 1), self.answers, JobLog(), self._send, **bounds)

    def _send(self, data):
        self.sent += [(kind.name, payload) for kind, payload in self._reader.feed(data)]

    def add(self, *handles, task="add"):
        frames = [JobFrame(handle, "q", f"u{handle}", 1, b"", job_data(task, 1, 2)) for handle in handles]
        self.desk.add(Jobs(0, 0, frames), 10.0)

    def take(self):
        attempt = self.desk.take()
        return attempt.frame.handle if attempt is not None else None

    def verdicts(self):
        self.answers.flush()
        return {ended.handle: ended.verdict for kind, done in self.sent if kind == "DONE" for ended in done.ended}


def _add(a: int, b: int) -> int:
    return a + b


def test_jobs_leave_in_the_order_they_came():
    bench = Bench()
    bench.add(1, 2)
    bench.add(3)
    assert [bench.take() for _ in range(4)] == [1, 2, 3, None]


def test_job_that_cannot_be_run_is_answered_and_skipped():
    bench = Bench()
    bench.add(1, task="nothing")
    bench.add(2)
    assert (bench.take(), bench.verdicts()) == (2, {1: "u"})


def test_recall_hands_back_what_was_not_taken():
    bench = Bench()
    bench.add(1, 2, 3)
    bench.take()
    bench.desk.recall()
    assert (bench.sent, bench.take()) == ([("BACK", [2, 3])], None)


def test_cancel_answers_what_waits_and_leaves_the_rest_in_order():
    bench = Bench()
    bench.add(1, 2, 3, 4)
    bench.desk.cancel({2, 4, 99}, 10.0)
    assert ([bench.take() for _ in range(3)], bench.verdicts()) == ([1, 3, None], {2: "x", 4: "x"})


def test_bound_of_jobs_closes_the_desk_as_the_last_is_taken():
    bench = Bench(max_jobs=2)
    bench.add(1, 2, 3)
    assert (bench.take(), bench.desk.closed) == (1, False)
    assert (bench.take(), bench.desk.closed, bench.sent) == (2, True, [("BACK", [3])])


def test_closed_desk_hands_back_what_still_comes():
    bench = Bench(max_jobs=1)
    bench.add(1)
    bench.take()
    bench.add(2, 3)
    assert (bench.take(), bench.sent) == (None, [("BACK", [2, 3])])


def test_oldest_tells_how_long_the_next_job_waits():
    bench = Bench()
    assert bench.desk.oldest(11.0) == 0.0
    bench.add(1)
    assert bench.desk.oldest(11.5) == 1.5


@pytest.mark.parametrize(("resident", "closed"), [(2_000, True), (500, False)])
def test_bound_of_memory_closes_the_desk(monkeypatch, resident, closed):
    monkeypatch.setattr(module, "resident_kib", lambda: resident)
    bench = Bench(max_memory_kib=1_000)
    bench.desk.check_memory(10.0)
    assert bench.desk.closed is closed


def test_memory_is_not_looked_at_after_every_job(monkeypatch):
    looks = []
    monkeypatch.setattr(module, "resident_kib", lambda: looks.append(1) or 0)
    bench = Bench(max_memory_kib=1_000)
    for n in range(100):
        bench.desk.check_memory(10.0 + n * MEMORY_INTERVAL / 10)
    assert len(looks) == pytest.approx(10, abs=1)


def test_resident_memory_is_that_of_this_process():
    assert 5_000 < resident_kib() < 5_000_000
