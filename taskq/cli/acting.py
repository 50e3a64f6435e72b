"""Commands that change something: cancel, revoke, retry, move, purge, pause, resume."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from taskq.cli import complete, exits, output
from taskq.cli.target import app_option, load_any_app
from taskq.errors import UnknownOrExpired

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.broker.queues import QueueInfo

F = TypeVar("F", bound=Callable[..., Any])
TRIES: Final = 3  # to cancel a job that a worker gives back in the moment in between


def ids_argument(completer: complete.Completer) -> Callable[[F], F]:
    """Give a command the argument of one or more job ids."""
    decorate: Callable[[F], F] = click.argument(
        "job_ids", nargs=-1, required=True, metavar="ID...", shell_complete=completer
    )
    return decorate


json_option = click.option("--json", "json_", is_flag=True, help="Print one JSON object a line.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
dry_option = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


def read_ids(given: tuple[str, ...]) -> Iterator[str]:
    """Yield the ids; ``-`` stands for those on standard input, one a line."""
    for one in given:
        if one != "-":
            yield one
            continue
        for text in sys.stdin or ():
            if text.strip():
                yield text.strip()


@click.command(short_help="Take jobs out before they start.")
@app_option
@ids_argument(complete.words(complete.job_ids))
@json_option
def cancel(*, job_ids: tuple[str, ...], json_: bool) -> int:
    """Take the jobs ID out of their queues, unless a worker has them. '-' reads ids from standard input.

    Exits 1 if one of them could not be cancelled.
    """
    return _end(job_ids, lambda app, one: app.AsyncResult(one).cancel(), "is with a worker; see taskq revoke", json_)


@click.command(short_help="Cancel jobs, also those that a worker has.")
@app_option
@ids_argument(complete.words(complete.job_ids))
@click.option("--terminate", is_flag=True, help="Stop them even if they run.")
@json_option
def revoke(*, job_ids: tuple[str, ...], terminate: bool, json_: bool) -> int:
    """Cancel the jobs ID; a worker that has one is asked to drop it, which it does if it has not started it.

    With --terminate it stops one that runs, too. '-' reads ids from standard input. Exits 1 if one has ended.
    """
    asked = "its worker is asked to stop it" if terminate else "its worker is asked not to start it"
    return _end(job_ids, lambda app, one: app.AsyncResult(one).revoke(terminate=terminate), asked, json_, asks=True)


def _end(
    job_ids: tuple[str, ...], act: Callable[[TaskQ, str], bool], else_: str, json_: bool, *, asks: bool = False
) -> int:
    app, failed = load_any_app(), False
    for one in read_ids(job_ids):
        try:
            done, state = _try_to_end(app, one, act)
            good = done or (asks and state in {"running", "revoked"})
            said = "cancelled" if done else else_ if state in {"running", "revoked"} else f"has ended: {state}"
        except UnknownOrExpired as error:
            state, good, said = "unknown", False, str(error)
        failed |= not good
        if json_:
            output.emit({"id": one, "done": good, "state": state})
        elif good:
            output.say(f"{one}: {said}")
        else:
            output.complain(said if state == "unknown" else f"job {one} {said}")
    return exits.FAILED if failed else exits.OK


def _try_to_end(app: TaskQ, job_id: str, act: Callable[[TaskQ, str], bool]) -> tuple[bool, str]:
    """Return whether it is cancelled, and its state; one that a worker gives back meanwhile is tried again."""
    for _ in range(TRIES):
        if act(app, job_id):
            return True, "cancelled"
        state = app.AsyncResult(job_id).state
        if state not in {"ready", "delayed", "suspect"}:
            break
    return False, state


@click.command(short_help="Run dead jobs again.")
@app_option
@ids_argument(complete.words(complete.dead_ids))
@json_option
def retry(*, job_ids: tuple[str, ...], json_: bool) -> int:
    """Put the dead jobs ID back in line, with a clean history; 'taskq dead retry' does so by task or age.

    '-' reads ids from standard input. Exits 1 if one of them is not dead.
    """
    app, failed = load_any_app(), False
    for one in read_ids(job_ids):
        done = app.control.retry([one]) == 1
        failed |= not done
        if json_:
            output.emit({"id": one, "done": done})
        elif done:
            output.say(f"{one}: back in line")
        else:
            output.complain(f"job {one} is not dead: {_state(app, one)}")
    return exits.FAILED if failed else exits.OK


def _state(app: TaskQ, job_id: str) -> str:
    try:
        return app.AsyncResult(job_id).state
    except UnknownOrExpired:
        return "unknown"


@click.command(short_help="Move jobs to another queue.")
@app_option
@ids_argument(complete.words(complete.job_ids))
@click.option("--to", required=True, metavar="QUEUE", shell_complete=complete.words(complete.queues),
              help="The queue in which they go on.")  # fmt: skip
@json_option
def move(*, job_ids: tuple[str, ...], to: str, json_: bool) -> int:
    """Move the jobs ID, waiting or dead, to another queue, where they get other ids.

    Whoever waits for one of them is told that it was cancelled. '-' reads ids from standard input. Exits 1 if one of
    them stays.
    """
    app, failed = load_any_app(), False
    for one in read_ids(job_ids):
        try:
            with output.uninterrupted():  # it takes three calls, and nobody may be there to bring it to its end
                moved = app.control.move(one, to)
            now, problem = moved.now, f"job {one} {moved.problem}" if moved.problem else ""
        except UnknownOrExpired as error:
            now, problem = "", str(error)
        failed |= bool(problem)
        if json_:
            output.emit({"id": one, "now": now or None, "problem": problem or None})
        elif problem:
            output.complain(problem)
        else:
            output.say(f"{one}: is {now} now")
    return exits.FAILED if failed else exits.OK


@click.command(short_help="Cancel all jobs that wait in queues.")
@app_option
@click.argument("queues", nargs=-1, required=True, metavar="QUEUE...", shell_complete=complete.words(complete.queues))
@dry_option
@yes_option
@json_option
def purge(*, queues: tuple[str, ...], dry_run: bool, yes: bool, json_: bool) -> int:
    """Cancel all jobs of a QUEUE that no worker has, or drop the items of a data queue."""
    app = load_any_app()
    known = {one.name: one for one in app.inspect.queues()}
    for queue in dict.fromkeys(queues):
        count = _waiting(known.get(queue))
        if dry_run:
            app.control.check_queue(queue)
            _tell_queue(queue, {"would_purge": count}, f"{count:,} would be purged", json_)
            continue
        if not output.confirm(f"purge {count:,} of queue {queue}?", yes or count == 0):
            return exits.FAILED
        with output.tally("purged") as counted, output.progress(f"purging {queue}", count) as told:
            done = app.control.purge(queue, both(counted, told), count)  # no more than was agreed to
        _tell_queue(queue, {"purged": done}, f"{done:,} purged", json_)
    return exits.OK


def both(*listeners: Callable[[int], None]) -> Callable[[int], None]:
    """Return a function that gives each number to all listeners."""

    def told(more: int) -> None:
        for listener in listeners:
            listener(more)

    return told


def _waiting(info: QueueInfo | None) -> int:
    return info.ready + info.delayed + info.suspect if info is not None else 0


@click.command(short_help="Stop workers from taking jobs of queues.")
@app_option
@click.argument("queues", nargs=-1, required=True, metavar="QUEUE...", shell_complete=complete.words(complete.queues))
@json_option
def pause(*, queues: tuple[str, ...], json_: bool) -> None:
    """Let no worker take another job of a QUEUE; what runs goes on, and jobs may still be sent."""
    app = load_any_app()
    for queue in queues:
        app.control.pause(queue)
        _tell_queue(queue, {"paused": True}, "paused; taskq resume lets it go on", json_)


@click.command(short_help="Let workers take jobs of queues again.")
@app_option
@click.argument("queues", nargs=-1, required=True, metavar="QUEUE...", shell_complete=complete.words(complete.queues))
@json_option
def resume(*, queues: tuple[str, ...], json_: bool) -> None:
    """Let workers take jobs of a QUEUE again."""
    app = load_any_app()
    for queue in queues:
        app.control.resume(queue)
        _tell_queue(queue, {"paused": False}, "open", json_)


def _tell_queue(queue: str, data: dict[str, Any], text: str, json_: bool) -> None:
    if json_:
        output.emit({"queue": queue, **data})
    else:
        output.say(f"{queue}: {text}")
