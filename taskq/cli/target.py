"""Which app a command is about: ``-A``, else ``TASKQ_APP``, else ``[tool.taskq] app``."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from taskq.config import find_project, read_project
from taskq.errors import AppNotFound, ConfigError, shorten

if TYPE_CHECKING:
    from taskq.app import TaskQ

F = TypeVar("F", bound=Callable[..., Any])
PATIENCE: Final = 3.0  # seconds for the server to answer one call of a command: five at most with all that is around it


@dataclass(frozen=True, slots=True)
class Target:
    """An app to import.

    Attributes:
        spec: ``module:attr`` or ``module``.
        root: the directory that is put on ``sys.path`` for the import: the nearest one with a pyproject.toml, else
            the current one.
    """

    spec: str
    root: str


def app_option(command: F) -> F:
    """Give a command the option ``-A``, kept in its context."""
    return click.option(
        "-A",
        "--app",
        metavar="MODULE[:ATTR]",
        expose_value=False,
        callback=_keep,
        help="The app; else TASKQ_APP, else [tool.taskq] app of pyproject.toml.",
    )(command)


def _keep(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.meta["taskq.app"] = value  # shared with the group's context, the command's own -A comes last


def find_target() -> Target | None:
    """Return the app that is named anywhere, or None.

    Raises:
        ConfigError: pyproject.toml cannot be read, or names something else than a text.
    """
    project = find_project()
    root = str(project.parent) if project else _here()
    given = click.get_current_context().meta.get("taskq.app")
    if given is None:
        given = os.environ.get("TASKQ_APP") or None
    if given is None:
        given = read_project(project).get("app")
        if given is not None and not isinstance(given, str):
            raise ConfigError(f"{project}: tool.taskq.app {shorten(given)} must be a text, such as 'module:attr'")
    return Target(given, root) if given is not None else None


def require_target() -> Target:
    """Return the app that is named anywhere.

    Raises:
        AppNotFound: none is.
        ConfigError: as ``find_target``.
    """
    target = find_target()
    if target is None:
        way_out = (
            'give -A module:attr, set TASKQ_APP, or write app = "module:attr" under [tool.taskq] in pyproject.toml'
        )
        raise AppNotFound(f"no app is named; {way_out}")
    return target


def load_app(patience: float = PATIENCE, *, connects: bool = True) -> TaskQ:
    """Import the app that is named.

    Args:
        patience: seconds for which its calls are repeated, unless somebody configured ``call_deadline``.
        connects: its server is going to be used; else its settings stay as they are.

    Raises:
        AppNotFound: none is named, or it cannot be imported.
    """
    from taskq.worker.appfinder import find_app

    target = require_target()
    found = find_app(target.spec, target.root)
    return _hasten(found, patience) if connects else found


def load_any_app(patience: float = PATIENCE, *, connects: bool = True) -> TaskQ:
    """Import the app that is named; where none is, return one made of the settings alone; see ``load_app``.

    Raises:
        AppNotFound: the named one cannot be imported.
    """
    from taskq.app import TaskQ

    if find_target() is not None:
        return load_app(patience, connects=connects)
    return _hasten(TaskQ("taskq"), patience) if connects else TaskQ("taskq")


def _hasten(app: TaskQ, patience: float) -> TaskQ:
    """Let an app that has not connected yet give up sooner: a person waits."""
    if app.settings.sources["call_deadline"] == "default":
        app.settings = replace(app.settings, call_deadline=patience)
    return app


def _here() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:  # the current directory was removed
        return ""
