"""Under which name a function is registered, and when two are the same one."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def default_name(function: Callable[..., Any], app: str) -> str:
    """Return ``module.function``, as a worker that imports the module will know it.

    The module that Python runs as ``__main__`` gets its importable name: what follows ``python -m``, or the file's name
    without ending for ``python producer.py``, whose directory Python puts on the import path. Where there is no file,
    as in an interactive session, the app's name takes its place.
    """
    function = inspect.unwrap(function)
    function = getattr(function, "func", function)  # a functools.partial
    module = str(getattr(function, "__module__", "") or app)
    if module == "__main__":
        module = _main_name() or app
    return f"{module}.{getattr(function, '__qualname__', '').replace('<locals>.', '')}"


def _main_name() -> str:
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else ""


def is_same_function(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Tell whether two functions come from one place in one file, as when a module is run and imported, or reloaded.

    What was typed into an interactive session may be typed again.
    """
    first, second = _place(one), _place(other)
    return first is not None and first == second


def _place(function: Any) -> tuple[str, str, int] | None:
    function = inspect.unwrap(function)
    function = getattr(function, "func", function)
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    name = getattr(function, "__qualname__", "")
    if getattr(function, "__module__", "") == "__main__" and not _main_name():
        return "", name, 0  # typed: its file and line are made up anew each time
    return str(Path(code.co_filename).absolute()), name, code.co_firstlineno
