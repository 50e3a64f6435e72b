"""What taskq's jobs cost as things grow: queued jobs of each discipline, queues of a worker, workers of a queue."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.peers.bench import Bench, Failed
from benchmarks.peers.figures import Sample
from benchmarks.peers.server import Work
from benchmarks.peers.spec import OURS, Plan
from benchmarks.peers.workloads import Scale, failures, plan_of, sample

DISCIPLINES = ("fifo", "lifo", "priority")
LEVELS = 10  # priorities, as in the module of tasks: a job's is the last digit of its number
AHEAD = 5_000  # jobs by which those that ran may be out of order: what a worker holds before it runs them
LOOK = 0.001  # seconds between two looks at how many jobs ran; some jobs, at the rates that are measured
SLOTS = 2  # of each worker where there are many


@dataclass(frozen=True)
class Cost:
    """What a job cost, in microseconds."""

    wall: float
    server: float  # CPU of the server
    scripts: float  # of it within Lua scripts

    @classmethod
    def of(cls, work: Work, seconds: float, jobs: int) -> Cost:
        return cls(*(each / jobs * 1e6 for each in (seconds, work.cpu, work.scripts)))


class Series:
    """Samples of the same thing at growing sizes; each tells what it is to the smallest."""

    def __init__(self, bench: Bench, plan: Plan) -> None:
        self._bench, self._plan = bench, plan
        self._first: dict[str, float] = {}

    def told(self, doing: str, size: str, cost: Cost, fault: str) -> Iterator[Sample]:
        for kind, value in (("wall time", cost.wall), ("server CPU", cost.server), ("time in scripts", cost.scripts)):
            measure = f"{kind} to {doing}"
            first = self._first.setdefault(measure, value)
            note = fault or (f"{value / first:.2f} x the first" if first and value != first else "")
            plan = replace(self._plan, variant=size)
            yield sample(self._bench, plan, "growth", measure, value, "us/job", ok=not fault, note=note)


def growth(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """(i) Cost per job at more and more queued jobs, queues of a worker, and workers of a queue; taskq alone."""
    if bench.system.name != OURS or "thread" not in scale.kinds:
        return
    for discipline in DISCIPLINES:
        yield from _deep(bench, scale, discipline)
    yield from _wide(bench, scale)
    yield from _crowded(bench, scale)


def _plan(bench: Bench, queues: Sequence[str], workers: int = 1, slots: int | None = None) -> Plan:
    pool = next(pool for pool in bench.system.pools if pool.kind == "thread")
    return replace(plan_of(pool, "growth", results=False, slots=slots), queues=tuple(queues), workers=workers)


def _deep(bench: Bench, scale: Scale, discipline: str) -> Iterator[Sample]:
    plan, task = _plan(bench, [discipline]), f"noop@{discipline}"
    series = Series(bench, plan)
    for depth in scale.depths:
        with failures(bench, plan, f"{discipline}, {depth:,} queued", "growth") as failed:
            bench.reset()
            with bench.agent(plan) as agent:
                agent.enqueue(task, depth, [], bulk=True)
                before = bench.server.work()
                took = agent.enqueue(task, scale.grown, [], bulk=True, first=depth)
                sent = Cost.of(bench.server.work() - before, took["seconds"], scale.grown)
            with bench.worker(plan) as roots:
                ran = between(bench, roots, scale.grown // 10, scale.grown)
            fault = left(bench, discipline, depth + scale.grown)
            yield from series.told(f"send a job in bulk, {discipline}", f"{depth:,} queued", sent, fault)
            yield from series.told(f"run a job, {discipline}", f"{depth:,} queued", ran, fault)
        yield from failed


def between(bench: Bench, roots: list[int], first: int, count: int) -> Cost:
    """Return what about ``count`` jobs cost after the first ones have run; the worker goes on."""
    looks = []
    for least in (first, first + count):
        deadline = time.monotonic() + bench.patience
        while bench.count() < least:
            if time.monotonic() > deadline:
                raise Failed(f"{bench.count():,} of {least:,} jobs ran within {bench.patience:.0f} s")
            time.sleep(LOOK)
        looks.append((bench.server.work(), time.monotonic(), bench.count()))
    (before, since, had), (after, until, has) = looks
    bench.wait(has, roots)  # raises if the worker is gone
    return Cost.of(after - before, until - since, has - had)


def left(bench: Bench, discipline: str, count: int) -> str:
    """Return what is wrong once the worker has left: jobs that ran twice, are gone, or ran out of order."""
    numbers = [row[0] for row in bench.rows()]
    ready = bench.server.client.zcard(f"taskq:{{{discipline}}}:ready")
    twice, gone = len(numbers) - len(set(numbers)), count - ready - len(set(numbers))
    told = [f"{twice} ran twice"] * bool(twice) + [f"{gone} are gone"] * bool(gone)
    if not told and not in_order(discipline, numbers, count):
        told = [f"ran in another order than {discipline}"]
    return ", ".join(told)


def in_order(discipline: str, ran: Sequence[int], count: int) -> bool:
    """Return whether those that ran are, but for what a worker holds, the first of ``count`` jobs in their order."""
    first = len(ran) + AHEAD
    if discipline == "fifo":
        return max(ran) < first
    if discipline == "lifo":
        return min(ran) >= count - first
    return all(number % LEVELS * (count // LEVELS) + number // LEVELS < first for number in ran)


def _wide(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """The same jobs, evenly over more and more queues of one worker, which serves them in order."""
    series = Series(bench, _plan(bench, ["q0"]))
    for count in scale.queue_counts:
        queues = [f"q{number}" for number in range(count)]
        plan, each = _plan(bench, queues), scale.jobs // count
        with failures(bench, plan, f"{count} queues", "growth") as failed:
            bench.reset()
            with bench.agent(plan) as agent:
                for number, queue in enumerate(queues):
                    agent.enqueue(f"noop@{queue}", each, [], bulk=True, first=number * each)
            with bench.worker(plan) as roots:
                ran = between(bench, roots, each * count // 10, each * count - each * count // 10)
                fault = bench.check(each * count).note
            yield from series.told("run a job of several queues", counted(count, "queue"), ran, fault)
        yield from failed


def _crowded(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """The same jobs of one queue by more and more workers of two slots each, let go when all of them are up."""
    series = Series(bench, _plan(bench, ["q0"], slots=SLOTS))
    for count in scale.worker_counts:
        plan = _plan(bench, ["q0"], workers=count, slots=SLOTS)
        with failures(bench, plan, f"{count} workers", "growth") as failed:
            bench.reset()
            with bench.agent(plan) as agent:
                agent.enqueue("noop@q0", scale.jobs, [], bulk=True)
            order(bench, "pause", "q0")
            with bench.fleet(plan) as roots:
                if (up := bench.server.client.zcard("taskq:workers")) != count:
                    raise Failed(f"{up} of {count} workers came up{bench.last_line()}")
                before = bench.server.work()
                order(bench, "resume", "q0")
                bench.wait(scale.jobs, roots)
                work, ran = bench.server.work() - before, bench.check(scale.jobs)
            cost = Cost.of(work, ran.seconds, scale.jobs)
            yield from series.told("run a job of one queue", counted(count, "worker"), cost, ran.note)
        yield from failed


def counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def order(bench: Bench, what: str, queue: str) -> None:
    """Pause or resume a queue."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TASKQ_")}
    command = [str(bench.home / "bin/taskq"), what, queue]
    done = subprocess.run(
        command,
        env=env | {"TASKQ_URL": bench.server.url},
        cwd=bench.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failed(f"taskq {what} {queue}: {done.stderr.strip()}")
