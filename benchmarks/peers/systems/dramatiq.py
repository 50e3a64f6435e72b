"""Dramatiq.

- prefetch 1,000 for short jobs (10,000 with gevent): its default of twice the threads sleeps between small fetches and
  does 550 jobs/s with two processes; the default for long jobs and for coroutines, where it does better;
  https://dramatiq.io/reference.html#environment-variables
- gevent by its own program: https://dramatiq.io/advanced.html#gevent
- coroutines by the AsyncIO middleware, where a thread waits for each: https://dramatiq.io/cookbook.html#asyncio
- results by the Results middleware: https://dramatiq.io/cookbook.html#results
"""

from __future__ import annotations

from benchmarks.peers.spec import Command, Plan, Pool, System

PREFETCH = {"process": 1_000, "thread": 1_000, "gevent": 10_000}


def command(plan: Plan) -> Command:
    processes, threads = (plan.slots, 1) if plan.pool == "process" else (1, plan.slots)
    program = "dramatiq-gevent" if plan.pool == "gevent" else "dramatiq"
    prefetch = PREFETCH.get(plan.pool) if plan.short else None
    env = {"dramatiq_queue_prefetch": str(prefetch)} if prefetch else {}
    queues = ("-Q", *plan.queues) if plan.queues else ()
    words = (program, "-p", str(processes), "-t", str(threads), "benchmarks.peers.tasks.dramatiq", *queues)
    return Command(words, env)


SYSTEM = System(
    name="dramatiq",
    requirements=("dramatiq[redis]==2.2.1", "redis==8.1.0", "hiredis==3.5.0", "gevent==26.9.0"),
    pools=(Pool("process"), Pool("thread"), Pool("gevent"), Pool("asyncio")),
    command=command,
    sending="json, default middleware, actor.send(); no bulk API",
    about=__doc__ or "",
    serves_many=True,
)
