"""``taskq enqueue`` and ``taskq result``: make a job, read how one ended."""

from __future__ import annotations

import contextlib
import difflib
import re
import time
from collections.abc import Collection, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import click

from taskq.cli import complete, exits, output, values
from taskq.cli.target import app_option, load_any_app, load_app
from taskq.errors import UnknownOrExpired, UnknownTask, clean, shorten

if TYPE_CHECKING:
    from taskq.client.result import AsyncResult
    from taskq.model.outcome import Record

MAX_WAIT = 366 * 86_400.0  # seconds; a year, as for every time in taskq
SOON = 0.3  # seconds; what comes within them needs no sign of waiting, and is not delayed by drawing one
MAX_NAMES = 10  # tasks in one message
_NUMBER = re.compile(r"-[0-9.]")  # -1, -.5: an argument, no option


class JobCommand(click.Command):
    """A command whose arguments may be negative numbers; after ``--`` they may be anything."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, then refuse what looks like an option and is none."""
        ctx.ignore_unknown_options = True
        free = len(args) - args.index("--") - 1 if "--" in args else 0
        rest = super().parse_args(ctx, args)
        words = [ctx.params.get("task") or "", *ctx.params.get("arguments", ())]
        known = [name for parameter in self.params for name in parameter.opts if name.startswith("--")]
        for word in words[: len(words) - free] if free else words:
            if word.startswith("-") and word != "-" and not _NUMBER.match(word) and not ctx.resilient_parsing:
                name = word.partition("=")[0]
                raise click.NoSuchOption(name, possibilities=difflib.get_close_matches(name, known), ctx=ctx)
        return rest


@click.command(cls=JobCommand, short_help="Put a job on a queue.")
@app_option
@click.argument("task", shell_complete=complete.words(complete.tasks, needs_app=True))
@click.argument("arguments", nargs=-1, metavar="[ARGS]...")
@click.option("--kwarg", multiple=True, metavar="NAME=VALUE", help="A keyword argument; may be given many times.")
@click.option("--queue", metavar="NAME", shell_complete=complete.words(complete.queues),
              help="The queue. Default: the task's.")  # fmt: skip
@click.option("--priority", metavar="NUMBER", help="On a priority queue: lower numbers leave first.")
@click.option("--delay", metavar="SECONDS", help="Start it no sooner than that.")
@click.option("--expires", metavar="SECONDS", help="Do not start it any more after that.")
@click.option("--id", "job_id", metavar="ID", help="The job's id: the same job twice under one id is one job.")
@click.option("--wait", is_flag=True, help="Wait for the result and print it.")
@click.option("--timeout", metavar="SECONDS", help="Give up on a full queue, and on the result, after that.")
@click.option("--traceback", is_flag=True, help="With --wait: show a failed job's traceback.")
@click.option("--json", "json_", is_flag=True, help="Print one JSON object.")
def enqueue(
    *,
    task: str,
    arguments: tuple[str, ...],
    kwarg: tuple[str, ...],
    queue: str | None,
    priority: str | None,
    delay: str | None,
    expires: str | None,
    job_id: str | None,
    wait: bool,
    timeout: str | None,
    traceback: bool,
    json_: bool,
) -> int:
    """Put a job on a queue and print its id.

    TASK is a task's full name or its unique ending. Each of ARGS is JSON, or a plain text where it is none: 5 is a
    number, abc a text, '"5"' a text too.
    """
    limit = None if timeout is None else values.seconds("--timeout", timeout, 0, MAX_WAIT)
    options: dict[str, Any] = {"queue": queue, "job_id": job_id, "timeout": limit}
    for option, key, text in (("--priority", "priority", priority), ("--delay", "countdown", delay)):
        options[key] = None if text is None else values.number(option, text)
    options["expires"] = None if expires is None else values.number("--expires", expires)
    args, kwargs = tuple(values.argument(text) for text in arguments), values.keywords(kwarg)
    app = load_app()
    found = app.tasks[full_name(task, app.tasks)]
    began = time.monotonic()
    given = {key: value for key, value in options.items() if value is not None}
    job = found.apply_async(args, kwargs, **given)
    if wait:
        left = None if limit is None else max(0.0, limit - (time.monotonic() - began))
        return _await(job, left, {"task": found.name}, traceback=traceback, json_=json_, with_state=False)
    if json_:
        output.emit({"id": job.id, "task": found.name, "queue": job.queue})
    else:
        output.say(job.id)
    return exits.OK


