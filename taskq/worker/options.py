"""What a worker is told when it starts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from taskq.broker.workers import LeaseTimes
from taskq.errors import InvalidOption, shorten
from taskq.model.discipline import check_queue_name

POOLS = ("process", "thread", "gevent", "asyncio")
MAX_CONCURRENCY = 10_000  # slots of one child; a row of 32 bytes each in the shared table
MAX_PROCESSES = 1_000  # children
MAX_QUEUES = 256  # each costs a heartbeat and a step per cycle
MAX_WEIGHT = 1_000
DEFAULT_GRACE = 8.0  # seconds; below the 10 after which Docker kills
_PATTERN = re.compile(r"[\w.*?\[\]!-]{1,200}")
DEFAULT_SLOTS = {"process": 1, "thread": 10, "gevent": 100, "asyncio": 100}


@dataclass(frozen=True, slots=True)
class QueueChoice:
    """One queue to serve; with a weight on any, all are served by weight, else in the given order."""

    name: str
    weight: int = 0


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """The settings of one worker.

    Attributes:
        app: ``module:attr`` or ``module``.
        pool: one of POOLS.
        concurrency: slots of a child; for the process pool the number of children.
        processes: children of the thread, gevent and asyncio pools.
        queues: what to serve; empty for all queues of the app's tasks.
        name: for people; the worker's id is made of it.
        grace: seconds for running jobs after the first TERM or INT.
        max_jobs: jobs after which a child is replaced; 0 for never.
        max_memory: KiB of resident memory after which a child is replaced; 0 for never.
        times: the lease; None takes the app's.
        log_format: ``text`` or ``json``.
        job_logs: whether start and success are logged.
        drain: exit 0 once every queue is empty and nothing runs.
        allow_import: patterns of modules whose plain functions may be called; empty for none.
        tally: whether the children count what became of jobs, for metrics.
        reload: whether children are replaced when a source of the app changes.
    """

    app: str
    pool: str = "process"
    concurrency: int = 1
    processes: int = 1
    queues: tuple[QueueChoice, ...] = ()
    name: str = ""
    grace: float = DEFAULT_GRACE
    max_jobs: int = 0
    max_memory: int = 0
    times: LeaseTimes | None = None
    log_level: str = "INFO"
    log_format: str = "text"
    job_logs: bool = True
    drain: bool = False
    allow_import: tuple[str, ...] = ()
    tally: bool = False
    reload: bool = False
    sys_path: str = field(default="")

    def __post_init__(self) -> None:
        if self.pool not in POOLS:
            raise InvalidOption(f"pool {shorten(self.pool)} is unknown; choose one of {', '.join(POOLS)}")
        _check_range("concurrency", self.concurrency, 1, MAX_CONCURRENCY)
        _check_range("processes", self.processes, 1, MAX_PROCESSES)
        _check_range("max_jobs", self.max_jobs, 0, 2**53)
        _check_range("max_memory", self.max_memory, 0, 2**53)
        if not math.isfinite(self.grace) or not 0 <= self.grace <= 86_400:
            raise InvalidOption(f"grace {shorten(self.grace)} is no number of seconds from 0 to 86400")
        if len(self.queues) > MAX_QUEUES:
            raise InvalidOption(f"{len(self.queues)} queues are more than one worker can serve ({MAX_QUEUES})")

    @property
    def children(self) -> int:
        """How many children the worker keeps."""
        return self.concurrency if self.pool == "process" else self.processes

    @property
    def slots(self) -> int:
        """How many jobs one child runs at once."""
        return 1 if self.pool == "process" else self.concurrency


def _check_range(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidOption(f"{name} {shorten(value)} must be a whole number from {low} to {high}")


def parse_patterns(texts: Iterable[str]) -> tuple[str, ...]:
    """Read patterns of modules, several of them in one text with commas between.

    Raises:
        InvalidOption: on an empty one, or one that no module's name can match.
    """
    patterns = [part.strip() for text in texts for part in text.split(",")]
    for pattern in patterns:
        if _PATTERN.fullmatch(pattern) is None:
            raise InvalidOption(
                f"allow-import {shorten(pattern)} is no pattern of modules; give one such as 'shop.reports' or 'shop.*'"
            )
    return tuple(dict.fromkeys(patterns))


def parse_queues(text: str) -> tuple[tuple[QueueChoice, ...], list[str]]:
    """Read ``a,b`` (strict order) or ``a:3,b:1`` (by weight); returns the choices and the names given twice.

    Raises:
        InvalidOption: on an empty name, a weight out of range, or weights on some only.
        InvalidQueueName: on a name that cannot be a queue's.
    """
    choices: dict[str, QueueChoice] = {}
    twice = []
    for part in text.split(","):
        name, colon, weight = part.strip().partition(":")
        if not name:
            raise InvalidOption(f"queues {shorten(text)} have an empty name; separate names by single commas")
        if "=" in weight:
            raise InvalidOption(f"queues {shorten(text)}: slots per queue (name:weight=slots) are not supported yet")
        if colon and not (weight.isascii() and weight.isdigit() and 1 <= int(weight) <= MAX_WEIGHT):
            raise InvalidOption(f"queue {shorten(part)}: the weight must be a whole number from 1 to {MAX_WEIGHT}")
        if check_queue_name(name) in choices:
            twice.append(name)
        choices.setdefault(name, QueueChoice(name, int(weight) if colon else 0))
    if len({choice.weight == 0 for choice in choices.values()}) == 2:
        raise InvalidOption(f"queues {shorten(text)}: give every queue a weight (name:weight) or none")
    return tuple(choices.values()), twice
