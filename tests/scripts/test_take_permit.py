"""take_permit.lua: a free permit is taken, else a place in the line; whoever comes first is served first."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from broker_kit import NOW, SECOND, Kit

from taskq.broker import permits
from taskq.broker.line import LAST_PLACE, NO_PLACE, Wait
from taskq.broker.permits import Conflict, Given, Refused
from taskq.broker.queues import META_TTL_MS
from taskq.broker.results import channel

LEASE = 1.0  # seconds
BEAT = LEASE / 5
KEYS = ("permits", "holders", "fences", "line")


def take(kit: Kit, address: str, turn: str = NO_PLACE, *, limit: int = 1, lease: float = LEASE, **numbers: Any) -> Any:
    return kit.run(permits.take(kit.keys, address, limit=limit, lease=lease, turn=turn, who="me"), **numbers)


def keep(kit: Kit, *addresses: str) -> list[str]:
    return kit.run(permits.keep(kit.keys, addresses, LEASE))


def wait(kit: Kit, seconds: float, *kept: str) -> None:
    """Let time pass while ``kept`` are renewed, so that no clock seems to jump."""
    for _ in range(round(seconds / BEAT)):
        kit.advance(BEAT)
        keep(kit, *kept)


def table(kit: Kit, **changed: int) -> dict[str, str]:
    """What the hash of a lock holds, each number as it is after a first take."""
    numbers = {
        "limit": 1,
        "tick": kit.now,
        "grace": NOW + SECOND,
        "since": NOW,
        "fence": NOW,
        "lease": SECOND,
    } | changed
    return {"by": "me"} | {name: str(number) for name, number in numbers.items()}


def listening(kit: Kit, listen, token: str = "here"):
    return listen(kit, channel(kit.keys.namespace, token))


def test_a_free_permit_is_taken(kit: Kit):
    assert take(kit, "a/1") == Given(NOW)
    assert kit.snapshot() == {
        "permits": table(kit), "holders": {"a/1": NOW + SECOND}, "fences": {"a/1": str(NOW)},
    }  # fmt: skip


def test_who_does_not_wait_is_refused_and_leaves_nothing(kit: Kit):
    take(kit, "a/1")
    before = kit.snapshot()
    assert take(kit, "b/1") == Refused()
    assert kit.snapshot() == before


def test_who_waits_gets_a_place_at_the_end(kit: Kit):
    take(kit, "a/1")
    places = [take(kit, f"b/{number}", LAST_PLACE) for number in (1, 2, 3)]
    assert [place.turn for place in places] == ["1", "2", "3"]
    assert kit.snapshot() == {
        "permits": table(kit, turn=3), "holders": {"a/1": NOW + SECOND}, "fences": {"a/1": str(NOW)},
        "line": {"b/1": 1, "b/2": 2, "b/3": 3},
    }  # fmt: skip


def test_a_place_is_kept_when_asking_again(kit: Kit):
    take(kit, "a/1")
    take(kit, "b/1", LAST_PLACE)
    take(kit, "c/1", LAST_PLACE)
    assert take(kit, "b/1", "1").turn == "1"
    assert kit.read("line") == {"b/1": 1, "c/1": 2}


def test_who_was_passed_over_gets_its_old_place_back(kit: Kit):
    take(kit, "a/1")
    take(kit, "b/1", LAST_PLACE)
    take(kit, "c/1", LAST_PLACE)
    kit.command("ZREM", kit.keys.key("line"), "b/1")
    take(kit, "b/1", "1")
    assert kit.read("line") == {"b/1": 1, "c/1": 2}


def test_a_semaphore_gives_as_many_permits_as_it_has(kit: Kit):
    answers = [take(kit, f"a/{number}", limit=3) for number in range(4)]
    assert answers == [Given(NOW), Given(NOW + 1), Given(NOW + 2), Refused()]


def test_a_semaphore_of_none_gives_none(kit: Kit):
    assert take(kit, "a/1", limit=0) == Refused()
    assert take(kit, "a/1", LAST_PLACE, limit=0) == Wait("1", pytest.approx(BEAT, abs=0.01))


def test_an_added_permit_is_given(kit: Kit):
    kit.seed(permits={"limit": "0", "extra": "1"})
    assert [take(kit, f"a/{number}", limit=0) for number in (1, 2)] == [Given(NOW), Refused()]


@pytest.mark.parametrize("turn", [NO_PLACE, LAST_PLACE])
def test_another_number_of_permits_is_a_conflict_that_changes_nothing(kit: Kit, turn):
    take(kit, "a/1")
    before = kit.snapshot(), kit.sessions()
    assert take(kit, "b/1", turn, limit=2) == Conflict(1, "me")
    assert (kit.snapshot(), kit.sessions()) == before


def test_who_was_given_a_permit_meanwhile_has_it_when_asking_again(kit: Kit, listen):
    take(kit, "a/1")
    with listening(kit, listen):
        take(kit, "here/1", LAST_PLACE)
        kit.run(permits.give(kit.keys, ["a/1"], limit=1, lease=LEASE))
        before = kit.snapshot()
        assert take(kit, "here/1", "1") == Given(NOW + 1)
    assert kit.snapshot() == before


@pytest.mark.parametrize("lost", [["permits"], list(KEYS)])
def test_a_fence_is_greater_than_those_that_the_server_has_lost(kit: Kit, lost):
    fences = [take(kit, f"a/{number}", limit=9).fence for number in range(3)]
    kit.command("DEL", *map(kit.keys.key, lost))
    kit.advance(0.000_003)
    fences += [take(kit, f"b/{number}", limit=9).fence for number in range(3)]
    assert fences == sorted(set(fences))


def test_a_fence_is_greater_also_after_the_clock_was_set_back(kit: Kit):
    first = take(kit, "a/1", limit=2).fence
    kit.advance(-3600)
    assert take(kit, "b/1", limit=2) == Given(first + 1)


def test_who_has_a_permit_already_and_looks_again_takes_none_from_the_next_in_line(kit: Kit, listen):
    take(kit, "a/1")
    with listening(kit, listen) as messages:
        take(kit, "here/1", LAST_PLACE)
        take(kit, "here/2", LAST_PLACE)
        kit.run(permits.give(kit.keys, ["a/1"], limit=1, lease=LEASE))
        kit.command("HSET", kit.keys.key("permits"), "extra", "1")  # a second one is free, and nobody was told yet
        take(kit, "here/1", "1")
        assert [message.partition(b"\n")[0] for message in messages(2)] == [b"~1", b"~2"]
    assert kit.read("holders").keys() == {"here/1", "here/2"}


# -- first come, first served


def test_nobody_overtakes_the_line_when_a_permit_comes_free(kit: Kit, listen):
    take(kit, "a/1")
    with listening(kit, listen) as messages:
        take(kit, "here/1", LAST_PLACE)
        wait(kit, LEASE + BEAT)  # nobody renews a/1, and clocks are steady
        assert take(kit, "b/1") == Refused()
        assert messages(1) == [f"~1\n{kit.now}".encode()]
    assert kit.read("fences") == {"here/1": str(kit.now)}
    assert kit.read("line") is None


def test_a_waiter_that_nobody_hears_for_is_passed_over(kit: Kit, listen):
    take(kit, "a/1")
    with listening(kit, listen) as messages:
        for address in ("gone/1", "gone/2", "here/7"):
            take(kit, address, LAST_PLACE)
        wait(kit, LEASE + BEAT)
        assert take(kit, "b/1") == Refused()
        assert messages(1) == [f"~7\n{kit.now + 2}".encode()], "the fence of whoever was passed over is used up"
    assert kit.read("holders").keys() == {"here/7"}
    assert kit.read("fences") == {"here/7": str(kit.now + 2)}
    assert kit.read("line") is None


def test_who_asks_again_while_its_process_hears_nothing_is_passed_over_itself(kit: Kit, listen):
    take(kit, "a/1")
    with listening(kit, listen) as messages:
        take(kit, "deaf/1", LAST_PLACE)
        take(kit, "here/2", LAST_PLACE)
        wait(kit, LEASE + BEAT)
        assert take(kit, "deaf/1", "1") == Wait("1", pytest.approx(LEASE, abs=0.01))
        assert messages(1) == [f"~2\n{kit.now + 1}".encode()]
    assert kit.read("holders").keys() == {"here/2"}
    assert kit.read("line") is None


def test_who_asks_takes_what_only_dead_ones_wait_for(kit: Kit):
    take(kit, "a/1")
    take(kit, "gone/1", LAST_PLACE)
    wait(kit, LEASE + BEAT)
    assert take(kit, "b/1") == Given(kit.now + 1)


# -- leases and clocks


def test_a_lease_that_is_over_frees_the_permit(kit: Kit):
    take(kit, "a/1")
    wait(kit, LEASE)
    assert take(kit, "b/1") == Refused(), "at its very end it still holds"
    kit.advance(0.000_001)
    assert take(kit, "b/1") == Given(kit.now)
    assert kit.read("holders") == {"b/1": kit.now + SECOND}
    assert kit.read("fences") == {"b/1": str(kit.now)}


def test_a_renewed_lease_holds(kit: Kit):
    take(kit, "a/1")
    wait(kit, 10 * LEASE, "a/1")
    assert take(kit, "b/1") == Refused()


def test_a_step_of_the_clock_gives_everybody_one_more_lease(kit: Kit):
    take(kit, "a/1")
    kit.advance(3600)
    assert take(kit, "b/1") == Refused()
    assert kit.read("permits")["grace"] == str(kit.now + SECOND)
    wait(kit, LEASE - BEAT)
    assert take(kit, "b/1") == Refused()
    wait(kit, BEAT)
    assert take(kit, "b/1") == Given(kit.now)


def test_a_holder_that_renews_after_a_step_of_the_clock_keeps_it(kit: Kit):
    take(kit, "a/1")
    kit.advance(3600)
    take(kit, "b/1")
    wait(kit, 5 * LEASE, "a/1")
    assert take(kit, "b/1") == Refused()


def test_a_clock_that_is_set_back_makes_no_lease_longer(kit: Kit):
    take(kit, "a/1")
    kit.advance(-3600)
    assert take(kit, "b/1") == Refused()
    assert kit.read("holders") == {"a/1": kit.now + SECOND}
    assert kit.read("permits") == table(kit, grace=kit.now + SECOND, since=kit.now, jumps=1)
    wait(kit, LEASE + BEAT)
    assert take(kit, "b/1") == Given(NOW + 1)


def test_a_clock_that_is_slewed_back_stands_still(kit: Kit):
    take(kit, "a/1")
    kit.advance(-0.5)
    assert take(kit, "b/1") == Refused()
    assert kit.read("permits") == table(kit, tick=NOW)
    assert kit.read("holders") == {"a/1": NOW + SECOND}


def test_a_dead_holders_permit_comes_back_also_to_who_looks_now_and_then(kit: Kit):
    take(kit, "a/1")
    answers = []
    for _ in range(3):
        kit.advance(60)  # longer than three beats: to the script each look may be the first one after an outage
        answers.append(take(kit, "b/1"))
    assert answers[0] == Refused()
    assert any(isinstance(answer, Given) and answer.fence > NOW for answer in answers)


def test_a_grace_that_has_passed_is_not_held_against_who_renewed_in_it(kit: Kit):
    take(kit, "a/1")
    kit.advance(60)
    take(kit, "b/1")  # a grace begins
    kit.advance(BEAT)
    keep(kit, "a/1")
    kit.advance(60)  # another outage
    assert take(kit, "b/1") == Refused()


def test_a_grace_in_which_nobody_looked_is_over_for_one_holder_and_begins_for_another(kit: Kit):
    take(kit, "a/1", limit=2)
    take(kit, "b/1", limit=2)
    kit.advance(60)
    take(kit, "c/1", limit=2)
    keep(kit, "a/1")
    kit.advance(60)
    assert take(kit, "c/1", limit=2) == Given(kit.now)
    assert kit.read("holders").keys() == {"a/1", "c/1"}


# -- who looks when


def test_the_first_in_line_looks_when_the_first_lease_is_over(kit: Kit):
    take(kit, "a/1")
    kit.advance(BEAT)
    keep(kit, "a/1")
    kit.set_clock(kit.now + SECOND - 50_000)
    keep(kit)
    kit.command("HSET", kit.keys.key("permits"), "grace", NOW)
    assert take(kit, "b/1", LAST_PLACE).again == pytest.approx(0.051, abs=0.001)


def test_the_first_in_line_looks_at_each_beat(kit: Kit):
    take(kit, "a/1")
    assert take(kit, "b/1", LAST_PLACE).again == pytest.approx(BEAT, abs=0.01)


def test_the_next_ones_stand_in_for_it_and_the_rest_look_seldom(kit: Kit):
    take(kit, "a/1")
    looks = [take(kit, f"b/{number}", LAST_PLACE).again for number in range(6)]
    assert looks[1:4] == [pytest.approx(2 * BEAT, abs=0.01)] * 3
    assert looks[4:] == [pytest.approx(LEASE, abs=0.01)] * 2


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_the_line_moves_on_by_itself_when_the_holder_and_all_before_are_dead(kit: Kit, listen, rank):
    """Nobody but this one waiter looks; it does so when it was told to."""
    take(kit, "a/1")
    with listening(kit, listen):
        for number in range(rank):
            take(kit, f"gone/{number}", LAST_PLACE)
        answer, passed = take(kit, "here/1", LAST_PLACE), 0.0
        while isinstance(answer, Wait):
            passed += answer.again
            assert passed < 4 * LEASE
            kit.advance(answer.again)
            answer = take(kit, "here/1", answer.turn)
    assert answer.fence > NOW + rank, "after those of the holder and of all that were passed over"
    assert passed <= (2 * LEASE if rank <= 3 else 4 * LEASE)


# -- the rest


def test_every_key_lives_long_after_its_last_use(kit: Kit):
    take(kit, "a/1")
    take(kit, "b/1", LAST_PLACE)
    for name in KEYS:
        assert META_TTL_MS - 60_000 < kit.ttl(name) <= META_TTL_MS


@pytest.mark.parametrize("turn", [NO_PLACE, LAST_PLACE, "7"])
@pytest.mark.parametrize("free", [True, False])
def test_a_late_duplicate_takes_nothing(kit: Kit, turn, free):
    if not free:
        take(kit, "z/1")
    kit.replays(permits.take(kit.keys, "a/1", limit=1, lease=LEASE, turn=turn, who="me"))


def test_a_duplicate_does_not_take_what_was_given_back(kit: Kit):
    call = permits.take(kit.keys, "a/1", limit=1, lease=LEASE, turn=NO_PLACE, who="me")
    assert kit.run(call, session="mine", seq=1) == Given(NOW)
    kit.run(permits.give(kit.keys, ["a/1"], limit=1, lease=LEASE))
    before = kit.snapshot()
    assert kit.run(call, session="mine", seq=1) == Given(NOW), "the old answer"
    assert kit.snapshot() == before


@pytest.mark.parametrize(
    ("index", "value"),
    [
        *((index, value) for index in (2, 4, 5) for value in ("", "nan", "-1", " 5", "inf", "1.5")),
        (4, "0"),
        *((3, value) for value in ("nan", "-1", " 5", "x")),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(kit: Kit, index, value):
    take(kit, "z/1")
    call = permits.take(kit.keys, "a/1", limit=1, lease=LEASE, turn=LAST_PLACE, who="me")
    arguments = list(call.arguments)
    arguments[index] = value
    kit.refused(dataclasses.replace(call, arguments=arguments), "TASKQ_ARGS")


@pytest.mark.parametrize("name", KEYS)
def test_a_key_of_a_wrong_type_is_refused(kit: Kit, name):
    if name != "permits":
        take(kit, "a/1")
        kit.command("DEL", kit.keys.key(name))
    kit.seed(**{name: "text"})
    with pytest.raises(Exception, match="WRONGTYPE"):
        take(kit, "b/1", LAST_PLACE)
