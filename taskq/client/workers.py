"""Workers from afar: who there is and what they run, and asking them to stop, pause or resume."""

from __future__ import annotations

import difflib
import getpass
import json
import math
import os
import socket
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from taskq.broker import browsing, jobs, workers
from taskq.broker.doctor import server_time
from taskq.broker.workers import CommandWord, Order
from taskq.client.operation import Hear, MakeBell, Need, Operation, perform
from taskq.errors import InvalidOption, WorkerError, near, shorten
from taskq.model.job import random_token

if TYPE_CHECKING:
    from taskq.broker.broker import Broker

COMMANDS: Final[tuple[CommandWord, ...]] = ("stop", "pause", "resume")
STATES: Final = ("running", "paused", "stopping")
ANSWER_TIME: Final = 10.0  # seconds; a worker answers in milliseconds, one that was cut off for a moment in two seconds
AGAIN: Final = 2.0  # seconds between two tellings: a few fit into ANSWER_TIME, and a busy worker hears it before
MAX_RUNNING: Final = 100  # jobs on one card
MAX_SHOWN: Final = 8  # candidates in one message
_FIRST_LOOK, _LONGEST_LOOK = 0.02, 0.25  # seconds between two looks for an answer; they grow
_AIM: Final = {"stop": "stopping", "pause": "paused", "resume": "running"}


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that a worker runs, as the worker tells.

    Attributes:
        id: ``queue/unique``.
        task: its task's name; empty where the job is damaged.
        child: process id of the child.
        slot: of the child, from 0.
        started: seconds since 1970 by the server's clock.
        attempt: which one, from 1.
    """

    id: str
    task: str
    child: int
    slot: int
    started: float
    attempt: int


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker says of itself; what it left out, or somebody damaged, has the value that stands for nothing.

    Attributes:
        id: its whole id: name, process id and a few random characters.
        name: the same, as it says itself.
        state: one of STATES; empty where it does not say.
        host: of its machine.
        pid: its process id there.
        pool: how jobs run.
        children: how many child processes.
        slots: jobs at once in each.
        busy: jobs that run.
        queues: that it serves.
        started: seconds since 1970 by its own clock.
        version: of taskq.
        running: the jobs that have run longest, at most 100.
        heard: tokens of the last orders that it took.
        outage: how many seconds the server was last away for it, for most of a lease or longer; 0 for never.
        back: when that ended: seconds since 1970 by the server's clock.
        age: seconds since it last gave a sign of life.
        vanished: it gives none any more and did not sign off; only ``id`` and ``age`` are known.
    """

    id: str
    name: str = ""
    state: str = ""
    host: str = ""
    pid: int = 0
    pool: str = ""
    children: int = 0
    slots: int = 0
    busy: int = 0
    queues: list[str] = field(default_factory=list)
    started: int = 0
    version: str = ""
    running: list[RunningJob] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    outage: float = 0.0
    back: float = 0.0
    age: float = 0.0
    vanished: bool = False

    @property
    def label(self) -> str:
        """The name that it was given, or its host's."""
        return self.id.rsplit(".", 2)[0]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a worker that was asked for something.

    Attributes:
        worker: its id.
        command: what it was asked.
        state: one of STATES as it says, ``stopped`` once it has signed off, ``vanished`` if it gives no sign of life,
            ``silent`` if it did not answer in time.
        done: whether that is what was asked.
    """

    worker: str
    command: CommandWord
    state: str
    done: bool


# --- looking ----------------------------------------------------------------------------------------------------------


def list_workers(broker: Broker) -> list[WorkerInfo]:
    """Return all workers that beat, or vanished in the last day, in the order of their ids.

    Raises:
        BrokerError: the server refused or was not reached.
    """
    return perform(read_workers(broker), broker)


def read_workers(broker: Broker) -> Operation[list[WorkerInfo]]:
    """Read all workers; one that comes or goes meanwhile may be missing. See ``list_workers``."""
    now: float = yield server_time()
    found = []
    for worker, seen in (yield workers.roster(broker.namespace)):
        card: bytes | None = yield workers.read_card(broker.namespace, worker)
        found.append(parse_card(worker, card, max(0.0, round(now - seen, 1))))
    return sorted(found, key=lambda one: one.id)


def is_replaced(broker: Broker, worker: str) -> bool:
    """Tell whether a vanished worker left jobs or leases, and others run that serve all these queues.

    Raises:
        BrokerError: the server refused or was not reached.
    """
    return perform(_replaced(broker, worker), broker)


def _replaced(broker: Broker, worker: str) -> Operation[bool]:
    known = yield from read_workers(broker)
    served = {queue for one in known if one.state == "running" and one.id != worker for queue in one.queues}
    left = set()
    for queue in (yield jobs.queue_names(broker.namespace)):
        holders = yield browsing.lease_holders(broker.keys(queue))
        if any(one == worker or one.startswith(f"{worker}.") for one in holders):  # it may have had another id there
            left.add(queue)
    return bool(left) and left <= served


def parse_card(worker: str, card: bytes | None, age: float) -> WorkerInfo:
    """Return what a card says; never raises, whatever somebody wrote there."""
    if card is None:
        return WorkerInfo(worker, age=age, vanished=True)
    try:
        said = json.loads(card)
    except (ValueError, RecursionError):
        said = None
    said = said if isinstance(said, dict) else {}
    texts = {name: said[name] for name in ("name", "host", "pool", "version") if isinstance(said.get(name), str)}
    counts = {
        name: said[name] for name in ("pid", "children", "slots", "busy", "started") if type(said.get(name)) is int
    }
    back, outage = _outage(said.get("outage"))
    return WorkerInfo(
        worker,
        **texts,
        **counts,
        state=said["state"] if said.get("state") in STATES else "",
        queues=_texts(said.get("queues")),
        running=[job for job in map(_running, _list(said.get("running"))[:MAX_RUNNING]) if job is not None],
        heard=_texts(said.get("heard")),
        outage=outage,
        back=back,
        age=age,
    )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: object) -> list[str]:
    return [one for one in _list(value) if isinstance(one, str)]


def _outage(entry: object) -> tuple[float, float]:
    """Return when an outage ended and how long it was; zeros if there was none."""
    match entry:
        case [int(back) | float(back), int(outage) | float(outage)]:
            return (back, outage) if math.isfinite(back) and math.isfinite(outage) else (0.0, 0.0)
    return 0.0, 0.0


def _running(entry: object) -> RunningJob | None:
    """Return one running job; None if it is none."""
    match entry:
        case [str(job_id), str(task), int(child), int(slot), int(started) | float(started), int(attempt), *_]:
            return RunningJob(job_id, task, child, slot, started, attempt) if math.isfinite(started) else None
    return None


def find_worker(name: str, known: Iterable[WorkerInfo]) -> WorkerInfo:
    """Return the one worker that ``name`` means.

    That is the worker with this id, else with this name, else on this host, else whose id begins so. Those that
    vanished count only where no other fits.

    Raises:
        WorkerError: none is meant; the message names the nearest, or those that there are.
        InvalidOption: several are meant; the message names them.
    """
    if not name:  # every id begins so: an empty variable of a script must not mean any worker
        raise InvalidOption("worker '' has no name; give an id, its beginning, a name or a host")
    known = list(known)
    for among in ([one for one in known if not one.vanished], [one for one in known if one.vanished]):
        for found in (
            [one for one in among if one.id == name],
            [one for one in among if one.label == name],
            [one for one in among if one.host == name],
            [one for one in among if one.id.startswith(name)],
        ):
            if len(found) == 1:
                return found[0]
            if found:
                more = f" and {len(found) - MAX_SHOWN} more" if len(found) > MAX_SHOWN else ""
                ids = " or ".join(_shown(one.id) for one in found[:MAX_SHOWN])
                raise InvalidOption(f"worker {shorten(name)} may be {ids}{more}; write more of its id")
    live = [one for one in known if not one.vanished]
    labels = {_shown(one.label) for one in live}
    names = labels if difflib.get_close_matches(name, labels, 1) else {_shown(one.id) for one in live}
    raise WorkerError(f"worker {shorten(name)} is unknown{near(name, names)}")


def _shown(name: str) -> str:
    """Return a name as it is, unless somebody wrote one into the roster that no worker has."""
    return name if name.isprintable() else shorten(name)


# --- asking -----------------------------------------------------------------------------------------------------------

Told: TypeAlias = Callable[[Answer], None]


def ask(broker: Broker, worker: str, command: CommandWord, *, timeout: float = ANSWER_TIME) -> Answer:
    """Ask one worker, by its whole id; see ``ask_workers``."""
    return perform(ask_workers(broker, [worker], command, timeout=timeout), broker)[0]


def ask_workers(
    broker: Broker,
    ids: Sequence[str],
    command: CommandWord,
    *,
    timeout: float = ANSWER_TIME,
    until_gone: bool = False,
    give_up: float | None = None,
    told: Told | None = None,
) -> Operation[list[Answer]]:
    """Ask workers to stop as by a first TERM, to pause or to resume, and wait until each shows that it has heard.

    A paused worker claims nothing more and gives back what it has not started; what runs goes on, and so does its
    lease. As long as somebody waits the order is given again: one may go into a connection that was cut without a word.
    It is forgotten a minute after the last time.

    Args:
        broker: where they are.
        ids: whole ids of workers.
        command: one of COMMANDS.
        timeout: seconds to wait for the answers.
        until_gone: wait until they have signed off, too; for ``stop``.
        give_up: seconds to wait for that; None for as long as it takes.
        told: is called with each answer as it comes.

    Returns:
        An answer for each, in the order of ``ids``.

    Raises:
        BrokerError: the server refused or was not reached.
    """
    if command not in COMMANDS:
        raise InvalidOption(f"command {shorten(command)} is unknown{near(command, COMMANDS)}")
    namespace, asker = broker.namespace, _asker()
    waiting = {worker: Order(command, random_token(), asker) for worker in ids}
    for worker, order in waiting.items():
        yield from _give(namespace, worker, order)
    began, pause, bell = time.monotonic(), _FIRST_LOOK, (yield MakeBell())
    limits = (began + timeout, math.inf if give_up is None else began + give_up)
    answers: dict[str, Answer] = {}
    again_at = began + AGAIN
    while True:
        now = time.monotonic()
        again = now >= again_at
        again_at = now + AGAIN if again else again_at
        for worker, order in list(waiting.items()):
            state, heard = yield from _look(namespace, worker, order.token)
            over = now >= limits[1 if heard and until_gone else 0]
            if not heard and (again or over):
                yield workers.take_order_back(namespace, worker, order)
                yield from _give(namespace, worker, order)
            if state in {"stopped", "vanished"} or (heard and not until_gone) or over:
                del waiting[worker]
                answers[worker] = _answer(worker, command, state if heard else "silent", until_gone)
                if told is not None:
                    told(answers[worker])
        if not waiting:
            return [answers[worker] for worker in ids]
        yield Hear(bell, now + pause)
        pause = min(_LONGEST_LOOK, pause * 1.5)


def _give(namespace: str, worker: str, order: Order) -> Operation[None]:
    yield workers.order(namespace, worker, order)
    yield workers.keep_orders(namespace, worker)


def _answer(worker: str, command: CommandWord, state: str, until_gone: bool) -> Answer:
    aim = {"stopped"} if until_gone else {_AIM[command], "stopped"} if command == "stop" else {_AIM[command]}
    return Answer(worker, command, state, state in aim)


def _look(namespace: str, worker: str, token: str) -> Generator[Need, Any, tuple[str, bool]]:
    """Return a worker's state, and whether it has heard, or can hear nothing more."""
    card: bytes | None = yield workers.read_card(namespace, worker)
    if card is None:
        seen: int | None = yield workers.last_seen(namespace, worker)
        return "stopped" if seen is None else "vanished", True
    info = parse_card(worker, card, 0.0)
    return info.state, token in info.heard


def _asker() -> str:
    """Return who asks, as far as this process knows."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a process without a name, as in a container
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"[:200]
