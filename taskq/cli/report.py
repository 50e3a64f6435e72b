"""``taskq report``: a picture of what ran, as one file."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taskq.cli import complete, exits, output, values
from taskq.cli.target import app_option, load_any_app
from taskq.errors import InvalidOption, shorten

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.report.report import Report
    from taskq.report.summary import Summary

FORMATS = {"html": "run.html", "trace": "run.json"}  # with the file that is written where none is named
STDOUT = "-"


@click.command(short_help="Write a picture of what ran.")
@app_option
@click.option("--since", metavar="TIME",
              help="Only jobs that ended since then: 90s, 10m, 2h or 1d ago, or 2026-11-20T10:00.")  # fmt: skip
@click.option("--until", metavar="TIME", help="Only jobs that ended until then.")
@click.option("-Q", "--queue", "queues", multiple=True, metavar="NAME", shell_complete=complete.words(complete.queues),
              help="Only jobs of it; may be given many times.")  # fmt: skip
@click.option("--task", "tasks", multiple=True, metavar="NAME",
              shell_complete=complete.words(complete.tasks, needs_app=True),
              help="Only jobs of it: a full name or its ending; may be given many times.")  # fmt: skip
@click.option("--group", default="", metavar="ID", shell_complete=complete.words(complete.job_ids),
              help="Only this job and those that came from it, over however many.")  # fmt: skip
@click.option("-o", "--output", "path", metavar="FILE",
              help="Where to; - is standard output. Default: run.html, or run.json for a trace.")  # fmt: skip
@click.option("--format", "form", default="html", show_default=True, metavar="FORMAT",
              shell_complete=complete.choices(*FORMATS),
              help="html: a page for any browser. trace: for ui.perfetto.dev.")  # fmt: skip
@click.option("--json", "json_", is_flag=True, help="Print the figures as one JSON object.")
def report(
    *,
    since: str | None,
    until: str | None,
    queues: tuple[str, ...],
    tasks: tuple[str, ...],
    group: str,
    path: str | None,
    form: str,
    json_: bool,
) -> int:
    """Write a picture of the jobs that have ended, from the results that are still kept.

    One page without a network: what ran when in which slot, waiting, throughput, times, failures. Jobs that keep
    no result (ignore_result) are missing, unless they failed.
    """
    if form not in FORMATS:
        raise InvalidOption(f"--format {shorten(form)} is unknown; choose one of {', '.join(FORMATS)}")
    target = FORMATS[form] if path is None else path
    if json_ and target == STDOUT:
        raise InvalidOption("--json prints to standard output, and so does -o -: name a file with -o")
    span = [
        None if text is None else values.when(name, text) for name, text in (("--since", since), ("--until", until))
    ]
    if target != STDOUT:
        _check_target(target)
    from taskq.report.report import make_report
    from taskq.report.summary import summarize

    app = load_any_app()
    with output.spinner("reading results"):
        made = make_report(app, since=span[0], until=span[1], queues=queues, tasks=tasks, group=_whole_id(app, group))
    if not made.runs:
        output.complain(_nothing(made, app))
        return exits.FAILED
    _write(target, _renderer(form)(made))
    _tell(target, form, made, summarize(made.runs), json_=json_)
    return exits.OK


def _whole_id(app: TaskQ, job_id: str) -> str:
    return app.AsyncResult(job_id).id if job_id else ""


def _renderer(form: str) -> Callable[[Report], Iterator[str]]:
    if form == "trace":
        from taskq.report.trace import render_trace

        return render_trace
    from taskq.report.page import render_page

    return render_page


def _check_target(target: str) -> None:
    """Tell what cannot be written before anything is read.

    Raises:
        InvalidOption: it is a directory, or in one that is missing or cannot be written to.
    """
    try:
        path = Path(target)
        if target and path.is_dir():
            problem = "it is a directory; name a file in it"
        elif not target or not path.parent.is_dir():
            problem = "there is no such directory"
        elif not os.access(path if path.exists() else path.parent, os.W_OK):
            problem = "permission denied"
        else:
            return
    except (OSError, ValueError) as error:  # too long a name, or one with a NUL
        raise _unwritable(target, error) from None
    raise _unwritable(target, problem)


def _write(target: str, parts: Iterator[str]) -> None:
    """Write a file as a whole or not at all.

    Raises:
        InvalidOption: it cannot be written.
    """
    if target == STDOUT:
        for part in parts:
            click.echo(part, nl=False)
        return
    try:
        path = Path(target).resolve()
        if path.exists() and not path.is_file():  # a device or a pipe: it must not be replaced
            with path.open("w", encoding="ascii") as out:
                out.writelines(parts)
            return
        draft = path.with_name(f".taskq-report-{os.getpid()}")
        try:
            with draft.open("w", encoding="ascii") as out:
                out.writelines(parts)
            draft.replace(path)
        finally:
            with contextlib.suppress(OSError):
                draft.unlink()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(target, error) from None


def _unwritable(target: str, error: Exception | str) -> InvalidOption:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return InvalidOption(f"--output {shorten(target)} cannot be written: {reason}")


def _nothing(made: Report, app: TaskQ) -> str:
    """Say why there is nothing to show, and what to do."""
    found, space = made.found, made.namespace
    if not found.read:
        if problem := _missing_queue(made, app):
            return problem
        where = f"queue {made.queues[0]}" if len(made.queues) == 1 else f"namespace {space}"
        return (
            f"no results are kept in {where}, so nothing can be shown: no job has ended, or they have expired "
            "(result_ttl), or the tasks keep none (ignore_result)"
        )
    if found.damaged == found.read:
        return f"none of the {found.read:,} results of namespace {space} can be read: they are damaged"
    said = f"none of the {found.read:,} jobs whose results are kept is among those asked for"
    known = sorted(name for name in found.tasks if name)
    missing = [one for one in made.tasks if not any(name == one or name.endswith(f".{one}") for name in known)]
    if not missing:
        return f"{said}; ask for more with --since, --until or --queue"
    endings = {name.rsplit(".", 1)[-1]: name for name in known}
    near = difflib.get_close_matches(missing[0], [*known, *endings], 1)
    hint = f"; did you mean {endings.get(near[0], near[0])}?" if near else ""
    return f"{said}: --task {shorten(missing[0])} is none of them{hint}"


def _missing_queue(made: Report, app: TaskQ) -> str:
    from taskq.broker.jobs import queue_names

    names = app.broker.read(queue_names(made.namespace))
    missing = [queue for queue in made.queues if queue not in names]
    if not missing:
        return ""
    near = difflib.get_close_matches(missing[0], names, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"there is no queue {missing[0]} in namespace {made.namespace}{hint}"


def _tell(target: str, form: str, made: Report, figures: Summary, *, json_: bool) -> None:
    if json_:
        output.emit(as_data(target, form, made, figures))
    elif target != STDOUT:
        tasks = f"{len(figures.tasks):,} {'task' if len(figures.tasks) == 1 else 'tasks'}"
        jobs = f"{figures.jobs:,} {'job' if figures.jobs == 1 else 'jobs'}"
        output.say(f"{target}: {jobs} of {tasks}, {figures.failed:,} failed, {figures.seconds:,.1f} s")
        for count, what in (
            (made.found.damaged, "could not be read"),
            (made.found.left_out, "older ones are left out"),
        ):
            if count:
                output.complain(f"{count:,} results {what}")


def as_data(target: str, form: str, made: Report, figures: Summary) -> dict[str, Any]:
    """Return the figures for JSON; times are seconds."""
    from dataclasses import asdict

    def rounded(values: dict[str, Any]) -> dict[str, Any]:
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in values.items()}

    return {
        "file": target,
        "format": form,
        "namespace": made.namespace,
        "since": made.found.since,
        "until": made.found.until,
        "jobs": figures.jobs,
        "failed": figures.failed,
        "cancelled": figures.cancelled,
        "workers": figures.workers,
        "seconds": round(figures.seconds, 6),
        "damaged": made.found.damaged,
        "left_out": made.found.left_out,
        "tasks": [rounded(asdict(one)) for one in figures.tasks],
        "failures": [
            {"task": one.task, "ending": one.ending, "error": one.error, "jobs": one.jobs, "last": one.last.id}
            for one in figures.failures
        ],
    }
