"""What a worker says of itself, how it is read, and which worker a name means."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from taskq.broker.keys import QueueKeys
from taskq.broker.workers import Order, read_order
from taskq.client.workers import RunningJob, WorkerInfo, find_worker, parse_card
from taskq.errors import InvalidOption, WorkerError
from taskq.model.job import encode_body, encode_header
from taskq.worker.card import MAX_CARD, MAX_RUNNING, encode_card
from taskq.worker.dispatch import Hand
from taskq.worker.leases import Lease, ServedQueue
from taskq.worker.options import QueueChoice
from taskq.worker.protocol import SlotTable

QUEUE = ServedQueue(QueueChoice("q"), QueueKeys("ns", "q"), "w")
Fill = Callable[..., Hand]


def lease(unique: str, task: str = "app.add", attempts: int = 0) -> Lease:
    data = b"1800000000000;" + encode_header().encode() + encode_body(task, b"x" * 1000)
    return Lease(QUEUE, unique, "1", f"1;{attempts};0;0;0".encode(), data, "w", 0)


@pytest.fixture
def fill() -> Iterator[Fill]:
    """Make a child whose slots run jobs that started one second after another, the last slot's first."""
    tables = []

    def make(*leases: Lease, pid: int = 7) -> Hand:
        table, fd = SlotTable.create(len(leases) + 1)  # and one that is idle
        os.close(fd)
        tables.append(table)
        hand = Hand(SimpleNamespace(table=table, pid=pid, slots=table.slots))  # type: ignore[arg-type]
        for slot, one in enumerate(leases):
            handle = pid * 100_000 + slot
            table.start(slot, handle, 1000.0 - slot, 0.0)
            hand.held[handle] = one
        return hand

    yield make
    for table in tables:
        table.close()


def card_of(*hands: Hand, **fields: Any) -> dict[str, Any]:
    card: dict[str, Any] = json.loads(encode_card(fields, hands, 5_000_000))
    return card


# --- the card -------------------------------------------------------------------------------------------------------


def test_a_running_job_is_told_with_its_place_start_and_attempt(fill: Fill) -> None:
    assert card_of(fill(lease("a"), lease("b", "app.mul", attempts=2)))["running"] == [
        ["q/b", "app.mul", 7, 1, 1004.0, 3],
        ["q/a", "app.add", 7, 0, 1005.0, 1],
    ]


def test_the_jobs_that_have_run_longest_of_all_children_are_told(fill: Fill) -> None:
    first = fill(*(lease(f"a{n}") for n in range(80)), pid=1)
    second = fill(*(lease(f"b{n}") for n in range(80)), pid=2)
    told = [entry[0] for entry in card_of(first, second)["running"]]
    assert len(told) == MAX_RUNNING
    assert set(told) == {f"q/{child}{n}" for child in "ab" for n in range(30, 80)}


def test_a_job_that_was_answered_just_now_is_left_out(fill: Fill) -> None:
    hand = fill(lease("a"), lease("b"))
    hand.held.pop(700_000)
    assert [entry[0] for entry in card_of(hand)["running"]] == ["q/b"]


def test_a_child_that_is_buried_meanwhile_is_left_out(fill: Fill) -> None:
    gone, here = fill(lease("a"), pid=1), fill(lease("b"), pid=2)
    gone.child.table.close()
    assert [entry[0] for entry in card_of(gone, here)["running"]] == ["q/b"]


@pytest.mark.parametrize("data", [b"", b"text", b"1;1;;;;\n\xc1\xff", b"1;1;;;;\n"])
def test_a_damaged_job_is_told_without_its_task(fill: Fill, data: bytes) -> None:
    damaged = lease("a")
    damaged.data, damaged.state = data, b"garbage"
    assert card_of(fill(damaged))["running"] == [["q/a", "", 7, 0, 1005.0, 1]]


def test_a_card_stays_below_its_limit_whatever_its_jobs_are_called(fill: Fill) -> None:
    hand = fill(*(lease(f"{n:064}", "\u4e00" * 140) for n in range(100)))
    card = encode_card({"queues": ["q" * 100] * 200}, [hand], 0)
    assert MAX_CARD - 2000 < len(card) <= MAX_CARD
    assert parse_card("w", card, 0.0).running


def test_ten_thousand_running_jobs_make_a_card_within_a_small_part_of_a_beat(fill: Fill) -> None:
    same = lease("a")
    hand = fill(*[same] * 10_000)
    began = time.perf_counter()
    assert len(card_of(hand)["running"]) == MAX_RUNNING
    assert time.perf_counter() - began < 0.5  # of 5 s; measured 8 ms, on a machine that does nothing else


# --- reading it -----------------------------------------------------------------------------------------------------


def test_what_a_worker_says_is_read_as_it_says_it(fill: Fill) -> None:
    fields: dict[str, Any] = {
        "name": "w", "state": "paused", "host": "h", "pid": 5, "pool": "thread", "children": 1, "slots": 2, "busy": 1,
        "queues": ["q"], "started": 17, "version": "1", "heard": ["t"],
    }  # fmt: skip
    read = parse_card("w", encode_card(fields, [fill(lease("a"))], 0), 2.5)
    assert read == WorkerInfo("w", **fields, running=[RunningJob("q/a", "app.add", 7, 0, 1000.0, 1)], age=2.5)


def test_a_worker_without_a_card_has_vanished() -> None:
    assert parse_card("w", None, 90.0) == WorkerInfo("w", age=90.0, vanished=True)


