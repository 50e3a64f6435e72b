"""What an adapter says of its system: what to install, which pools it has, how its worker is started."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

KINDS = ("process", "thread", "gevent", "asyncio")
SLOTS = {"process": 2, "thread": 10, "gevent": 100, "asyncio": 100}
LONG = {"sleep", "crowd", "cpu", "mixed"}  # workloads with jobs that take their time
OURS = "taskq"
FLOOR = "floor"


@dataclass(frozen=True)
class Plan:
    """A worker to be started, and the producer beside it."""

    pool: str
    slots: int
    workload: str
    results: bool
    variant: str = ""
    queues: tuple[str, ...] = ()  # that the worker serves; empty for the one that all systems have
    workers: int = 1  # that are started alike

    @property
    def short(self) -> bool:
        """Whether its jobs are short: some systems advise another prefetch for long ones."""
        return self.workload not in LONG


@dataclass(frozen=True)
class Command:
    """A worker's command line; the first word is a program of the system's environment."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    copies: int = 1  # for systems that leave it to a service manager to start several processes

    def __str__(self) -> str:
        words = [f"{name}={value}" for name, value in self.env.items()] + list(self.argv)
        return " ".join(words) + (f" (x {self.copies})" if self.copies > 1 else "")


@dataclass(frozen=True)
class Pool:
    """A way a system runs jobs; ``variant`` tells several of one kind apart."""

    kind: str
    variant: str = ""
    share: float = 1.0  # of the jobs of a drain, for what would take minutes
    only: frozenset[str] = frozenset()  # workloads it is measured in; empty for all
    most: int = 10_000  # jobs at once


@dataclass(frozen=True)
class System:
    """One task queue."""

    name: str
    requirements: tuple[str, ...]
    pools: tuple[Pool, ...]
    command: Callable[[Plan], Command]
    sending: str  # how its producer is set up, in words
    about: str = ""  # what its settings are and where they are advised
    python: tuple[int, int] = (3, 11)  # the oldest that runs it
    serves_many: bool = False  # whether a worker can serve several queues

    @property
    def tasks(self) -> str:
        """The module of its tasks."""
        return f"benchmarks.peers.tasks.{self.name}"

    def pools_for(self, workload: str, kinds: tuple[str, ...], slots: int = 1) -> list[Pool]:
        """Return the pools of these kinds that take part in a workload, and so many jobs at once."""
        fitting = [pool for pool in self.pools if pool.kind in kinds and pool.most >= slots]
        return [pool for pool in fitting if not pool.only or workload in pool.only]
