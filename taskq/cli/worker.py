"""``taskq worker``: run jobs; its subcommands tell running workers what to do."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from taskq.cli import complete, exits, output, values, workerctl
from taskq.cli.target import app_option, require_target
from taskq.cli.usage import Commands
from taskq.config import Given, find_project, read_project, worker_values
from taskq.errors import ConfigError, InvalidOption, MissingDependency, shorten

if TYPE_CHECKING:
    from taskq.worker.metrics import Show
    from taskq.worker.options import QueueChoice, WorkerOptions

MAX_COUNT = 2**53  # jobs of one child; beyond any
MIN_MEMORY, MAX_MEMORY = 16 * 1024, 1024**3  # KiB: an empty Python needs 10 MiB; 1 TiB
MAX_PORT = 65_535
MAX_GRACE = 86_400  # seconds; a day
OPTION, DEFAULT = 0, 3  # ranks of a value that was typed, and of one that nobody gave
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
              shell_complete=complete.choices("process", "thread", "gevent", "asyncio"),
              help="How jobs run: process, thread, gevent or asyncio.")  # fmt: skip
@click.option("-c", "--concurrency", metavar="N",
              help="Jobs at once in a child; with the process pool, children. Default: one process per core, "
                   "10 threads, 100 greenlets or coroutines.")  # fmt: skip
@click.option("--processes", metavar="N", help="Children of a thread, gevent or asyncio pool. Default: 1.")
@click.option("-Q", "--queues", metavar="LIST", shell_complete=complete.words(complete.queues, listed=True),
              help="Queues to serve: 'a,b' in this order, 'a:3,b:1' by weight. Default: those of the app.")  # fmt: skip
@click.option("-n", "--name", default="", help="The worker's name, for people. Default: the host's.")
@click.option("--grace", metavar="SECONDS",
              help="How long running jobs have after the first TERM or INT. Default: 8.")  # fmt: skip
@click.option("--max-jobs-per-child", metavar="N", help="Replace a child after so many jobs.")
@click.option("--max-memory-per-child", metavar="SIZE", help="Replace a child that uses more memory, such as 200M.")
@click.option("--log-level", default="INFO", show_default=True, metavar="LEVEL",
              help="DEBUG, INFO, WARNING, ERROR or CRITICAL.")  # fmt: skip
@click.option("--log-format", default="text", show_default=True, metavar="FORMAT",
              help="text or json.")  # fmt: skip
@click.option("--job-logs/--no-job-logs", default=True, help="Log the start and success of each job, or only trouble.")
@click.option("--allow-import", multiple=True, metavar="PATTERN",
              help="Run plain functions of modules such as 'shop.*' for app.Executor; else TASKQ_ALLOW_IMPORT, else "
                   "[tool.taskq] allow_import. Default: none.")  # fmt: skip
@click.option("--drain", is_flag=True, help="Exit once every queue is empty and nothing runs.")
@click.option("--reload", is_flag=True,
              help="Replace the children when a source of the app changes; for development.")  # fmt: skip
@click.option("--health-socket", metavar="PATH",
              help="Where it tells 'taskq health' how it is; '' or off for nowhere. Default: in the user's runtime "
                   "directory.")  # fmt: skip
@click.option("--metrics-port", metavar="PORT",
              help="Show metrics to Prometheus at http://127.0.0.1:PORT/metrics; 0 takes a free port. "
                   "Default: nowhere.")  # fmt: skip
@click.option("--metrics-host", metavar="ADDRESS",
              help="Where, instead of 127.0.0.1: whoever reaches it reads them.")  # fmt: skip
@click.option("--pidfile", metavar="PATH", help="Hold the process id here from when it is ready until it has stopped.")
def worker(context: click.Context, /, **_: object) -> int:
    """Run jobs until stopped.

    The first TERM or INT lets running jobs finish, a second one gives them back to their queue; QUIT exits at once.
    Logs go to standard error. A command after it tells workers that run already, on any machine, what to do.

    Each option may be given as a variable too, TASKQ_POOL say, or as a key under [tool.taskq.worker] in pyproject.toml.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return exits.OK
    from taskq.cli.logqueue import bounded_logging
    from taskq.worker.health import check_path

    given = _Given(worker_values(_typed(context)))
    options = _options(given)
    socket = given.found.get("health_socket")
    path = None if socket is None else check_path(socket.shown, socket.text)
    pidfile = given.text("pidfile", "")
    show = _show(given)
    options = _with_app(options)
    with bounded_logging(options.log_level, options.log_format, 2):
        return _run(options, path, pidfile, show)


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


def _run(options: WorkerOptions, health_socket: str | None, pidfile: str, show: Show | None) -> int:
    from taskq.worker.supervisor import run

    return run(options, health_socket, pidfile, show)


def _show(given: _Given) -> Show | None:
    """Return what shows metrics, None where none are wanted; raises InvalidOption, MissingDependency."""
    port, host = given.found.get("metrics_port"), given.found.get("metrics_host")
    if port is None:
        if host is not None:
            raise InvalidOption(f"{host.shown} says where to show metrics; say at which --metrics-port too")
        return None
    number = values.whole(port.shown, port.text, 0, MAX_PORT)
    if host is not None and not host.text:
        raise InvalidOption(f"{host.shown} '' names no address; give one of this machine, or leave it out")
    if find_spec("prometheus_client") is None:
        raise MissingDependency(
            f"{port.shown} needs prometheus-client, which is not installed: pip install 'taskq[prometheus]'"
        )
    from taskq.contrib.prometheus import LOOPBACK, expose

    return expose(number, LOOPBACK if host is None else host.text)


