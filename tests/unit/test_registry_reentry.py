"""The collector may end a wait in the middle of any other one, in the very same thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from taskq import TaskQ
from taskq.client.listener import Listener
from taskq.client.watching import Registry, Watch
from taskq.coordination.event import _Crowd

SOON = 10.0  # seconds after which a thread is taken to be stuck


class Sink:
    """Takes the end of jobs and does nothing with it."""

    def _settle(self, job_id: str, data: bytes) -> None: ...

    def _vanish(self, job_id: str) -> None: ...

    def _covered(self, epoch: object | None) -> None: ...


class Id(str):
    """A job's id; where it is looked up the collector happens to run, if it has something to do."""

    __slots__ = ()
    collect: Callable[[], None] | None = None

    def __hash__(self) -> int:
        collect, Id.collect = Id.collect, None
        if collect is not None:
            collect()
        return str.__hash__(self)

    __eq__ = str.__eq__


def ends(function: Callable[..., Any], *args: Any) -> bool:
    """Tell whether a call comes to its end."""
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    thread.join(SOON)
    return not thread.is_alive()


@pytest.fixture
def registry():
    yield Registry()
    Id.collect = None


def watch(registry: Registry, *ids: str) -> Watch:
    made = Watch(Sink(), ids, pushed=True, wake=None)
    registry.add(made)
    return made


@pytest.mark.parametrize(
    "act",
    [
        lambda registry, mine, new: registry.add(new),
        lambda registry, mine, new: registry.remove(mine),
        lambda registry, mine, new: registry._take(next(iter(mine.left))),
    ],
    ids=["add", "remove", "take"],
)
def test_a_wait_that_is_collected_in_the_middle_of_another_leaves_nothing_behind(registry, act):
    mine, abandoned = watch(registry, Id("q/1")), watch(registry, "q/1", "q/2")
    new = Watch(Sink(), [Id("q/1")], pushed=True, wake=None)
    Id.collect = lambda: registry.remove(abandoned)
    assert ends(act, registry, mine, new)
    assert Id.collect is None, "it was collected"
    assert abandoned not in registry.watchers("q/1")
    assert (registry.watchers("q/2"), registry.active(abandoned)) == ((), False)


def test_a_wait_that_ends_while_another_thread_is_at_work_is_forgotten_when_that_is_done(registry):
    mine = watch(registry, "q/1")
    with registry._lock:
        assert ends(registry.remove, mine)
    registry.watches()
    assert (registry.watches(), registry.waiting()) == ([], 0)


def test_a_future_that_is_collected_connects_no_closed_app_again():
    app = TaskQ("x", "redis://localhost")
    result = app.AsyncResult("q/1")
    result._standing = Watch(result, [result.id], pushed=False, wake=None)
    with app._lock:  # as when this thread was just connecting
        assert ends(result._stand_down)
    assert (app._current, result._standing) == (None, None)


class Bell:
    """Wakes nobody."""

    def ring(self) -> None: ...


def test_an_event_bears_a_waiter_that_is_collected_while_another_comes():
    app = TaskQ("x", "redis://localhost")
    listener = Listener(app.broker)
    crowd = _Crowd(listener)
    abandoned, _ = crowd.join(Bell())
    crowd.leave(abandoned, listed=False)
    crowd._waiters[abandoned] = None  # it has left before the next one gets its address
    opened, found = listener.signals.open, []

    def open_in_the_middle_of_a_collection(ring: Callable[[], None]) -> Any:
        signal = opened(ring)
        crowd._signal = signal
        crowd.leave(abandoned, listed=False)
        return signal

    listener.signals.open = open_in_the_middle_of_a_collection  # type: ignore[method-assign]
    assert ends(lambda: found.append(crowd.join(Bell())))
    [(_, signal)] = found
    assert signal is crowd._signal
    app.close()
