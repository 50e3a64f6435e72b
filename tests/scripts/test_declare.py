"""declare.lua: a queue's discipline is fixed at its first use, its bound at each."""

from __future__ import annotations

import pytest
from broker_kit import NOW, Kit

from taskq.broker import queues
from taskq.broker.keys import SCHEMA
from taskq.broker.queues import META_TTL_MS, Declared
from taskq.model.discipline import MAX_QUEUE_SIZE, Discipline

FIFO, LIFO, PRIORITY = Discipline.FIFO, Discipline.LIFO, Discipline.PRIORITY
SINCE = str(NOW)


def declared(discipline: str, maxsize: int, by: str = "me") -> dict:
    return {
        "discipline": discipline,
        "maxsize": str(maxsize),
        "by": by,
        "schema": str(SCHEMA),
        "since": SINCE,
        "content": "jobs",
    }


@pytest.mark.parametrize(
    ("discipline", "maxsize", "stored"),
    [
        (FIFO, 0, declared("fifo", 0)),
        (LIFO, 7, declared("lifo", 7)),
        (PRIORITY, MAX_QUEUE_SIZE, declared("priority", MAX_QUEUE_SIZE)),
        (None, None, declared("fifo", 0)),
        (None, 3, declared("fifo", 3)),
    ],
)
def test_the_first_declaration_fixes_the_queue(kit: Kit, discipline, maxsize, stored):
    answer = kit.run(queues.declare(kit.keys, discipline, maxsize, "me"))
    assert answer == Declared(discipline or FIFO, maxsize or 0, "me", "jobs")
    assert kit.snapshot() == {"meta": stored}


@pytest.mark.parametrize(
    ("discipline", "maxsize", "stored"),
    [
        (LIFO, 5, declared("lifo", 5)),
        (LIFO, 9, declared("lifo", 9)),
        (None, 0, declared("lifo", 0)),
        (None, None, declared("lifo", 5)),
        (LIFO, None, declared("lifo", 5)),
        (FIFO, 9, declared("lifo", 5)),
    ],
)
def test_a_later_declaration_changes_the_bound_of_its_own_discipline_only(kit: Kit, discipline, maxsize, stored):
    kit.run(queues.declare(kit.keys, LIFO, 5, "me"))
    answer = kit.run(queues.declare(kit.keys, discipline, maxsize, "you"))
    assert answer == Declared(LIFO, int(stored["maxsize"]), "me", "jobs")
    assert kit.snapshot() == {"meta": stored}


def test_a_repeated_declaration_changes_nothing(kit: Kit):
    call = queues.declare(kit.keys, LIFO, 5, "me")
    first, before = kit.run(call), kit.snapshot()
    assert (kit.run(call), kit.snapshot()) == (first, before)


@pytest.mark.parametrize(
    ("first", "second", "content"),
    [
        ("jobs", "items", "jobs"),
        ("items", "jobs", "items"),
        ("items", "", "items"),
        ("", "items", "items"),
        ("", "jobs", "jobs"),
        ("", "", ""),
    ],
)
def test_the_first_use_says_whether_it_holds_jobs_or_items(kit: Kit, first, second, content):
    kit.run(queues.declare(kit.keys, FIFO, 0, "me", first))
    assert kit.run(queues.declare(kit.keys, FIFO, 0, "you", second)).content == content


def test_queue_with_jobs_of_an_older_version_holds_jobs(kit: Kit):
    kit.seed(meta={"discipline": "fifo", "maxsize": "0", "by": "old", "schema": str(SCHEMA)}, jobs={"a": "x"})
    assert kit.run(queues.declare(kit.keys, FIFO, 0, "me", "items")).content == "jobs"


def test_settings_are_kept_for_90_days_after_the_last_declaration(kit: Kit):
    kit.run(queues.declare(kit.keys, FIFO, 0, "me"))
    kit.command("PEXPIRE", kit.keys.key("meta"), 1000)
    kit.run(queues.declare(kit.keys, None, None, "me"))
    assert META_TTL_MS - 60_000 < kit.ttl("meta") <= META_TTL_MS


def test_counters_and_pause_outlive_a_declaration(kit: Kit):
    kit.seed(meta={"paused": "1", "enqueued": "4"})
    kit.run(queues.declare(kit.keys, FIFO, 0, "me"))
    assert kit.snapshot() == {"meta": {"paused": "1", "enqueued": "4"} | declared("fifo", 0)}


@pytest.mark.parametrize("schema", ["2", "99", "text", "nan", ""])
def test_a_queue_of_a_newer_schema_is_refused(kit: Kit, schema):
    kit.seed(meta={"discipline": "fifo", "schema": schema})
    kit.refused(queues.declare(kit.keys, FIFO, 0, "me"), f"TASKQ_SCHEMA {schema}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("meta", ["x"]),
        ("jobs", "x"),
        ("state", "x"),
        ("ready", "x"),
        ("delayed", ["x"]),
        ("suspect", "x"),
        ("dead", {"x": "x"}),
        ("quarantine", "x"),
        ("ended", {"x": 1}),
        ("outbox", "x"),
        ("revoked", "x"),
        ("workers", "x"),
        ("wake", "x"),
    ],
)
def test_a_key_of_a_wrong_type_is_named_before_any_write(kit: Kit, name, value):
    kit.seed(**{name: value})
    kit.refused(queues.declare(kit.keys, FIFO, 0, "me"), f"WRONGTYPE .*:{name} is a ")


@pytest.mark.parametrize(("discipline", "maxsize"), [("heap", 0), (FIFO, -1), (FIFO, "many"), (FIFO, "1e3")])
def test_arguments_out_of_range_are_refused(kit: Kit, discipline, maxsize):
    kit.refused(queues.declare(kit.keys, discipline, maxsize, "me"), "TASKQ_ARGS")


def test_content_that_is_neither_is_refused(kit: Kit):
    kit.refused(queues.declare(kit.keys, FIFO, 0, "me", "things"), "TASKQ_ARGS")
