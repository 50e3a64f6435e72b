"""get_items.lua with claims: an item under a lease comes back to its place when the lease runs out, and only then."""

from __future__ import annotations

import pytest
from broker_kit import NOW, SECOND, Kit

from taskq.broker import items
from taskq.broker.items import Got
from taskq.broker.line import Wait
from taskq.broker.results import channel
from taskq.model.discipline import Discipline

LEASE = 1.0  # seconds
BEAT = LEASE / 5
WAITING = "0"


def put(kit: Kit, *values: str, places: tuple[str, ...] = ()):
    stored = [(place, value.encode()) for place, value in zip(places or [""] * len(values), values, strict=True)]
    return kit.run(items.put(kit.keys, "p/1", stored, ""))


def get(kit: Kit, most: int = 1, address: str = "g/1", turn: str = "", lease: float = LEASE) -> Got:
    return kit.run(items.get(kit.keys, address, most=most, turn=turn, lease=lease, claim=False))


def claim(kit: Kit, most: int = 1, lease: float = LEASE) -> list[str]:
    """Claim items; returns the claims."""
    return list(kit.run(items.get(kit.keys, "c/1", most=most, turn="", lease=lease, claim=True)).claims)


def keep(kit: Kit, *claims: str, lease: float = LEASE) -> None:
    addresses = [items.address_of(kit.keys, each) for each in claims]
    assert kit.run(items.keep(kit.keys, addresses, lease)) == []


def live(kit: Kit, seconds: float, *claims: str, lease: float = LEASE) -> None:
    """Let time pass while somebody waits and ``claims`` are kept, so that no clock seems to jump."""
    for _ in range(round(seconds / BEAT)):
        kit.advance(BEAT)
        if claims:
            keep(kit, *claims, lease=lease)
        else:
            kit.run(items.keep(kit.keys, [items.address_of(kit.keys, "none")], lease))


def values(got: Got) -> list[str]:
    return [member[items.ARRIVAL :].decode() for member in got.members]


def members(kit: Kit) -> list[str]:
    return [member[items.ARRIVAL :] for member in kit.read("items") or ()]


def listening(kit: Kit, listen, token: str = "here"):
    return listen(kit, channel(kit.keys.namespace, token))


def test_a_claimed_item_is_kept_with_its_place_and_deadline(kit: Kit):
    kit.declare(Discipline.PRIORITY)
    put(kit, "a", places=("-1.5",))
    got = kit.run(items.get(kit.keys, "c/1", most=1, turn="", lease=LEASE, claim=True))
    assert got == Got([b"0000000000000001a"], ["1"])
    assert kit.snapshot() == {
        "meta": {"discipline": "priority", "maxsize": "0"},
        "claims": {"1": NOW + SECOND},
        "claimed": {"1": "-1.5;0000000000000001a"},
        "tally": {
            "seq": "1", "unfinished": "1", "claim": "1", "lease": "1000000", "beat": "200000", "tick": str(NOW),
            "grace": "0",
        },
    }  # fmt: skip


def test_a_second_claim_of_an_item_has_another_number(kit: Kit):
    kit.declare()
    put(kit, "a")
    assert claim(kit) == ["1"]
    kit.run(items.end_claims(kit.keys, ["1"], back=True))
    assert claim(kit) == ["2"]


def test_several_items_are_claimed_at_once(kit: Kit):
    kit.declare()
    put(kit, "a", "b", "c")
    assert claim(kit, most=2) == ["1", "2"]
    assert members(kit) == ["c"]


@pytest.mark.parametrize(
    ("discipline", "places", "first", "order"),
    [
        (Discipline.FIFO, (), "a", "abcd"),
        (Discipline.LIFO, (), "c", "dcba"),
        (Discipline.PRIORITY, ("0.1", "0.1", "0.1", "0.1"), "a", "abcd"),
    ],
)
def test_an_item_comes_back_to_its_very_place(kit: Kit, discipline, places, first, order):
    kit.declare(discipline)
    put(kit, *"abc", places=places[:3])
    [name] = claim(kit)
    assert kit.read("claimed")[name].endswith(first)
    put(kit, "d", places=places[3:])
    live(kit, LEASE)
    kit.advance(BEAT)
    assert values(get(kit, most=9)) == list(order)


def test_a_binary_item_comes_back_unchanged(kit: Kit):
    kit.declare()
    binary = b"\x00;\r\n" + bytes(range(256))
    kit.run(items.put(kit.keys, "p/1", [("", binary)], ""))
    claim(kit)
    live(kit, LEASE + BEAT)
    [member] = get(kit).members
    assert member[items.ARRIVAL :] == binary


@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
def test_an_item_does_not_come_back_before_its_lease_is_over(kit: Kit, at):
    kit.declare()
    put(kit, "a")
    claim(kit)
    kit.advance(at)
    assert get(kit) == Got()


def test_a_lease_that_is_renewed_is_not_over(kit: Kit):
    kit.declare()
    put(kit, "a")
    live(kit, 5 * LEASE, *claim(kit))
    assert get(kit) == Got()


def test_an_item_that_is_claimed_at_once_and_never_kept_comes_back_although_the_last_look_was_long_ago(kit: Kit):
    kit.declare()
    put(kit, "a")
    claim(kit)
    kit.run(items.end_claims(kit.keys, ["1"], back=True))
    kit.advance(10_000)
    claim(kit)  # by who dies before the first renewal
    kit.advance(BEAT)
    get(kit)
    for _ in range(5):
        kit.advance(BEAT)
        found = get(kit)
    assert values(found) == ["a"]


