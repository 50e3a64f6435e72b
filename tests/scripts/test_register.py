"""register.lua: a worker's lease on a queue, under an id that is not in use."""

from __future__ import annotations

import pytest
from broker_kit import NOW, SECOND, TIMES, Kit

from taskq.broker import workers
from taskq.broker.keys import SCHEMA

DEADLINE = NOW + TIMES.ttl_us


def test_a_new_worker_gets_its_lease(kit: Kit):
    assert kit.run(workers.register(kit.keys, "w", TIMES))
    assert kit.snapshot() == {"workers": {"w": DEADLINE}}


def test_a_clock_that_is_a_little_behind_takes_nothing_off_a_lease(kit: Kit):
    kit.seed(meta={"discipline": "fifo", "tick": str(NOW + SECOND), "grace": "0"}, workers={"other": NOW + 9 * SECOND})
    assert kit.run(workers.register(kit.keys, "w", TIMES))
    assert kit.run(workers.heartbeat(kit.keys, "other", TIMES)).over == []


def test_a_clock_that_was_set_back_far_gives_no_lease_beyond_the_next_beat(kit: Kit):
    kit.seed(meta={"discipline": "fifo", "tick": str(NOW + 3600 * SECOND), "grace": "0"}, workers={"other": NOW})
    kit.run(workers.register(kit.keys, "w", TIMES))
    kit.run(workers.heartbeat(kit.keys, "other", TIMES))
    assert kit.read("workers") == {"w": DEADLINE, "other": DEADLINE}


def test_listening_never_declares(kit: Kit):
    kit.run(workers.register(kit.keys, "w", TIMES))
    assert kit.read("meta") is None


@pytest.mark.fault(38)
@pytest.mark.parametrize("deadline", [NOW + SECOND, NOW - SECOND, 0])
def test_an_id_in_use_is_taken_whatever_its_deadline(kit: Kit, deadline):
    kit.seed(workers={"w": deadline})
    assert not kit.run(workers.register(kit.keys, "w", TIMES))
    assert kit.snapshot() == {"workers": {"w": deadline}}


def test_a_lost_reply_does_not_make_the_workers_own_id_taken(kit: Kit):
    kit.replays(workers.register(kit.keys, "w", TIMES))
    assert kit.read("workers") == {"w": DEADLINE}


@pytest.mark.parametrize("schema", ["2", "99", "text", "nan"])
def test_a_queue_of_a_newer_schema_is_refused(kit: Kit, schema):
    kit.seed(meta={"discipline": "fifo", "schema": schema})
    kit.refused(workers.register(kit.keys, "w", TIMES), f"TASKQ_SCHEMA {schema}")


@pytest.mark.parametrize(
    ("name", "value"),
    [("meta", ["x"]), ("jobs", "x"), ("state", "x"), ("ready", "x"), ("delayed", ["x"]), ("suspect", "x"),
     ("dead", "x"), ("quarantine", "x"), ("ended", {"x": 1}), ("outbox", "x"), ("revoked", "x"), ("workers", "x"),
     ("wake", "x")],
)  # fmt: skip
def test_a_key_of_a_wrong_type_keeps_a_worker_from_starting(kit: Kit, name, value):
    kit.seed(**{name: value})
    kit.refused(workers.register(kit.keys, "w", TIMES), f"WRONGTYPE .*:{name} is a ")


def test_a_queue_of_this_schema_or_an_older_one_is_served(kit: Kit):
    for worker, schema in (("v", SCHEMA), ("w", 0)):
        kit.seed(meta={"discipline": "fifo", "schema": str(schema)})
        assert kit.run(workers.register(kit.keys, worker, TIMES))


def test_a_worker_without_a_name_is_refused(kit: Kit):
    kit.refused(workers.register(kit.keys, "", TIMES), "TASKQ_ARGS")


@pytest.mark.parametrize("ttl", ["nan", "-1", "soon", "1e6"])
def test_a_lease_without_a_length_is_refused(kit: Kit, ttl):
    call = workers.register(kit.keys, "w", TIMES)
    kit.refused(with_argument(call, 1, ttl), "TASKQ_ARGS")


def with_argument(call, index, value):
    import dataclasses

    arguments = list(call.arguments)
    arguments[index] = value
    return dataclasses.replace(call, arguments=arguments)