@pytest.mark.parametrize(
    "card",
    [
        b"", b"garbage", b"[]", b"null", b"7", b"{}", b"\xff", b"[" * 100_000, b'{"pool": ["x"], "queues": 7}',
        b'{"pid": true, "slots": 1.5, "state": "dancing", "heard": {"a": 1}, "running": "x"}',
        b'{"state": [], "name": null, "host": {}}',
    ],
)  # fmt: skip
def test_a_damaged_card_says_nothing(card: bytes) -> None:
    assert parse_card("w", card, 1.0) == WorkerInfo("w", age=1.0)


@pytest.mark.parametrize(
    "entry",
    [
        None, 7, "x", {}, [], ["q/a"], ["q/a", "t", 1, 0, 5.0], [1, "t", 1, 0, 5.0, 1], ["q/a", None, 1, 0, 5.0, 1],
        ["q/a", "t", "1", 0, 5.0, 1], ["q/a", "t", 1, 0, "5", 1], ["q/a", "t", 1, 0, float("nan"), 1],
        ["q/a", "t", 1, 0, float("inf"), 1], ["q/a", "t", 1, 0, 5.0, None],
    ],
)  # fmt: skip
def test_a_damaged_entry_of_a_running_job_is_left_out(entry: object) -> None:
    good = ["q/b", "t", 1, 0, 5.0, 1]
    card = json.dumps({"running": [entry, good]}).encode()
    assert parse_card("w", card, 0.0).running == [RunningJob("q/b", "t", 1, 0, 5.0, 1)]


# --- which worker a name means --------------------------------------------------------------------------------------

KNOWN = [
    WorkerInfo("mill.12.aaaaaa", host="h1"),
    WorkerInfo("mill.13.bbbbbb", host="h1"),
    WorkerInfo("mill.9.gggggg", vanished=True),
    WorkerInfo("millrace.5.cccccc", host="h2"),
    WorkerInfo("saw.7.dddddd", host="h2"),
    WorkerInfo("saw.7.eeeeee", vanished=True),
    WorkerInfo("old.3.ffffff", vanished=True),
    WorkerInfo("dotted.name.4.hhhhhh", host="h3"),
]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mill.12.aaaaaa", "mill.12.aaaaaa"),  # its id
        ("mill.13", "mill.13.bbbbbb"),  # its beginning
        ("millrace", "millrace.5.cccccc"),  # its name
        ("dotted.name", "dotted.name.4.hhhhhh"),
        ("saw", "saw.7.dddddd"),  # the one that lives
        ("h3", "dotted.name.4.hhhhhh"),  # its host
        ("saw.7.eeeeee", "saw.7.eeeeee"),  # one that vanished, where no other is meant
        ("old", "old.3.ffffff"),
        ("millr", "millrace.5.cccccc"),
    ],
)
def test_a_name_means_one_worker(name: str, meant: str) -> None:
    assert find_worker(name, KNOWN).id == meant


@pytest.mark.parametrize(
    ("name", "candidates"),
    [
        ("mill", "mill.12.aaaaaa or mill.13.bbbbbb"),  # its name, and no other whose id begins so
        ("mi", "mill.12.aaaaaa or mill.13.bbbbbb or millrace.5.cccccc"),
        ("h1", "mill.12.aaaaaa or mill.13.bbbbbb"),
    ],
)
def test_an_ambiguous_name_names_the_candidates(name: str, candidates: str) -> None:
    with pytest.raises(InvalidOption) as raised:
        find_worker(name, KNOWN)
    assert str(raised.value) == f"worker '{name}' may be {candidates}; write more of its id"


def test_of_many_candidates_some_are_named() -> None:
    with pytest.raises(InvalidOption, match=r"w0 or .* or w7 and 12 more; "):
        find_worker("w", [WorkerInfo(f"w{n}") for n in range(20)])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mil1", "did you mean 'mill'?"),
        ("zzz", "there are dotted.name.4.hhhhhh, mill.12.aaaaaa, mill.13.bbbbbb, millrace.5.cccccc, saw.7.dddddd"),
    ],
)
def test_an_unknown_name_names_the_nearest_or_those_that_live(name: str, hint: str) -> None:
    with pytest.raises(WorkerError) as raised:
        find_worker(name, KNOWN)
    assert str(raised.value).endswith(hint)


@pytest.mark.parametrize("name", ["x", "zzz", "\x1b"])
def test_what_somebody_wrote_into_the_roster_steers_no_terminal(name: str) -> None:
    known = [WorkerInfo("x\x1b[31m\n1"), WorkerInfo("x\x1b[31m\n2")]
    with pytest.raises((InvalidOption, WorkerError)) as raised:
        find_worker(name, known)
    assert str(raised.value).isprintable()


def test_an_unknown_name_where_there_is_no_worker_says_so() -> None:
    with pytest.raises(WorkerError, match="worker 'x' is unknown; there are none"):
        find_worker("x", [])


def test_an_empty_name_means_no_worker_even_if_there_is_one_only() -> None:
    with pytest.raises(InvalidOption, match="worker '' has no name"):
        find_worker("", KNOWN[:1])


# --- orders ---------------------------------------------------------------------------------------------------------


def test_an_order_is_read() -> None:
    assert read_order(b'{"command": "pause", "token": "t", "later": 1}') == Order("pause", "t")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"garbage", b"[]", b"null", b"\xff", b"{}", b'{"command": "pause"}', b'{"command": "dance", "token": "t"}',
        b'{"command": 1, "token": "t"}', b'{"command": "stop", "token": 5}', b"[" * 100_000,
        b'{"x": ' + b"[" * 100_000, b'{"command": "stop", "token": "' + b"t" * 65 + b'"}',
        b'{"command": "stop", "token": "\xff"}', b'{"command": "stop", "token": "\\ud800"}',
    ],
)  # fmt: skip
def test_what_is_no_order_is_none(data: bytes) -> None:
    assert read_order(data) is None