class _Given:
    """What was given by whatever way, by the option's name."""

    def __init__(self, found: dict[str, Given]) -> None:
        self.found = found

    def of(self, name: str, default: str) -> Given:
        """Return a value, or the default under the option's name."""
        return self.found.get(name) or Given(default, f"--{name.replace('_', '-')}", DEFAULT)

    def text(self, name: str, default: str) -> str:
        """Return a text."""
        return self.of(name, default).text

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a flag; raises InvalidOption."""
        one = self.found.get(name)
        return default if one is None else one.flag()


def _typed(context: click.Context) -> dict[str, str]:
    """Return the options on the command line as texts."""
    typed = {}
    for name, value in context.params.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            typed[name] = (
                ",".join(value)
                if isinstance(value, tuple)
                else str(value).lower()
                if isinstance(value, bool)
                else value
            )
    return typed


@contextlib.contextmanager
def _named(given: Given) -> Iterator[None]:
    """Name the variable or key in an error about its value, which names the option or nothing."""
    try:
        yield
    except ConfigError as error:
        if given.rank in {OPTION, DEFAULT}:
            raise
        raise type(error)(f"{given.shown}: {error}") from None


def _options(given: _Given) -> WorkerOptions:
    """Return the options of a worker without its app; raises InvalidOption."""
    from taskq.worker import logs
    from taskq.worker.options import DEFAULT_GRACE, WorkerOptions

    log_format, log_level = given.of("log_format", "text"), given.of("log_level", "INFO")
    with _named(log_format):
        logs.make_formatter(log_format.text)
    with _named(log_level):
        level = logs.check_level(log_level.text)
    pool = given.of("pool", "process")
    _check_pool(pool)
    children = _children(pool, given.found.get("processes"))
    grace = given.of("grace", str(DEFAULT_GRACE))
    max_jobs = given.of("max_jobs_per_child", "0")
    return WorkerOptions(
        app="",
        pool=pool.text,
        concurrency=_concurrency(pool.text, given.found.get("concurrency")),
        processes=children,
        queues=_queues(given.found.get("queues")),
        name=_checked_name(given.of("name", "")),
        grace=values.seconds(grace.shown, grace.text, 0, MAX_GRACE),
        max_jobs=values.whole(max_jobs.shown, max_jobs.text, 0, MAX_COUNT),
        max_memory=_memory(given.found.get("max_memory_per_child")),
        log_level=level,
        log_format=log_format.text,
        job_logs=given.flag("job_logs", default=True),
        allow_import=_allowed(given.found.get("allow_import")),
        drain=given.flag("drain", default=False),
        reload=_reload(given.found.get("reload")),
        tally="metrics_port" in given.found,
    )


def _with_app(options: WorkerOptions) -> WorkerOptions:
    """Name the app last, so that what is wrong with the options is told without one."""
    from dataclasses import replace

    target = require_target()
    return replace(options, app=target.spec, sys_path=target.root)


def _check_pool(pool: Given) -> None:
    from taskq.worker.options import POOLS

    if pool.text not in POOLS:
        raise InvalidOption(f"{pool.shown} {shorten(pool.text)} is unknown; choose one of {', '.join(POOLS)}")
    if pool.text == "gevent" and find_spec("gevent") is None:
        raise MissingDependency(
            f"{pool.shown} gevent needs gevent, which is not installed: pip install 'taskq[gevent]'"
        )


def _reload(given: Given | None) -> bool:
    if given is None or not given.flag():
        return False
    if find_spec("watchfiles") is None:
        raise MissingDependency(f"{given.shown} needs watchfiles, which is not installed: pip install 'taskq[reload]'")
    return True


def _concurrency(pool: str, given: Given | None) -> int:
    from taskq.worker.options import DEFAULT_SLOTS, MAX_CONCURRENCY, MAX_PROCESSES

    if given is not None:
        return values.whole(given.shown, given.text, 1, MAX_PROCESSES if pool == "process" else MAX_CONCURRENCY)
    return len(os.sched_getaffinity(0)) if pool == "process" else DEFAULT_SLOTS[pool]


def _children(pool: Given, given: Given | None) -> int:
    from taskq.worker.options import MAX_PROCESSES

    if given is None:
        return 1
    if pool.text == "process":
        if pool.rank < given.rank:  # it was said for the pool that a higher rank has replaced
            return 1
        raise InvalidOption(f"{given.shown} is for the other pools; with --pool process give --concurrency")
    return values.whole(given.shown, given.text, 1, MAX_PROCESSES)


def _queues(given: Given | None) -> tuple[QueueChoice, ...]:
    from taskq.worker.options import parse_queues

    if given is None:
        return ()
    with _named(given):
        choices, twice = parse_queues(given.text)
    for name in dict.fromkeys(twice):
        output.complain(f"{given.shown} names {name} more than once; it is served once")
    return choices


def _allowed(given: Given | None) -> tuple[str, ...]:
    """Return the patterns that were given to the worker, else those of the project."""
    from taskq.worker.options import parse_patterns

    if given is not None:
        with _named(given):
            return parse_patterns((given.text,))
    file = find_project()
    listed = read_project(file).get("allow_import", ())
    texts = [listed] if isinstance(listed, str) else listed
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise InvalidOption(f"{file}: tool.taskq.allow_import {shorten(listed)} must be a list of texts")
    return parse_patterns(texts)


def _checked_name(given: Given) -> str:
    if given.text and _NAME.fullmatch(given.text) is None:
        raise InvalidOption(
            f"{given.shown} {shorten(given.text)} cannot be used: 1 to 64 letters, digits, '.', '_' or '-', "
            "the first a letter or digit"
        )
    return given.text


def _memory(given: Given | None) -> int:
    return 0 if given is None else values.kibibytes(given.shown, given.text, MIN_MEMORY, MAX_MEMORY)
