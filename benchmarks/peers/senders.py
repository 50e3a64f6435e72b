"""Producers that send large arguments, and producers that send from many threads or coroutines at once."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.peers.bench import Bench, Neighbours
from benchmarks.peers.figures import Sample
from benchmarks.peers.job import PAYLOAD
from benchmarks.peers.spec import Plan, Pool
from benchmarks.peers.workloads import Scale, failures, plan_of, sample

THREADS = 16
COROUTINES = 200
WARM = 5  # large jobs that are not counted


def usual(bench: Bench, workload: str, scale: Scale) -> Pool | None:
    """Return the system's first pool that is not one of those that would take minutes."""
    return next((pool for pool in bench.system.pools_for(workload, scale.kinds) if pool.share == 1.0), None)


def text() -> str:
    """Return 100,000 characters that do not compress to much less than their three quarters of random bytes."""
    return base64.b64encode(random.Random(0).randbytes(PAYLOAD * 3 // 4)).decode()


def payload(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """(j) Send jobs with an argument of 100 kB one by one, then run them."""
    if (pool := usual(bench, "payload", scale)) is None:
        return
    plan, size, count = plan_of(pool, "payload", results=False), "with 100 kB each", scale.heavy
    with failures(bench, plan, f"drain jobs {size}") as failed:
        bench.reset()
        with bench.agent(plan) as agent:
            agent.enqueue("carry", WARM, [text()], bulk=False)
            before = bench.server.work()
            took = agent.enqueue("carry", count, [text()], bulk=False, first=WARM)
            sent = (bench.server.work() - before).bytes_in / count
        with bench.worker(plan) as roots:
            bench.wait(WARM + count, roots)
            ran = bench.check(WARM + count)
        note = ran.note or f"{sent / 1000:,.0f} kB on the wire for each"
        measure = f"enqueue jobs {size}"
        told = sample(bench, plan, "payload", measure, count / took["seconds"], "jobs/s", ok=not ran.note, note=note)
        yield replace(told, pool="", variant="")
        rate = (WARM + count) / ran.seconds
        yield sample(bench, plan, "payload", f"drain jobs {size}", rate, "jobs/s", ok=not ran.note, note=ran.note)
    yield from failed


def senders(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """(j) Send jobs that do nothing from 16 threads, and from 200 coroutines, where the system has an API for it."""
    if (pool := usual(bench, "senders", scale)) is None:
        return
    plan = plan_of(pool, "senders", results=False)
    for ways, threads in ((THREADS, True), (COROUTINES, False)):
        measure = f"enqueue from {ways} {'threads' if threads else 'coroutines'}"
        with failures(bench, plan, measure) as failed:
            bench.reset()
            with bench.agent(plan) as agent:
                if not (agent.has_threads if threads else agent.has_coroutines):
                    continue
                warm = max(scale.warm, ways)  # each has its connection then
                agent.ask("spread", count=warm, first=0, ways=ways, threads=threads)
                others = Neighbours()
                took = agent.ask("spread", count=scale.jobs, first=warm, ways=ways, threads=threads)
                rate, busy = scale.jobs / took["seconds"], others.cores()
            note = _ran(bench, plan, warm + scale.jobs)
            told = sample(bench, plan, "senders", measure, rate, "jobs/s", ok=not note, note=note, neighbours=busy)
            yield replace(told, pool="", variant="", results=None)
        yield from (replace(each, pool="", variant="", results=None) for each in failed)


def _ran(bench: Bench, plan: Plan, count: int) -> str:
    """Run all that was sent; return what did not run once."""
    with bench.worker(plan) as roots:
        bench.wait(count, roots)
        return bench.check(count).note
