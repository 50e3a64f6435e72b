"""Plain functions that travel by module and name, and run where a worker allows their module."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any, Final

from taskq.client.options import check_task_options
from taskq.client.task import Task
from taskq.errors import CallRefused, InvalidTask, shorten
from taskq.model.signature import plain_signature

if TYPE_CHECKING:
    from taskq.app import TaskQ

CALL_TASK: Final = "taskq.call"  # its arguments: module, name, list of arguments, arguments by name


def call_task(app: TaskQ) -> Task[..., Any]:
    """Return the task whose jobs call plain functions; it is registered in workers alone."""

    def elsewhere(module: str, name: str, *_: object) -> None:
        raise CallRefused(f"function {module}.{name} runs in workers only; call it directly here")

    return Task(
        app, elsewhere, CALL_TASK, check_task_options({"name": CALL_TASK}), plain_signature(CALL_TASK, app._forms)
    )


def reference(function: Any) -> tuple[str, str]:
    """Return module and name by which a worker finds a plain function.

    Raises:
        InvalidTask: a worker could not find it so.
    """
    reason = _objection(function)
    if reason:
        raise InvalidTask(f"{shorten(function)} cannot be sent to a worker: {reason}")
    return function.__module__, function.__name__


def _objection(function: Any) -> str:
    if isinstance(function, functools.partial):
        return "it is a partial, whose arguments would not travel; give them to submit()"
    if inspect.ismethod(function):
        return "it is a method, and its object would not travel; use a function of a module"
    if not inspect.isfunction(function):
        return f"a {type(function).__name__} is no plain function; use a task, or a def of a module"
    if function.__name__ == "<lambda>":
        return "a lambda has no name that a worker could find it by; use a def of a module"
    if function.__module__ in {None, "", "__main__"}:
        return "a worker cannot import the main module; move it into a module, or make it a task"
    module = sys.modules.get(function.__module__)
    if function.__qualname__ != function.__name__ or vars(module or object).get(function.__name__) is not function:
        return f"it is not what module {function.__module__} has under its name; use a def at the module's top"
    return objection_to_kind(function)


def objection_to_kind(function: Any) -> str:
    """Say why no job can be made of a function of this kind; empty if one can."""
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        return "it is a coroutine function or a generator; make it a task, or return a list"
    return "it is an asynchronous generator; return a list" if inspect.isasyncgenfunction(function) else ""
