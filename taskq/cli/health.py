"""``taskq health``: whether the worker on this machine lives, and whether it can do its work."""

from __future__ import annotations

import os
from typing import Any

import click

from taskq.cli import exits, output, values
from taskq.config import worker_values
from taskq.errors import InvalidOption, WorkerError
from taskq.worker import health as worker_health

TIMEOUT = 2.0  # seconds; a loop that is well answers within milliseconds
MAX_TIMEOUT = 60.0  # seconds


@click.command(short_help="Tell whether the worker on this machine is well.")
@click.option("--live/--ready", "live", default=False,
              help="Ask only whether it lives, or also whether it can run jobs: children up, lease renewed, claims "
                   "answered, not stopping. Default: --ready.")  # fmt: skip
@click.option("--socket", "path", metavar="PATH",
              help="The worker's --health-socket; else TASKQ_HEALTH_SOCKET. Default: that of the only worker of this "
                   "user.")  # fmt: skip
@click.option("--json", "json_", is_flag=True, help="Print one JSON object.")
@click.option("--timeout", metavar="SECONDS", help="How long to wait for the answer. Default: 2.")
def health(*, live: bool, path: str | None, json_: bool, timeout: str | None) -> int:
    """Tell whether the worker on this machine is well: exit 0 if so, 1 if not, and one line why.

    The worker answers over a local socket; neither the app nor the server is asked. A worker that has lost the server
    lives, and is not ready.
    """
    patience = TIMEOUT if timeout is None else values.seconds("--timeout", timeout, 0.001, MAX_TIMEOUT)
    try:
        told = {"live": True} | worker_health.ask(_socket(path), patience)
    except WorkerError as error:
        told = {"live": False, "ready": False, "reason": str(error)}
    well = bool(told["live"] if live else told["ready"])
    if json_:
        output.emit(told)
    else:
        output.say(_line(told, live=live, well=well))
    return exits.OK if well else exits.FAILED


def _socket(given: str | None) -> str:
    """Return the path that is chosen anywhere, else the socket of the only worker."""
    chosen, shown = given, "--socket"
    if chosen is None:
        found = worker_values({}, names=("health_socket",)).get("health_socket")
        if found is not None:
            chosen, shown = found.text, found.shown
    if chosen is not None:
        path = worker_health.check_path(shown, chosen)
        if not path:
            raise InvalidOption(f"{shown} says that workers have no socket; give --socket")
        return path
    there = worker_health.find()
    if len(there) > 1:
        raise InvalidOption(f"several workers run here; give --socket with one of {', '.join(there)}")
    if not there:
        raise WorkerError(f"no worker of user {os.geteuid()} with a health socket runs on this machine")
    return there[0]


def _line(told: dict[str, Any], *, live: bool, well: bool) -> str:
    word = "live" if live or not told["live"] else "ready"
    if not well:
        return f"not {word}: {told.get('reason') or 'it does not say why'}"
    children = told.get("children") or {}
    up = f"{children.get('up')} of {children.get('wanted')} children up"
    return f"{word}: worker {told.get('worker')}, {told.get('state')}, {up}"