def test_the_lease_of_who_asks_does_not_matter(kit: Kit):
    kit.declare()
    put(kit, "a")
    claim(kit)
    for _ in range(6):
        kit.advance(BEAT)
        found = get(kit, lease=25.0)
    assert values(found) == ["a"]


def test_after_an_outage_a_claim_has_one_more_lease(kit: Kit):
    kit.declare()
    put(kit, "a")
    [name] = claim(kit)
    kit.advance(60)
    assert get(kit, lease=25.0) == Got()
    assert get(kit, lease=LEASE) == Got()
    keep(kit, name)
    live(kit, LEASE, name)
    assert get(kit) == Got()


def test_after_an_outage_the_longest_of_the_leases_counts(kit: Kit):
    kit.declare()
    put(kit, "a", "b")
    [short] = claim(kit)
    claim(kit, lease=25.0)
    kit.advance(60)
    keep(kit, short)
    live(kit, 24.0, short)
    assert get(kit) == Got()
    live(kit, 2.0, short)
    assert values(get(kit)) == ["b"]


def test_who_looks_seldom_gets_what_was_claimed_at_the_second_look(kit: Kit):
    kit.declare()
    put(kit, "a")
    claim(kit)
    kit.advance(60)
    assert get(kit) == Got()
    kit.advance(60)
    assert values(get(kit)) == ["a"]


def test_a_clock_set_back_gives_a_claim_one_more_lease_and_no_longer(kit: Kit):
    kit.declare()
    put(kit, "a")
    claim(kit)
    kit.advance(-3600)
    assert get(kit) == Got()
    for _ in range(5):
        kit.advance(BEAT)
        assert get(kit) == Got()
    kit.advance(BEAT)
    assert values(get(kit)) == ["a"]


def test_what_comes_back_is_counted_as_unfinished_once(kit: Kit):
    kit.declare()
    put(kit, "a")
    claim(kit)
    live(kit, LEASE + BEAT)
    assert values(get(kit)) == ["a"]
    assert kit.read("tally")["unfinished"] == "1"


def test_more_that_comes_back_than_is_taken_calls_up_the_next(kit: Kit, listen):
    kit.declare()
    put(kit, "a", "b")
    claim(kit, most=2)
    get(kit, address="here/1", turn=WAITING)
    live(kit, LEASE + BEAT)
    with listening(kit, listen) as heard:
        assert values(get(kit, address="other/1")) == ["a"]
        assert heard(1) == [b"~1\n"]


def test_who_waits_looks_again_in_time_for_the_clock_guard(kit: Kit):
    kit.declare()
    put(kit, "a")
    claim(kit)
    assert get(kit, turn=WAITING, lease=25.0) == Got(wait=Wait("1", BEAT))
    kit.advance(LEASE - 0.05)
    live(kit, 0)
    kit.run(items.keep(kit.keys, [items.address_of(kit.keys, "none")], LEASE))
    again = get(kit, turn="1", lease=25.0).wait
    assert again is not None
    assert again.again <= BEAT


def test_only_the_head_of_the_line_looks_for_claims_that_run_out(kit: Kit):
    kit.declare()
    put(kit, "a")
    claim(kit)
    answers = [get(kit, address=f"g/{number}", turn=WAITING).wait for number in (1, 2, 3)]
    assert [answer.again for answer in answers if answer] == [BEAT, BEAT, 2.02]


def test_a_short_lease_lets_the_head_of_the_line_look_sooner(kit: Kit, listen):
    kit.declare()
    for number in (1, 2, 3):
        get(kit, address=f"here/{number}", turn=WAITING)
    kit.seed(items={"0000000000000001a": 1, "0000000000000002b": 2})
    with listening(kit, listen) as heard:
        claim(kit)
        assert heard(4) == [b"~1\n200000", b"~2\n200000", b"~1\n", b"~3\n200000"]


def test_a_long_lease_wakes_nobody(kit: Kit, listen):
    kit.declare()
    get(kit, address="here/1", turn=WAITING)
    kit.seed(items={"0000000000000001a": 1})
    with listening(kit, listen) as heard:
        claim(kit, lease=25.0)
        assert heard(0) == []


def test_without_claims_the_head_of_the_line_looks_seldom_again(kit: Kit):
    kit.declare()
    put(kit, "a")
    kit.run(items.end_claims(kit.keys, claim(kit), back=False))
    assert get(kit, turn=WAITING) == Got(wait=Wait("1", 2.0))


def test_tally_claims_and_what_was_claimed_stay_for_ever(kit: Kit):
    kit.declare()
    put(kit, "a")
    claim(kit)
    assert {name: kit.ttl(name) for name in ("tally", "claims", "claimed")} == {
        "tally": -1,
        "claims": -1,
        "claimed": -1,
    }


def test_a_late_duplicate_claims_nothing_twice(kit: Kit):
    kit.declare()
    put(kit, "a;\n", "b", "c")
    kit.replays(items.get(kit.keys, "c/1", most=2, turn="", lease=LEASE, claim=True))
    assert (members(kit), list(kit.read("claims"))) == (["c"], ["1", "2"])


def test_a_claim_whose_item_was_lost_by_hand_stops_nothing(kit: Kit):
    kit.declare()
    put(kit, "a", "b")
    claim(kit, most=2)
    kit.command("HDEL", kit.keys.key("claimed"), "1")
    live(kit, LEASE + BEAT)
    assert values(get(kit, most=9)) == ["b"]
    assert {"claims", "claimed"} & set(kit.snapshot()) == set()