@click.command(short_help="Show the state and result of a job.")
@app_option
@click.argument("job_id", metavar="ID", shell_complete=complete.words(complete.job_ids))
@click.option("--wait", is_flag=True, help="Wait until it ends.")
@click.option("--timeout", metavar="SECONDS", help="With --wait: give up after that.")
@click.option("--traceback", is_flag=True, help="Show a failed job's traceback.")
@click.option("--json", "json_", is_flag=True, help="Print one JSON object.")
def result(*, job_id: str, wait: bool, timeout: str | None, traceback: bool, json_: bool) -> int:
    """Show the state of the job ID, and its result once it has ended.

    Exits 1 if it failed, was cancelled, or is unknown: never enqueued, or its result has expired.
    """
    limit = None if timeout is None else values.seconds("--timeout", timeout, 0, MAX_WAIT)
    job = load_any_app().AsyncResult(job_id)
    if wait:
        return _await(job, limit, {}, traceback=traceback, json_=json_, with_state=True)
    if job.record is not None:
        return _tell(job, {}, traceback=traceback, json_=json_, with_state=True)
    state = job.state
    if state == "unknown":
        raise UnknownOrExpired(f"there is no job {shorten(job.id)} and no result: never enqueued, or expired")
    if json_:
        output.emit({"id": job.id, "state": state})
    else:
        output.say(state)
    return exits.FAILED if state in {"dead", "quarantine"} else exits.OK


def full_name(task: str, names: Collection[str]) -> str:
    """Return the name of the one task that ``task`` means: its full name, or its ending from a dot on.

    Raises:
        UnknownTask: there is none or more than one; the message names the nearest, or those that it may mean.
    """
    if task in names:
        return task
    found = sorted(name for name in names if task and name.endswith("." + task))
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownTask(f"task {shorten(task)} may be {_listed(found, ' or ')}; write more of its name")
    endings = {name.rsplit(".", 1)[-1]: name for name in sorted(names)}
    near = difflib.get_close_matches(task, [*names, *endings], 1)
    if near:
        raise UnknownTask(f"task {shorten(task)} is unknown; did you mean {endings.get(near[0], near[0])}?")
    known = f"the app has {_listed(sorted(names), ', ')}" if names else "the app has none"
    raise UnknownTask(f"task {shorten(task)} is unknown; {known}")


def _listed(names: Sequence[str], between: str) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return between.join(names[:MAX_NAMES]) + more


def _await(
    job: AsyncResult[Any],
    limit: float | None,
    fields: dict[str, Any],
    *,
    traceback: bool,
    json_: bool,
    with_state: bool,
) -> int:
    """Wait for the job and tell how it ended; a wait in vain tells where it is."""
    try:
        _wait(job, limit)
    except CancelledError:
        pass  # told below, from its record
    except TimeoutError:
        if json_:
            output.emit({"id": job.id, **fields, "state": job.state})
        output.complain(f"job {job.id} has not ended in time; it goes on, wait for it by: taskq result {job.id} --wait")
        return exits.FAILED
    return _tell(job, fields, traceback=traceback, json_=json_, with_state=with_state)


def _wait(job: AsyncResult[Any], limit: float | None) -> None:
    """Return when the job has ended; raises as ``AsyncResult.exception``. What takes a while is shown as awaited."""
    soon = SOON if limit is None else min(SOON, limit)
    with contextlib.suppress(TimeoutError):
        job.exception(soon)
        return
    with output.spinner(f"waiting for job {job.id}"):
        job.exception(None if limit is None else limit - soon)


def _tell(job: AsyncResult[Any], fields: dict[str, Any], *, traceback: bool, json_: bool, with_state: bool) -> int:
    """Print how a job ended."""
    record = job.record
    if record is None:
        raise UnknownOrExpired(f"there is no job {shorten(job.id)} and no result: never enqueued, or expired")
    failure = None if record.ending == "cancelled" else job.exception(0)
    failed = record.ending == "cancelled" or failure is not None
    if json_:
        output.emit({"id": job.id, **fields, **_times(record), "state": record.ending, **_end(job, record, failure)})
        return exits.FAILED if failed else exits.OK
    if with_state:
        output.say(record.ending)
    if not failed:
        click.echo(output.as_text(job.result(0)))
        return exits.OK
    if traceback and record.error is not None and record.error.traceback:
        click.echo(clean(record.error.traceback).rstrip(), err=True)
    output.complain(f"job {job.id} {_why(record, failure)}")
    return exits.FAILED


def _why(record: Record, failure: BaseException | None) -> str:
    if record.error is not None:
        said = f"{record.error.type}: {record.error.message}" if record.error.message else record.error.type
        return f"{record.ending}: {said}"
    if failure is not None:
        return f"{record.ending}, but its result cannot be read: {failure}"
    return record.ending


def _times(record: Record) -> dict[str, Any]:
    """Return who ran the job and when, in seconds since 1970 by the server's clock; None where unknown."""
    times = {"enqueued": record.enqueued_us, "started": record.started_us, "finished": record.finished_us}
    found: dict[str, Any] = {name: us / 1e6 if us else None for name, us in times.items()}
    return {"task": record.task or None, "worker": record.worker or None, "attempt": record.attempt} | found


def _end(job: AsyncResult[Any], record: Record, failure: BaseException | None) -> dict[str, Any]:
    if record.error is not None:
        error = record.error
        return {"error": {"type": error.type, "message": error.message, "traceback": error.traceback}}
    if failure is not None:
        return {"error": {"type": type(failure).__name__, "message": str(failure), "traceback": ""}}
    if record.ending == "cancelled":
        return {}
    value = job.result(0)
    return {"result": value} if output.as_json(value) is not None else {"repr": output.as_text(value)}
