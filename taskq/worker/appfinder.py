"""From ``module:attr`` to the app. The only place where a name becomes an import, and the name is the user's own."""

from __future__ import annotations

import re
import sys
import traceback
from importlib import import_module
from types import ModuleType

from taskq.app import TaskQ
from taskq.errors import AppNotFound, shorten

_SPEC = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)?")


def find_app(spec: str, sys_path: str = "") -> TaskQ:
    """Import the module that ``spec`` names and return its app.

    Args:
        spec: ``module:attr``; or ``module``, which must then hold one app, or one that is called ``app``.
        sys_path: a directory put first on ``sys.path`` if it is not on it; empty for none.

    Raises:
        AppNotFound: with one line that says what is missing and why.
    """
    if _SPEC.fullmatch(spec) is None:
        raise AppNotFound(f"app {shorten(spec)} is not of the form module or module:attr")
    if sys_path and sys_path not in sys.path:
        sys.path.insert(0, sys_path)
    name, _, attribute = spec.partition(":")
    module = _import(name, spec)
    return _attribute(module, attribute, spec) if attribute else _only_app(module, spec)


def _import(name: str, spec: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise AppNotFound(
                f"app {shorten(spec)}: there is no module {shorten(error.name)} on the import path"
            ) from None
        raise AppNotFound(_failure(name, spec, error)) from error
    except BaseException as error:  # a module may call sys.exit(); the reason is reported all the same
        raise AppNotFound(_failure(name, spec, error)) from error


def _failure(name: str, spec: str, error: BaseException) -> str:
    reason = traceback.format_exception_only(error)[-1].strip()
    return f"app {shorten(spec)}: importing {shorten(name)} failed: {' '.join(reason.split())}{_place(error)}"


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f" ({error.filename}, line {error.lineno})"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _attribute(module: ModuleType, attribute: str, spec: str) -> TaskQ:
    found: object = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            candidates = ", ".join(_apps(module)) or "none"
            raise AppNotFound(
                f"app {shorten(spec)}: {module.__name__} has no {shorten(attribute)}; apps there: {candidates}"
            )
        found = getattr(found, part)
    if not isinstance(found, TaskQ):
        raise AppNotFound(f"app {shorten(spec)} is a {type(found).__name__}, no TaskQ")
    return found


def _only_app(module: ModuleType, spec: str) -> TaskQ:
    apps = _apps(module)
    if len({id(app) for app in apps.values()}) == 1:
        return next(iter(apps.values()))
    if "app" in apps:
        return apps["app"]
    if not apps:
        raise AppNotFound(f"app {shorten(spec)}: no TaskQ in {module.__name__}; write {module.__name__}:attr")
    names = ", ".join(f"{module.__name__}:{name}" for name in apps)
    raise AppNotFound(f"app {shorten(spec)}: several apps in {module.__name__}; write one of {names}")


def _apps(module: ModuleType) -> dict[str, TaskQ]:
    return {name: value for name, value in vars(module).items() if isinstance(value, TaskQ)}
