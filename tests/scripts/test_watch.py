"""watch.lua: for some seconds scripts tell a channel what becomes of a queue's jobs."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import NOW, SECOND, Kit, data, job

from taskq.broker import jobs, keys, lifecycle, queues
from taskq.model.discipline import Discipline

META = {"discipline": "fifo", "maxsize": "0"}


def watched(kit: Kit, until: int) -> str:
    return f"{until} {keys.events(kit.keys.namespace)} q"


def test_a_queue_is_watched_until_a_time_of_the_servers_clock(kit: Kit):
    kit.declare()
    assert kit.run(lifecycle.watch(kit.keys, 15_000)) is True
    assert kit.snapshot() == {"meta": META | {"watch": watched(kit, NOW + 15 * SECOND)}}


@pytest.mark.parametrize(("ms", "until"), [(5000, NOW + 10 * SECOND), (20_000, NOW + 20 * SECOND)])
def test_who_watches_longest_decides(kit: Kit, ms, until):
    kit.declare()
    kit.run(lifecycle.watch(kit.keys, 10_000))
    kit.run(lifecycle.watch(kit.keys, ms))
    assert kit.read("meta")["watch"] == watched(kit, until)


@pytest.mark.parametrize("stored", ["garbage", "", "nan x y", f"{NOW + 61 * SECOND} ns:events q", f"{NOW - 1} c q"])
def test_what_cannot_be_a_watch_is_replaced(kit: Kit, stored):
    kit.seed(meta=META | {"watch": stored})
    kit.run(lifecycle.watch(kit.keys, 1000))
    assert kit.read("meta")["watch"] == watched(kit, NOW + SECOND)


def test_a_queue_that_nobody_declared_is_watched_and_leaves_nothing(kit: Kit):
    assert kit.run(lifecycle.watch(kit.keys, 15_000)) is True
    assert kit.read("meta") == {"watch": watched(kit, NOW + 15 * SECOND)}
    assert 14_000 < kit.ttl("meta") <= 15_000


def test_the_watch_of_an_undeclared_queue_lives_on_with_each_renewal(kit: Kit):
    kit.run(lifecycle.watch(kit.keys, 1000))
    kit.run(lifecycle.watch(kit.keys, 15_000))
    assert kit.ttl("meta") > 10_000


def test_a_queue_that_is_declared_under_watch_lives_as_long_as_any(kit: Kit):
    kit.run(lifecycle.watch(kit.keys))
    kit.run(queues.declare(kit.keys, Discipline.LIFO, 5, "me"))
    kit.run(lifecycle.watch(kit.keys))
    assert kit.read("meta").items() >= {"discipline": "lifo", "maxsize": "5", "content": "jobs"}.items()
    assert kit.ttl("meta") > queues.META_TTL_MS - 60_000


def test_settings_without_an_end_are_not_given_one(kit: Kit):
    kit.declare()
    kit.run(lifecycle.watch(kit.keys))
    assert kit.ttl("meta") == -1


def test_a_queue_of_items_is_not_watched(kit: Kit):
    kit.seed(meta=META | {"content": "items", "watch": "1 c q"})
    assert kit.run(lifecycle.watch(kit.keys)) is False
    assert kit.snapshot() == {"meta": META | {"content": "items"}}


@pytest.mark.parametrize("ms", [0, -1, 60_001, 10**20, "nan", "", 1.5])
def test_a_time_that_cannot_be_is_refused(kit: Kit, ms):
    kit.declare()
    call = lifecycle.watch(kit.keys)
    kit.refused(dataclasses.replace(call, arguments=[*call.arguments[:2], ms]), "TASKQ_ARGS")


@pytest.mark.parametrize(("at", "value"), [(0, ""), (0, "a b"), (1, ""), (1, "q\n")])
def test_a_name_that_could_not_be_read_back_is_refused(kit: Kit, at, value):
    kit.declare()
    call = lifecycle.watch(kit.keys)
    arguments = list(call.arguments)
    arguments[at] = value
    kit.refused(dataclasses.replace(call, arguments=arguments), "TASKQ_ARGS")


def test_a_key_of_a_wrong_type_is_refused(kit: Kit):
    kit.seed(meta="text")
    kit.refused(lifecycle.watch(kit.keys), "WRONGTYPE")


@pytest.mark.parametrize(
    "stored", [str(NOW), f"{NOW} c q", f"{NOW - SECOND} c q", f"{NOW + 61 * SECOND} c q", "by hand", "", "x c q"]
)
@pytest.mark.parametrize("many", [False, True])
def test_a_watch_that_is_over_or_damaged_goes_with_the_next_move(kit: Kit, stored, many):
    kit.seed(meta=META | {"watch": stored})
    assert kit.run(jobs.enqueue(kit.keys, [job("a"), *([job("b")] if many else [])])) == ("AA" if many else "A")
    assert "watch" not in kit.read("meta")


def test_a_watch_that_goes_on_stays(kit: Kit):
    kit.seed(meta=META, jobs={"a": data()}, dead={"a": NOW})
    kit.run(lifecycle.watch(kit.keys, 1000))
    kit.advance(0.999)
    kit.run(jobs.requeue(kit.keys, ["a"]))
    assert kit.read("meta")["watch"] == watched(kit, NOW + SECOND)
