"""What is measured. Each workload yields samples; letters are those of docs/benchmarks.md."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.peers.bench import Bench, Failed, Neighbours, cpu, memory
from benchmarks.peers.figures import Sample, percentile
from benchmarks.peers.server import Work
from benchmarks.peers.spec import KINDS, SLOTS, Plan, Pool

FAST = 20_000  # jobs a second above which a drain is repeated with ten times the jobs: it would be over too soon
NAP = 0.05  # seconds
BURN = 0.01  # seconds
LONG_NAP = 2.0  # seconds
AT_ONCE = 100  # sleeping jobs
SETTLING = 2.0  # seconds in which a worker is left alone before round trips: some sweep at first
QUIET = 3.0  # seconds after its first job until a worker counts as idle
TRIPS_BUDGET = 20.0  # seconds for round trips, so that who polls every second does not take minutes


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    jobs: int = 20_000
    warm: int = 400
    trips: int = 500
    idle_trips: int = 20
    pause: float = 2.0  # seconds of idleness before each of these
    naps: int = 2_000
    burns: int = 400
    shorts: int = 500
    idle: float = 10.0  # seconds in which an idle worker is watched
    loaded: float = 10.0  # seconds of half load
    crowd: int = 1_000  # sleeping jobs at once; ten times as many in all
    mass: int = 10_000  # sleeping jobs at once in one gevent child
    fleet: int = 50  # workers
    queues: int = 20  # of the fleet
    heavy: int = 1_000  # jobs with a large argument
    starts: int = 3  # of a worker, of which the median counts
    outage: float = 2.0  # seconds that the server is away
    depths: tuple[int, ...] = (10_000, 100_000, 1_000_000)  # queued jobs
    grown: int = 10_000  # jobs that are sent and run at each of these
    queue_counts: tuple[int, ...] = (1, 10, 100)  # of one worker
    worker_counts: tuple[int, ...] = (1, 10, 50)  # of one queue
    kinds: tuple[str, ...] = KINDS


QUICK = Scale(
    jobs=600,
    warm=50,
    trips=30,
    idle_trips=2,
    naps=200,
    burns=20,
    shorts=50,
    idle=2.0,
    loaded=2.0,
    crowd=100,
    mass=500,
    fleet=3,
    queues=4,
    heavy=20,
    starts=1,
    outage=0.5,
    depths=(500, 2_000),
    grown=300,
    queue_counts=(1, 5),
    worker_counts=(1, 3),
)


def plan_of(pool: Pool, workload: str, *, results: bool, slots: int | None = None) -> Plan:
    return Plan(pool.kind, slots or SLOTS[pool.kind], workload, results, pool.variant)


def sample(bench: Bench, plan: Plan, group: str, measure: str, value: float, unit: str, **more: Any) -> Sample:
    settings = str(bench.system.command(plan)) if plan.workload != "enqueue" else bench.system.sending
    return Sample(group, measure, value, unit, plan.pool, plan.variant, plan.results, settings=settings, **more)


def enqueue(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """(a) Send jobs that do nothing, one by one and in bulk; and what that costs."""
    plan = plan_of(bench.system.pools[0], "enqueue", results=False)

    def told(group: str, measure: str, value: float, unit: str, **more: Any) -> Sample:
        return replace(sample(bench, plan, group, measure, value, unit, **more), pool="", variant="", results=None)

    for bulk in (False, True):
        bench.reset()
        with bench.agent(plan) as agent:
            if bulk and not agent.has_bulk:
                return
            agent.enqueue("noop", scale.warm, [], bulk=bulk)
            size, before, others = bench.server.memory(), bench.server.work(), Neighbours()
            took = agent.enqueue("noop", scale.jobs, [], bulk=bulk)
            busy, work, grown = others.cores(), bench.server.work() - before, bench.server.memory() - size
        name = "in bulk" if bulk else "one by one"
        yield told("enqueue", f"enqueue {name}", scale.jobs / took["seconds"], "jobs/s", neighbours=busy)
        yield told("cost", f"producer CPU to enqueue {name}", took["cpu"] / scale.jobs * 1e6, "us/job")
        if not bulk:
            yield told("cost", "memory of a queued job", grown / scale.jobs, "bytes")
            yield from (told("cost", *each) for each in costs(work, scale.jobs, "to enqueue a job"))


def costs(work: Work, jobs: int, doing: str) -> list[tuple[str, float, str]]:
    """Return what the server did for each job: measure, value, unit."""
    return [
        (f"commands {doing}", work.commands / jobs, "count"),
        (f"reads by the server {doing}", work.reads / jobs, "count"),
        (f"bytes {doing}", (work.bytes_in + work.bytes_out) / jobs, "bytes"),
        (f"server CPU {doing}", work.cpu / jobs * 1e6, "us/job"),
        (f"time in scripts {doing}", work.scripts / jobs * 1e6, "us/job"),
    ]


def drain(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """(b) Run queued jobs that do nothing: a worker is started, from the first start of a job to the last end."""
    for pool in bench.system.pools_for("drain", scale.kinds):
        for results in (False, True):
            plan = plan_of(pool, "drain", results=results)
            with failures(bench, plan, "drain") as failed:
                found = list(_drained(bench, plan, max(1, int(scale.jobs * pool.share)), f"drain {scale.jobs:,}"))
                yield from found
                if found[0].value > FAST:
                    yield from list(_drained(bench, plan, scale.jobs * 10, f"drain {scale.jobs * 10:,}"))[:1]
            yield from failed


def _drained(bench: Bench, plan: Plan, count: int, name: str) -> Iterator[Sample]:
    bench.reset()
    bench.fill(plan, "noop", count, [])
    before, others = bench.server.work(), Neighbours()
    with bench.worker(plan) as roots:
        bench.wait(count, roots)
        used = cpu(roots)
        ran = bench.check(count)
        work, busy = bench.server.work() - before, others.cores()
    note, good = ran.note or ("" if name.endswith(f" {count:,}") else f"{count:,} jobs only"), not ran.note
    yield sample(bench, plan, "drain", name, count / ran.seconds, "jobs/s", ok=good, note=note, neighbours=busy)
    yield sample(bench, plan, "cost", "worker CPU to run a job, its start included", used / count * 1e6, "us/job")
    for measure, value, unit in costs(work, count, "to run a job"):
        yield sample(bench, plan, "cost", measure, value, unit)


def roundtrip(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """(c) From a call to its result: back to back, then after idleness in the pool that was quickest."""
    quickest: tuple[float, Plan] | None = None
    for pool in bench.system.pools_for("roundtrip", scale.kinds):
        plan = plan_of(pool, "roundtrip", results=True)
        with failures(bench, plan, "round trip p50") as failed:
            trips = measured_trips(bench, plan, lambda agent: agent.trips(scale.trips, budget=TRIPS_BUDGET))
            yield from percentiles(bench, plan, "round trip", trips)
            quickest = min(quickest or (float("inf"), plan), (percentile(trips, 50), plan), key=lambda each: each[0])
        yield from failed
    if quickest is None:
        return
    plan, name = quickest[1], f"round trip after {scale.pause:.0f} s of idleness"
    with failures(bench, plan, f"{name} p50") as failed:
        trips = measured_trips(bench, plan, lambda agent: agent.trips(scale.idle_trips, pause=scale.pause))
        # The pool is a choice, not a part of the question: all systems stand side by side in one table.
        yield from (replace(each, pool="", variant="") for each in percentiles(bench, plan, name, trips))
    yield from failed


def measured_trips(bench: Bench, plan: Plan, measure: Callable[[Any], list[float]]) -> list[float]:
    bench.reset()
    with bench.worker(plan), bench.agent(plan) as agent:
        agent.trips(20, budget=TRIPS_BUDGET / 2)
        time.sleep(SETTLING)
        return measure(agent)


def percentiles(
    bench: Bench,
    plan: Plan,
    name: str,
    trips: list[float],
    group: str = "roundtrip",
    note: str = "",
    *,
    ok: bool = True,
) -> Iterator[Sample]:
    for percent in (50, 95, 99):
        value, told = percentile(trips, percent) * 1000, note or f"{len(trips)} trips"
        yield sample(bench, plan, group, f"{name} p{percent}", value, "ms", note=told, ok=ok)


def sleep(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """(d) Run queued jobs that sleep, 100 at once."""
    for pool in bench.system.pools_for("sleep", tuple(kind for kind in scale.kinds if kind != "process")):
        plan = plan_of(pool, "sleep", results=False, slots=AT_ONCE)
        name = f"{scale.naps:,} jobs of 50 ms, 100 at once"
        with failures(bench, plan, name) as failed:
            bench.reset()
            bench.fill(plan, "nap", scale.naps, [NAP])
            others = Neighbours()
            with bench.worker(plan) as roots:
                bench.wait(scale.naps, roots)
                ran, busy = bench.check(scale.naps), others.cores()
            ideal = scale.naps * NAP / AT_ONCE
            note, good = ran.note or f"{ran.seconds / ideal:.2f} x ideal", not ran.note
            yield sample(bench, plan, "sleep", name, ran.seconds, "s", ok=good, note=note, neighbours=busy)
        yield from failed


def compute(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """(e) Run queued jobs that use 10 ms of CPU on two processes, beside the same work in two bare processes."""
    for pool in bench.system.pools_for("cpu", tuple(kind for kind in scale.kinds if kind == "process")):
        plan, count = plan_of(pool, "cpu", results=False), scale.burns
        name = f"{count:,} jobs of 10 ms of CPU, 2 processes"
        with failures(bench, plan, name) as failed:
            bench.reset()
            with bench.agent(plan) as one, bench.agent(plan) as other:
                loops = one.ask("calibrate", seconds=BURN)
                for agent in (one, other):
                    agent.tell("burn", count=count // 2, loops=loops)
                ideal = max(agent.hear() for agent in (one, other))
            bench.fill(plan, "burn", count, [loops])
            others = Neighbours()
            with bench.worker(plan) as roots:
                bench.wait(count, roots)
                ran, busy = bench.check(count), others.cores()
            note, good = ran.note or f"ideal {ideal:.2f} s", not ran.note
            share = ran.seconds / ideal
            yield sample(bench, plan, "cpu", name, share, "x ideal", ok=good, note=note, neighbours=busy)
        yield from failed


def mixed(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """(f) Run short jobs behind long ones that leave one slot free: how long until all short ones are done."""
    for pool in bench.system.pools_for("mixed", scale.kinds):
        plan = plan_of(pool, "mixed", results=False)
        long, name = plan.slots - 1, f"{scale.shorts} short jobs behind long ones in all slots but one"
        with failures(bench, plan, name) as failed:
            bench.reset()
            with bench.agent(plan) as agent:
                agent.enqueue("nap", long, [LONG_NAP], bulk=False)
                agent.enqueue("noop", scale.shorts, [], bulk=False, first=long)
            with bench.worker(plan) as roots:
                bench.wait(long + scale.shorts, roots)
                ran, others = bench.check(long + scale.shorts), bench.ended(long)
            note = ran.note or f"{long} long jobs of {LONG_NAP:.0f} s"
            yield sample(bench, plan, "mixed", name, others, "s", ok=not ran.note, note=note)
        yield from failed


def resident(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """(g) A worker that waits: memory, CPU, commands; and its memory under load."""
    for pool in bench.system.pools_for("memory", scale.kinds):
        plan = plan_of(pool, "memory", results=True)
        with failures(bench, plan, "PSS, idle") as failed:
            bench.reset()
            with bench.worker(plan) as roots, bench.agent(plan) as agent:
                agent.trips(1)
                time.sleep(QUIET)
                used, before, started = cpu(roots), bench.server.work(), time.monotonic()
                time.sleep(scale.idle)
                passed = time.monotonic() - started
                share = (cpu(roots) - used) / passed * 100
                asked = (bench.server.work() - before).commands / passed
                rss, pss = memory(roots)
                loaded = _under_load(bench, roots, agent, max(1, int(scale.jobs * pool.share)))
            for measure, value, unit in (
                ("RSS, idle", rss, "MB"),
                ("PSS, idle", pss, "MB"),
                ("PSS, loaded", loaded, "MB"),
                ("CPU, idle", share, "% of a core"),
                ("commands, idle", asked, "a second"),
            ):
                yield sample(bench, plan, "memory", measure, value, unit)
        yield from failed


def _under_load(bench: Bench, roots: list[int], agent: Any, count: int) -> float:
    """Return the peak of the PSS in MB while jobs run."""
    peak, done = 0.0, threading.Event()

    def look() -> None:
        nonlocal peak
        while not done.wait(0.1):
            peak = max(peak, memory(roots)[1])

    looker = threading.Thread(target=look)
    looker.start()
    try:
        agent.enqueue("noop", count, [], bulk=agent.has_bulk)
        bench.wait(count + 1, roots)  # and the one that showed that the worker is up
    finally:
        done.set()
        looker.join()
    return max(peak, memory(roots)[1])


@contextlib.contextmanager
def failures(bench: Bench, plan: Plan, measure: str, group: str = "") -> Iterator[list[Sample]]:
    """Turn a failure within the block into a sample that says so; the other systems go on."""
    failed: list[Sample] = []
    try:
        yield failed
    except Failed as error:
        failed.append(sample(bench, plan, group or plan.workload, measure, float("nan"), "", ok=False, note=str(error)))
