"""Reading result records, step by step: what is asked of the server, and what is made of the answers."""

from __future__ import annotations

from typing import Any

import pytest

from taskq.broker import finished
from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
from taskq.client import runs
from taskq.client.runs import Found
from taskq.model.outcome import RECORD_VERSION, ErrorInfo, Record, encode_record

NOW = 1_800_000_000.0


@pytest.fixture
def broker() -> Broker:
    """One that is never connected."""
    return Broker(parse_url("redis://nowhere"), "space")


def drive(broker: Broker, pages: list[finished.Page], size: int = 0, limit: int = 100) -> tuple[Found, list[int]]:
    """Run the reading against pages; returns what it found and how many records it asked for at a time."""
    operation = runs._read(broker, (None, None), set(), runs._Wanted(frozenset(), ""), limit)
    asked, left = [], iter(pages)
    answer: Any = None
    try:
        while True:
            need = operation.send(answer)
            if need.parts[0] == "TIME":
                answer = NOW
            elif need.parts[0] == "SCAN":
                answer = next(left)
            else:
                asked.append(len(need.parts) - 1)
                answer = [record(str(key)[-2:], size) for key in need.parts[1:]]
    except StopIteration as end:
        return end.value, asked


def record(number: str, size: int) -> bytes:
    us = int((NOW - 100 + int(number)) * 1e6)
    return encode_record(Record(RECORD_VERSION, "succeeded", b"x" * size, task="t", started_us=us, finished_us=us + 5))


def page(*numbers: int, last: bool = True, queue: str = "q") -> finished.Page:
    return finished.Page(finished.FIRST if last else b"5", {queue: [f"j{number:02}" for number in numbers]})


def test_a_job_on_two_pages_is_read_once(broker: Broker) -> None:
    found, _ = drive(broker, [page(1, 2, last=False), page(2, 3)])
    assert sorted(run.id for run in found.runs) == ["q/j01", "q/j02", "q/j03"]


def test_a_job_twice_on_a_page_is_read_once(broker: Broker) -> None:
    assert drive(broker, [page(1, 1)])[1] == [1]


def test_an_empty_page_is_not_the_end(broker: Broker) -> None:
    found, _ = drive(broker, [page(1, last=False), finished.Page(b"7", {}), page(2)])
    assert len(found.runs) == 2


def test_large_records_are_asked_for_in_small_groups(broker: Broker) -> None:
    _, asked = drive(broker, [page(*range(10), last=False), page(*range(10, 20))], size=runs.PAGE_BYTES // 4)
    assert asked == [10, 3, 3, 3, 1]


def test_small_records_are_asked_for_in_large_groups(broker: Broker) -> None:
    _, asked = drive(broker, [page(*range(10), last=False), page(*range(10, 90))])
    assert asked == [10, 80]


def test_of_too_many_the_newest_are_kept(broker: Broker) -> None:
    found, _ = drive(broker, [page(*range(9, 90, 10), last=False), page(*range(8, 90, 10))], limit=4)
    assert ([run.id for run in found.runs], found.left_out) == (["q/j78", "q/j79", "q/j88", "q/j89"], 14)


def test_names_that_no_queue_or_job_can_have_are_left_out() -> None:
    keys = [
        b"space:{q}:r:j1",
        b"space:{q}:r:",
        b"space:{q\xff}:r:j",
        b"space:{q}:ready",
        b"spacex:{q}:r:j",
        b"space:{q}:r:a/b",
    ]
    assert finished.scan("space", b"0").parse([b"0", keys]).jobs == {"q": ["j1"]}


def test_a_single_queue_is_asked_for_by_name() -> None:
    assert finished.scan("space", b"0", "my.queue").parts[3] == "space:{my.queue}:r:*"


STEERING = "a\x1b[31mb\x07c\x9bd\u202ee\u2066f\x7f\r\ng"


def test_what_a_run_tells_cannot_steer_a_terminal_or_turn_the_text_of_a_page(broker: Broker) -> None:
    data = encode_record(
        Record(RECORD_VERSION, "failed", task=STEERING, worker=STEERING, root=STEERING, finished_us=int(NOW * 1e6),
               error=ErrorInfo(STEERING, STEERING))
    )  # fmt: skip
    found = Found(NOW)
    runs._take(found, "q", STEERING, data, runs._Wanted(frozenset(), ""))
    (run,) = found.runs
    texts = (run.id, run.task, run.worker, run.root, run.error, run.message, *found.tasks)
    assert [text for text in texts if not text.isprintable()] == []
    assert all("g" in text for text in texts)
