"""How an app's own objects travel inside arguments and results: by name, and bound to the app where they arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from taskq.errors import SerializationError
from taskq.model.types import Form

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.client.queues import Queue
    from taskq.coordination.barrier import Barrier
    from taskq.coordination.condition import Condition
    from taskq.coordination.lock import Lock
    from taskq.coordination.semaphore import Semaphore


def forms_of(app: TaskQ) -> tuple[Form, ...]:
    """Return the forms of all kinds; what they load belongs to ``app``."""
    return (
        _form("taskq.coordination.event:Event", lambda event: (event.name,), app.Event),
        _form("taskq.coordination.lock:Lock", _locked, app.Lock),
        _form("taskq.coordination.lock:RLock", _locked, app.RLock),
        _form("taskq.coordination.semaphore:Semaphore", _permitted, app.Semaphore),
        _form("taskq.coordination.semaphore:BoundedSemaphore", _permitted, app.BoundedSemaphore),
        _form(
            "taskq.coordination.barrier:Barrier",
            _met,
            lambda name, parties, timeout, lease: app.Barrier(name, parties, None, timeout, lease),
        ),
        _form("taskq.coordination.condition:Condition", _conditional, app.Condition),
        _form("taskq.client.queues:Queue", _bounded, app.Queue),
        _form("taskq.client.queues:LifoQueue", _bounded, app.LifoQueue),
        _form("taskq.client.queues:PriorityQueue", _bounded, app.PriorityQueue),
        _form("taskq.client.result:AsyncResult", lambda result: (result.id,), app.AsyncResult),
    )


def _form(path: str, dump: Callable[[Any], tuple[Any, ...]], load: Callable[..., Any]) -> Form:
    name = f"taskq:{path.partition(':')[2]}"
    return Form(path, name, lambda value: (list(dump(value)),), lambda parts: load(*parts))


def _locked(lock: Lock) -> tuple[Any, ...]:
    return lock.name, lock._given_lease


def _permitted(semaphore: Semaphore) -> tuple[Any, ...]:
    return semaphore.name, semaphore._limit, semaphore._given_lease


def _met(barrier: Barrier) -> tuple[Any, ...]:
    if barrier._action is not None:
        raise SerializationError("it has an action, which cannot travel: make it by name where it arrives")
    return barrier.name, barrier._parties, barrier._timeout, barrier._given_lease


def _conditional(condition: Condition) -> tuple[Any, ...]:
    lock = condition._lock
    return condition.name, None if lock.kind == condition.kind else lock


def _bounded(queue: Queue) -> tuple[Any, ...]:
    return queue.name, queue.maxsize
