"""heartbeat.lua: a lease is renewed by the server's clock, which is guarded against jumps; rates are sampled."""

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


def sampled(now: int, came: int = 0, left: int = 0) -> str:
    return f"{now} {came} {left}"


def test_the_first_beat_renews_the_lease_and_begins_a_grace(kit: Kit):
    kit.seed(workers={"w": NOW - SECOND})
    assert beat(kit) == Beat(NOW, 0, 0, 0, 0, [])
    assert kit.snapshot() == {"workers": {"w": NOW + TTL}, "meta": guard(NOW, NOW + TTL) | {"sample": sampled(NOW)}}


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
    meta = guard(NOW, NOW + TTL) | {"sample": sampled(NOW)}
    assert kit.snapshot() == before | {"workers": {"w": NOW + TTL}, "meta": meta}


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


@pytest.mark.fault(34)
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
    meta = after | {"sample": sampled(now)}
    assert kit.snapshot() == {"workers": {"w": now + TTL, "far": leases}, "meta": meta}


@pytest.mark.parametrize("tick", ["text", "nan", ""])
def test_a_damaged_tick_begins_a_grace(kit: Kit, tick):
    kit.seed(workers={"w": NOW}, meta={"tick": tick, "grace": "text"})
    beat(kit)
    assert kit.read("meta") == guard(NOW, NOW + TTL) | {"sample": sampled(NOW)}


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


# --- samples of the counters


def sample_after(kit: Kit, **meta: str) -> str:
    """Beat once with these fields; returns the sample."""
    kit.seed(workers={"w": NOW}, meta=meta)
    beat(kit)
    return kit.read("meta")["sample"]


def test_a_sample_has_the_time_what_came_and_what_left(kit: Kit):
    came = {"enqueued": "100", "requeued": "7"}
    names = ("done", "failed", "cancelled", "expired", "crashed", "lost", "purged", "unknown", "quarantined")
    left = {name: str(10**n) for n, name in enumerate(names)}
    neither = {"retried": "3", "crashes": "3", "losses": "3", "jumps": "3"}
    assert sample_after(kit, **came, **left, **neither) == f"{NOW} 107 111111111"


def test_a_sample_that_is_less_than_five_seconds_old_stays(kit: Kit):
    old = sampled(NOW - 5 * SECOND + 1, 1, 1)
    assert sample_after(kit, sample=old, enqueued="9") == old


def test_the_second_sample_comes_after_the_first(kit: Kit):
    old = sampled(NOW - 5 * SECOND, 1, 1)
    assert sample_after(kit, sample=old, enqueued="9", done="4") == f"{old} {sampled(NOW, 9, 4)}"


def test_two_samples_are_kept(kit: Kit):
    older, newer = sampled(NOW - 12 * SECOND, 1, 1), sampled(NOW - 6 * SECOND, 2, 2)
    assert sample_after(kit, sample=f"{older} {newer}", enqueued="9") == f"{newer} {sampled(NOW, 9)}"


@pytest.mark.parametrize("sample", ["", "text", "1 2", f"{NOW + 1} 5 5", "9" * 40 + " 1 1", "nan 1 1", "-5 1 x"])
def test_a_sample_that_is_damaged_or_from_the_future_is_begun_anew(kit: Kit, sample):
    assert sample_after(kit, sample=sample) == sampled(NOW)


def test_counters_that_are_no_numbers_count_nothing(kit: Kit):
    assert sample_after(kit, enqueued="text", requeued="5", done="", failed="1e9", lost="2") == sampled(NOW, 5, 2)
