"""taskq: a distributed task queue on Redis that speaks the standard library.

Names are imported at their first use, so that ``import taskq`` stays light; producers never load worker code.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, whose import would be most of the time that this module takes
if TYPE_CHECKING:
    from taskq import errors as errors
    from taskq.app import TaskQ as TaskQ
    from taskq.client.canvas import Signature as Signature
    from taskq.client.context import JobContext as JobContext
    from taskq.client.context import current_job as current_job
    from taskq.client.executor import Executor as Executor
    from taskq.client.queues import LifoQueue as LifoQueue
    from taskq.client.queues import PriorityQueue as PriorityQueue
    from taskq.client.queues import Queue as Queue
    from taskq.client.result import AsyncResult as AsyncResult
    from taskq.client.resultset import ResultSet as ResultSet
    from taskq.client.task import Task as Task
    from taskq.errors import RemoteError as RemoteError
    from taskq.errors import Retry as Retry
    from taskq.errors import TaskqError as TaskqError

    __version__: str

__all__ = [
    "AsyncResult",
    "Executor",
    "JobContext",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "RemoteError",
    "ResultSet",
    "Retry",
    "Signature",
    "Task",
    "TaskQ",
    "TaskqError",
    "__version__",
    "current_job",
    "errors",
]


def __getattr__(name: str) -> object:
    homes = {
        "TaskQ": "taskq.app",
        "Executor": "taskq.client.executor",
        "Signature": "taskq.client.canvas",
        "JobContext": "taskq.client.context",
        "current_job": "taskq.client.context",
        "LifoQueue": "taskq.client.queues",
        "PriorityQueue": "taskq.client.queues",
        "Queue": "taskq.client.queues",
        "AsyncResult": "taskq.client.result",
        "ResultSet": "taskq.client.resultset",
        "Task": "taskq.client.task",
        "RemoteError": "taskq.errors",
        "Retry": "taskq.errors",
        "TaskqError": "taskq.errors",
    }
    import importlib

    if name == "errors":
        return importlib.import_module("taskq.errors")
    if name == "__version__":
        from importlib.metadata import version

        found: object = version("taskq")
    elif name in homes:
        found = getattr(importlib.import_module(homes[name]), name)
    else:
        raise AttributeError(f"module 'taskq' has no attribute {name!r}")
    globals()[name] = found  # the next use does not come here
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
