"""Which jobs a worker keeps for children that do not take any, and what becomes of the children of old code."""

from __future__ import annotations

import logging
import selectors
import time
from collections.abc import Iterator
from importlib.util import cache_from_source
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from taskq.broker.keys import QueueKeys
from taskq.worker.claims import Claims
from taskq.worker.dispatch import Dispatcher, Hand
from taskq.worker.leases import Lease, ServedQueue
from taskq.worker.nursery import NEIGHBOURS, RESTLESS, Nursery
from taskq.worker.options import QueueChoice, WorkerOptions
from taskq.worker.protocol import PROTOCOL, Hello

VERSION = "1"


class Child:
    """Stands for a process: what it is sent, and whether it was killed."""

    def __init__(self, slots: int = 1) -> None:
        self.pid, self.slots, self.ended = id(self), slots, False
        self.sent: list[bytes] = []
        self.killed = False
        self.table: Any = SimpleNamespace(running=list)

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)

    def kill(self) -> None:
        self.killed = True

    def exited(self, status: int) -> None:
        self.ended = True

    def collect(self) -> tuple[list[Any], list[int]]:
        return [], []

    def fileno(self) -> int:
        return 100_000  # of nothing

    def close(self) -> None:
        pass


class Ward:
    """A nursery whose children are made by hand, and what it starts."""

    def __init__(self, *, reload: bool = False, wanted: int = 1) -> None:
        self.queue = ServedQueue(QueueChoice("q"), QueueKeys("ns", "q"), "w")
        claims = Claims(lambda _: None, lambda *_: None, SimpleNamespace())  # type: ignore[arg-type]
        self.dispatcher = Dispatcher(claims, "w")
        options = WorkerOptions("shop", "thread", 1, wanted, reload=reload)
        self.selector = selectors.DefaultSelector()
        self.nursery = Nursery(options, self.dispatcher, self.selector, "w", VERSION, lambda _: None)
        self.started: list[bool] = []
        self.nursery.start = self.start  # type: ignore[method-assign,assignment]

    def start(self, *, apart: bool = False) -> Hand:
        self.started.append(apart)
        return self.add(apart=apart)

    def add(self, **state: bool) -> Hand:
        child: Any = Child()
        hand = Hand(child, **state)
        self.dispatcher.hands.append(hand)
        return hand

    def greet(self, hand: Hand, error: str = "") -> None:
        self.nursery._greet(hand, Hello(PROTOCOL, VERSION, 1, error))

    def bury(self, hand: Hand, status: int = 9) -> None:
        self.nursery._bury(hand, status)

    def lease(self, unique: str, *, suspect: bool = False) -> Lease:
        return Lease(self.queue, unique, "1", b"1;0;0;0;0", b"", "w", 0, suspect)

    def claim(self, unique: str, *, suspect: bool = False) -> None:
        self.dispatcher.add([self.lease(unique, suspect=suspect)])

    def turn(self, after: float = 1.0) -> None:
        """Do what the loop does, seconds later: by default when a child that died young may be followed."""
        self.nursery.keep(time.monotonic() + after)
        self.dispatcher.release_stranded()
        self.dispatcher.pump()

    @property
    def released(self) -> list[str]:
        return [lease.unique for lease, _ in self.queue.releases]

    def close(self) -> None:
        self.nursery.close()
        self.selector.close()


@pytest.fixture
def ward() -> Iterator[Ward]:
    made = Ward()
    yield made
    made.close()


@pytest.fixture
def reloading() -> Iterator[Ward]:
    made = Ward(reload=True)
    yield made
    made.close()


# --- jobs without a child -------------------------------------------------------------------------------------------


def test_what_waits_goes_back_when_no_child_takes_jobs(ward: Ward) -> None:
    child = ward.add()
    ward.greet(child)
    for name in "abc":
        ward.claim(name)
    ward.turn()
    assert (next(iter(ward.dispatcher.pending)).unique, ward.released) == ("b", [])
    ward.bury(child)
    ward.claim("late")  # in a reply that was under way
    ward.turn()
    assert sorted(ward.released) == ["a", "b", "c", "late"]
    assert not ward.dispatcher.pending


def test_what_waits_goes_back_while_the_only_child_ends_a_long_job(ward: Ward) -> None:
    child = ward.add()
    ward.greet(child)
    ward.claim("long")
    ward.turn()
    ward.dispatcher.back(child, [])  # it may run no more after this one
    ward.claim("a")
    ward.turn()
    assert ward.released == ["a"]


