"""For every script a state of the server and a call on it, whose connection is then cut in all ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from broker_kit import NOW, TIMES, Kit, data, job
from chaos.cut_checks import CHECKS
from chaos.cut_shared import SHARED

from taskq.broker import (
    browsing,
    jobs,
    lifecycle,
    queues,
    work,
    workers,
)
from taskq.broker.call import Call
from taskq.broker.line import LAST_PLACE
from taskq.model.discipline import Discipline

Case = Callable[[Kit], Call[Any]]

# Without the session's stored reply (it is gone five minutes after the call, a call is repeated for one; a failover may
# lose it) the second run of these has an effect of its own: nothing in them names the first one.
TWICE_WITHOUT_SESSION = {
    "end_items:done": "counts",
    "enter_barrier": "a ticket more; the party is there once",
    "enter_barrier:last": "arrives at the next generation",
    "get_items": "takes the next items",
    "get_items:claim": "claims the next items",
    "get_items:line": "goes to the end of the line",
    "give_permit:add": "adds permits",
    "join_condition": "goes to the end of the line",
    "notify_condition": "wakes the next in line",
    "purge": "takes the next hundred",
    "put_items": "puts the items again",
    "step": "claims the next jobs; those of the first run come back by `reconcile`",
    "take_permit:line": "goes to the end of the line",
}


def _jobs(kit: Kit, *uniques: str, maxsize: int = 0) -> None:
    kit.declare(maxsize=maxsize)
    kit.run(jobs.enqueue(kit.keys, [job(unique) for unique in uniques]))


def _held(kit: Kit, *uniques: str) -> None:
    """Worker ``w`` holds jobs, and more wait."""
    kit.worker()
    _jobs(kit, *uniques, "waits", "waits2")
    kit.claim(len(uniques))


# --- jobs and queues


def browse(kit: Kit) -> Call[Any]:
    _jobs(kit, "a", "b", "c")
    return browsing.browse(kit.keys, "ready", 0, 10)


def cancel(kit: Kit) -> Call[Any]:
    _jobs(kit, "a", "b")
    return jobs.cancel(kit.keys, "a")


def cancel_of_one_with_a_worker(kit: Kit) -> Call[Any]:
    _held(kit, "a")
    return jobs.cancel(kit.keys, "a", revoke=True)


def declare(kit: Kit) -> Call[Any]:
    return queues.declare(kit.keys, Discipline.LIFO, 7, "me")


def drop(kit: Kit) -> Call[Any]:
    kit.seed(jobs=dict.fromkeys("abc", data()), state={"a": "1;1;0;0;0"}, dead={"a": NOW, "b": NOW, "c": NOW})
    return browsing.drop(kit.keys, ["a", "b"], ["w"])


def enqueue(kit: Kit) -> Call[Any]:
    kit.declare(maxsize=3)
    return jobs.enqueue(kit.keys, [job("a"), job("b", delay_ms=5000), job("c"), job("beyond")])


def enqueue_one(kit: Kit) -> Call[Any]:
    kit.declare()
    return jobs.enqueue(kit.keys, [job("a", "x" * 500)])


def inspect(kit: Kit) -> Call[Any]:
    _held(kit, "a", "b")
    return queues.inspect(kit.keys)


def move(kit: Kit) -> Call[Any]:
    _jobs(kit, "a", "b")
    return browsing.move(kit.keys, "a", "other", "fresh")


def pause(kit: Kit) -> Call[Any]:
    _jobs(kit, "a")
    return queues.pause(kit.keys, True)


def purge(kit: Kit) -> Call[Any]:
    _jobs(kit, "a", "b", "c", "d", "e")
    return queues.purge(kit.keys, 2)


def refuse(kit: Kit) -> Call[Any]:
    _jobs(kit, "a")
    return queues.refuse(kit.keys, "it evicts", 60.0)


def requeue(kit: Kit) -> Call[Any]:
    kit.declare()
    kit.seed(jobs=dict.fromkeys("abc", data()), state={"a": "7;3;5;2;4\nerr"}, dead={"a": NOW - 2, "b": NOW, "c": NOW})
    return jobs.requeue(kit.keys, ["a", "b"])


def relay(kit: Kit) -> Call[Any]:
    kit.declare()
    return jobs.relay(kit.keys, [job("a"), job("b", delay_ms=7)])


def relayed(kit: Kit) -> Call[Any]:
    kit.seed(outbox={"q/a": "0\nx", "q/b": "0\nx", "q/c": "0\nx"})
    return jobs.relayed(kit.keys, ["q/a", "q/b"])


def watch(kit: Kit) -> Call[Any]:
    kit.declare()
    return lifecycle.watch(kit.keys)


def wait_room(kit: Kit) -> Call[Any]:
    _jobs(kit, "a", maxsize=1)
    return queues.wait_room(kit.keys, "t/1", LAST_PLACE)


def leave_room(kit: Kit) -> Call[Any]:
    _jobs(kit, "a", maxsize=1)
    for address in ("t/1", "t/2"):
        kit.run(queues.wait_room(kit.keys, address, LAST_PLACE))
    return queues.leave_room(kit.keys, "t/1")


# --- workers


def register(kit: Kit) -> Call[Any]:
    kit.declare()
    return workers.register(kit.keys, "w", TIMES)


def deregister(kit: Kit) -> Call[Any]:
    _held(kit, "a")
    return workers.deregister(kit.keys, "w")


def heartbeat(kit: Kit) -> Call[Any]:
    _held(kit, "a")
    return workers.heartbeat(kit.keys, "w", TIMES)


def reap(kit: Kit) -> Call[Any]:
    kit.seed(meta={"discipline": "fifo", "tick": str(NOW), "grace": "0"}, workers={"w": NOW - 1})
    kit.seed(jobs=dict.fromkeys("abc", data()), lease_w={"a": "1;5;0;0", "b": "1;6;1;0", "c": "2;7;0;1"})
    return workers.reap(kit.keys, "w", TIMES)


def reconcile(kit: Kit) -> Call[Any]:
    _held(kit, "a", "b", "c")
    return workers.reconcile(kit.keys, "w", ["b", "gone"])


def release(kit: Kit) -> Call[Any]:
    _held(kit, "a", "b")
    return work.release(kit.keys, "w", [("a", "1", 0), ("b", "1", 5000)])


def step(kit: Kit) -> Call[Any]:
    _held(kit, "plain", "full", "retry", "started")
    full = [
        work.FullSettlement("full", "1", "o", b"record", 60_000, b"", "", [("other/f", b"0\nx")]),
        work.FullSettlement("retry", "1", "r", b"", 5000, b"error", ""),
    ]
    return work.step(kit.keys, "w", work.StepRequest(["plain", "1"], full, ["started"], count=1))


def ended(kit: Kit) -> Call[Any]:
    _jobs(kit, "a")
    kit.run(jobs.cancel(kit.keys, "a"))
    return work.ended(kit.keys)


def end(kit: Kit) -> Call[Any]:
    _jobs(kit, "a", "b")
    kit.seed(ended={"a": "expired", "b": "crashed"})
    finishes = [
        work.Finish("a", "expired", b"record", 60_000, "", False, follow_ups=[("other/f", b"0\nx")]),
        work.Finish("b", "crashed", b"record", 60_000, "", True, b"error"),
    ]
    return work.end(kit.keys, finishes)


# The script's name, then what is special.
CASES: dict[str, Case] = {
    "browse": browse,
    "cancel": cancel,
    "cancel:leased": cancel_of_one_with_a_worker,
    "declare": declare,
    "deregister": deregister,
    "drop": drop,
    "end": end,
    "ended": ended,
    "enqueue": enqueue,
    "enqueue_one": enqueue_one,
    "heartbeat": heartbeat,
    "inspect": inspect,
    "leave_room": leave_room,
    "move": move,
    "pause": pause,
    "purge": purge,
    "reap": reap,
    "reconcile": reconcile,
    "refuse": refuse,
    "register": register,
    "relay": relay,
    "relayed": relayed,
    "release": release,
    "requeue": requeue,
    "step": step,
    "wait_room": wait_room,
    "watch": watch,
    **SHARED,
    **CHECKS,
}
