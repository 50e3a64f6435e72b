"""``taskq events``: what becomes of jobs and workers, line by line as it happens."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from taskq.cli import complete, exits, output, values
from taskq.cli.jobs import MAX_WAIT, full_name
from taskq.cli.target import app_option, load_any_app

if TYPE_CHECKING:
    from taskq.client.lifecycle import LifecycleEvent

MAX_EVENTS = 10**9  # for --limit; years of events
WIDE = 11  # characters of the longest kind
ID_WIDTH = 28  # of a queue with a short name and a job's id: longer ones move what follows to the right


@click.command(short_help="Follow jobs and workers as things happen.")
@app_option
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="Only jobs of this task; a pattern is mail.*.",
              shell_complete=complete.words(complete.tasks, needs_app=True))  # fmt: skip
@click.option("--queue", "queues", multiple=True, metavar="NAME", shell_complete=complete.words(complete.queues),
              help="Only jobs of this queue.")  # fmt: skip
@click.option("--kind", "kinds", multiple=True, metavar="KIND", shell_complete=complete.kinds,
              help="Only events of this kind.")  # fmt: skip
@click.option("--limit", metavar="N", help="End after that many events.")
@click.option("--for", "seconds", metavar="SECONDS", help="End after that time.")
@click.option("--json", "json_", is_flag=True, help="Print one JSON object a line.")
def events(
    *,
    tasks: tuple[str, ...],
    queues: tuple[str, ...],
    kinds: tuple[str, ...],
    limit: str | None,
    seconds: str | None,
    json_: bool,
) -> int:
    """Print what becomes of jobs and workers, a line for each event, until Ctrl-C.

    A line has the local time, the kind, the job, its task and its worker. Kinds: enqueued, started, succeeded, failed,
    retried, crashed, lost, cancelled, expired, dead, quarantined, worker-up, worker-down, and gap where something may
    be missing.

    --task, --queue and --kind may be given many times. NAME of a task is its full name or its unique ending.
    """
    from taskq.client.lifecycle import follow

    count = None if limit is None else values.whole("--limit", limit, 1, MAX_EVENTS)
    duration = None if seconds is None else values.seconds("--for", seconds, 0, MAX_WAIT)
    app = load_any_app()
    wanted = [_pattern(task, app.tasks) for task in tasks]
    with follow(app, queues=queues or None, tasks=wanted or None, kinds=kinds or None, duration=duration) as following:
        watched = len(following.watched)
        output.complain(f"following {watched} {'queue' if watched == 1 else 'queues'}; Ctrl-C ends")
        for event in islice(following, count):
            if json_:
                output.emit(as_data(event))
            else:
                output.say_columns(*as_line(event))
    return exits.OK


def _pattern(task: str, names: Collection[str]) -> str:
    """Return what a task's name is matched with: the full name, where the app knows it, or the text as it is."""
    return full_name(task, names) if names and not set(task) & set("*?[") else task


def as_data(event: LifecycleEvent) -> dict[str, Any]:
    """Return an event for JSON, without what is not known."""
    return {name: value for name, value in dataclasses.asdict(event).items() if value is not None}


def as_line(event: LifecycleEvent) -> list[tuple[str, int]]:
    """Return an event as columns: time, kind, job, task, worker, and what else there is to tell."""
    whole = int(event.at)
    clock = f"{time.strftime('%H:%M:%S', time.localtime(whole))}.{int((event.at - whole) * 1000):03}"
    return [(clock, 0), (event.kind, WIDE), (event.id or event.queue or "-", ID_WIDTH), (event.task or "-", 0),
            (event.worker or "-", 0), (_more(event), 0)]  # fmt: skip


def _more(event: LifecycleEvent) -> str:
    parts = []
    if event.attempt is not None and event.attempt > 1:
        parts.append(f"attempt {event.attempt}")
    if event.delay is not None:
        parts.append(f"in {event.delay:g} s")
    if event.error_type is not None:
        parts.append(f"{event.error_type}: {event.error_message}" if event.error_message else event.error_type)
    if event.queues is not None:
        parts.append(f"{event.pool or '-'} {','.join(event.queues)}")
    if event.vanished:
        parts.append("it vanished")
    if event.kind == "gap":
        parts.append("events may be missing" if event.missed is None else f"{event.missed} events are missing")
    return ", ".join(parts)
