"""How answers gather and leave."""

from __future__ import annotations

import threading

from taskq.worker import answers as module
from taskq.worker.answers import LINGER, MAX_ANSWERS, Answers
from taskq.worker.protocol import Ended, Frame, FrameReader


class Wire:
    """Takes what is sent and reads it."""

    def __init__(self):
        self.reader, self.frames = FrameReader(), []

    def __call__(self, data):
        for kind, payload in self.reader.feed(data):
            assert kind is Frame.DONE
            self.frames.append(payload)


def make():
    wire = Wire()
    return wire, Answers(wire)


def test_answers_of_both_kinds_leave_in_one_frame_with_the_time_they_ran():
    wire, answers = make()
    answers.add(1, None, 0.25, 10.0)
    answers.add(2, Ended(2, "f"), 0.5, 10.0)
    answers.flush()
    assert [(f.plain, f.ended, f.run_us) for f in wire.frames] == [([1], [Ended(2, "f")], 750_000)]


def test_nothing_is_sent_where_nothing_ended():
    wire, answers = make()
    answers.flush()
    assert wire.frames == []


def test_answers_are_due_when_the_oldest_has_waited():
    _, answers = make()
    answers.add(1, None, 0.0, 10.0)
    answers.add(2, None, 0.0, 10.0 + LINGER)
    assert (answers.due(10.0 + LINGER / 2), answers.due(10.0 + LINGER * 1.01)) == (False, True)


def test_answers_are_due_when_they_are_many():
    _, answers = make()
    for handle in range(MAX_ANSWERS):
        assert not answers.due(10.0)
        answers.add(handle, None, 0.0, 10.0)
    assert answers.due(10.0)


def test_frames_are_bounded_in_number_and_bytes(monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1_000)
    wire, answers = make()
    for handle in range(10):
        answers.add(handle, Ended(handle, "o", b"x" * 400), 0.1, 10.0)
    answers.flush()
    assert [len(frame.ended) for frame in wire.frames] == [2] * 5
    assert sum(frame.run_us for frame in wire.frames) == 1_000_000


def test_single_large_answer_leaves_all_the_same(monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    wire, answers = make()
    answers.add(1, Ended(1, "o", b"x" * 100), 0.1, 10.0)
    answers.flush()
    assert len(wire.frames) == 1


def test_no_answer_is_lost_or_doubled_between_threads():
    wire, answers = make()
    each = 3_000

    def work(first):
        for handle in range(first, first + each):
            answers.add(handle, None if handle % 2 else Ended(handle, "o"), 0.0, 10.0)
            if handle % 7 == 0:
                answers.flush()

    threads = [threading.Thread(target=work, args=(n * each,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.flush()
    found = [h for frame in wire.frames for h in (*frame.plain, *(ended.handle for ended in frame.ended))]
    assert sorted(found) == list(range(4 * each))
    assert len(answers) == 0
