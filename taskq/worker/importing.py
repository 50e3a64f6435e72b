"""Runs plain functions that a producer named, in workers that were told from which modules.

Here, and nowhere else, does a name that came in a message lead to an import; nothing of it happens without patterns.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING, Any

from taskq.client.importable import CALL_TASK, objection_to_kind
from taskq.errors import CallRefused, TaskqError, shorten
from taskq.model.signature import plain_signature

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.model.job import Body
    from taskq.model.serializer import Serializers


def install(app: TaskQ, patterns: Sequence[str]) -> None:
    """Give the app of a worker's child the task that calls plain functions.

    Args:
        app: the worker's.
        patterns: of modules whose functions may run, as for ``fnmatch``; without any there is no such task.

    Raises:
        DuplicateTask: the app has a task of that name.
    """

    def call(module: str, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        return find_function(module, name, patterns)(*args, **kwargs)

    if patterns:
        app.task(name=CALL_TASK, queue=app.default_queue)(call)


def find_function(module: str, name: str, patterns: Sequence[str]) -> FunctionType:
    """Return a plain function that is defined at the top of a module and may run here.

    No attribute is followed and nothing is computed: the very module must have a Python function of its own under that
    name. So neither classes and their methods nor what a module merely imported can be called, nor what Python itself
    calls; and no package's ``__main__`` is imported, as that would run the package's command line.

    Raises:
        CallRefused: no pattern allows the module, it cannot be imported, or there is no such function.
    """
    shown = shorten(f"{module}.{name}")
    parts = [*module.split("."), name]
    if not all(part.isidentifier() for part in parts):
        raise CallRefused(f"function {shown} has no name that could be looked up")
    if any(part.startswith("__") and part.endswith("__") for part in parts):
        raise CallRefused(f"function {shown} cannot run here: names like __this__ are Python's own; rename it")
    if not any(fnmatchcase(module, pattern) for pattern in patterns):
        raise refusal(module, name)
    try:
        # Also for one that is in sys.modules: another thread may be importing it still, and this waits for that.
        namespace = vars(import_module(module))
    except BaseException as error:  # a module that exits must not end the job as if it had done so
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CallRefused(f"function {shown} cannot run here: importing its module failed: {reason}") from error
    found = namespace.get(name)
    if type(found) is not FunctionType or (found.__module__, found.__qualname__) != (module, name):
        raise CallRefused(f"function {shown} cannot run here: its module defines no plain function of that name")
    objection = objection_to_kind(found)
    if objection:
        raise CallRefused(f"function {shown} cannot run here: {objection}")
    return found


def refusal(module: str, name: str) -> CallRefused:
    """Return the error for a function of a module that no pattern allows."""
    shown, pattern = shorten(f"{module}.{name}"), shorten(module)
    return CallRefused(
        f"function {shown} may not run here: start the worker with --allow-import {pattern}, or use a task"
    )


def refuse(body: Body, codecs: Serializers) -> CallRefused:
    """Return the error for a call in a worker that was given no patterns."""
    try:
        args, _ = plain_signature(CALL_TASK).decode_arguments(codecs.codec(body.codec), body.payload)
        module, name = str(args[0]), str(args[1])
    except (TaskqError, IndexError):
        module, name = "?", "?"
    return refusal(module, name)
