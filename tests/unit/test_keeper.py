"""The keeper renews what is held, in groups and in time, and says what is lost."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import pytest

from taskq.client.keeper import Keeper, Kind, check_lease, patience_of
from taskq.errors import BrokerUnavailable, InvalidTimeout

LEASE = 0.05  # seconds; a beat is 10 ms
SOON = 10.0  # seconds; a loaded machine needs one


class Held:
    """Something that is held; its renewal is the list of addresses."""

    kind = Kind.PERMIT
    tag = "lock:x"
    limit = 1

    def __init__(self, address: str, group: str = "g", lease: float = LEASE) -> None:
        self.address = address
        self.lease = lease
        self.of = group
        self.lost = False
        self.doubted = False

    @property
    def group(self) -> Hashable:
        return (self.of, self.lease)

    def renewal(self, addresses: Sequence[str]) -> Any:
        return list(addresses)

    def lose(self) -> None:
        self.lost = True

    def doubt(self, doubted: bool) -> None:
        self.doubted = doubted


class Recorder:
    """Stands where the broker does: notes each renewal, and answers as it is told."""

    def __init__(self) -> None:
        self.calls: queue.Queue[tuple[float, list[str]]] = queue.Queue()
        self.answer: Callable[[list[str]], list[str]] = lambda _: []
        self.deadline = self.patience = 0.0

    @contextlib.contextmanager
    def session(self) -> Iterator[Recorder]:
        yield self

    def run(self, call: list[str], deadline: float, patience: float) -> list[str]:
        self.deadline, self.patience = deadline, patience
        self.calls.put((time.monotonic(), sorted(call)))
        return self.answer(call)

    def next(self) -> list[str]:
        return self.calls.get(timeout=SOON)[1]


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def keeper(recorder):
    keeper = Keeper(recorder)
    yield keeper
    keeper.close()
    if keeper._thread is not None:
        keeper._thread.join(SOON)
        assert not keeper._thread.is_alive()


def until(reached: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SOON
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_nothing_is_started_before_something_is_kept(keeper):
    assert (keeper._thread, len(keeper)) == (None, 0)


def test_what_is_kept_is_renewed_again_and_again(keeper, recorder):
    keeper.keep(Held("a"))
    assert [recorder.next() for _ in range(5)] == [["a"]] * 5
    assert len(keeper) == 1


def test_the_first_renewal_comes_within_the_lease(keeper, recorder):
    started = time.monotonic()
    keeper.keep(Held("a", lease=1.0))
    at, _ = recorder.calls.get(timeout=SOON)
    assert 0.1 < at - started < 1.0
    assert recorder.deadline == pytest.approx(0.2), "and is given up after a beat"


def test_all_of_a_group_are_renewed_in_one_call(keeper, recorder):
    for address in "cab":
        keeper.keep(Held(address))
    until(lambda: recorder.next() == ["a", "b", "c"])


def test_groups_are_renewed_apart(keeper, recorder):
    keeper.keep(Held("a", "one"))
    keeper.keep(Held("b", "two"))
    seen = [recorder.next() for _ in range(8)]
    assert seen.count(["a"]) >= 2
    assert seen.count(["b"]) >= 2
    assert len(seen) == seen.count(["a"]) + seen.count(["b"])


def test_a_short_lease_is_not_kept_waiting_by_a_long_one(keeper, recorder):
    keeper.keep(Held("long", lease=3600.0))
    keeper.keep(Held("short"))
    assert [recorder.next() for _ in range(3)] == [["short"]] * 3


def test_what_is_dropped_is_renewed_no_more(keeper, recorder):
    gone, stays = Held("a"), Held("b")
    keeper.keep(gone)
    keeper.keep(stays)
    recorder.next()
    keeper.drop(gone)
    until(lambda: recorder.next() == ["b"])
    assert [recorder.next() for _ in range(3)] == [["b"]] * 3


def test_nothing_is_left_of_a_group_when_all_of_it_is_dropped(keeper, recorder):
    held = Held("a")
    keeper.keep(held)
    recorder.next()
    keeper.drop(held)
    until(lambda: not keeper._due)
    assert len(keeper) == 0


def test_what_is_kept_again_is_renewed_again(keeper, recorder):
    held = Held("a")
    for _ in range(3):
        keeper.keep(held)
        recorder.next()
        keeper.drop(held)
        until(lambda: not keeper._due)
    keeper.keep(held)
    assert recorder.next() == ["a"]


def test_what_is_kept_while_its_group_is_just_given_up_is_renewed_too(keeper, recorder):
    for number in range(300):
        held = Held(f"{number}")
        keeper.keep(held)
        keeper.drop(held)
    keeper.keep(Held("last"))
    until(lambda: recorder.next() == ["last"])


def test_what_is_lost_learns_so_once_and_the_others_are_kept(keeper, recorder, caplog):
    lost, kept = Held("a"), Held("b")
    recorder.answer = lambda call: [address for address in call if address == "a"]
    with caplog.at_level(logging.ERROR, "taskq.client.keeper"):
        keeper.keep(lost)
        keeper.keep(kept)
        until(lambda: lost.lost)
        until(lambda: recorder.next() == ["b"])
    assert (kept.lost, len(keeper)) == (False, 1)
    assert [record.action for record in caplog.records] == ["lease_lost"]


def test_what_was_dropped_during_the_call_is_not_lost(keeper, recorder, caplog):
    held = Held("a")

    def answer(call: list[str]) -> list[str]:
        keeper.drop(held)
        return call

    recorder.answer = answer
    keeper.keep(held)
    recorder.next()
    until(lambda: not keeper._due)
    assert (held.lost, caplog.records) == (False, [])


@pytest.mark.parametrize("error", [BrokerUnavailable("away"), RuntimeError("a defect")])
def test_an_error_ends_nothing(keeper, recorder, caplog, error):
    def fail(_: list[str]) -> list[str]:
        raise error

    recorder.answer = fail
    held = Held("a")
    keeper.keep(held)
    assert [recorder.next() for _ in range(3)] == [["a"]] * 3
    recorder.answer = lambda _: []
    assert [recorder.next() for _ in range(3)] == [["a"]] * 3
    assert held.lost is False
    assert {record.action for record in caplog.records} == {"keep_failed"}


def test_closing_ends_the_thread(recorder):
    keeper = Keeper(recorder)
    keeper.keep(Held("a", lease=3600.0))
    keeper.close()
    assert keeper._thread is not None
    keeper._thread.join(SOON)
    assert keeper._thread not in threading.enumerate()
    assert recorder.calls.empty()


def test_what_is_held_when_it_is_closed_is_lost_to_this_process(recorder, caplog):
    keeper = Keeper(recorder)
    before, after = Held("a", lease=3600.0), Held("b", lease=3600.0)
    keeper.keep(before)
    keeper.close()
    keeper.keep(after)
    assert (before.lost, after.lost, len(keeper)) == (True, True, 0)
    assert caplog.records == [], "it was asked for"


# -- a server that does not answer


def fail(_: list[str]) -> list[str]:
    raise BrokerUnavailable("away")


def test_what_was_not_renewed_for_a_lease_is_in_doubt_until_it_is(keeper, recorder):
    recorder.answer = fail
    held = Held("a")
    started = time.monotonic()
    keeper.keep(held)
    until(lambda: held.doubted)
    assert time.monotonic() - started >= LEASE
    assert (held.lost, len(keeper)) == (False, 1), "the server may be away, and then nobody else has it"
    recorder.answer = lambda _: []
    until(lambda: not held.doubted)


def test_what_is_lost_after_a_doubt_is_lost(keeper, recorder, caplog):
    recorder.answer = fail
    held = Held("a")
    keeper.keep(held)
    until(lambda: held.doubted)
    recorder.answer = list
    until(lambda: held.lost)
    assert "lease_lost" in {record.action for record in caplog.records}


@pytest.mark.parametrize(
    ("lease", "others", "patience"),
    [
        (5.0, (), 1.0),
        (25.0, (), 5.0),
        (25.0, (5.0,), 1.0),
        (25.0, (0.05,), 1.0),
        (1.0, (0.05,), 0.2),
        (0.05, (), 0.1),
    ],
)
def test_a_renewal_waits_no_longer_for_an_answer_than_others_can(lease, others, patience):
    """A connection that went silent is given up in time for the next one; so are other groups renewed in time."""
    assert patience_of(lease, [lease, *others]) == pytest.approx(patience)


@pytest.mark.parametrize("lease", [0.05, 1, 25.0, 86_400])
def test_a_lease_that_can_be_kept_is_taken(lease):
    assert check_lease(lease) == lease


@pytest.mark.parametrize("lease", [0, 0.049, -1, 86_401, float("nan"), float("inf"), "1", None, True])
def test_a_lease_that_cannot_be_kept_is_refused(lease):
    with pytest.raises(InvalidTimeout, match="lease"):
        check_lease(lease)
