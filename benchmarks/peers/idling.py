"""Workers that wait: with one child and with eight beside two bare loops, and fifty of them on twenty queues."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.peers.bench import Bench, cpu, memory
from benchmarks.peers.figures import Sample
from benchmarks.peers.spec import FLOOR, SLOTS, Plan, Pool
from benchmarks.peers.workloads import QUIET, Scale, failures, plan_of, sample

CHILDREN = 8
ONE = "PSS, idle, one child"
BARE = "python -m benchmarks.peers.tasks.bare (x 2)"


def children(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """(g) PSS of a worker with one child of each kind, beside two bare loops; and with eight process children."""
    if bench.system.name == FLOOR:
        yield from _two_loops(bench, scale)
    else:
        for pool in bench.system.pools_for("children", scale.kinds):
            slots = 1 if pool.kind == "process" else SLOTS[pool.kind]
            yield from _waiting(bench, plan_of(pool, "children", results=True, slots=slots), ONE)
    for pool in bench.system.pools_for("children", tuple(kind for kind in scale.kinds if kind == "process")):
        plan = plan_of(pool, "children", results=True, slots=CHILDREN)
        yield from _waiting(bench, plan, f"PSS, idle, {CHILDREN} processes")


def _waiting(bench: Bench, plan: Plan, measure: str) -> Iterator[Sample]:
    with failures(bench, plan, measure) as failed:
        bench.reset()
        with bench.worker(plan) as roots, bench.agent(plan) as agent:
            agent.trips(plan.slots)  # each child has probably had one, or at least had the time to come up
            time.sleep(QUIET)
            size = memory(roots)[1]
            ran = bench.check(plan.slots)
        yield sample(bench, plan, "children", measure, size, "MB", ok=not ran.note, note=ran.note)
    yield from failed


def _two_loops(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """The reference of all kinds: two Python processes that each wait in redis-py's BLPOP and call a function."""
    plan = plan_of(bench.system.pools[0], "children", results=False)
    bench.reset()
    bench.server.client.rpush("bare", 0, 1)
    with _bare(bench, plan) as roots:
        bench.wait(2, roots)
        time.sleep(QUIET)
        size, ran = memory(roots)[1], bench.check(2)
    note = ran.note or "two bare loops over redis-py"
    for kind in scale.kinds:
        told = sample(bench, replace(plan, pool=kind), "children", ONE, size, "MB", ok=not ran.note, note=note)
        yield replace(told, settings=BARE)


@contextlib.contextmanager
def _bare(bench: Bench, plan: Plan) -> Iterator[list[int]]:
    env = bench.environment(plan, "worker")
    command = [str(bench.home / "bin/python"), "-m", "benchmarks.peers.tasks.bare"]
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(bench.worker_log.open("ab"))
        loops = []
        for _ in range(2):
            loops.append(subprocess.Popen(command, env=env, cwd=bench.folder, stdout=log, stderr=log))
            stack.callback(loops[-1].wait)
            stack.callback(loops[-1].kill)
        yield [loop.pid for loop in loops]


def fleet(bench: Bench, scale: Scale) -> Iterator[Sample]:
    """(h) What many workers that each serve many queues ask of the server while nothing is queued."""
    if not bench.system.serves_many or not (pool := smallest(bench, scale)):
        return
    queues = tuple(f"q{number}" for number in range(scale.queues))
    slots = 1 if pool.kind == "process" else 2
    plan = replace(plan_of(pool, "fleet", results=False, slots=slots), queues=queues, workers=scale.fleet)
    name = f"{scale.fleet} idle workers on {scale.queues} queues"
    with failures(bench, plan, f"commands of {name}") as failed:
        bench.reset()
        with bench.fleet(plan) as roots:
            with bench.agent(plan) as agent:
                for number, queue in enumerate(queues):
                    agent.enqueue(f"noop@{queue}", 1, [], bulk=False, first=number)
            bench.wait(len(queues), roots)
            ran = bench.check(len(queues))
            time.sleep(QUIET)
            found = list(_idle(bench, roots, scale.idle))
        for measure, value, unit in found:
            told = sample(bench, plan, "fleet", f"{measure} of {name}", value, unit, ok=not ran.note, note=ran.note)
            yield replace(told, pool="", variant=plan.pool)  # one table: the kind is a choice
    yield from (replace(each, pool="", variant=plan.pool) for each in failed)


def smallest(bench: Bench, scale: Scale) -> Pool | None:
    """Return the system's lightest pool."""
    pools = bench.system.pools_for("fleet", scale.kinds)
    return next((pool for kind in ("thread", "process") for pool in pools if pool.kind == kind), None)


def _idle(bench: Bench, roots: list[int], seconds: float) -> Iterator[tuple[str, float, str]]:
    used, before, started = cpu(roots), bench.server.work(), time.monotonic()
    time.sleep(seconds)
    work, passed = bench.server.work() - before, time.monotonic() - started
    yield "commands", work.commands / passed, "a second"
    yield "reads by the server", work.reads / passed, "a second"
    yield "server CPU", work.cpu / passed * 100, "% of a core"
    yield "CPU", (cpu(roots) - used) / passed * 100, "% of a core"
    yield "PSS", memory(roots)[1], "MB"
