"""``taskq status``, ``queues`` and ``workers``: who works, and what waits."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from taskq.cli import output, values
from taskq.cli.listing import server_now
from taskq.cli.target import app_option, load_any_app

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from taskq.app import TaskQ
    from taskq.broker.queues import QueueInfo
    from taskq.client.workers import WorkerInfo

INTERVAL: Final = 2.0  # seconds between two looks; a worker beats every five
LEAST, MOST = 0.1, 3600.0  # seconds
TOLD: Final = 86_400.0  # seconds for which an outage is told: a day, until somebody has looked
WORKER_HEADS: Final = ("name", "state", "pool", "children", "slots", "busy", "queues", "beat", "up")
QUEUE_HEADS: Final = (
    "name", "order", "ready", "delayed", "running", "suspect", "dead", "bound", "oldest", "in/s", "out/s", "state",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Overview:
    """One look at a namespace; ``now`` is the server's clock, in seconds."""

    now: float
    workers: list[WorkerInfo]
    queues: list[QueueInfo]


@click.command(short_help="Show workers and queues.")
@app_option
@click.option("--watch", "interval", is_flag=False, flag_value=str(INTERVAL), metavar="[SECONDS]",
              help=f"Show it again every SECONDS, {INTERVAL:g} where none are given, until Ctrl-C.")  # fmt: skip
@click.option("--json", "json_", is_flag=True, help="Print one JSON object; with --watch one a look.")
def status(*, interval: str | None, json_: bool) -> None:
    """Show the workers with the age of their last sign of life, and the queues with their jobs by state."""
    pause = None if interval is None else values.seconds("--watch", interval, LEAST, MOST)
    app = load_any_app()
    if pause is None:
        show(app, look(app), json_)
    elif json_ or not output.on_terminal():
        _repeat(lambda: show(app, look(app), json_), pause, quiet=json_)
    else:
        with output.screen() as draw:
            _repeat(lambda: draw(lambda: show(app, look(app), json_)), pause, quiet=True)


def _repeat(show_once: Callable[[], None], pause: float, *, quiet: bool) -> None:
    while True:
        began = time.monotonic()
        show_once()
        output.flush()
        time.sleep(max(0.0, began + pause - time.monotonic()))
        if not quiet:
            output.blank()


@click.command(short_help="List queues.")
@app_option
@click.option("--json", "json_", is_flag=True, help="Print one JSON object a queue.")
def queues(*, json_: bool) -> None:
    """List the queues with their jobs by state, the age of the oldest ready job, and how many come and go a second."""
    found = load_any_app().inspect.queues()
    if json_:
        for one in found:
            output.emit(queue_data(one))
    else:
        _show_queues(found)


@click.command(short_help="List workers.")
@app_option
@click.option("--json", "json_", is_flag=True, help="Print one JSON object a worker.")
def workers(*, json_: bool) -> None:
    """List the workers: pool, slots, jobs that run, queues, the age of the last sign of life, since when it is up."""
    app = load_any_app()
    now, found = server_now(app), app.inspect.workers()
    if json_:
        for one in found:
            output.emit(worker_data(one))
    else:
        _show_workers(found, now)


def look(app: TaskQ) -> Overview:
    """Read everything once; a queue or worker that comes or goes meanwhile may be missing.

    Raises:
        BrokerError: as ``Broker.run``.
    """
    return Overview(server_now(app), app.inspect.workers(), app.inspect.queues())


def show(app: TaskQ, seen: Overview, json_: bool) -> None:
    """Print one look."""
    if json_:
        output.emit(as_data(seen, str(app.broker.address), app.settings.namespace))
        return
    _show_workers(seen.workers, seen.now)
    output.blank()
    _show_queues(seen.queues)


def _show_workers(found: Sequence[WorkerInfo], now: float) -> None:
    here = [one for one in found if not one.vanished]
    output.table(
        "Workers",
        WORKER_HEADS,
        [
            (one.name or one.id, one.state or "running", one.pool, one.children, one.slots, one.busy,
             ",".join(one.queues), output.age(one.age), output.age(now - one.started if one.started else None))
            for one in here
        ],
        keep=("name", "state", "busy", "queues", "beat"),
    )  # fmt: skip
    for one in here:
        if one.outage and now - one.back < TOLD:
            away, ago = output.age(one.outage), output.age(max(0.0, now - one.back))
            output.say(f"{one.name or one.id}: the server was away for {away}, until {ago} ago")
    gone = len(found) - len(here)
    if gone:
        output.say(f"{gone} more vanished without signing off")


def _show_queues(found: Sequence[QueueInfo]) -> None:
    output.table(
        "Queues",
        QUEUE_HEADS,
        [
            (one.name, _order(one), one.ready, one.delayed, one.running, one.suspect, one.dead, one.maxsize or "-",
             output.age(_seconds(one.oldest_ms)), _rate(one.rate_in), _rate(one.rate_out),
             _state(one))
            for one in found
        ],
        keep=("name", "ready", "running", "state", "oldest", "delayed", "dead"),
    )  # fmt: skip
    refusing: dict[str, list[str]] = {}
    for one in found:
        if one.refusal is not None:
            refusing.setdefault(one.refusal.why, []).append(one.name)
    for why, names in refusing.items():
        output.say(f"{', '.join(names)}: no new jobs: {why}")


def _state(one: QueueInfo) -> str:
    words = ["paused" if one.paused else "open"]
    if one.refusal is not None:
        words = ["paused", "refusing"] if one.paused else ["refusing"]
    words += [f"{count} {what}" for count, what in ((one.ending, "ending"), (one.outbox, "to send on")) if count]
    return ", ".join(words)


def _order(one: QueueInfo) -> str:
    return f"{one.discipline} items" if one.content == "items" else one.discipline


def _rate(jobs: float | None) -> str:
    if jobs is None:
        return "-"
    return f"{jobs:,.0f}" if jobs >= 100 else f"{jobs:.1f}"


def worker_data(one: WorkerInfo) -> dict[str, Any]:
    """Return a worker for JSON; times are seconds since 1970, ``age`` is seconds."""
    return {name: value for name, value in asdict(one).items() if name != "heard"}


def queue_data(one: QueueInfo) -> dict[str, Any]:
    """Return a queue for JSON; times are seconds, rates jobs a second."""
    return {
        "name": one.name,
        "discipline": one.discipline,
        "content": one.content,
        "maxsize": one.maxsize,
        "paused": one.paused,
        "refusal": None if one.refusal is None else asdict(one.refusal),
        "ready": one.ready,
        "delayed": one.delayed,
        "running": one.running,
        "suspect": one.suspect,
        "dead": one.dead,
        "quarantine": one.quarantine,
        "ending": one.ending,
        "outbox": one.outbox,
        "oldest": _seconds(one.oldest_ms),
        "rate_in": one.rate_in,
        "rate_out": one.rate_out,
        "counters": one.counters,
    }


def as_data(seen: Overview, server: str, namespace: str) -> dict[str, Any]:
    """Return the overview for JSON; times are seconds."""
    return {
        "server": server,
        "namespace": namespace,
        "time": seen.now,
        "workers": [worker_data(one) for one in seen.workers if not one.vanished],
        "vanished": sum(one.vanished for one in seen.workers),
        "queues": [queue_data(one) for one in seen.queues],
    }


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else max(0, ms) / 1000
