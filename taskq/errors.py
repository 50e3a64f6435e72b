"""Every error of taskq, in one tree, named by condition.

Where a standard-library contract is ours the standard-library exception is raised instead (``queue.Full``,
``TimeoutError``, ``concurrent.futures.CancelledError``). A message names the offending value, shortened, and the way
out.

TaskqError
    ConfigError              a setting cannot be used
        InvalidURL  InvalidQueueName  InvalidOption  AppNotFound  DuplicateTask  InvalidTask
        InvalidName          a primitive cannot have this name
        QueueConflict        the queue was declared otherwise
        PrimitiveConflict    the name of a primitive is in use with another number
        MissingDependency    an extra is not installed
    InvalidCall              one call cannot become a job
        BadArguments  SerializationError  PayloadTooLarge  InvalidPriority  InvalidDelay  InvalidTimeout
        InvalidJobId  UnknownTask  UnknownQueue
        JobConflict          the id exists with another content
    BrokerError              the server refused or could not be reached
        BrokerUnavailable  AuthenticationFailed  WrongServer  BrokerFull  BrokerReadOnly  WrongType  SchemaTooNew
        Indeterminate        the deadline passed and the operation may have run
    JobError                 how a job ended, as its caller sees it
        RemoteError          the task raised; the exception comes back as data
        JobExpired  JobCrashed  TimeLimitExceeded  ResultTooLarge
        CallRefused          no worker here may run this function
        SignatureError       the job or its result is not what a holder of the key made
            UnknownSigningKey    it was signed with a key that is not known here
        UnknownOrExpired     no job and no result under this id
        DeadlockRisk         a job would wait for a job of its own queue
    CoordinationError        a lock or its like was not used as its contract says
        NotHeld              it is not held by who gives it back
        LeaseLost            it was held, and the lease ran out meanwhile
        ShutDown             the data queue was shut down
    WorkerError
        ProtocolError        a frame between supervisor and child is broken
        Fenced               the worker's lease is gone
    EmbeddedServerError      the embedded server cannot be used
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable

MAX_SHOWN = 80  # characters of a foreign value in a message: enough to find it, too few to flood a log

# Everything that moves a terminal's cursor or turns the direction of text; line feed and tab stay.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    """Return ``text`` without characters that could steer a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def shorten(value: object, limit: int = MAX_SHOWN) -> str:
    """Return ``repr(value)`` in at most ``limit`` printable characters; never raises."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def near(name: str, known: Iterable[str], *, most: int = 8) -> str:
    """Return what a message adds about an unknown name: the nearest known one, else some of them."""
    names = sorted(known)
    if found := difflib.get_close_matches(name, names, 1):
        return f", did you mean {found[0]!r}?"
    if not names:
        return "; there are none"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"; there are {', '.join(names[:most])}{more}"


class TaskqError(Exception):
    """Base of every error that taskq raises itself."""


class ConfigError(TaskqError):
    """A setting cannot be used as it stands."""


class InvalidURL(ConfigError, ValueError):
    """The broker's url cannot be used. The message never shows the password."""


class InvalidQueueName(ConfigError, ValueError):
    """A queue's name has characters or a length that keys cannot carry."""


class InvalidOption(ConfigError, ValueError):
    """An option is unknown or its value is out of range."""


class AppNotFound(ConfigError):
    """``-A module:attr`` does not lead to a TaskQ."""


class DuplicateTask(ConfigError):
    """Two functions were registered under one name."""


class InvalidTask(ConfigError, TypeError):
    """What was decorated cannot be run as a task."""


class QueueConflict(ConfigError):
    """The queue exists with another discipline or bound."""


class InvalidName(ConfigError, ValueError):
    """A primitive's name has characters or a length that keys cannot carry."""


class PrimitiveConflict(ConfigError):
    """The name is in use with another number of permits or parties."""


class MissingDependency(ConfigError, ImportError):
    """An optional package is needed for this and is not installed."""


class InvalidCall(TaskqError):
    """A call cannot become a job."""


class BadArguments(InvalidCall, TypeError):
    """The arguments do not fit the task's signature or annotations."""


class SerializationError(InvalidCall, TypeError):
    """A value is no data. The message names its path, such as ``args[1].f``."""


class PayloadTooLarge(InvalidCall, ValueError):
    """The encoded job is larger than ``max_body`` bytes."""


