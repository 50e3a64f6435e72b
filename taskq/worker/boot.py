"""A child from its first frame to its exit: find the app, say hello, serve, leave."""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import logging
import os
import signal
import sys
from contextlib import suppress
from io import TextIOWrapper
from types import FrameType
from typing import TYPE_CHECKING

from taskq.errors import MissingDependency, TaskqError, TimeLimitExceeded
from taskq.model.discipline import QueueSpec
from taskq.version import VERSION
from taskq.worker import logs
from taskq.worker.child_options import ChildOptions, decode_options
from taskq.worker.descriptors import move_high
from taskq.worker.link import Link
from taskq.worker.protocol import PROTOCOL, Frame, Hello, SlotTable, TaskInfo, encode_frame

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.worker.pools.base import Pool

PR_SET_PDEATHSIG = 1
SIGNALS = (signal.SIGINT, signal.SIGTERM)
EXIT_BOOT = 1  # no app, no pool: HELLO told why

logger = logging.getLogger(__name__)


def run(text: str, problem: str = "") -> None:
    """Be a child; does not return.

    Args:
        text: the ChildOptions as JSON.
        problem: why the pool cannot work, if that is known already.
    """
    options = decode_options(text)
    link = Link(move_high(options.socket))
    table_fd = move_high(options.table)
    _bind_to_supervisor(options.supervisor, link)
    _ignore_signals()
    try:
        _prepare_output(options)
        app, pool = _prepare(options, link, SlotTable(table_fd, options.slots), problem)
    except (TaskqError, ImportError) as error:
        reason = " ".join(str(error).split())
        link.send(encode_frame(Frame.HELLO, Hello(PROTOCOL, VERSION, os.getpid(), error=reason)))
        _exit(EXIT_BOOT)
        return
    link.send(encode_frame(Frame.HELLO, hello(app)))
    pool.serve()
    _leave(app, pool)


def _prepare_output(options: ChildOptions) -> None:
    """Log to a copy of the standard error that jobs do not close by number, and let their prints appear at once."""
    with suppress(OSError):  # a worker may be started without a standard error
        fd = move_high(os.dup(2))
        logs.configure(options.log_level, options.log_format, fd)
        faulthandler.enable(fd)  # a crash in C tells where
    if isinstance(sys.stdout, TextIOWrapper):  # None where the worker has no standard output
        sys.stdout.reconfigure(line_buffering=True)


def _bind_to_supervisor(supervisor: int, link: Link) -> None:
    """Let the kernel kill this process with its parent, and notice a parent that died before that was arranged."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if supervisor and os.getppid() != supervisor:
        link.die("")


def _ignore_signals() -> None:
    """Leave it to the supervisor what a signal to everybody means.

    Handlers that do nothing are reset when a job starts a program, and taken off in its forks; ignored signals would be
    inherited by both. While a fork is made the signals wait, or one sent to the fork at once would be lost.
    """
    for number in SIGNALS:
        signal.signal(number, _do_nothing)
    os.register_at_fork(before=_hold_signals, after_in_parent=_release_signals, after_in_child=_restore_signals)
    _release_signals()  # the child was born with them held


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Handle a signal by not dying of it."""


def _hold_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _release_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _restore_signals() -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is _do_nothing:
            signal.signal(number, signal.SIG_DFL)
    _release_signals()


def _prepare(options: ChildOptions, link: Link, table: SlotTable, problem: str) -> tuple[TaskQ, Pool]:
    if problem:
        raise MissingDependency(problem)
    from taskq.worker.answers import Answers
    from taskq.worker.appfinder import find_app
    from taskq.worker.desk import Desk
    from taskq.worker.execution import Execution, run_hooks
    from taskq.worker.holdings import Keepers
    from taskq.worker.importing import install
    from taskq.worker.joblog import JobLog
    from taskq.worker.pools import load_pool
    from taskq.worker.pools.base import Parts
    from taskq.worker.tally import Tally

    pool_class = load_pool(options.pool)
    app = find_app(options.app, options.sys_path)
    install(app, options.allow_import)
    keepers = Keepers(link)
    app._make_keeper = keepers.make
    run_hooks(app.hooks.child_start)
    served = options.queues or [spec.name for spec in queues_of(app)]
    execution = Execution(app, options.worker, os.getpid(), served)
    tally = Tally() if options.tally else None
    answers = Answers(link.send, tally)
    joblog = JobLog(routine=options.job_logs, worker=options.worker)
    limits = {"max_jobs": options.max_jobs, "max_memory_kib": options.max_memory_kib}
    desk = Desk(execution, answers, joblog, link.send, tally, **limits)
    pool = pool_class(Parts(link, desk, execution, answers, joblog, table, keepers, tally), options.slots)
    os.register_at_fork(after_in_child=pool.after_fork)
    return app, pool


def hello(app: TaskQ) -> Hello:
    """Return what the supervisor must know of the app."""
    tasks = {}
    for name, task in app.tasks.items():
        policy = task.retry
        tasks[name] = TaskInfo(
            max_retries=policy.max_retries,
            backoff=policy.backoff,
            jitter=policy.jitter,
            retries_time_limit=issubclass(TimeLimitExceeded, task.retry_types),
            result_ttl_ms=int(task.result_ttl * 1000),
            ignore_result=task.ignore_result,
            signature=str(task.signature),
        )
    return Hello(
        PROTOCOL,
        VERSION,
        os.getpid(),
        url=app.settings.url,
        namespace=app.settings.namespace,
        beat=app.settings.heartbeat,
        ttl=app.settings.lease,
        tasks=tasks,
        queues=[(spec.name, str(spec.discipline), spec.maxsize) for spec in queues_of(app)],
        signing_key=list(app.settings.signing_key),
        require_signed=app.settings.require_signed,
    )


def queues_of(app: TaskQ) -> list[QueueSpec]:
    """Return the queues that the app's tasks use, in the order of the tasks."""
    names = dict.fromkeys(task.queue for task in app.tasks.values())
    return [app.queues[name].spec if name in app.queues else QueueSpec(name) for name in names]


def _leave(app: TaskQ, pool: Pool) -> None:
    from taskq.worker.execution import run_hooks

    pool.close()
    run_hooks(app.hooks.child_stop)
    _exit(0)


def _exit(code: int) -> None:
    """End the process as an interpreter ends, but without waiting for threads that jobs left behind."""
    try:
        atexit._run_exitfuncs()
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # a closed standard output, an exit function that exits: nothing is left to be done about it
        logger.debug("leaving", exc_info=True)
    finally:
        os._exit(code)
