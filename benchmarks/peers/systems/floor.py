"""No framework: each slot pops up to 100 jobs with BLMPOP, decodes and calls them. No lease.

What it popped is lost if it dies. Where jobs are long each slot pops one, or few slots would have all of them. For
1,000 or more jobs at once one loop pops 100 and starts a greenlet or coroutine for each, on one connection. Results are
SET with a time to live, one pipeline to a batch; a round trip is LPUSH, BLMPOP there, RPUSH, BLPOP here.
"""

from __future__ import annotations

from benchmarks.peers.spec import Command, Plan, Pool, System


def command(_: Plan) -> Command:
    return Command(("python", "-m", "benchmarks.peers.tasks.floor"))


SYSTEM = System(
    name="floor",
    requirements=("redis[hiredis]==8.1.0", "msgpack==1.2.4", "gevent==26.9.0"),
    pools=(Pool("process"), Pool("thread"), Pool("gevent"), Pool("asyncio")),
    command=command,
    sending="msgpack, LPUSH one by one; bulk: a pipeline of 1,000 LPUSH",
    about=__doc__ or "",
    serves_many=True,
)
