"""``taskq worker``: run jobs; its subcommands tell running workers what to do."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from taskq.cli import exits, output, values, workerctl
from taskq.cli.target import app_option, require_target
from taskq.cli.usage import Commands
from taskq.config import find_project, read_project
from taskq.errors import InvalidOption, MissingDependency, shorten

if TYPE_CHECKING:
    from taskq.worker.options import QueueChoice, WorkerOptions

MAX_COUNT = 2**53  # jobs of one child; beyond any
MIN_MEMORY, MAX_MEMORY = 16 * 1024, 1024**3  # KiB: an empty Python needs 10 MiB; 1 TiB
MAX_GRACE = 86_400  # seconds; a day
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@click.group(
    cls=Commands,
    short_help="Run jobs until stopped; stop, pause or resume workers.",
    invoke_without_command=True,
    subcommand_metavar="[COMMAND [ARGS]...]",
)
@click.pass_context
@app_option
@click.option("-P", "--pool", default="process", show_default=True, metavar="POOL",
              help="How jobs run: process, thread, gevent or asyncio.")  # fmt: skip
@click.option("-c", "--concurrency", metavar="N",
              help="Jobs at once in a child; with the process pool, children. Default: one process per core, "
                   "10 threads, 100 greenlets or coroutines.")  # fmt: skip
@click.option("--processes", metavar="N", help="Children of a thread, gevent or asyncio pool. Default: 1.")
@click.option("-Q", "--queues", metavar="LIST",
              help="Queues to serve: 'a,b' in this order, 'a:3,b:1' by weight. Default: those of the app.")  # fmt: skip
@click.option("-n", "--name", default="", help="The worker's name, for people. Default: the host's.")
@click.option("--grace", metavar="SECONDS",
              help="How long running jobs have after the first TERM or INT. Default: 8.")  # fmt: skip
@click.option("--max-jobs-per-child", metavar="N", help="Replace a child after so many jobs.")
@click.option("--max-memory-per-child", metavar="SIZE", help="Replace a child that uses more memory, such as 200M.")
@click.option("--log-level", default="INFO", show_default=True, envvar="TASKQ_LOG_LEVEL", metavar="LEVEL",
              help="DEBUG, INFO, WARNING, ERROR or CRITICAL.")  # fmt: skip
@click.option("--log-format", default="text", show_default=True, envvar="TASKQ_LOG_FORMAT", metavar="FORMAT",
              help="text or json.")  # fmt: skip
@click.option("--job-logs/--no-job-logs", default=True, help="Log the start and success of each job, or only trouble.")
@click.option("--allow-import", multiple=True, metavar="PATTERN",
              help="Run plain functions of modules such as 'shop.*' for app.Executor; else TASKQ_ALLOW_IMPORT, else "
                   "[tool.taskq] allow_import. Default: none.")  # fmt: skip
@click.option("--drain", is_flag=True, help="Exit once every queue is empty and nothing runs.")
def worker(
    context: click.Context,
    /,
    *,
    pool: str,
    concurrency: str | None,
    processes: str | None,
    queues: str | None,
    name: str,
    grace: str | None,
    max_jobs_per_child: str | None,
    max_memory_per_child: str | None,
    log_level: str,
    log_format: str,
    job_logs: bool,
    allow_import: tuple[str, ...],
    drain: bool,
) -> int:
    """Run jobs until stopped.

    The first TERM or INT lets running jobs finish, a second one gives them back to their queue; QUIT exits at once.
    Logs go to standard error. A command after it tells workers that run already, on any machine, what to do.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return exits.OK
    from taskq.cli.logqueue import bounded_logging
    from taskq.worker import logs
    from taskq.worker.options import DEFAULT_GRACE, WorkerOptions

    logs.make_formatter(log_format)
    level = logs.check_level(log_level)
    _check_pool(pool)
    children = _children(pool, processes)
    options = WorkerOptions(
        app="",
        pool=pool,
        concurrency=_concurrency(pool, concurrency),
        processes=children,
        queues=_queues(queues),
        name=_checked_name(name),
        grace=DEFAULT_GRACE if grace is None else values.seconds("--grace", grace, 0, MAX_GRACE),
        max_jobs=_optional_count(max_jobs_per_child),
        max_memory=_memory(max_memory_per_child),
        log_level=level,
        log_format=log_format,
        job_logs=job_logs,
        allow_import=_allowed(allow_import),
        drain=drain,
    )
    options = _with_app(options)
    with bounded_logging(level, log_format, 2):
        return _run(options)


