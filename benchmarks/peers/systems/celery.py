"""Celery.

- prefetch multiplier 64 for short jobs and 1 for long ones, as its guide on optimizing says:
  https://docs.celeryq.dev/en/stable/userguide/optimizing.html#prefetch-limits
- no gossip, no mingle, no heartbeat, and no log line for each job: each only costs here;
  https://docs.celeryq.dev/en/stable/userguide/workers.html
- results off means no backend and ignore_result:
  https://docs.celeryq.dev/en/stable/userguide/tasks.html#ignore-results-you-don-t-want
- its prefork parent hands out the jobs one by one; two workers of the solo pool do twice as much, so both are here
- acknowledges before it runs a job (acks_late is off by default), as its users have it
"""

from __future__ import annotations

from benchmarks.peers.spec import Command, Plan, Pool, System

POOLS = {"process": "prefork", "thread": "threads", "gevent": "gevent"}
SOLO = "2 x solo"


def command(plan: Plan) -> Command:
    solo = plan.variant == SOLO
    pool = "solo" if solo else POOLS[plan.pool]
    name = ("-n", "w%COPY@%h") if solo or plan.workers > 1 else ()
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING")
    slots = "1" if solo else str(plan.slots)
    app = ("celery", "-A", "benchmarks.peers.tasks.celery", "worker", "-P", pool, "-c", slots)
    prefetch = ("--prefetch-multiplier", "64" if plan.short else "1")
    queues = ("-Q", ",".join(plan.queues)) if plan.queues else ()
    return Command((*app, *prefetch, *quiet, *name, *queues), copies=plan.slots if solo else 1)


SYSTEM = System(
    name="celery",
    requirements=("celery[redis]==5.7.0", "redis==8.1.0", "hiredis==3.5.0", "gevent==26.9.0"),
    pools=(Pool("process"), Pool("process", SOLO), Pool("thread"), Pool("gevent")),
    command=command,
    sending="json, delay(); bulk: apply_async(producer=) within kombu's batch(1,000)",
    about=__doc__ or "",
    serves_many=True,
)
