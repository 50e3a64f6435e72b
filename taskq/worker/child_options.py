"""What a supervisor tells a child before the first frame: one JSON text in its argument list.

The argument list of a process is public on its machine, so nothing secret belongs here.
"""

from __future__ import annotations

import msgspec


class ChildOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How one child runs.

    Attributes:
        app: ``module:attr`` or ``module``.
        pool: a name of ``taskq.worker.pools.KINDS``.
        slots: jobs that run at once.
        worker: the worker's name, for records and logs.
        queues: what the worker serves, for jobs that ask; empty for all queues of the app's tasks.
        supervisor: process id that must be the parent; without it the child ends.
        socket: file descriptor of the protocol, inherited.
        table: file descriptor of the slot table, inherited.
        sys_path: a directory that comes first when the app is imported; empty for none.
        log_level: name of the lowest level that is written.
        log_format: ``text`` or ``json``.
        job_logs: whether starts and successes of jobs are logged.
        max_jobs: jobs after which the child ends; 0 for no bound.
        max_memory_kib: resident memory over which the child ends after a job; 0 for no bound.
        allow_import: patterns of modules whose plain functions may be called; empty for none.
        tally: whether what became of jobs is counted.
    """

    app: str
    pool: str
    slots: int = 1
    worker: str = ""
    queues: tuple[str, ...] = ()
    supervisor: int = 0
    socket: int = -1
    table: int = -1
    sys_path: str = ""
    log_level: str = "INFO"
    log_format: str = "text"
    job_logs: bool = True
    max_jobs: int = 0
    max_memory_kib: int = 0
    allow_import: tuple[str, ...] = ()
    tally: bool = False


def encode_options(options: ChildOptions) -> str:
    """Return the options as one JSON text."""
    return msgspec.json.encode(options).decode()


def decode_options(text: str) -> ChildOptions:
    """Read the options.

    Raises:
        msgspec.DecodeError: if the text is no such JSON.
    """
    return msgspec.json.decode(text, type=ChildOptions)
