"""``taskq server``: the embedded server of the project."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any

import click

from taskq.cli import output
from taskq.cli.usage import Commands

if TYPE_CHECKING:
    from taskq.embedded import Status

json_option = click.option("--json", "json_", is_flag=True, help="Print one JSON object.")


@click.group(cls=Commands, short_help="Start, stop or show the embedded server of this project.")
def server() -> None:
    """Start, stop or show the embedded server of the project whose directory this is.

    It belongs to the nearest directory with a pyproject.toml, and is used wherever no url is configured.
    """


@server.command()
@json_option
def start(*, json_: bool) -> None:
    """Start it, unless it runs; it stays until ``taskq server stop``."""
    from taskq import embedded
    from taskq.embedded import lifecycle

    with output.spinner("starting the embedded server"):
        found = embedded.start()
    # Whoever started the server stops it when nobody else uses it; who asks for it by name wants it to stay.
    atexit.unregister(lifecycle._stop_at_exit)
    _show(found, json_=json_)


@server.command()
@json_option
def stop(*, json_: bool) -> None:
    """Stop it, whoever uses it; its data stays on disk."""
    from taskq import embedded

    with output.spinner("stopping the embedded server"):
        ran = embedded.stop()
    if json_:
        output.emit(_fields(embedded.status()) | {"stopped": ran})
    else:
        output.say("stopped" if ran else "it was not running")


@server.command()
@json_option
def status(*, json_: bool) -> None:
    """Show whether it runs, and where it keeps its data."""
    from taskq import embedded

    _show(embedded.status(), json_=json_)


def _fields(found: Status) -> dict[str, Any]:
    return {
        "running": found.running,
        "pid": found.pid,
        "product": found.product,
        "version": found.version,
        "clients": found.clients,
        "memory": found.memory,
        "root": str(found.root),
        "data": str(found.data),
        "socket": str(found.socket),
        "log": str(found.log),
    }


def _show(found: Status, *, json_: bool) -> None:
    fields = _fields(found)
    if json_:
        output.emit(fields)
        return
    fields["running"] = "yes" if found.running else "no"
    fields["memory"] = None if found.memory is None else f"{found.memory / 2**20:.1f} MiB"
    for name, value in fields.items():
        if value is not None:
            output.say_columns((name, 7), (str(value), 0))
