"""What may be said of a task when it is declared, and of a job when it is made: checked here, with units."""

from __future__ import annotations

import difflib
import math
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypedDict, TypeVar

from taskq.client.hooks import can_travel
from taskq.client.waiting import LONGEST
from taskq.config import MAX_SECONDS
from taskq.errors import InvalidDelay, InvalidOption, InvalidTimeout, SerializationError, shorten
from taskq.model.discipline import check_priority
from taskq.model.retry import RetryPolicy, check_backoff, check_jitter, check_max_retries

if TYPE_CHECKING:
    from taskq.client.canvas import Signature
    from taskq.client.queues import Queue
    from taskq.client.task import Task

    Link: TypeAlias = (
        Signature
        | Task[..., Any]
        | tuple[Task[..., Any], Sequence[Any]]
        | tuple[Task[..., Any], Sequence[Any], Mapping[str, Any]]
    )
    Links: TypeAlias = Link | list[Link]

E = TypeVar("E", bound=BaseException)
MAX_DELAY: Final = 10 * 366 * 86_400.0  # seconds: ten years; what is due later is a mistake in a unit
DEFAULT_RETRIES: Final = 3  # of a task that says what to retry on, but not how often
_POLICY: Final = RetryPolicy()
TASK_NAME: Final = re.compile(r"\w[\w.:-]{0,199}")


class CallKeywords(TypedDict, total=False):
    """What may be said of one job.

    Attributes:
        countdown: seconds until it is due.
        eta: when it is due, an aware datetime; a past one is now.
        expires: seconds, or an aware datetime, after which it may not start any more.
        queue: where to, by name or object; else the task's.
        priority: lower leaves first; only for priority queues.
        job_id: its unique part, of 1 to 64 letters, digits, '.', '_' or '-'; sending the same call twice under one id
            makes one job, as long as that one has not ended.
        ignore_result: keep no result.
        result_ttl: seconds that the result is kept; 0 keeps none.
        time_limit: seconds that it may run.
        headers: plain data under text keys, for hooks and the job itself.
        link: jobs to make when it succeeded: ``task.s(...)``, which gets the result before its arguments; or, to be
            called with exactly these, ``task.si(...)``, a task, ``(task, args)``, ``(task, args, kwargs)``; or a list.
        link_error: likewise, when it ended otherwise but was not cancelled; ``task.s(...)`` gets the failure.
        timeout: seconds to wait for room in a full queue; 0 refuses at once, None waits as long as it takes.
    """

    countdown: float | None
    eta: datetime | None
    expires: float | datetime | None
    queue: str | Queue | None
    priority: float | None
    job_id: str | None
    ignore_result: bool | None
    result_ttl: float | None
    time_limit: float | None
    headers: Mapping[str, Any] | None
    link: Links | None
    link_error: Links | None
    timeout: float | None


@dataclass(slots=True)
class CallOptions:
    """The same as values; None where nothing was said."""

    countdown: float | None = None
    eta: datetime | None = None
    expires: float | datetime | None = None
    queue: str | Queue | None = None
    priority: float | None = None
    job_id: str | None = None
    ignore_result: bool | None = None
    result_ttl: float | None = None
    time_limit: float | None = None
    headers: Mapping[str, Any] | None = None
    link: Links | None = None
    link_error: Links | None = None
    timeout: float | None = None


CALL_OPTIONS: Final = tuple(CallOptions.__dataclass_fields__)


def call_options(given: CallKeywords) -> CallOptions:
    """Return the options of one job, unchecked but for their names.

    Raises:
        InvalidOption: for an unknown one.
    """
    try:
        return CallOptions(**given)
    except TypeError:
        check_known(given, CALL_OPTIONS, "apply_async()")
        raise


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """The checked options of a declaration; seconds where a unit is needed, None where nothing was said."""

    name: str | None
    queue: Any
    priority: float | None
    retry: RetryPolicy
    retry_types: tuple[type[BaseException], ...]
    raises: tuple[type[Exception], ...]
    time_limit: float | None
    expires: float | None
    ignore_result: bool
    result_ttl: float | None
    serializer: str | None
    bind: bool


