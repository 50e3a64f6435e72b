"""What keys must hold, and which numbers fit: judged without a server."""

from __future__ import annotations

import pytest

from taskq.broker.findings import Audit, Expected, Fault, expect, of_counters, of_job, of_settings, split_tag


def counted(jobs: int = 0, dead: int = 0, ended: int = 0, **meta: int) -> bool:
    audit = Audit(0, 0, jobs, dead, 0, ended, 0, {}, {name: str(value) for name, value in meta.items()})
    return list(of_counters("q", audit)) == []


@pytest.mark.parametrize(
    "numbers",
    [
        {},
        {"enqueued": 0},
        {"enqueued": 3, "jobs": 3},
        {"enqueued": 3, "jobs": 1, "done": 2},
        {"enqueued": 3, "jobs": 2, "dead": 1, "failed": 1, "done": 1},
        {"enqueued": 3, "requeued": 1, "jobs": 1, "failed": 1, "done": 2},
        {"enqueued": 2, "quarantined": 1, "jobs": 2},
        {"enqueued": 2, "quarantined": 1, "jobs": 1},
        {"enqueued": 1, "failed": 1, "jobs": 1, "ended": 1},
        {"enqueued": 1, "failed": 1, "moved": 1},
    ],
)
def test_numbers_that_fit_are_no_finding(numbers: dict[str, int]) -> None:
    assert counted(**numbers)


@pytest.mark.parametrize(
    "numbers",
    [
        {"enqueued": 3},
        {"enqueued": 3, "jobs": 4},
        {"enqueued": 3, "done": 4},
        {"enqueued": 3, "jobs": 3, "dead": 1},
        {"enqueued": 3, "quarantined": 1, "jobs": 1},
    ],
)
def test_numbers_that_do_not_fit_are_one(numbers: dict[str, int]) -> None:
    assert not counted(**numbers)


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        ("default", ("", "default")),
        ("lock:a", ("lock", "a")),
        ("condition:a.b", ("condition", "a.b")),
        ("a b", None),
        ("x:a", None),
        ("lock:", None),
        ("", None),
        ("lock:a:b", None),
    ],
)
def test_a_tag_is_of_a_queue_or_a_primitive(tag: str, found: tuple[str, str] | None) -> None:
    assert split_tag(tag) == found


@pytest.mark.parametrize(
    ("tag", "name", "expected"),
    [
        ("q", "meta", Expected("hash", True)),
        ("q", "jobs", Expected("hash", False)),
        ("q", "r:x", Expected("string", True)),
        ("q", "l:w", Expected("hash", False)),
        ("lock:a", "holders", Expected("zset", True)),
        ("lock:a", "s:x", Expected("string", True)),
        (None, "queues", Expected("set", False)),
        (None, "control:w", Expected("list", True)),
        ("q", "holders", None),
        ("q", "r:", None),
        ("lock:a", "jobs", None),
        ("lock:a", "r:x", None),
        ("no queue", "jobs", None),
        (None, "control:", None),
        (None, "jobs", None),
    ],
)
def test_a_key_is_known_by_tag_and_name(tag: str | None, name: str, expected: Expected | None) -> None:
    assert expect(tag, name) == expected


@pytest.mark.parametrize(
    ("word", "places", "repaired"),
    [
        ("lost", (), True),
        ("double", ("ready", "leased"), True),
        ("double", ("delayed", "ended"), True),
        ("double", ("ready", "delayed"), False),
        ("double", ("dead", "leased"), False),
        ("double", ("leased", "leased"), False),
        ("envelope", ("ready",), True),
        ("envelope", ("leased",), False),
        ("lease", ("leased",), False),
    ],
)
def test_only_what_needs_no_guess_is_repaired(word: str, places: tuple[str, ...], repaired: bool) -> None:
    assert bool(of_job("q", Fault(b"a", word, places)).repair) is repaired


def test_a_foreign_id_cannot_steer_a_terminal() -> None:
    finding = of_job("q", Fault(b"\x1b[2J\n\xff", "lost", ()))
    assert finding.text.isprintable()


@pytest.mark.parametrize("refusal", ["1763664243000 60000 1763664243000 it evicts", "0 1 0 over since long ago"])
def test_a_refusal_of_new_jobs_is_no_finding(refusal: str) -> None:
    assert list(of_settings("q", {"refusal": refusal})) == []


@pytest.mark.parametrize("refusal", ["", "by hand", "1 1 1", "1 1 1 two\nlines", "-1 1 1 x", "1" * 17 + " 1 1 x"])
def test_a_refusal_that_nobody_can_read_is_one(refusal: str) -> None:
    (finding,) = of_settings("q", {"refusal": refusal})
    assert (finding.invariant, finding.id, finding.text.isprintable()) == ("leftover 18", "refusal", True)