class InvalidPriority(InvalidCall, ValueError):
    """A priority is a finite number."""


class InvalidDelay(InvalidCall, ValueError):
    """A countdown or eta is negative, endless, naive, or both were given."""


class InvalidTimeout(InvalidCall, ValueError):
    """A timeout, time-to-live or lease is out of range."""


class InvalidJobId(InvalidCall, ValueError):
    """A job id has characters or a length that keys cannot carry."""


class UnknownTask(InvalidCall, LookupError):
    """No task of this name is registered."""


class UnknownQueue(InvalidCall, LookupError):
    """No queue of this name was ever used in the namespace, or not for 90 days."""


class JobConflict(InvalidCall):
    """The job id is taken by a job with other content."""


class BrokerError(TaskqError):
    """The server refused, or could not be reached."""


class BrokerUnavailable(BrokerError, ConnectionError):
    """The server could not be reached, and nothing was done."""


class Indeterminate(BrokerError, ConnectionError):
    """The deadline passed while the operation may have run; sending again with the same job id is safe."""


class AuthenticationFailed(BrokerError):
    """The server refused the user, the password or the right to a command."""


class WrongServer(BrokerError):
    """What answers is no Redis >= 7.0 or Valkey >= 7.2 master that keeps its data."""


class BrokerFull(BrokerError):
    """The server is out of memory; nothing was written."""


class BrokerReadOnly(BrokerError):
    """The server takes no writes at the moment."""


class WrongType(BrokerError):
    """A key holds a type that taskq did not write there."""


class SchemaTooNew(BrokerError):
    """The queue was written by a newer taskq; upgrade before using it."""


class JobError(TaskqError):
    """How a job ended, as its caller sees it."""


class RemoteError(JobError):
    """The task raised. The exception comes back as data; nothing is imported from stored names.

    Attributes:
        type: the exception class's name, such as ``ValueError``; with its module where it is no builtin.
        message: its text.
        traceback: the formatted traceback of the child, or an empty string.
        job_id: the job, as ``queue/unique``.
    """

    def __init__(self, type: str, message: str, traceback: str = "", job_id: str = "") -> None:  # noqa: A002 (public name)
        super().__init__(type, message, traceback, job_id)
        self.type = type
        self.message = message
        self.traceback = traceback
        self.job_id = job_id

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


class JobExpired(JobError):
    """The job's ``expires`` passed before a worker could start it."""


class JobCrashed(JobError):
    """The processes that ran the job died, as often as is allowed."""


class TimeLimitExceeded(JobError):
    """The job ran longer than its ``time_limit``."""


class ResultTooLarge(JobError):
    """The encoded result is larger than ``max_result`` bytes."""


class CallRefused(JobError):
    """The worker was not told to run functions of that module, or there is no such function."""


class SignatureError(JobError):
    """The job, or its result, is not signed though it must be, or is not what was signed."""


class UnknownSigningKey(SignatureError):
    """It was signed with a key that is not in the ring of this process."""


class UnknownOrExpired(JobError, LookupError):
    """There is neither a job nor a result under this id."""


class DeadlockRisk(JobError):
    """A job would wait for a job of a queue that its own worker serves."""


class CoordinationError(TaskqError, RuntimeError):
    """A lock or its like was not used as its contract says, or could not keep it."""


class NotHeld(CoordinationError):
    """What is given back is not held, or by somebody else."""


class LeaseLost(CoordinationError):
    """It was held, but its lease ran out before it was renewed, and somebody else may have it now."""


if sys.version_info >= (3, 13):
    from queue import ShutDown as _ShutDown
else:
    _ShutDown = Exception


class ShutDown(CoordinationError, _ShutDown):
    """The queue was shut down: it takes no more items, and has none left. A ``queue.ShutDown`` from Python 3.13 on."""


class WorkerError(TaskqError):
    """The worker cannot go on as it is."""


class ProtocolError(WorkerError):
    """A frame between supervisor and child is broken."""


class Fenced(WorkerError):
    """The worker's lease on a queue was taken away."""


class EmbeddedServerError(TaskqError):
    """The embedded server cannot be started, reached or used."""


class Retry(Exception):
    """Raised in a task to run it again.

    Args:
        reason: text kept with the job.
        countdown: seconds until the next attempt; None follows the task's backoff.
    """

    def __init__(self, reason: str = "", *, countdown: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.countdown = countdown
