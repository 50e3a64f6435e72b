"""inspect.lua: a queue's lengths and counters, or where one job is."""

from __future__ import annotations

import pytest
from broker_kit import NOW, NOW_MS, Kit, data

from taskq.broker import jobs, queues
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