def test_nothing_is_claimed_while_no_child_takes_jobs(ward: Ward) -> None:
    child = ward.add()
    assert ward.dispatcher.wanted() == (0, 0)
    ward.greet(child)
    assert ward.dispatcher.wanted() == (1, 1)
    ward.bury(child)
    assert ward.dispatcher.wanted() == (0, 0)


def test_a_suspect_is_kept_while_its_child_starts(ward: Ward) -> None:
    ward.greet(ward.add())
    ward.claim("s", suspect=True)
    ward.turn()
    ward.turn()
    assert (ward.started, ward.released) == ([True], [])


def test_a_suspect_is_kept_while_its_child_starts_and_the_others_die(ward: Ward) -> None:
    ward.greet(ward.add())
    ward.claim("s", suspect=True)
    ward.turn()
    ward.bury(ward.dispatcher.hands[0])
    ward.turn(after=0.0)
    assert (ward.started, ward.released) == ([True], [])


def test_a_suspect_goes_back_when_its_child_cannot_start(ward: Ward) -> None:
    ward.greet(ward.add())
    ward.claim("s", suspect=True)
    ward.turn()
    apart = ward.dispatcher.hands[-1]
    ward.greet(apart, "importing 'shop' failed: SyntaxError")
    ward.bury(apart, 256)
    ward.turn(after=0.0)
    assert (ward.started, ward.released) == ([True], ["s"])
    assert ward.dispatcher.wanted() == (1, 0)


def test_suspects_are_claimed_again_when_their_child_may_be_tried_again(ward: Ward) -> None:
    ward.greet(ward.add())
    ward.bury(ward.add(apart=True), 256)
    assert ward.dispatcher.wanted()[1] == 0
    ward.dispatcher.suspects_from = time.monotonic() - 0.001
    assert ward.dispatcher.wanted()[1] == 1


def test_suspects_stay_with_others_while_changed_code_is_tried_or_broken(reloading: Ward) -> None:
    old = reloading.add()
    reloading.greet(old)
    reloading.claim("s", suspect=True)
    reloading.nursery.renew([])
    reloading.turn()
    assert (reloading.started, reloading.released, reloading.dispatcher.wanted()) == ([False], ["s"], (1, 0))
    reloading.greet(reloading.dispatcher.hands[-1], "broken")
    reloading.bury(reloading.dispatcher.hands[-1])
    reloading.claim("late", suspect=True)
    reloading.turn()
    assert (reloading.started, reloading.released, reloading.dispatcher.wanted()) == ([False], ["s", "late"], (1, 0))


def test_suspects_do_not_wait_for_an_old_child(reloading: Ward) -> None:
    reloading.greet(reloading.add())
    apart = reloading.add(apart=True)
    reloading.greet(apart)
    reloading.claim("s", suspect=True)
    reloading.turn()
    reloading.claim("next", suspect=True)
    reloading.nursery.renew([])
    reloading.turn()
    assert (len(apart.held), reloading.released) == (1, ["next"])


def test_a_suspect_that_runs_in_an_old_child_holds_up_no_other(reloading: Ward) -> None:
    reloading.greet(reloading.add())
    apart = reloading.add(apart=True)
    reloading.greet(apart)
    reloading.claim("s", suspect=True)
    reloading.turn()
    assert (len(apart.held), reloading.dispatcher.wanted()[1]) == (1, 0)
    reloading.nursery.renew([])
    reloading.turn()
    reloading.greet(reloading.dispatcher.hands[-1])
    assert reloading.dispatcher.wanted()[1] == 1


# --- changed code ---------------------------------------------------------------------------------------------------


def test_the_death_of_a_child_that_imports_code_which_started_before_is_followed_by_another(reloading: Ward) -> None:
    reloading.greet(reloading.add())
    reloading.bury(reloading.dispatcher.hands[0])
    reloading.turn()
    reloading.bury(reloading.dispatcher.hands[0])
    reloading.nursery.keep(time.monotonic() + 1.0)
    assert reloading.started == [False, False]


