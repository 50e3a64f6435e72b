"""end_items.lua: items are counted as finished, and claims end or are given back."""

from __future__ import annotations

import dataclasses

import pytest
from broker_kit import NOW, SECOND, Kit

from taskq.broker import items
from taskq.broker.queues import META_TTL_MS
from taskq.broker.results import channel
from taskq.model.discipline import Discipline


def put(kit: Kit, *values: str, places: tuple[str, ...] = ()):
    stored = [(place, value.encode()) for place, value in zip(places or [""] * len(values), values, strict=True)]
    return kit.run(items.put(kit.keys, "p/1", stored, ""))


def claim(kit: Kit, most: int = 1) -> list[str]:
    return list(kit.run(items.get(kit.keys, "c/1", most=most, turn="", lease=1.0, claim=True)).claims)


def done(kit: Kit, count: int = 1) -> bool:
    return kit.run(items.done(kit.keys, count))


def end(kit: Kit, *claims: str, back: bool = False) -> int:
    return kit.run(items.end_claims(kit.keys, claims, back=back))


def unfinished(kit: Kit) -> str:
    return kit.read("tally")["unfinished"]


def listening(kit: Kit, listen, token: str = "here"):
    return listen(kit, channel(kit.keys.namespace, token))


def test_items_are_counted_down(kit: Kit):
    kit.seed(tally={"seq": "3", "unfinished": "3"})
    assert done(kit)
    assert done(kit, 2)
    assert kit.snapshot() == {"tally": {"seq": "3", "unfinished": "0"}}


@pytest.mark.parametrize("tally", [{"seq": "1", "unfinished": "0"}, {"unfinished": "1"}, {"seq": "1"}])
def test_more_than_were_put_are_refused_and_not_counted(kit: Kit, tally):
    kit.seed(tally=tally)
    assert not done(kit, 2)
    assert kit.snapshot() == {"tally": tally}


def test_a_queue_that_nobody_used_has_nothing_to_finish(kit: Kit):
    assert not done(kit)
    assert kit.snapshot() == {}


def test_a_claim_that_ends_is_counted_as_finished_and_gone(kit: Kit):
    kit.declare()
    put(kit, "a", "b")
    one, two = claim(kit, 2)
    assert end(kit, one) == 0
    assert (kit.read("claims"), kit.read("claimed")) == ({two: NOW + SECOND}, {two: "2;0000000000000002b"})
    assert unfinished(kit) == "1"


def test_the_last_claim_leaves_nothing_of_claims(kit: Kit):
    kit.declare()
    put(kit, "a")
    end(kit, *claim(kit))
    assert set(kit.snapshot()) == {"meta", "tally"}
    assert {"lease", "beat", "since"} & set(kit.read("tally")) == set()


@pytest.mark.parametrize(
    ("discipline", "places"),
    [(Discipline.FIFO, ()), (Discipline.LIFO, ()), (Discipline.PRIORITY, ("0.1", "0.30000000000000004", "-7"))],
)
def test_a_claim_that_is_given_back_has_its_exact_place(kit: Kit, discipline, places):
    kit.declare(discipline)
    put(kit, "a", "b", "c", places=places)
    before = kit.read("items")
    assert end(kit, *claim(kit, 2), back=True) == 0
    assert list(kit.read("items").items()) == list(before.items())
    assert unfinished(kit) == "3"
    assert {"claims", "claimed"} & set(kit.snapshot()) == set()


def test_claims_that_are_lost_are_counted_and_finish_nothing(kit: Kit):
    kit.declare()
    put(kit, "a", "b")
    [held] = claim(kit)
    assert end(kit, "7", held, "8") == 2
    assert unfinished(kit) == "1"


def test_who_lost_an_item_does_not_end_the_claim_of_who_has_it_now(kit: Kit):
    kit.declare()
    put(kit, "a")
    [first] = claim(kit)
    end(kit, first, back=True)
    [second] = claim(kit)
    for back in (False, True):
        assert end(kit, first, back=back) == 1
    assert (list(kit.read("claims")), unfinished(kit), kit.read("items")) == ([second], "1", None)


def test_an_item_that_was_finished_by_number_while_claimed_ends_all_the_same(kit: Kit):
    kit.declare()
    put(kit, "a", "b")
    claims = claim(kit, 2)
    done(kit)
    assert end(kit, *claims) == 0
    assert unfinished(kit) == "0"
    assert "claims" not in kit.snapshot()


def test_joiners_are_told_once_when_nothing_is_unfinished(kit: Kit, listen):
    kit.declare()
    put(kit, "a", "b")
    for number in (1, 2):
        kit.run(items.join(kit.keys, f"here/{number}"))
    with listening(kit, listen) as heard:
        done(kit)
        assert heard(0) == []
        done(kit)
        assert sorted(heard(2)) == [b"~1\n", b"~2\n"]
    put(kit, "c")
    with listening(kit, listen) as heard:
        done(kit)
        assert heard(0) == []


def test_the_end_of_the_last_claim_tells_joiners(kit: Kit, listen):
    kit.declare()
    put(kit, "a")
    claims = claim(kit)
    kit.run(items.join(kit.keys, "here/1"))
    with listening(kit, listen) as heard:
        end(kit, *claims)
        assert heard(1) == [b"~1\n"]


def test_a_claim_that_is_given_back_tells_no_joiner_but_a_getter(kit: Kit, listen):
    kit.declare()
    put(kit, "a")
    claims = claim(kit)
    kit.run(items.join(kit.keys, "here/1"))
    for number in (2, 3):
        kit.run(items.get(kit.keys, f"here/{number}", most=1, turn="0", lease=1.0, claim=False))
    with listening(kit, listen) as heard:
        end(kit, *claims, back=True)
        assert heard(1) == [b"~2\n"]
    assert list(kit.read("getters")) == ["here/3"]


def test_the_tally_goes_some_time_after_the_last_claim(kit: Kit):
    kit.declare()
    put(kit, "a")
    claims = claim(kit)
    end(kit, *claims, back=True)
    assert kit.ttl("tally") == -1
    end(kit, *claim(kit))
    assert META_TTL_MS - 60_000 < kit.ttl("tally") <= META_TTL_MS


@pytest.mark.parametrize("back", [False, True])
def test_a_late_duplicate_ends_nothing_twice(kit: Kit, back):
    kit.declare()
    put(kit, "a", "b")
    kit.replays(items.end_claims(kit.keys, ["9", *claim(kit)], back=back))
    assert unfinished(kit) == ("2" if back else "1")


@pytest.mark.parametrize("put_before", [0, 2])
def test_a_late_duplicate_counts_nothing_twice(kit: Kit, put_before):
    kit.seed(tally={"seq": "2", "unfinished": str(put_before)})
    kit.replays(items.done(kit.keys, 1))
    assert unfinished(kit) == str(max(0, put_before - 1))


@pytest.mark.parametrize(("at", "value"), [(1, ""), (1, "x"), (2, ""), (2, "-1"), (2, "nan"), (2, "1.5")])
def test_arguments_that_cannot_be_used_are_refused(kit: Kit, at, value):
    kit.seed(tally={"seq": "2", "unfinished": "2"})
    call = items.done(kit.keys, 1)
    arguments = list(call.arguments)
    arguments[at] = value
    kit.refused(dataclasses.replace(call, arguments=arguments), "TASKQ_ARGS")


def test_a_tally_of_a_wrong_type_is_refused_before_any_write(kit: Kit):
    kit.seed(tally="text")
    kit.refused(items.done(kit.keys, 1), "WRONGTYPE")
