"""A job whose stored bytes somebody damaged or forged ends like any other, and stops none of its queue."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from servers import TestServer

from taskq.broker import jobs, queues, results, work
from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
from taskq.broker.call import Command
from taskq.broker.finishing import finish_ended, finish_of
from taskq.broker.work import EndedJob
from taskq.model.discipline import Discipline
from taskq.model.following import after_failure
from taskq.model.job import Job, encode_body, encode_header
from taskq.model.outcome import Ending, ErrorInfo, decode_record

HEAD = encode_header("reply").encode()
STAMP = b"1700000000000;"
NOW = 1_700_000_001_000_000  # us
LONGEST = 366 * 86_400_000  # ms: a year, as a caller may ask for
LINK = HEAD + encode_body("next", b"\x90")


def body(**meta: Any) -> bytes:
    return HEAD + encode_body("t", b"\x90", "", meta)


def linked(*links: Any) -> bytes:
    return body(link_error=list(links), takes={"link_error": list(range(len(links)))})


def spliced(payload: bytes) -> tuple[Any, ...]:
    return ("q", "e0", 0, HEAD + encode_body("next", payload))


DAMAGED_LINKS = {
    "no data": ("q", "e0", 0, None),
    "data of another type": ("q", "e0", 0, {"a": 1}),
    "endless array": spliced(b"\xdd\xff\xff\xff\xff"),
    "endless delay": ("q", "e0", math.inf, LINK),
    "no delay": ("q", "e0", None, LINK),
    "no queue": (None, "e0", 0, LINK),
    "no id": ("q", None, 0, LINK),
    "no link": 7,
}


NEXT = ("q", "e1", 0, LINK)


@pytest.mark.parametrize("link", DAMAGED_LINKS.values(), ids=DAMAGED_LINKS)
def test_a_link_that_is_damaged_is_left_out_and_the_next_one_follows(link):
    finish = finish_of(EndedJob("a", "expired", b"", STAMP + linked(link, NEXT)), NOW, "q")
    assert [name for name, _ in finish.follow_ups] == ["q/e1"]


@pytest.mark.parametrize("name", sorted(DAMAGED_LINKS.keys() - {"endless array"}))
def test_a_damaged_link_that_takes_nothing_is_left_out_too(name):
    job = EndedJob("a", "expired", b"", STAMP + body(link_error=[DAMAGED_LINKS[name], NEXT]))
    assert [name for name, _ in finish_of(job, NOW, "q").follow_ups] == ["q/e1"]


def test_a_link_whose_arguments_are_endless_is_logged(caplog):
    with caplog.at_level(logging.ERROR):
        assert after_failure(
            {"link_error": [spliced(b"\xdd\xff\xff\xff\xff")], "takes": {"link_error": [0]}},
            "q/a", "t", "failed", ErrorInfo("ValueError", "why"),
        ) == []  # fmt: skip
    assert [record.action for record in caplog.records] == ["link_damaged"]


@pytest.mark.parametrize(
    ("seconds", "ms"),
    [
        (1.5, 1500),
        (math.inf, LONGEST), (1e300, LONGEST), (2**63, LONGEST), (LONGEST / 1000, LONGEST),
        (math.nan, 3_600_000), (-math.inf, 3_600_000), (-1, 3_600_000), (True, 3_600_000), ("1", 3_600_000),
    ],
)  # fmt: skip
def test_a_record_is_kept_for_a_time_that_the_server_takes(seconds, ms):
    assert finish_of(EndedJob("a", "expired", b"", STAMP + body(result_ttl=seconds)), NOW, "q").ttl_ms == ms


ENDLESS = {
    "counters": EndedJob("a", "crashed", b"1;2;%d;0;0\n" % 10**30, STAMP + body()),
    "time": EndedJob("a", "expired", b"", b"9" * 40 + b";" + body()),
}


@pytest.mark.parametrize("job", ENDLESS.values(), ids=ENDLESS)
def test_numbers_without_end_count_as_none_in_a_record(job):
    record = decode_record(finish_of(job, NOW, "q").record)
    assert (record.ending, record.attempt, record.enqueued_us % 1000) == (job.reason, 0, 0)
    assert record.enqueued_us < NOW


HOPELESS = {
    "nowhere to move": EndedJob("a", "moved next b nan", b"", STAMP + body()),
}


@pytest.mark.parametrize("job", HOPELESS.values(), ids=HOPELESS)
def test_a_job_of_which_nothing_can_be_made_ends_with_a_record(job, caplog):
    with caplog.at_level(logging.ERROR):
        finish = finish_of(job, NOW, "q")
    record = decode_record(finish.record)
    assert record.ending in {Ending.CRASHED, Ending.EXPIRED, Ending.CANCELLED}
    assert (finish.unique, finish.reason, finish.follow_ups) == ("a", job.reason, ())
    assert [record.action for record in caplog.records] == ["ending_damaged"]


def test_a_job_that_cannot_move_stays_in_the_dead_set():
    assert finish_of(HOPELESS["nowhere to move"], NOW, "q").dead


@pytest.fixture
def broker(server: TestServer, namespace: str) -> Iterator[Broker]:
    broker = Broker(parse_url(server.url), namespace)
    for name in ("q", "next"):
        broker.run(queues.declare(broker.keys(name), Discipline.FIFO, 0, "test"))
    yield broker
    broker.close()


FORGERIES: dict[str, Callable[[Job], bytes]] = {
    "link": lambda job: linked(DAMAGED_LINKS["no data"]),
    "array": lambda job: linked(DAMAGED_LINKS["endless array"]),
    "time-to-live": lambda job: body(result_ttl=math.inf),
    "long time-to-live": lambda job: body(result_ttl=1e300),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
@pytest.mark.corrupts
def test_a_damaged_job_stops_no_other_ending_of_its_queue(broker: Broker, forge) -> None:
    keys = broker.keys("q")
    good = Job("good", linked(("next", "n", 0, LINK)))
    broker.run(jobs.enqueue(keys, [Job("bad", forge(good)), good]))
    for unique in ("bad", "good"):
        broker.run(jobs.cancel(keys, unique))
        broker.read(Command(("HSET", keys.key("ended"), unique, "expired"), int))
    assert finish_ended(broker, keys) == 2
    assert broker.run(work.ended(keys))[1] == []
    found = broker.read(results.records(keys, ["bad", "good"]))
    assert [decode_record(record).ending for record in found] == [Ending.EXPIRED] * 2
