"""heartbeat.lua: a worker's lease is renewed by the server's clock, which is guarded against jumps."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import NOW, SECOND, TIMES, Kit

from taskq.broker import workers
from taskq.broker.queues import META_TTL_MS
from taskq.broker.workers import Beat
from taskq.errors import Fenced

TTL, BEAT = TIMES.ttl_us, TIMES.beat_us


def beat(kit: Kit, worker: str = "w") -> Beat:
    return kit.run(workers.heartbeat(kit.keys, worker, TIMES))


def guard(tick: int, grace: int, **more: int) -> dict:
    return {name: str(value) for name, value in ({"tick": tick, "grace": grace} | more).items()}


def test_the_first_beat_renews_the_lease_and_begins_a_grace(kit: Kit):
    kit.seed(workers={"w": NOW - SECOND})
    assert beat(kit) == Beat(NOW, 0, 0, 0, 0, [])
    assert kit.snapshot() == {"workers": {"w": NOW + TTL}, "meta": guard(NOW, NOW + TTL)}


def test_a_beat_tells_what_waits(kit: Kit):
    kit.seed(
        workers={"w": NOW},
        lease_w={"a": "1;5;0;0", "b": "1;6;0;0"},
        ended={"c": "expired"},
        outbox={"q/d": "0\nx", "q/e": "0\nx", "q/f": "0\nx"},
        revoked={"a": "r", "g": "t", "h": "r", "i": "r"},
    )
    before = kit.snapshot()
    assert beat(kit) == Beat(NOW, 2, 1, 3, 4, [])
    assert kit.snapshot() == before | {"workers": {"w": NOW + TTL}, "meta": guard(NOW, NOW + TTL)}


def test_a_worker_without_a_lease_is_fenced_and_changes_nothing(kit: Kit):
    kit.seed(workers={"other": NOW}, lease_w={"a": "1;5;0;0"})
    before = kit.snapshot()
    with pytest.raises(Fenced):
        beat(kit)
    assert kit.snapshot() == before


def test_a_beat_keeps_the_queues_settings_alive(kit: Kit):
    kit.seed(workers={"w": NOW}, meta={"discipline": "fifo"})
    beat(kit)
    assert META_TTL_MS - 60_000 < kit.ttl("meta") <= META_TTL_MS


def test_workers_whose_lease_is_over_are_named_after_the_grace(kit: Kit):
    kit.seed(workers={"w": NOW, "late": NOW - 1, "later": NOW - 2, "now": NOW}, meta=guard(NOW, NOW))
    assert beat(kit).over == ["later", "late"]


def test_nobody_is_over_during_the_grace(kit: Kit):
    kit.seed(workers={"w": NOW, "late": NOW - 1}, meta=guard(NOW, NOW + 1))
    assert beat(kit).over == []


def test_at_most_ten_workers_are_named(kit: Kit):
    kit.seed(workers={"w": NOW} | {f"v{n}": n for n in range(20)}, meta=guard(NOW, NOW))
    assert beat(kit).over == [f"v{n}" for n in range(10)]


@pytest.mark.parametrize(
    ("tick", "grace", "after", "leases"),
    [
        # steady: the grace stays what it was
        (NOW - 3 * BEAT, 7, guard(NOW, 7), NOW + 50 * SECOND),
        # NTP slews back: time stands still
        (NOW + SECOND, 7, guard(NOW + SECOND, 7), NOW + 50 * SECOND),
        # a step back: nobody's lease is longer than one ttl from now, nobody is reaped before
        (NOW + SECOND + 1, 7, guard(NOW, NOW + TTL, jumps=1), NOW + TTL),
        (NOW + 3600 * SECOND, 7, guard(NOW, NOW + TTL, jumps=1), NOW + TTL),
        # a step forward, an outage, a pause: a grace
        (NOW - 3 * BEAT - 1, 7, guard(NOW, NOW + TTL), NOW + 50 * SECOND),
        (NOW - 3600 * SECOND, 7, guard(NOW, NOW + TTL), NOW + 50 * SECOND),
    ],
)
def test_the_clock_is_guarded(kit: Kit, tick, grace, after, leases):
    kit.seed(workers={"w": NOW, "far": NOW + 50 * SECOND}, meta=guard(tick, grace))
    now = beat(kit).now
    assert now == int(after["tick"])
    assert kit.snapshot() == {"workers": {"w": now + TTL, "far": leases}, "meta": after}


@pytest.mark.parametrize("tick", ["text", "nan", ""])
def test_a_damaged_tick_begins_a_grace(kit: Kit, tick):
    kit.seed(workers={"w": NOW}, meta={"tick": tick, "grace": "text"})
    beat(kit)
    assert kit.read("meta") == guard(NOW, NOW + TTL)


@pytest.mark.parametrize("index", [1, 2, 3])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "", " 5"])
def test_times_that_are_no_numbers_are_refused(kit: Kit, index, value):
    kit.seed(workers={"w": NOW})
    call = workers.heartbeat(kit.keys, "w", TIMES)
    arguments = list(call.arguments)
    arguments[index] = value
    kit.refused(dataclasses.replace(call, arguments=arguments), "TASKQ_ARGS")


def test_a_repeated_beat_only_renews(kit: Kit):
    kit.seed(workers={"w": NOW})
    call = workers.heartbeat(kit.keys, "w", TIMES)
    kit.run(call)
    before = kit.snapshot()
    kit.run(call)
    assert kit.snapshot() == before
