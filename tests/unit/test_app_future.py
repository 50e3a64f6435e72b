"""The parts of a future that come into being when somebody waits."""

from __future__ import annotations

import concurrent.futures
import logging
import sys
import threading
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED

import pytest

from taskq.broker.results import parse_announcement
from taskq.client.future import LightFuture
from taskq.client.watching import Registry, Watch
from taskq.errors import ProtocolError


class Value(LightFuture[int]):
    """Ends by hand; counts who wants news."""

    wanted = 0

    def _stand(self):
        self.wanted += 1

    def _stand_down(self):
        self.wanted -= 1

    def end(self, state: str = FINISHED, failed: bool = False) -> None:
        self._end(state, failed=failed, change=lambda: None)


def test_a_future_that_nobody_waits_for_has_no_lock():
    assert vars(Value()) == {}


def test_all_threads_get_the_same_lock():
    future, found = Value(), []
    threads = [threading.Thread(target=lambda: found.append(future._condition)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1


def test_wait_returns_futures_that_end_later():
    future = Value()
    threading.Timer(0.01, future.end).start()
    assert concurrent.futures.wait([future], timeout=10).done == {future}


def test_as_completed_yields_in_the_order_of_ends():
    first, second = Value(), Value()
    completed = concurrent.futures.as_completed([first, second], timeout=10)
    threading.Timer(0.01, second.end).start()
    assert next(completed) is second
    first.end()
    assert next(completed) is first


def test_wait_stops_at_the_first_failure():
    failing, other = Value(), Value()
    threading.Timer(0.01, failing.end, (FINISHED, True)).start()
    done, not_done = concurrent.futures.wait([failing, other], 10, concurrent.futures.FIRST_EXCEPTION)
    assert (done, not_done) == ({failing}, {other})


def test_wait_counts_cancelled_ones_as_done():
    future = Value()
    threading.Timer(0.01, future.end, (CANCELLED_AND_NOTIFIED,)).start()
    assert concurrent.futures.wait([future], timeout=10).done == {future}


def test_waiters_want_news_only_while_they_wait():
    future = Value()
    concurrent.futures.wait([future], timeout=0)
    assert future.wanted == 0


def test_a_callback_is_called_once_with_the_future():
    future, seen = Value(), []
    future.add_done_callback(seen.append)
    future.end()
    future.end()
    assert seen == [future]


def test_a_callback_after_the_end_is_called_at_once():
    future, seen = Value(), []
    future.end()
    future.add_done_callback(seen.append)
    assert seen == [future]


def test_a_callback_that_raises_is_logged_and_the_next_is_called(caplog):
    future, seen = Value(), []
    future.add_done_callback(lambda _: sys.exit(1))
    future.add_done_callback(seen.append)
    with caplog.at_level(logging.ERROR):
        future.end()
    assert (seen, "callback" in caplog.text) == ([future], True)


def test_other_attributes_are_missing_as_usual():
    with pytest.raises(AttributeError, match="colour"):
        Value().colour  # noqa: B018


class Sink:
    def __init__(self):
        self.told = []

    def _settle(self, job_id, data):
        self.told.append((job_id, data))

    def _vanish(self, job_id):
        self.told.append((job_id, None))

    def _covered(self, epoch):
        self.told.append(epoch)


@pytest.fixture
def registry():
    return Registry()


def watch(registry, sink, *ids):
    made = Watch(sink, ids, pushed=True, wake=None)
    registry.add(made)
    return made


def test_every_watcher_of_a_job_is_told_once(registry):
    sinks = [Sink(), Sink()]
    for sink in sinks:
        watch(registry, sink, "q/1", "q/2")
    registry.settle("q/1", b"x")
    registry.settle("q/1", b"y")
    assert [sink.told for sink in sinks] == [[("q/1", b"x")]] * 2


def test_a_watch_is_over_when_all_its_jobs_have_ended(registry):
    sink = Sink()
    made = watch(registry, sink, "q/1", "q/2")
    registry.settle("q/1", b"")
    registry.vanish("q/2")
    assert (registry.active(made), registry.waiting()) == (False, 0)


def test_removing_a_watch_leaves_the_others(registry):
    sink, other = Sink(), Sink()
    made = watch(registry, sink, "q/1")
    watch(registry, other, "q/1")
    registry.remove(made)
    registry.settle("q/1", b"x")
    assert (sink.told, other.told) == ([], [("q/1", b"x")])


def test_removing_leaves_nothing_behind(registry):
    registry.remove(watch(registry, Sink(), "q/1"))
    assert (registry.waiting(), registry.watches(), registry.watchers("q/1")) == (0, [], ())


def test_who_is_only_known_is_told_but_not_kept(registry):
    kept, dropped = Sink(), Sink()
    registry.know("q/1", kept)
    registry.know("q/2", dropped)
    del dropped
    registry.settle("q/1", b"x")
    registry.settle("q/2", b"x")
    assert kept.told == [("q/1", b"x")]


def test_the_second_of_one_id_is_not_known(registry):
    first = Sink()
    assert (registry.know("q/1", first), registry.know("q/1", Sink())) == (True, False)


def test_an_announcement_without_the_record_uncovers_who_is_known(registry):
    sink = Sink()
    registry.know("q/1", sink)
    registry.uncover("q/1")
    registry.settle("q/1", b"x")
    assert sink.told == [None]


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (b"q\n", []),
        (b"q\na 3\nxyz", [("q/a", b"xyz")]),
        (b"q\na 0\nb 2\n\n\n", [("q/a", b""), ("q/b", b"\n\n")]),
    ],
)
def test_an_announcement_names_jobs_and_records(message, found):
    assert parse_announcement(message) == found


@pytest.mark.parametrize(
    "message", [b"", b"q", b"q\na", b"q\na 5\nxyz", b"q\na -3\nxyz", b"q\na x\n", b"q\na 1 2\nx", b"\xff\na 0\n"]
)
def test_a_damaged_announcement_is_refused(message):
    with pytest.raises(ProtocolError):
        parse_announcement(message)
