"""keep_barrier.lua: who waits renews its lease, and notices those that do not."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from broker_kit import NOW, SECOND, Kit

from taskq.broker import barriers
from taskq.broker.queues import META_TTL_MS
from taskq.broker.results import channel

LEASE = 1.0  # seconds
BEAT = SECOND // 5


def table(tick: int = NOW, grace: int = 5, **more: Any) -> dict[str, str]:
    numbers = {"parties": 3, "born": NOW, "next": 2, "tick": tick, "grace": grace, "lease": SECOND} | more
    return {"by": "me"} | {name: str(value) for name, value in numbers.items()}


def keep(kit: Kit, *addresses: str) -> list[str]:
    return kit.run(barriers.keep(kit.keys, addresses, LEASE))


def seed(kit: Kit, **deadlines: int) -> None:
    kit.seed(barrier=table(), arrived={"here/1": 0, "b/1": 1})
    kit.seed(deadlines={name.replace("_", "/"): at for name, at in deadlines.items()})


def test_leases_are_renewed_from_now(kit: Kit):
    seed(kit, here_1=NOW + 10, b_1=NOW + 20)
    keep(kit, "here/1")
    assert kit.snapshot() == {
        "barrier": table(),
        "arrived": {"here/1": 0, "b/1": 1},
        "deadlines": {"here/1": NOW + SECOND, "b/1": NOW + 20},
    }


def test_a_lease_that_is_over_is_renewed_while_nobody_noticed(kit: Kit):
    seed(kit, here_1=NOW - 10, b_1=NOW)
    keep(kit, "here/1")
    assert kit.read("deadlines") == {"here/1": NOW + SECOND, "b/1": NOW}


def test_a_lease_of_another_that_is_over_breaks_the_barrier(kit: Kit, listen):
    seed(kit, here_1=NOW, b_1=NOW - 1)
    with listen(kit, channel(kit.keys.namespace, "here")) as messages:
        keep(kit, "here/1")
        assert messages(1) == [b"~1\nB"]
    assert kit.snapshot() == {"barrier": table(next=3, broken=1), "failed": {"0": 0}}


def test_no_lease_is_over_during_the_grace(kit: Kit):
    seed(kit, here_1=NOW, b_1=NOW - 1)
    kit.command("HSET", kit.keys.key("barrier"), "grace", NOW + 1)
    keep(kit, "here/1")
    assert kit.read("deadlines") == {"here/1": NOW + SECOND, "b/1": NOW - 1}


def test_who_does_not_wait_any_more_gets_no_lease(kit: Kit):
    seed(kit, here_1=NOW, b_1=NOW)
    keep(kit, "c/1")
    assert kit.read("deadlines") == {"here/1": NOW, "b/1": NOW}


def test_nobody_is_called_lost_as_the_waiter_is_told_how_its_wait_ended(kit: Kit):
    seed(kit, here_1=NOW)
    assert keep(kit, "c/1", "here/1") == []


def test_a_barrier_that_the_server_lost_is_not_made_anew(kit: Kit):
    keep(kit, "here/1")
    assert kit.snapshot() == {}


@pytest.mark.parametrize(
    ("tick", "after", "other"),
    [
        (NOW - 3 * BEAT, table(NOW, 7), NOW + 50 * SECOND),  # steady
        (NOW + SECOND, table(NOW + SECOND, 7), NOW + 50 * SECOND),  # slewed back: time stands still
        (NOW + SECOND + 1, table(NOW, NOW + SECOND, jumps=1, since=NOW), NOW + SECOND),  # set back: no lease grows
        (NOW - 3 * BEAT - 1, table(NOW, NOW + SECOND, since=NOW), NOW + 50 * SECOND),  # a step forward, or an outage
    ],
)
def test_the_clock_is_guarded(kit: Kit, tick, after, other):
    seed(kit, here_1=NOW, b_1=NOW + 50 * SECOND)
    kit.command("HSET", kit.keys.key("barrier"), "tick", tick, "grace", 7)
    keep(kit, "here/1")
    assert kit.read("barrier") == after
    assert kit.read("deadlines") == {"here/1": int(after["tick"]) + SECOND, "b/1": other}


def test_run_twice_it_only_renews(kit: Kit):
    seed(kit, here_1=NOW + 10, b_1=NOW + 10)
    keep(kit, "here/1")
    before = kit.snapshot()
    keep(kit, "here/1")
    assert kit.snapshot() == before


def test_every_key_has_a_time_to_live(kit: Kit):
    seed(kit, here_1=NOW, b_1=NOW)
    kit.seed(failed={"0": 0})
    keep(kit, "here/1")
    for name in ("barrier", "arrived", "deadlines", "failed"):
        assert META_TTL_MS - 60_000 < kit.ttl(name) <= META_TTL_MS


@pytest.mark.parametrize(("at", "value"), [(1, "0"), (1, "x"), (2, "x")])
def test_arguments_are_checked(kit: Kit, at, value):
    call = barriers.keep(kit.keys, ["a/1"], LEASE)
    arguments = list(call.arguments)
    arguments[at] = value
    kit.refused(dataclasses.replace(call, arguments=tuple(arguments)), "TASKQ_ARGS")
