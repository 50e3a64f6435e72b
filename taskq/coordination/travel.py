"""How an app's own objects travel inside arguments and results: by name, and bound to the app where they arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from taskq.client.queues import LifoQueue, PriorityQueue, Queue
from taskq.client.result import AsyncResult
from taskq.coordination.event import Event
from taskq.coordination.lock import Lock, RLock
from taskq.coordination.semaphore import BoundedSemaphore, Semaphore
from taskq.model.types import Form

if TYPE_CHECKING:
    from taskq.app import TaskQ


def forms_of(app: TaskQ) -> tuple[Form, ...]:
    """Return the forms of all kinds; what they load belongs to ``app``."""
    return (
        _form(Event, lambda event: (event.name,), app.Event),
        _form(Lock, _locked, app.Lock),
        _form(RLock, _locked, app.RLock),
        _form(Semaphore, _permitted, app.Semaphore),
        _form(BoundedSemaphore, _permitted, app.BoundedSemaphore),
        _form(Queue, _bounded, app.Queue),
        _form(LifoQueue, _bounded, app.LifoQueue),
        _form(PriorityQueue, _bounded, app.PriorityQueue),
        _form(AsyncResult, lambda result: (result.id,), app.AsyncResult),
    )


def _form(cls: type, dump: Callable[[Any], tuple[Any, ...]], load: Callable[..., Any]) -> Form:
    # No short name: a class of the user's may be called Event, too.
    return Form(
        cls, f"taskq:{cls.__name__}", lambda value: (list(dump(value)),), lambda parts: load(*parts), short=False
    )


def _locked(lock: Lock) -> tuple[Any, ...]:
    return lock.name, lock._given_lease


def _permitted(semaphore: Semaphore) -> tuple[Any, ...]:
    return semaphore.name, semaphore._limit, semaphore._given_lease


def _bounded(queue: Queue) -> tuple[Any, ...]:
    return queue.name, queue.maxsize
