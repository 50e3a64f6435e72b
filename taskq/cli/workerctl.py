"""``taskq worker stop``, ``pause`` and ``resume``: what workers do, told from any machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from taskq.cli import complete, exits, output, values
from taskq.cli.target import app_option, load_any_app

if TYPE_CHECKING:
    from taskq.broker.broker import Broker
    from taskq.broker.workers import CommandWord
    from taskq.client.workers import Answer, WorkerInfo

F = TypeVar("F", bound=Callable[..., int])
MAX_WAIT = 366 * 86_400.0  # seconds; a year, as for every time in taskq
DONE = {"stop": "stopped", "pause": "paused", "resume": "resumed"}


def _common(command: F) -> F:
    """Give a command what all three take."""
    for decorate in (
        click.option("--json", "json_", is_flag=True, help="Print one JSON object a worker."),
        click.option("--timeout", metavar="SECONDS", help="Give up after that. Default: 10 for the answer."),
        click.option("--all", "all_", is_flag=True, help="All workers of the namespace."),
        click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.words(complete.workers)),
        app_option,
    ):
        command = decorate(command)
    return command


@click.command(short_help="Stop workers gracefully.")
@_common
@click.option("--wait", is_flag=True, help="Wait until they are gone, as long as that takes.")
def stop(*, names: tuple[str, ...], all_: bool, timeout: str | None, json_: bool, wait: bool) -> int:
    """Stop workers as the first TERM does: running jobs get the worker's --grace, the rest goes back to its queue.

    NAME is a worker's id, the beginning of one, a worker's --name or its host.
    """
    return _order("stop", names, all_=all_, timeout=timeout, json_=json_, wait=wait)


@click.command(short_help="Let workers start no more jobs.")
@_common
def pause(*, names: tuple[str, ...], all_: bool, timeout: str | None, json_: bool) -> int:
    """Let workers start no more jobs until they are resumed; what runs goes on, the rest goes back to its queue.

    NAME is a worker's id, the beginning of one, a worker's --name or its host.
    """
    return _order("pause", names, all_=all_, timeout=timeout, json_=json_, wait=False)


@click.command(short_help="Let paused workers go on.")
@_common
def resume(*, names: tuple[str, ...], all_: bool, timeout: str | None, json_: bool) -> int:
    """Let paused workers start jobs again.

    NAME is a worker's id, the beginning of one, a worker's --name or its host.
    """
    return _order("resume", names, all_=all_, timeout=timeout, json_=json_, wait=False)


def _order(
    command: CommandWord, names: tuple[str, ...], *, all_: bool, timeout: str | None, json_: bool, wait: bool
) -> int:
    from taskq.client.operation import perform
    from taskq.client.workers import ANSWER_TIME, ask_workers

    if bool(names) == all_:
        raise click.UsageError(f"give either the workers to {command}, or --all for all of them")
    limit = ANSWER_TIME if timeout is None else values.seconds("--timeout", timeout, 0, MAX_WAIT)
    give_up = None if timeout is None else limit
    broker = load_any_app().broker
    chosen = _choose(broker, names)
    reachable = [one.id for one in chosen if not one.vanished]
    for one in chosen:
        if one.vanished:
            _tell_vanished(broker, one, command, json_=json_)

    def told(answer: Answer) -> None:
        _tell(broker, answer, limit, json_=json_)

    asked = ask_workers(broker, reachable, command, timeout=limit, until_gone=wait, give_up=give_up, told=told)
    answers = perform(asked, broker)
    done = sum(answer.done for answer in answers)
    if not json_ and len(chosen) != 1:
        word = "asked to stop" if command == "stop" and not wait else DONE[command]
        output.say(f"{done} {'worker' if done == 1 else 'workers'} {word}")
    return exits.OK if done == len(chosen) else exits.FAILED


def _choose(broker: Broker, names: tuple[str, ...]) -> list[WorkerInfo]:
    """Return the workers that are meant, each once; without names all that live."""
    from taskq.client.workers import find_worker, list_workers

    known = list_workers(broker)
    if not names:
        return [one for one in known if not one.vanished]
    return list({found.id: found for found in (find_worker(name, known) for name in names)}.values())


def _tell_vanished(broker: Broker, one: WorkerInfo, command: CommandWord, *, json_: bool) -> None:
    if json_:
        output.emit({"worker": one.id, "command": command, "state": "vanished", "done": False, "age": one.age})
    output.complain(
        f"worker {one.id} has vanished: no sign of life for {output.age(one.age)}{_who_goes_on(broker, one.id)}"
    )


def _who_goes_on(broker: Broker, worker: str) -> str:
    from taskq.client.workers import is_replaced

    return "; other workers take its jobs" if is_replaced(broker, worker) else ""


def _tell(broker: Broker, answer: Answer, limit: float, *, json_: bool) -> None:
    """Print what became of one worker, at once: others may take long."""
    if json_:
        output.emit({"worker": answer.worker, "command": answer.command, "state": answer.state, "done": answer.done})
    if answer.done and not json_:
        output.say(f"worker {answer.worker}: {answer.state}")
    elif not answer.done:
        output.complain(f"worker {answer.worker} {_why_not(broker, answer, limit)}")


def _why_not(broker: Broker, answer: Answer, limit: float) -> str:
    if answer.state == "silent":
        return (
            f"has not answered within {limit:g} s: it is stuck, or cut off from the server; "
            "it obeys if it hears of it within a minute"
        )
    if answer.state == "vanished":
        return f"has vanished{_who_goes_on(broker, answer.worker)}"
    if answer.state == "stopped":
        return f"has stopped, and cannot {answer.command} any more"
    if answer.command == "stop":
        return f"is still {answer.state or 'there'} after {limit:g} s, and goes on with that"
    return f"is {answer.state or 'in no known state'} and did not {answer.command}"
