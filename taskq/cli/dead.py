"""``taskq dead``: jobs that failed for good, until somebody decides about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from taskq.cli import complete, exits, listing, output, values
from taskq.cli.acting import both, dry_option, json_option, read_ids, yes_option
from taskq.cli.target import app_option, load_any_app
from taskq.cli.usage import Commands
from taskq.errors import UnknownOrExpired

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.client.inspection import JobInfo

F = TypeVar("F", bound=Callable[..., Any])
STATES = ("dead", "quarantine")


@click.group(cls=Commands, short_help="Look at, retry or drop jobs that failed for good.")
def dead() -> None:
    """Look at, retry or drop jobs that failed for good.

    A queue keeps its last 10,000 of them for 30 days. What cannot even be handed out, since it is damaged, is in
    quarantine: it can be dropped, not retried.
    """


def _selection(command: F) -> F:
    for option in (
        click.option("--older", metavar="TIME", help="Dead for longer than that: 10m, 2h, 1d."),
        click.option("--task", default="", metavar="NAME", help="Of this task: its full name, or its ending.",
                     shell_complete=complete.words(complete.tasks, needs_app=True)),
        click.option("-Q", "--queue", "queues", multiple=True, metavar="NAME", help="Of this queue. Default: all.",
                     shell_complete=complete.words(complete.queues)),
    ):  # fmt: skip
        command = option(command)
    return command


@dead.command("list", short_help="List dead jobs, newest first.")
@app_option
@_selection
@click.option("--limit", metavar="N", help=f"At most so many. Default: {listing.LIMIT}; 0 for all.")
@click.option("--ids", is_flag=True, help="Print ids only, for another command.")
@json_option
def list_(*, queues: tuple[str, ...], task: str, older: str | None, limit: str | None, ids: bool, json_: bool) -> None:
    """List dead jobs with their last errors, newest first."""
    most = listing.LIMIT if limit is None else values.whole("--limit", limit, 0, listing.MAX_LIMIT)
    app = load_any_app()
    now = listing.server_now(app)
    listing.show(_select(app, queues, task, older, now, STATES), most, now, ids=ids, json_=json_)


@dead.command(short_help="Show all that is known of a dead job.")
@app_option
@click.argument("job_id", metavar="ID", shell_complete=complete.words(complete.dead_ids))
@json_option
def show(*, job_id: str, json_: bool) -> int:
    """Show the job ID with the errors of its last attempts. Exits 1 if it is not dead."""
    app = load_any_app()
    found = app.inspect.job(job_id)
    listing.show_detail(found, listing.server_now(app), json_=json_)
    if found.state in STATES:
        return exits.OK
    output.complain(f"job {found.id} is not dead: {found.state}")
    return exits.FAILED


def _chosen(command: F) -> F:
    command = click.option("--all", "all_", is_flag=True, help="All of them.")(_selection(command))
    return click.argument(
        "job_ids", nargs=-1, metavar="[ID]...", shell_complete=complete.words(complete.dead_ids)
    )(command)  # fmt: skip


@dead.command(short_help="Put dead jobs back in line.")
@app_option
@_chosen
@dry_option
@yes_option
@json_option
def retry(**given: Any) -> int:
    """Put dead jobs back in line: the jobs ID, or those of a task, queue or age, or --all.

    '-' reads ids from standard input.
    """
    return _act("retry", "retried", ("dead",), **given)


@dead.command(short_help="Forget dead jobs for good.")
@app_option
@_chosen
@dry_option
@yes_option
@json_option
def drop(**given: Any) -> int:
    """Forget dead jobs for good: the jobs ID, or those of a task, queue or age, or --all.

    '-' reads ids from standard input. Those in quarantine are dropped too.
    """
    return _act("drop", "dropped", STATES, **given)


def _act(
    verb: str,
    participle: str,
    states: tuple[str, ...],
    *,
    job_ids: tuple[str, ...],
    queues: tuple[str, ...],
    task: str,
    older: str | None,
    all_: bool,
    dry_run: bool,
    yes: bool,
    json_: bool,
) -> int:
    narrowed = bool(queues or task or older)
    if bool(job_ids) + narrowed + all_ != 1:
        raise click.UsageError("name jobs by ID, or some by --queue, --task or --older, or say --all")
    app = load_any_app()
    if job_ids:
        chosen = list(dict.fromkeys(read_ids(job_ids)))
    else:
        now = listing.server_now(app)
        chosen = [job.id for job in _select(app, queues, task, older, now, states)]
    if dry_run:
        count = sum(_is_in(app, one, states) for one in chosen) if job_ids else len(chosen)
        _tell(f"would_{verb}", count, f"{_jobs(count)} would be {participle}", json_)
        return exits.OK if count == len(chosen) else exits.FAILED
    if not output.confirm(f"{verb} {_jobs(len(chosen))}?", yes or bool(job_ids) or not chosen):
        return exits.FAILED
    act = app.control.retry if verb == "retry" else app.control.drop
    with output.tally(participle) as counted, output.progress(f"{verb} {_jobs(len(chosen))}", len(chosen)) as told:
        done = act(chosen, both(counted, told))
    _tell(participle, done, f"{_jobs(done)} {participle}", json_)
    if job_ids and done < len(chosen):
        rest = len(chosen) - done
        output.complain(f"{rest:,} of the {len(chosen):,} jobs named {'is' if rest == 1 else 'are'} not dead")
        return exits.FAILED
    return exits.OK


def _is_in(app: TaskQ, job_id: str, states: tuple[str, ...]) -> bool:
    try:
        return app.inspect.job(job_id).state in states
    except UnknownOrExpired:
        return False


def _select(
    app: TaskQ, queues: tuple[str, ...], task: str, older: str | None, now: float, states: tuple[str, ...]
) -> Iterator[JobInfo]:
    before = None if older is None else now - values.span("--older", older)
    found = app.inspect.jobs(queue=queues, state=states, task=task)
    for job in listing.or_nearest(found, app, task, queues, states):
        if before is None or (job.since is not None and job.since < before):
            yield job


def _jobs(count: int) -> str:
    return f"{count:,} dead job{'' if count == 1 else 's'}"


def _tell(name: str, count: int, text: str, json_: bool) -> None:
    if json_:
        output.emit({name: count})
    else:
        output.say(text)
