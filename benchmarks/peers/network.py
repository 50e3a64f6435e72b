"""The drain and the round trip with a slow network between the server and everybody else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.peers import proxy
from benchmarks.peers.bench import Bench
from benchmarks.peers.figures import Sample, percentile
from benchmarks.peers.proxy import Proxy
from benchmarks.peers.spec import FLOOR, Plan
from benchmarks.peers.workloads import (
    FAST,
    TRIPS_BUDGET,
    Scale,
    failures,
    measured_trips,
    percentiles,
    plan_of,
    sample,
)

DELAY = 0.001  # seconds each way, so that nothing is answered in less than 2 ms
AWAY = "1 ms away"
FEW = 4.0  # seconds: a tenth of the jobs is enough for who takes longer for these; below, its start counts too much
CONNECTIONS = 50  # that measure what the proxy can do
CEILING = 2.0  # seconds for it


def far(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """(j) Drain and round trip with 1 ms between the server and all others, and the drain beside the loopback's."""
    with proxy.between(bench.server.port, DELAY) as slow:
        away = replace(bench, server=replace(bench.server, url=f"redis://127.0.0.1:{slow.port}/0"))
        if bench.system.name == FLOOR:
            yield _ceiling(bench, slow)
        for pool in bench.system.pools_for("drain", scale.kinds):
            for results in (False, True):
                plan = plan_of(pool, "drain", results=results)
                with failures(bench, plan, f"drain, {AWAY}", "network") as failed:
                    yield from _drains(bench, away, slow, plan, max(1, int(scale.jobs * pool.share)))
                yield from failed
        for pool in bench.system.pools_for("roundtrip", scale.kinds):
            plan = plan_of(pool, "roundtrip", results=True)
            with failures(bench, plan, f"round trip, {AWAY}, p50", "network") as failed:
                trips = measured_trips(away, plan, lambda agent: agent.trips(scale.trips, budget=TRIPS_BUDGET))
                if percentile(trips, 0) < 2 * DELAY:
                    raise AssertionError(f"a round trip of {min(trips)} s did not go through the proxy")
                yield from percentiles(bench, plan, f"round trip, {AWAY},", trips, "network")
            yield from failed


def _ceiling(bench: Bench, slow: Proxy) -> Sample:
    """What the proxy passes on at most: who comes near it was measured by the proxy and not by the network."""
    most = proxy.ceiling(slow.port, CONNECTIONS, CEILING)
    bare = proxy.ceiling(bench.server.port, CONNECTIONS, CEILING)
    plan, note = plan_of(bench.system.pools[0], "drain", results=False), f"{bare:,.0f} without it"
    told = sample(
        bench, plan, "network", f"the proxy's own ceiling, {CONNECTIONS} connections", most, "round trips/s", note=note
    )
    return replace(told, pool="", results=None, settings="")


def _drains(bench: Bench, away: Bench, slow: Proxy, plan: Plan, most: int) -> Iterator[Sample]:
    """Drain a tenth of the jobs; all of them if that was over too soon, then ten times as many."""
    for count, enough in ((max(1, most // 10), FEW), (most, most / FAST), (most * 10, 0.0)):
        rate, share, note = drained(bench, away, plan, count, slow)
        if note or count / rate > enough:
            break
    near, _, bad = drained(bench, bench, plan, count)
    told = note or f"{count:,} jobs; the proxy used {share:.2f} of a core"
    yield sample(bench, plan, "network", f"drain, {AWAY}", rate, "jobs/s", ok=not note, note=told)
    told = note or bad or f"{near:,.0f} jobs/s there"
    measure = f"drain, {AWAY}, beside the loopback's"
    yield sample(bench, plan, "network", measure, rate / near, "x loopback", ok=not (note or bad), note=told)


def drained(bench: Bench, runner: Bench, plan: Plan, count: int, slow: Proxy | None = None) -> tuple[float, float, str]:
    """Queue jobs over the loopback and run them with a worker of ``runner``.

    Returns:
        Jobs a second, the cores that the proxy used meanwhile, and what was wrong.
    """
    bench.reset()
    bench.fill(plan, "noop", count, [])
    with runner.worker(plan) as roots:
        bench.wait(1, roots)
        used = slow.cpu if slow else 0.0
        bench.wait(count, roots)
        used = slow.cpu - used if slow else 0.0
        ran = bench.check(count)
    return count / ran.seconds, used / ran.seconds, ran.note