def test_code_that_started_before_and_cannot_be_imported_now_is_tried_again(reloading: Ward) -> None:
    reloading.greet(reloading.add())
    reloading.bury(reloading.dispatcher.hands[0])
    reloading.turn()
    reloading.greet(reloading.dispatcher.hands[0], "the database does not answer")
    reloading.bury(reloading.dispatcher.hands[0], 256)
    reloading.nursery.keep(time.monotonic() + 1.0)
    assert reloading.started == [False, False]


def test_changed_code_that_dies_in_its_import_is_not_tried_again(reloading: Ward) -> None:
    reloading.greet(reloading.add())
    reloading.nursery.renew([])
    reloading.turn()
    reloading.bury(reloading.dispatcher.hands[-1])
    reloading.nursery.keep(time.monotonic() + 60.0)
    assert reloading.started == [False]


def test_an_old_child_that_has_nothing_left_and_does_not_end_is_killed(reloading: Ward) -> None:
    old = reloading.add()
    reloading.greet(old)
    reloading.claim("a")
    reloading.turn()
    reloading.nursery.renew([])
    reloading.turn()
    reloading.greet(reloading.dispatcher.hands[-1])
    now = time.monotonic()
    reloading.nursery.keep(now)
    assert old.retire_at == 0, "it runs a job, which has all its time"
    old.held.clear()
    reloading.nursery.keep(now)
    killed = []
    for after in (0.1, NEIGHBOURS - 0.1, NEIGHBOURS + 0.1):
        reloading.nursery.watch(now + after)
        killed.append(old.child.killed)  # type: ignore[attr-defined]  # a Child of ours
    assert killed == [False, False, True]


def test_how_many_old_children_are_left_is_told_while_none_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    ward = Ward(reload=True, wanted=3)
    for _ in range(3):
        ward.greet(ward.add())
    ward.nursery.renew([])
    ward.turn()
    ward.greet(ward.dispatcher.hands[-1], "broken")
    ward.bury(ward.dispatcher.hands[-1])
    with caplog.at_level(logging.WARNING, "taskq.worker"):
        ward.bury(ward.dispatcher.hands[0])
    ward.turn()
    assert "2 children with the old code are left until a file changes" in caplog.messages
    assert ward.started == [False]
    ward.close()


def test_the_last_old_child_leaves_one_try_also_where_one_for_suspects_is_there(reloading: Ward) -> None:
    old = reloading.add()
    reloading.greet(old)
    reloading.greet(reloading.add(apart=True))
    reloading.nursery.renew([])
    reloading.turn()
    reloading.greet(reloading.dispatcher.hands[-1], "broken")
    reloading.bury(reloading.dispatcher.hands[-1])
    reloading.bury(old)
    reloading.turn()
    assert reloading.started == [False, False]


def test_what_was_compiled_of_changed_sources_is_dropped_before_a_child_starts(reloading: Ward, tmp_path: Path) -> None:
    compiled = Path(cache_from_source(str(tmp_path / "shop.py")))
    compiled.parent.mkdir()
    compiled.touch()
    reloading.nursery.renew([str(tmp_path / "shop.py")])
    assert not compiled.exists()


def test_sources_that_change_whenever_they_are_imported_are_named(
    reloading: Ward, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "taskq.worker"):
        for _ in range(RESTLESS):
            assert not caplog.messages
            reloading.turn()
            reloading.nursery.renew(["/shop/gen.py"])
            for hand in list(reloading.dispatcher.hands):
                reloading.bury(hand)
    assert caplog.messages == [
        f"/shop/gen.py changed while the app was imported, {RESTLESS} times in a row: does the app write it then?"
    ]


def test_changes_are_not_taken_for_changes_by_the_import_once_a_child_is_ready(
    reloading: Ward, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "taskq.worker"):
        for _ in range(2):
            for _ in range(RESTLESS - 1):
                reloading.turn()
                reloading.nursery.renew(["/shop/views.py"])
                reloading.bury(reloading.dispatcher.hands[-1])
            reloading.turn()
            reloading.greet(reloading.dispatcher.hands[-1])
            reloading.nursery.renew(["/shop/views.py"])
    assert not caplog.messages


def test_an_import_that_several_changes_cut_short_counts_once(
    reloading: Ward, caplog: pytest.LogCaptureFixture
) -> None:
    reloading.turn()
    with caplog.at_level(logging.WARNING, "taskq.worker"):
        for _ in range(RESTLESS):
            reloading.nursery.renew(["/shop/views.py"])
    assert not caplog.messages
