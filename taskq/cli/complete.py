"""What a shell offers after Tab: tasks, queues, workers, job ids. Whatever goes wrong offers nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem, get_completion_class

from taskq.cli.target import app_option, load_any_app, load_app
from taskq.errors import InvalidOption, shorten

if TYPE_CHECKING:
    from taskq.app import TaskQ

SHELLS: Final = ("bash", "zsh", "fish")
MOST: Final = 200  # words offered: more than anybody reads
PATIENCE: Final = 1.0  # seconds for the server: somebody waits with a finger on Tab

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def tasks(app: TaskQ) -> Iterable[str]:
    """Return the names of an app's tasks."""
    return sorted(app.tasks)


def queues(app: TaskQ) -> Iterable[str]:
    """Return the names of all queues."""
    from taskq.broker import jobs

    return app.broker.read(jobs.queue_names(app.settings.namespace))


def workers(app: TaskQ) -> Iterable[str]:
    """Return the ids of all workers."""
    return [one.id for one in app.inspect.workers()]


def job_ids(app: TaskQ) -> Iterable[str]:
    """Return the ids of jobs that have not ended."""
    return (one.id for one in app.inspect.jobs(limit=5 * MOST))


def dead_ids(app: TaskQ) -> Iterable[str]:
    """Return the ids of dead jobs."""
    return (one.id for one in app.inspect.jobs(state=("dead", "quarantine"), limit=5 * MOST))


def words(of: Callable[[TaskQ], Iterable[str]], *, needs_app: bool = False, listed: bool = False) -> Completer:
    """Make the completion of an argument or option.

    Args:
        of: gives the words.
        needs_app: they are names from the app's own code, which a unique ending means, too.
        listed: it is a list with commas.
    """

    def complete(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
        try:
            with context:
                app = load_app(PATIENCE) if needs_app else load_any_app(PATIENCE)
                if not needs_app and not app.settings.url and not _is_running():
                    return []  # not started for a Tab
                before, comma, last = begun.rpartition(",") if listed else ("", "", begun)
                known = of(app)
                found = list(islice((word for word in known if word.startswith(last)), MOST))
                if needs_app and not found:
                    found = _by_ending(known, last)
                return [CompletionItem(f"{before}{comma}{word}") for word in found]
        except Exception:  # a traceback in the middle of somebody's command line helps nobody
            return []

    return complete


def _by_ending(names: Iterable[str], begun: str) -> list[str]:
    """Return the one name of which a part begins so; of several a shell would put their common beginning there."""
    found = [name for name in names if f".{begun}" in name]
    return found if len(found) == 1 else []


def kinds(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete a kind of event."""
    from taskq.client.lifecycle import KINDS

    return [CompletionItem(kind) for kind in KINDS if kind.startswith(begun)]


def choices(*known: str) -> Completer:
    """Make the completion of an option with fixed values, which may be a list with commas."""

    def complete(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
        before, comma, last = begun.rpartition(",")
        return [CompletionItem(f"{before}{comma}{word}") for word in known if word.startswith(last)]

    return complete


def _is_running() -> bool:
    from taskq import embedded

    return embedded.status().running


@click.command(short_help="Print what makes a shell complete taskq's words.")
@click.argument("shell", shell_complete=choices(*SHELLS))
@app_option
def completion(*, shell: str) -> None:
    """Print what makes SHELL (bash, zsh or fish) complete commands, tasks, queues, job ids and workers.

    For bash: eval "$(taskq completion bash)" in ~/.bashrc.
    """
    kind: Any = get_completion_class(shell) if shell in SHELLS else None
    if kind is None:
        raise InvalidOption(f"shell {shorten(shell)} is none of {', '.join(SHELLS)}")
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "taskq", "_TASKQ_COMPLETE").source())
