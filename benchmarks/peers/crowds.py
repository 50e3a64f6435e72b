"""Workers that have much to do: round trips beside other jobs, and thousands of jobs that sleep at once."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.peers.bench import Bench, Neighbours
from benchmarks.peers.figures import Sample
from benchmarks.peers.spec import Plan
from benchmarks.peers.workloads import NAP, Scale, failures, percentiles, plan_of, sample

WARM = 20  # round trips that are not counted
RAMP = 1.0  # seconds of load before the first round trip that counts
KEPT_UP = 0.95  # of the rate that was asked of the second producer: below it the load is told to be less than half
BEHIND = 0.5  # seconds from the last sending to the last end from which on the worker did not keep up
SECOND = 1.0  # seconds that each job of the largest crowd sleeps


def half_load(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """(c) Round trips while a second producer keeps the worker at half of the rate at which it drains a full queue."""
    for pool in bench.system.pools_for("halfload", scale.kinds):
        plan = plan_of(pool, "halfload", results=True)
        with failures(bench, plan, "round trip at half load p50") as failed:
            rate = drain_rate(bench, plan, max(1, int(scale.jobs * pool.share)))
            yield from _beside(bench, plan, scale, rate)
        yield from failed


def drain_rate(bench: Bench, plan: Plan, count: int) -> float:
    """Return how many queued jobs a second the worker runs."""
    bench.reset()
    bench.fill(plan, "noop", count, [])
    with bench.worker(plan) as roots:
        bench.wait(count, roots)
    return count / bench.check(count).seconds


def _beside(bench: Bench, plan: Plan, scale: Scale, rate: float) -> Iterator[Sample]:
    bench.reset()
    first = WARM + scale.trips  # number of the first job of the second producer
    with bench.worker(plan) as roots, bench.agent(plan) as agent, bench.agent(plan) as other:
        agent.trips(WARM)
        other.tell("pace", rate=rate / 2, seconds=RAMP + scale.loaded, first=first)
        time.sleep(RAMP)
        # It ends before the load does, so that no trip is measured without it.
        trips = agent.trips(scale.trips, budget=scale.loaded * 0.8, first=WARM)
        sent = other.hear()
        bench.wait(WARM + len(trips) + sent["sent"], roots)
        ran = bench.check(WARM + len(trips), range(first, first + sent["sent"]))
        behind = max(row[3] for row in bench.rows()) - sent["ended"]
    note, good = ran.note or told_load(rate, sent["sent"] / sent["seconds"], len(trips), behind), not ran.note
    yield from percentiles(bench, plan, "round trip at half load", trips, "halfload", note, ok=good)


def told_load(drained: float, sent: float, trips: int, behind: float) -> str:
    """Return in words what load there was: less than half where the producer is slow, a heap where the worker is."""
    short = "" if sent >= drained / 2 * KEPT_UP else f" (its producer sends no more: {sent / drained:.0%})"
    late = f"; not kept up with, {behind:.1f} s behind" if behind > BEHIND else ""
    return f"{trips} trips beside {sent:,.0f} jobs/s{short} of {drained:,.0f}{late}"


def crowd(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """(d) Ten times as many jobs of 50 ms as run at once; and as many of 1 s as run at once in one gevent child."""
    for kinds, at_once, count, nap in (
        (("gevent", "asyncio"), scale.crowd, scale.crowd * 10, NAP),
        (("gevent",), scale.mass, scale.mass, SECOND),
    ):
        for pool in bench.system.pools_for("crowd", tuple(kind for kind in kinds if kind in scale.kinds), at_once):
            plan = plan_of(pool, "crowd", results=False, slots=at_once)
            name = f"{count:,} jobs of {nap:g} s, {at_once:,} at once"
            with failures(bench, plan, name) as failed:
                yield slept(bench, plan, name, count, nap)
            yield from failed


def slept(bench: Bench, plan: Plan, name: str, count: int, nap: float) -> Sample:
    """Run queued jobs that sleep; return the seconds from the first start to the last end."""
    bench.reset()
    bench.fill(plan, "nap", count, [nap])
    others = Neighbours()
    with bench.worker(plan) as roots:
        bench.wait(count, roots)
        ran, busy = bench.check(count), others.cores()
    note = ran.note or f"{ran.seconds / (count * nap / plan.slots):.2f} x ideal"
    return sample(bench, plan, plan.workload, name, ran.seconds, "s", ok=not ran.note, note=note, neighbours=busy)
