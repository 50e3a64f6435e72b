"""The entry of the command line: every error ends as one line and an exit code."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from concurrent.futures import CancelledError
from queue import Full
from typing import Any, NoReturn

import click

from taskq.cli import exits
from taskq.cli.acl import acl
from taskq.cli.acting import cancel, move, pause, purge, resume, retry, revoke
from taskq.cli.complete import completion
from taskq.cli.dead import dead
from taskq.cli.doctor import doctor
from taskq.cli.events import events
from taskq.cli.fsck import fsck
from taskq.cli.health import health
from taskq.cli.jobs import enqueue, result
from taskq.cli.listing import job, jobs
from taskq.cli.output import complain
from taskq.cli.report import report
from taskq.cli.server import server
from taskq.cli.status import queues, status, workers
from taskq.cli.target import app_option
from taskq.cli.tasks import config, tasks
from taskq.cli.usage import Commands
from taskq.cli.worker import worker
from taskq.errors import TaskqError
from taskq.version import VERSION

SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})  # what our output may meet


class Lines(logging.Handler):
    """Prints each record as our own errors are: one line on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record."""
        complain(record.getMessage())


@click.group(cls=Commands, context_settings=SETTINGS)
@click.version_option(VERSION, "--version", message="taskq %(version)s")
@app_option
def commands() -> None:
    """Run jobs from queues on Redis.

    Exit codes: 0 done, 1 a job failed or is unknown, 2 wrong usage or settings, 3 the server cannot be used,
    4 the server cannot be reached.
    """


COMMANDS: tuple[click.Command, ...] = (
    worker, enqueue, result,
    status, queues, workers, jobs, job, tasks, config, events, report,
    cancel, revoke, retry, move, purge, pause, resume, dead,
    server, doctor, fsck, acl, health, completion,
)  # fmt: skip
for command in COMMANDS:
    commands.add_command(command)


def main() -> NoReturn:
    """Run the command line of this process, and exit."""
    _fill_standard_descriptors()
    if "_TASKQ_COMPLETE" in os.environ:  # a shell asks for completions: click speaks that protocol
        commands.main(prog_name="taskq")
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a locale may know only ASCII
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Args:
        arguments: without the program's name.

    Returns:
        The exit code; whatever went wrong has been told on standard error.
    """
    try:
        code = _invoke(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return exits.PIPE_CLOSED
    except Exception as error:
        if isinstance(error, OSError):
            _drop_output()  # what could not be written would be tried again at exit
        if isinstance(error, OSError) and error.errno in FULL:
            complain(f"the output cannot be written: {error.strerror}")
            return exits.FAILED
        return _report(error)
    return code


def _invoke(arguments: Sequence[str]) -> int:
    _log_warnings()
    try:
        with commands.make_context("taskq", list(arguments)) as context:
            code = commands.invoke(context)
            return code if isinstance(code, int) else exits.OK
    except click.exceptions.Exit as end:
        return end.exit_code


def _report(error: Exception) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return exits.USAGE
    if isinstance(error, click.UsageError):
        if error.ctx is not None:
            click.echo(error.ctx.get_usage(), err=True)
        complain(error.format_message())
        return exits.USAGE
    if isinstance(error, TaskqError):
        complain(str(error) or type(error).__name__)
        return exits.code_of(error)
    if isinstance(error, Full | TimeoutError | CancelledError):
        complain(str(error) or ("the queue is full" if isinstance(error, Full) else "it took too long"))
        return exits.FAILED
    return _report_defect(error)


def _report_defect(error: Exception) -> int:
    reason = traceback.format_exception_only(error)[-1]
    if os.environ.get("TASKQ_DEBUG", "") not in {"", "0"}:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    complain(f"{reason.strip()}; run with TASKQ_DEBUG=1 for the traceback")
    return exits.DEFECT


def _log_warnings() -> None:
    """Show what the library warns of; the worker's own logging replaces this."""
    own = logging.getLogger("taskq")
    own.handlers[:] = [Lines(logging.WARNING)]
    own.propagate = False


def _fill_standard_descriptors() -> None:
    """Open what is closed of standard input, output and error on nothing.

    A socket that got their number would be written to as if it were they.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one


def _drop_output() -> None:
    """Let what is still buffered for a closed pipe vanish at exit, without a word."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)