def check_known(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Refuse names that nobody reads.

    Raises:
        InvalidOption: naming all of them, with the nearest known one.
    """
    known = tuple(known)
    problems = []
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f", did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
            problems.append(f"{what} has no option {shorten(name)}{hint}")
    if problems:
        raise InvalidOption("; ".join(problems))


class TaskKeywords(TypedDict, total=False):
    """What may be said of a task.

    Attributes:
        name: under which workers find it; ``module.function`` where left out.
        queue: where its jobs go, by name or object; ``default`` where left out.
        priority: of its jobs on priority queues; lower leaves first.
        max_retries: attempts after the first one; 0, or 3 where ``retry_on`` is given.
        retry_on: exception class or classes after which it is tried again; any ``Exception`` where left out.
        raises: exception class or classes of the app's own that come back as themselves, not as RemoteError; exactly
            these, no subclasses. Python's own always do.
        backoff: seconds before the first retry; each later one waits twice as long.
        jitter: share of the delay that is left to chance, 0 to 1.
        time_limit: seconds that a job may run.
        expires: seconds after which a job that has not started is dropped.
        ignore_result: keep no results.
        result_ttl: seconds that results are kept; 0 keeps none.
        serializer: of arguments and results.

    With ``bind=True`` beside these, the function's first parameter gets the JobContext.
    """

    name: str
    queue: str | Queue
    priority: float
    max_retries: int
    retry_on: type[BaseException] | tuple[type[BaseException], ...]
    raises: type[Exception] | tuple[type[Exception], ...]
    backoff: float
    jitter: float
    time_limit: float | None
    expires: float | None
    ignore_result: bool
    result_ttl: float
    serializer: str


def check_task_options(given: Mapping[str, Any]) -> TaskOptions:
    """Check what ``app.task`` was told.

    Raises:
        InvalidOption: for an unknown option, or a value of the wrong type or out of range.
        InvalidPriority: for a priority that is no finite number.
    """
    check_known(given, (*TaskKeywords.__annotations__, "bind"), "task()")
    name, priority, expires = given.get("name"), given.get("priority"), given.get("expires")
    if name is not None and (not isinstance(name, str) or TASK_NAME.fullmatch(name) is None):
        raise InvalidOption(f"task name {shorten(name)}: 1 to 200 letters, digits, '_', '.', ':' or '-', no '-' first")
    types = _classes("retry_on", given.get("retry_on", Exception), BaseException)
    retries = given.get("max_retries")
    if retries is None:
        retries = DEFAULT_RETRIES if "retry_on" in given else 0
    policy = RetryPolicy(
        check_max_retries(retries),
        tuple(cls.__name__ for cls in types),
        check_backoff(given.get("backoff", _POLICY.backoff)),
        check_jitter(given.get("jitter", _POLICY.jitter)),
    )
    ttl = given.get("result_ttl")
    if "result_ttl" in given and (ttl is None or ttl != 0):
        ttl = _seconds("result_ttl", ttl, InvalidOption)
    return TaskOptions(
        name=name,
        queue=given.get("queue"),
        priority=None if priority is None else check_priority(priority),
        retry=policy,
        retry_types=types,
        raises=_classes("raises", given.get("raises", ()), Exception),
        time_limit=_limit(given.get("time_limit"), InvalidOption),
        expires=None if expires is None else _seconds("expires", expires, InvalidOption),
        ignore_result=_flag("ignore_result", given.get("ignore_result", False)) or ttl == 0,
        result_ttl=ttl or None,
        serializer=given.get("serializer"),
        bind=_flag("bind", given.get("bind", False)),
    )


def _classes(name: str, value: Any, base: type[E]) -> tuple[type[E], ...]:
    found = value if isinstance(value, tuple | list) else (value,)
    for one in found:
        if not isinstance(one, type) or not issubclass(one, base):
            kind = "no exception class" if base is BaseException else f"no subclass of {base.__name__}"
            raise InvalidOption(f"{name} {shorten(one)} is {kind}; give a class or a tuple of classes")
    return tuple(found)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidOption(f"{name} {shorten(value)} is neither True nor False")
    return value


def _number(value: object) -> float:
    """Return a finite number, NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _seconds(name: str, value: object, kind: type[Exception]) -> float:
    number = _number(value)
    if not 0 < number <= MAX_SECONDS:
        raise kind(f"{name} {shorten(value)} is no number of seconds above 0, up to {MAX_SECONDS:.0f}")
    return number


def _limit(value: object, kind: type[Exception]) -> float | None:
    return None if value is None else _seconds("time_limit", value, kind)


def check_delay(countdown: object, eta: object) -> int:
    """Return the milliseconds until a job is due, 0 for now; by this machine's clock where ``eta`` is given.

    Args:
        countdown: seconds from 0.
        eta: an aware datetime; a past one is now.

    Raises:
        InvalidDelay: both are given, or one is no such value or more than ten years away.
    """
    if countdown is not None and eta is not None:
        raise InvalidDelay(f"countdown {shorten(countdown)} and eta {shorten(eta)}: give one of them")
    if eta is not None:
        seconds = max(0.0, _until("eta", eta, InvalidDelay))
        shown: tuple[str, object] = ("eta", eta)
    elif countdown is not None:
        seconds, shown = _number(countdown), ("countdown", countdown)
        if not seconds >= 0:
            raise InvalidDelay(f"countdown {shorten(countdown)} is no number of seconds from 0")
    else:
        return 0
    if seconds > MAX_DELAY:
        raise InvalidDelay(f"{shown[0]} {shorten(shown[1])} is more than ten years away; is the unit seconds?")
    return math.ceil(seconds * 1000)


def _until(name: str, moment: object, kind: type[Exception]) -> float:
    if not isinstance(moment, datetime):
        raise kind(f"{name} {shorten(moment)} is no datetime")
    if moment.utcoffset() is None:
        raise kind(f"{name} {shorten(moment)} has no time zone; use datetime.now(timezone.utc) or astimezone()")
    try:
        return moment.timestamp() - time.time()
    except (OverflowError, ValueError, OSError):
        raise kind(f"{name} {shorten(moment)} is out of range") from None


def check_expires(expires: object) -> int | None:
    """Return the milliseconds after which a job may not start any more; a past datetime is 0.

    Raises:
        InvalidTimeout: if it is neither a number of seconds above 0 nor an aware datetime, or over a year away.
    """
    if expires is None:
        return None
    if isinstance(expires, datetime):
        seconds = max(0.0, _until("expires", expires, InvalidTimeout))
        if seconds > MAX_SECONDS:
            raise InvalidTimeout(f"expires {shorten(expires)} is more than {MAX_SECONDS:.0f} s away")
    else:
        seconds = _seconds("expires", expires, InvalidTimeout)
    return math.ceil(seconds * 1000)


def check_room(timeout: object) -> float | None:
    """Return the seconds to wait for room in a full queue, as ``queue.Queue.put`` takes them.

    Raises:
        InvalidTimeout: if it is negative or no number.
    """
    if timeout is None:
        return None
    seconds = _number(timeout)
    if not seconds >= 0:
        raise InvalidTimeout(f"timeout {shorten(timeout)} is no number of seconds from 0 (None waits without a limit)")
    return seconds if seconds < LONGEST else None


def check_meta(headers: object, result_ttl: float | None, time_limit: object) -> dict[str, Any]:
    """Return the parts of a job's body that overrule its task.

    Raises:
        InvalidTimeout: for a time out of range.
        SerializationError: for headers that are no plain data under text keys.
    """
    meta: dict[str, Any] = {}
    if headers is not None:
        if not can_travel(headers):
            raise SerializationError(f"headers {shorten(headers)} must be plain data under text keys")
        meta["headers"] = headers
    if result_ttl is not None:
        meta["result_ttl"] = _seconds("result_ttl", result_ttl, InvalidTimeout)
    limit = _limit(time_limit, InvalidTimeout)
    if limit is not None:
        meta["time_limit"] = limit
    return meta
