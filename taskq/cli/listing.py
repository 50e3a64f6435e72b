"""``taskq jobs`` and ``taskq job``: which jobs there are, and all that is known of one."""

from __future__ import annotations

import difflib
import time
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click

from taskq.cli import complete, exits, output, values
from taskq.cli.target import app_option, find_target, load_any_app
from taskq.errors import near, shorten
from taskq.model.outcome import Ending

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from taskq.app import TaskQ
    from taskq.client.detail import JobDetail
    from taskq.client.inspection import JobInfo

LIMIT: Final = 50  # jobs in a list where nothing else is said: about a screen
MAX_LIMIT: Final = 10**9
STATES: Final = (
    "running", "ready", "delayed", "suspect", "dead", "quarantine", "ending", *map(str, Ending),
)  # fmt: skip
PAGE: Final = 10_000  # rows whose widths are made equal; more are printed as they come
SEEN: Final = 1000  # jobs whose tasks are looked at to name the nearest, where no app says which there are
ERROR: Final = 120  # characters of an error in a list
HEADS: Final = ("id", "task", "state", "since", "due", "worker", "attempts", "error")


@click.command(short_help="List jobs.")
@app_option
@click.option("-Q", "--queue", "queues", multiple=True, metavar="NAME", shell_complete=complete.words(complete.queues),
              help="Of this queue; may be given many times. Default: all.")  # fmt: skip
@click.option("--state", metavar="LIST", shell_complete=complete.choices(*STATES),
              help=f"In these states: {', '.join(STATES)}. "
                   "Default: all but the last five, which have ended.")  # fmt: skip
@click.option("--task", default="", metavar="NAME", shell_complete=complete.words(complete.tasks, needs_app=True),
              help="Of this task: its full name, or its ending from a dot on.")  # fmt: skip
@click.option("--since", metavar="TIME", help="Enqueued since then, or if it has ended, ended since then: 10m, 2h, 1d, "
                                              "or 2026-01-31T12:00.")  # fmt: skip
@click.option("--limit", metavar="N", help=f"At most so many. Default: {LIMIT}; 0 for all.")
@click.option("--newest", is_flag=True, help="Begin at the end of the line.")
@click.option("--ids", is_flag=True, help="Print ids only, for another command.")
@click.option("--json", "json_", is_flag=True, help="Print one JSON object a job.")
def jobs(
    *,
    queues: tuple[str, ...],
    state: str | None,
    task: str,
    since: str | None,
    limit: str | None,
    newest: bool,
    ids: bool,
    json_: bool,
) -> None:
    """List jobs, those that run first: where each is, since when, and its last error.

    Jobs that have ended are listed by --state, newest first, as long as their results are kept.
    """
    most = LIMIT if limit is None else values.whole("--limit", limit, 0, MAX_LIMIT)
    app = load_any_app()
    now = server_now(app)
    states = values.listed("--state", state) if state is not None else ()
    found = app.inspect.jobs(
        queue=queues,
        state=states,
        task=task,
        since=None if since is None else values.moment("--since", since, now),
        limit=most + 1 if most else None,
        newest=newest,
    )
    show(or_nearest(found, app, task, queues, states), most, now, ids=ids, json_=json_)


def or_nearest(
    found: Iterable[JobInfo], app: TaskQ, task: str, queues: Collection[str], states: Collection[str]
) -> Iterator[JobInfo]:
    """Pass jobs on; where there is none of ``task``, and no such task is known, say so with the nearest that is."""
    none = True
    for one in found:
        none = False
        yield one
    if not none or not task:
        return
    if find_target() is not None:
        known = set(app.tasks)
    else:
        known = {one.task for one in app.inspect.jobs(queue=queues, state=states, limit=SEEN) if one.task}
    if not any(name == task or name.endswith(f".{task}") for name in known):
        endings = {name.rsplit(".", 1)[-1]: name for name in sorted(known, reverse=True)}
        closest = difflib.get_close_matches(task, [*known, *endings], 1)
        meant = endings.get(closest[0], closest[0]) if closest else task
        output.complain(f"there is no job of task {shorten(task)}{near(meant, known) if known else ''}")


