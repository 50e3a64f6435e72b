"""Which exit code an error means."""

from __future__ import annotations

from taskq.errors import (
    BrokerError,
    BrokerFull,
    BrokerReadOnly,
    BrokerUnavailable,
    ConfigError,
    EmbeddedServerError,
    Indeterminate,
    InvalidCall,
    TaskqError,
)

OK = 0
FAILED = 1  # a job failed, is unknown or did not end in time
USAGE = 2  # the command, an option, a setting or an argument cannot be used
UNFIT = 3  # the server was reached and is not one that taskq can use, or lets nobody in
UNREACHABLE = 4  # the server was not reached, or takes no writes at the moment: trying later may help
DEFECT = 70  # an error that taskq did not foresee; EX_SOFTWARE of sysexits.h
INTERRUPTED = 130  # 128 + SIGINT
PIPE_CLOSED = 141  # 128 + SIGPIPE: nobody reads our output

_CODES: tuple[tuple[tuple[type[TaskqError], ...], int], ...] = (
    ((ConfigError, InvalidCall), USAGE),
    ((BrokerUnavailable, Indeterminate, BrokerFull, BrokerReadOnly), UNREACHABLE),
    ((BrokerError, EmbeddedServerError), UNFIT),
)


def code_of(error: TaskqError) -> int:
    """Return the exit code of an error."""
    return next((code for kinds, code in _CODES if isinstance(error, kinds)), FAILED)
