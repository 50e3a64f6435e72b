"""How long until jobs run: after the start of a worker, and after the server was away."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.peers import server
from benchmarks.peers.bench import Agent, Bench, Failed
from benchmarks.peers.figures import Sample
from benchmarks.peers.spec import Plan
from benchmarks.peers.workloads import SETTLING, Scale, failures, plan_of, sample

FIRST = "from the start of a worker to its first job"
AFTER = 50  # jobs that are sent when the server is back
AGAIN = 0.05  # seconds after which a producer that was refused tries again


def start(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """(j) From the start of the worker's first process to the start of a job that is queued already."""
    for pool in bench.system.pools_for("startup", scale.kinds):
        plan = plan_of(pool, "startup", results=False)
        with failures(bench, plan, FIRST) as failed:
            found = [_started(bench, plan) for _ in range(scale.starts)]
            note = next((note for _, note in found if note), "")
            value = statistics.median(seconds for seconds, _ in found)
            yield sample(bench, plan, "startup", FIRST, value, "s", ok=not note, note=note)
        yield from failed


def _started(bench: Bench, plan: Plan) -> tuple[float, str]:
    bench.reset()
    bench.fill(plan, "noop", 1, [])
    started = time.time()  # as the records have it
    with bench.worker(plan) as roots:
        bench.wait(1, roots)
        ran = bench.check(1)
    return bench.rows()[0][2] - started, ran.note


def restart(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """(j) From a killed server's first answer after its restart to the start of a job that is sent at once."""
    name = f"from the server's return after {scale.outage:g} s to the next job"
    for pool in bench.system.pools_for("restart", scale.kinds):
        plan = plan_of(pool, "restart", results=False)
        with failures(bench, plan, name) as failed:
            bench.reset()
            seconds, note = _returned(bench, plan, scale.outage)
            yield sample(bench, plan, "restart", name, seconds, "s", ok=not note, note=note or "append-only file")
        yield from failed


def _returned(bench: Bench, plan: Plan, outage: float) -> tuple[float, str]:
    """Let a worker wait, kill its server, start it again; return the seconds until it runs a job, and what went wrong.

    The producer of the later jobs is up before, but has sent nothing until the server is back.
    """
    port = server.free_port()
    program, folder = bench.server.program, bench.server.folder / f"restart-{port}"
    folder.mkdir()
    with contextlib.ExitStack() as first:
        alone = replace(bench, server=first.enter_context(server.running(program, folder, durable=True, port=port)))
        with alone.agent(plan) as agent, alone.agent(plan) as later, alone.worker(plan) as roots:
            agent.enqueue("noop", 1, [], bulk=False)
            alone.wait(1, roots)
            time.sleep(SETTLING)
            alone.server.client.set("bench:kept", "1")
            first.close()
            time.sleep(outage)
            with server.running(program, folder, durable=True, port=port) as again:
                back = time.time()
                if not again.client.get("bench:kept"):
                    raise AssertionError("the server forgot what was in its append-only file")
                send(later, AFTER, 1, alone.patience)
                alone.wait(1 + AFTER, roots)
                ran = alone.check(1 + AFTER)
    return min(row[2] for row in alone.rows() if row[0] >= 1) - back, ran.note


def send(agent: Agent, count: int, first: int, patience: float) -> None:
    """Send one job after another; again where the producer's own connection was lost with the server.

    Raises:
        Failed: the producer did not come back in time, or ended.
    """
    deadline = time.monotonic() + patience
    for number in range(first, first + count):
        while True:
            try:
                agent.enqueue("noop", 1, [], bulk=False, first=number)
                break
            except Failed:
                if time.monotonic() > deadline:
                    raise
                time.sleep(AGAIN)