def show(found: Any, most: int, now: float, *, ids: bool, json_: bool) -> None:
    """Print jobs as they are read, and whether there are more than ``most``."""
    if json_ or ids:
        for job in islice(found, most or None):
            if json_:
                output.emit(as_data(job))
            else:
                output.say(job.id)
        return
    rows: list[JobInfo] = []
    for job in found:
        rows.append(job)
        if len(rows) == PAGE:
            _table("", rows[: most or None], now)
            rows = []
    more = bool(most) and len(rows) > most
    _table("Jobs", rows[: most or None], now)
    if more:
        output.complain(
            f"there are more than {most}: say --limit, or narrow the list by --queue, --state, --task, --since"
        )


def _table(title: str, rows: Sequence[JobInfo], now: float) -> None:
    keep = ("id", "state", "task", "error")
    output.table(title, HEADS, [_row(one, now) for one in rows], keep=keep, whole="id", ends=("task",))


@click.command(short_help="Show all that is known of a job.")
@app_option
@click.argument("job_id", metavar="ID", shell_complete=complete.words(complete.job_ids))
@click.option("--json", "json_", is_flag=True, help="Print one JSON object.")
def job(*, job_id: str, json_: bool) -> int:
    """Show where the job ID is, its call, its times, who has it or had it, and the errors of its last attempts."""
    app = load_any_app()
    show_detail(app.inspect.job(job_id), server_now(app), json_=json_)
    return exits.OK


def show_detail(found: JobDetail, now: float, *, json_: bool) -> None:
    """Print one job."""
    if json_:
        errors = [{"type": one.type, "message": one.message, "traceback": one.traceback} for one in found.errors]
        output.emit(asdict(found) | {"errors": errors})
        return
    output.facts((name, text) for name, text in _facts(found, now) if text)
    for number, error in enumerate(found.errors, 1):
        output.blank()
        output.say(f"error {number} of {len(found.errors)}: {error.type}: {error.message}")
        if error.traceback:
            output.block(error.traceback)


def _facts(found: JobDetail, now: float) -> list[tuple[str, str]]:
    waited = _span(found.enqueued, found.started)
    ran = _span(found.started, found.finished or (now if found.state == "running" else None))
    child = f"{found.child}, slot {found.slot}" if found.child is not None else ""
    return [
        ("id", found.id),
        ("state", found.state),
        ("task", found.task),
        ("call", found.call),
        ("result", found.result),
        ("problem", found.problem),
        ("enqueued", _when(found.enqueued, now)),
        ("due", _when(found.due, now)),
        ("expires", _when(found.expires, now)),
        ("started", _when(found.started, now) + (f", waited {output.age(waited)}" if waited is not None else "")),
        ("finished", _when(found.finished, now)),
        ("ran for", output.age(ran) if ran is not None else ""),
        ("worker", found.worker),
        ("child", child),
        ("priority", f"{found.priority:g}" if found.priority is not None else ""),
        ("attempts", str(found.attempt) if found.attempt else ""),
        ("crashes", str(found.crashes) if found.crashes else ""),
        ("losses", str(found.losses) if found.losses else ""),
        ("given back", f"{found.defers} times by workers that cannot run it" if found.defers else ""),
        ("size", f"{found.size:,} bytes" if found.size is not None else ""),
        ("enqueued by", found.parent),
        ("descends from", found.root if found.root != found.parent else ""),
        ("followed by", ", ".join(found.links)),
        ("if it fails", ", ".join(found.error_links)),
        ("headers", output.as_text(found.headers) if found.headers else ""),
    ]


def server_now(app: TaskQ) -> float:
    """Return the server's clock, in seconds."""
    from taskq.broker.doctor import server_time

    return app.broker.read(server_time())


def as_data(job: JobInfo) -> dict[str, Any]:
    """Return a job for JSON; times are seconds since 1970."""
    error = {"type": job.error.type, "message": job.error.message} if job.error is not None else None
    return asdict(job) | {"error": error}


def _row(job: JobInfo, now: float) -> tuple[Any, ...]:
    since = job.enqueued if job.since is None and job.state != "running" else job.since
    return (
        job.id, job.task, job.state, output.age(None if since is None else now - since),
        output.age(None if job.due is None else job.due - now), job.worker, job.attempts,
        f"{job.error.type}: {job.error.message}"[:ERROR] if job.error is not None else "",
    )  # fmt: skip


def _span(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, end - start)


def _when(at: float | None, now: float) -> str:
    """Return a time for people: local, to the millisecond, and how far away it is."""
    if at is None:
        return ""
    stamp = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))}.{int(at * 1000) % 1000:03d}"
    return f"{stamp}, {output.age(now - at)} ago" if at <= now else f"{stamp}, in {output.age(at - now)}"