for command in (workerctl.stop, workerctl.pause, workerctl.resume):
    worker.add_command(command)


def _refuse_options(context: click.Context) -> None:
    """Refuse options of a worker to be started, where others are told what to do."""
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if given and parameter.expose_value:  # not --app, which is for both
            raise click.UsageError(
                f"{parameter.opts[-1]} is for starting a worker; it has no meaning for {context.invoked_subcommand!r}",
                context,
            )


def _run(options: WorkerOptions) -> int:
    from taskq.worker.supervisor import run

    return run(options)


def _with_app(options: WorkerOptions) -> WorkerOptions:
    """Name the app last, so that what is wrong with the options is told without one."""
    from dataclasses import replace

    target = require_target()
    return replace(options, app=target.spec, sys_path=target.root)


def _check_pool(pool: str) -> None:
    from taskq.worker.options import POOLS

    if pool not in POOLS:
        raise InvalidOption(f"--pool {shorten(pool)} is unknown; choose one of {', '.join(POOLS)}")
    if pool == "gevent" and find_spec("gevent") is None:
        raise MissingDependency("--pool gevent needs gevent, which is not installed: pip install 'taskq[gevent]'")


def _concurrency(pool: str, text: str | None) -> int:
    from taskq.worker.options import DEFAULT_SLOTS, MAX_CONCURRENCY, MAX_PROCESSES

    if text is not None:
        return values.whole("--concurrency", text, 1, MAX_PROCESSES if pool == "process" else MAX_CONCURRENCY)
    return len(os.sched_getaffinity(0)) if pool == "process" else DEFAULT_SLOTS[pool]


def _children(pool: str, text: str | None) -> int:
    from taskq.worker.options import MAX_PROCESSES

    if text is None:
        return 1
    if pool == "process":
        raise InvalidOption("--processes is for the other pools; with --pool process give --concurrency")
    return values.whole("--processes", text, 1, MAX_PROCESSES)


def _queues(text: str | None) -> tuple[QueueChoice, ...]:
    from taskq.worker.options import parse_queues

    if text is None:
        return ()
    choices, twice = parse_queues(text)
    for name in dict.fromkeys(twice):
        output.complain(f"--queues names {name} more than once; it is served once")
    return choices


def _allowed(given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the patterns of the option, else of the variable, else of pyproject.toml."""
    from taskq.worker.options import parse_patterns

    variable = os.environ.get("TASKQ_ALLOW_IMPORT", "").strip()
    if given or variable:
        return parse_patterns(given or (variable,))
    file = find_project()
    listed = read_project(file).get("allow_import", ())
    texts = [listed] if isinstance(listed, str) else listed
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise InvalidOption(f"{file}: tool.taskq.allow_import {shorten(listed)} must be a list of texts")
    return parse_patterns(texts)


def _checked_name(name: str) -> str:
    if name and _NAME.fullmatch(name) is None:
        raise InvalidOption(
            f"--name {shorten(name)} cannot be used: 1 to 64 letters, digits, '.', '_' or '-', "
            "the first a letter or digit"
        )
    return name


def _optional_count(text: str | None) -> int:
    return 0 if text is None else values.whole("--max-jobs-per-child", text, 0, MAX_COUNT)


def _memory(text: str | None) -> int:
    return 0 if text is None else values.kibibytes("--max-memory-per-child", text, MIN_MEMORY, MAX_MEMORY)
