"""``taskq status``: who works, and what waits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from taskq.cli import output
from taskq.cli.target import app_option, load_any_app

if TYPE_CHECKING:
    from taskq.broker.broker import Broker
    from taskq.broker.queues import QueueInfo

# What a worker says of itself, with the value that stands for a field it left out.
CARD: dict[str, Any] = {
    "name": "", "host": "", "pid": 0, "pool": "", "children": 0, "slots": 0, "queues": [], "busy": 0, "started": 0,
    "version": "",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Overview:
    """One look at a namespace.

    Attributes:
        now: the server's clock, in seconds.
        workers: card of each worker, with ``age``: seconds since its last beat.
        vanished: workers that neither beat nor signed off.
        queues: in the order of their names.
    """

    now: float
    workers: list[dict[str, Any]]
    vanished: int
    queues: list[QueueInfo]


@click.command(short_help="Show workers and queues.")
@app_option
@click.option("--json", "json_", is_flag=True, help="Print one JSON object.")
def status(*, json_: bool) -> None:
    """Show the workers with the age of their last sign of life, and the queues with their jobs by state."""
    app = load_any_app()
    seen = look(app.broker, app.settings.namespace)
    if json_:
        output.emit(as_data(seen, str(app.broker.address), app.settings.namespace))
        return
    output.table(
        "Workers",
        ["name", "pool", "children", "slots", "busy", "queues", "beat"],
        [
            (one["name"], one["pool"], one["children"], one["slots"], one["busy"], ",".join(one["queues"]),
             output.age(one["age"]))
            for one in seen.workers
        ],
    )  # fmt: skip
    if seen.vanished:
        output.say(f"{seen.vanished} more vanished without signing off")
    output.blank()
    output.table(
        "Queues",
        ["name", "order", "ready", "delayed", "running", "suspect", "dead", "oldest", "state"],
        [
            (one.name, one.discipline, one.ready, one.delayed, one.running, one.suspect, one.dead,
             output.age(_seconds(one.oldest_ms)), "paused" if one.paused else "open")
            for one in seen.queues
        ],
    )  # fmt: skip


def look(broker: Broker, namespace: str) -> Overview:
    """Read everything once; a queue or worker that comes or goes meanwhile may be missing.

    Raises:
        BrokerError: as ``Broker.run``.
    """
    from taskq.broker import jobs, queues, workers
    from taskq.broker.doctor import server_time

    now = broker.read(server_time())
    present = []
    vanished = 0
    for worker, seen in broker.read(workers.roster(namespace)):
        card = broker.read(workers.read_card(namespace, worker))
        if card is None:
            vanished += 1
        else:
            present.append(read_card(card) | {"id": worker, "age": max(0.0, round(now - seen, 1))})
    infos = [broker.run(queues.inspect(broker.keys(name))) for name in broker.read(jobs.queue_names(namespace))]
    return Overview(now, sorted(present, key=lambda card: str(card["name"])), vanished, infos)


def read_card(data: bytes) -> dict[str, Any]:
    """Return what a worker said of itself; a field that is missing or of another type has its default."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        said = None
    said = said if isinstance(said, dict) else {}
    card = {name: said[name] if type(said.get(name)) is type(default) else default for name, default in CARD.items()}
    card["queues"] = [str(queue) for queue in card["queues"]]
    return card


def as_data(seen: Overview, server: str, namespace: str) -> dict[str, Any]:
    """Return the overview for JSON; times are seconds."""
    queues = [
        {
            "name": one.name,
            "discipline": one.discipline,
            "maxsize": one.maxsize,
            "paused": one.paused,
            "ready": one.ready,
            "delayed": one.delayed,
            "running": one.running,
            "suspect": one.suspect,
            "dead": one.dead,
            "oldest": _seconds(one.oldest_ms),
            "counters": one.counters,
        }
        for one in seen.queues
    ]
    return {
        "server": server,
        "namespace": namespace,
        "time": seen.now,
        "workers": seen.workers,
        "vanished": seen.vanished,
        "queues": queues,
    }


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else max(0, ms) / 1000
