"""Ours, at its defaults: leases, argument checks, and the log level that everybody gets."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.spec import Command, Plan, Pool, System

ROOT = Path(__file__).parents[3]


def command(plan: Plan) -> Command:
    app = "benchmarks.peers.tasks.taskq:app"
    queues = ("-Q", ",".join(plan.queues)) if plan.queues else ()
    return Command(("taskq", "worker", "-A", app, "--pool", plan.pool, "-c", str(plan.slots), *queues))


SYSTEM = System(
    name="taskq",
    requirements=("-e", f"{ROOT}[gevent]"),
    pools=(Pool("process"), Pool("thread"), Pool("gevent"), Pool("asyncio")),
    command=command,
    sending="defaults, delay(); bulk: delay_many(1,000 at a time)",
    about=__doc__ or "",
    serves_many=True,
)
