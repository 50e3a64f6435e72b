"""inspect.lua: a queue's lengths and counters, or where one job is."""

from __future__ import annotations

import pytest
from broker_kit import NOW, NOW_MS, SECOND, TIMES, Kit, data, job

from taskq.broker import jobs, queues, workers
from taskq.broker.jobs import Place
from taskq.broker.queues import QueueInfo

PLACES = {
    "ready": ({"ready": {"a": 5.5}}, 5.5),
    "delayed": ({"delayed": {"a": NOW}}, NOW),
    "suspect": ({"suspect": {"a": NOW}}, NOW),
    "dead": ({"dead": {"a": NOW}}, NOW),
    "quarantine": ({"quarantine": {"a": NOW}}, NOW),
    "expired": ({"ended": {"a": "expired"}}, None),
    "running": ({"lease_w": {"a": "1;5;0;0"}}, None),
    "revoked": ({"lease_w": {"a": "1;5;0;0"}, "revoked": {"a": "r"}}, None),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_job_is_found_where_it_is(kit: Kit, place):
    seed, score = PLACES[place]
    kit.seed(jobs={"a": data("body")}, state={"a": "1;0;0;0;0\nerr"}, **seed)
    before = kit.snapshot()
    found = kit.run(jobs.find(kit.keys, "a"))
    assert found == Place(place, score, b"1;0;0;0;0\nerr", data("body").encode())
    assert kit.snapshot() == before


def test_an_unknown_job_is_nowhere(kit: Kit):
    assert kit.run(jobs.find(kit.keys, "a")) is None


def test_a_queue_that_nobody_declared_is_empty(kit: Kit):
    assert kit.run(queues.inspect(kit.keys)) == QueueInfo("q", "", 0, False, 0, 0, 0, 0, 0, 0, 0, 0, None, {})


def test_every_place_is_counted(kit: Kit):
    names = [f"j{n}" for n in range(30)]
    kit.seed(
        meta={
            "discipline": "lifo",
            "maxsize": "7",
            "paused": "1",
            "enqueued": "40",
            "done": "3",
            "by": "me",
            "jumps": "1",
        },
        jobs={name: data(at_ms=NOW_MS - 100 + n) for n, name in enumerate(names)},
        ready={name: n for n, name in enumerate(names[5:10])},
        delayed=dict.fromkeys(names[10:14], 1),
        suspect=dict.fromkeys(names[14:17], 1),
        dead=dict.fromkeys(names[17:19], 1),
        ended={names[19]: "expired"},
        quarantine=dict.fromkeys(names[20:26], 1),
        outbox={"q/x": "0\nx"},
        lease_w=dict.fromkeys(names[26:30], "1;5;0;0"),
    )
    kit.command("HDEL", kit.keys.key("jobs"), *names[:5])
    assert kit.run(queues.inspect(kit.keys)) == QueueInfo(
        "q", "lifo", 7, True, ready=5, delayed=4, running=4, suspect=3, dead=2, ending=1, outbox=1, quarantine=6,
        oldest_ms=95, counters={"enqueued": 40, "done": 3, "jumps": 1},
    )  # fmt: skip


@pytest.mark.parametrize("scores", [{"old": 1, "mid": 2, "new": 3}, {"old": 3, "mid": 2, "new": 1}])
def test_the_oldest_of_both_ends_gives_the_age(kit: Kit, scores):
    ages = {"old": 500, "mid": 300, "new": 100}
    kit.seed(jobs={name: data(at_ms=NOW_MS - age) for name, age in ages.items()}, ready=scores)
    assert kit.run(queues.inspect(kit.keys)).oldest_ms == 500


# --- rates


def rates(kit: Kit, sample: str, **counters: str) -> tuple[float | None, float | None]:
    kit.seed(meta={"sample": sample, **counters})
    info = kit.run(queues.inspect(kit.keys))
    return info.rate_in, info.rate_out


def test_rates_are_counted_from_the_older_sample_to_now(kit: Kit):
    sample = f"{NOW - 10 * SECOND} 100 50 {NOW - 4 * SECOND} 130 60"
    assert rates(kit, sample, enqueued="140", requeued="10", done="50", failed="15") == (5.0, 1.5)


def test_an_only_sample_is_used(kit: Kit):
    assert rates(kit, f"{NOW - 2 * SECOND} 0 0", enqueued="8", done="2") == (4.0, 1.0)


def test_a_queue_in_which_nothing_happens_has_rates_of_0(kit: Kit):
    assert rates(kit, f"{NOW - 10 * SECOND} 7 7", enqueued="7", done="7") == (0.0, 0.0)


def test_an_older_sample_of_long_ago_gives_way_to_the_newer_one(kit: Kit):
    sample = f"{NOW - 601 * SECOND} 0 0 {NOW - 10 * SECOND} 100 100"
    assert rates(kit, sample, enqueued="120", done="100") == (2.0, 0.0)


@pytest.mark.parametrize(
    "sample",
    [
        "", "text", "1", f"{NOW - 10 * SECOND} 0", f"{NOW - 10 * SECOND} 0 0 ", f"{NOW - 10 * SECOND} 0 x",
        f"{NOW - 10 * SECOND} 0 0 7", f"{NOW - 10 * SECOND} -1 0", f"{NOW - 10 * SECOND} 0 0 \x1b[31m 1 1",
        f"{NOW - 601 * SECOND} 0 0",  # of long ago
        f"{NOW - SECOND // 2} 0 0",  # of just now: one job would be many a second
        f"{NOW + 10 * SECOND} 0 0",  # of a clock that was set back
        f"{NOW - 10 * SECOND} 500 0",  # of counters that began anew
    ],
)  # fmt: skip
def test_without_a_usable_sample_there_are_no_rates(kit: Kit, sample):
    assert rates(kit, sample, enqueued="100", done="100") == (None, None)


def test_a_beat_makes_the_sample_that_rates_are_made_of(kit: Kit):
    kit.declare()
    kit.worker(seconds=60)
    kit.run(workers.heartbeat(kit.keys, "w", TIMES))
    kit.run(jobs.enqueue(kit.keys, [job(f"j{n}") for n in range(20)]))
    kit.advance(4)
    info = kit.run(queues.inspect(kit.keys))
    assert (info.rate_in, info.rate_out) == (5.0, 0.0)
