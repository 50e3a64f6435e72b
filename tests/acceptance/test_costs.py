"""What a job costs, in counts that no machine changes: calls of the server, bytes, memory, allocations.

The figures of ``COSTS`` are of 1,000 jobs that do nothing, at the embedded server. Whoever changes one on purpose
changes it here, and says why in the commit.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from costs_kit import Calls, Till, Work, till
from servers import TestServer

JOBS = 1_000
WARM = 300  # calls; numbers above 256 are no longer there in advance
ROUNDS = 12  # of what a busy machine can spoil: the first one that fits counts
Figures = dict[str, float]
Bounds = float | tuple[float, float]

ENQUEUE = Calls(dict.fromkeys(("evalsha", "hmget", "hset", "hsetnx", "llen", "set", "time", "zadd"), JOBS))
BULK = Calls(["evalsha", "get", "hincrby", "hmget", "hset", "llen", "set", "time", "zadd"])
BULK += Calls(hsetnx=JOBS, zcard=2)
# A worker's calls: of each step, of each up to 100 jobs that a step claims, of each step that settles some, and of each
# record of a result. How many steps there are depends on how the processes take turns: only that is bounded.
STEP = Calls(["del|llen", "evalsha", "exists", "get", "hmget", "set", "time", "zcard", "zrangebyscore", "zscore"])
STEP += Calls(hlen=3, zrange=2)
READ = Calls(hmget=2, hset=1, zrange=1, zremrangebyrank=1)
SETTLEMENT = Calls(hdel=3, hincrby=1, hmget=1)
STEP_SENT, STEP_RECEIVED = 777, 51  # bytes of a step, without jobs

COSTS: dict[str, dict[str, Bounds]] = {
    "delay": {**ENQUEUE, "bytes sent": 387_515, "bytes received": 11_000},
    "delay, with results": {**ENQUEUE, "bytes sent": 400_515, "bytes received": 11_000},
    "delay_many": {**BULK, "bytes sent": 72_931, "bytes received": 1_013},
    "delay_many, with results": {**BULK, "bytes sent": 85_931, "bytes received": 1_013},
    "memory": {"bytes a queued job": (155, 180)},
    "memory, with results": {"bytes a queued job": (170, 196)},
    "drain": {
        "steps": (4, 28),
        "reads of up to 100 jobs": (10, 50),
        "waits for a token": (1, 5),
        "tokens set": (0, 5),
        "looks that find nothing": (0, 56),
        "bytes sent": (33_700, 34_400),
        "bytes received": (95_400, 96_000),
    },
    "drain, with results": {
        "steps": (4, 28),
        "reads of up to 100 jobs": (10, 50),
        "waits for a token": (1, 5),
        "tokens set": (0, 5),
        "looks that find nothing": (0, 56),
        "bytes sent": (229_300, 230_100),
        "bytes received": (108_400, 109_000),
    },
    "blocks of memory kept": {"by the supervisor": (0, 50), "by the child": (0, 50)},
    "a call of delay": {
        "functions called": 65,
        "blocks allocated": {(3, 11): 43, (3, 12): 51}.get(sys.version_info[:2], (30, 51)),
        "blocks kept without its handle": 0.0,
        "blocks kept with its handle": 3.0 if sys.version_info < (3, 13) else 2.0,
    },
}
each_kind = pytest.mark.parametrize("results", [False, True], ids=["without results", "with results"])


@pytest.fixture
def counting(start_server: Callable[..., TestServer], tmp_path: Path):
    with till(start_server().url, tmp_path) as made:
        yield made


def off(group: str, found: Figures) -> list[str]:
    """Return a line for each figure that is not as it was."""
    costs, lines = COSTS[group], []
    for name in sorted({*costs, *found}):
        was, now = costs.get(name, 0), found.get(name, 0)
        low, high = was if isinstance(was, tuple) else (was, was)
        if not low <= now <= high:
            lines.append(f"{group}: {name} was {f'{low:,} to {high:,}' if low < high else f'{low:,}'}, is {now:,}")
    return lines


def check(lines: list[str]) -> None:
    meant = f"If you meant it, change COSTS in {Path(__file__).name}, and say why in the commit"
    assert not lines, f"{'; '.join(lines)}. {meant}"


def group(name: str, *, results: bool) -> str:
    return f"{name}, with results" if results else name


def wire(work: Work) -> Figures:
    return {**work.calls, "bytes sent": work.sent, "bytes received": work.received}


@each_kind
def test_enqueuing_one_by_one_costs_what_it_did(counting: Till, results: bool) -> None:
    task = counting.task(results=results)
    task.delay(0)
    work = counting.of(lambda: [task.delay(number) for number in range(JOBS)])
    check(off(group("delay", results=results), wire(work)))


@each_kind
def test_enqueuing_in_bulk_costs_what_it_did(counting: Till, results: bool) -> None:
    task = counting.task(results=results)
    task.delay_many([0])
    work = counting.of(lambda: task.delay_many(range(JOBS)))
    check(off(group("delay_many", results=results), wire(work)))


@each_kind
def test_a_queued_job_takes_the_memory_that_it_did(counting: Till, results: bool) -> None:
    task = counting.task(results=results)
    task.delay(0)
    before = counting.memory()
    task.delay_many(range(JOBS))
    check(off(group("memory", results=results), {"bytes a queued job": (counting.memory() - before) / JOBS}))


@each_kind
def test_draining_costs_what_it_did(counting: Till, results: bool) -> None:
    task = counting.task(results=results)
    counting.start_worker()

    def drain() -> list[str]:
        work = counting.of(lambda: counting.drain(lambda: task.delay_many(range(JOBS)), JOBS))
        ids = JOBS * counting.process_ids() if results else 0
        return off(group("drain", results=results), drained(work, ids, results=results))

    check(least(drain))


def test_no_job_leaves_memory_behind_in_the_worker(counting: Till) -> None:
    counting.start_worker()

    def drain() -> list[str]:
        before = counting.held()
        for task in (counting.noop, counting.answer):
            counting.drain(lambda task=task: task.delay_many(range(JOBS)), JOBS)
        grown = (max(0, now - then) for now, then in zip(counting.held(), before, strict=True))
        return off("blocks of memory kept", dict(zip(("by the supervisor", "by the child"), grown, strict=True)))

    check(least(drain))


@each_kind
def test_a_call_costs_the_producer_what_it_did(counting: Till, results: bool) -> None:
    found = counting.costs_of_delay(results=results, warm=WARM, jobs=JOBS)
    check(off("a call of delay", found))


def drained(work: Work, ids: int, *, results: bool) -> Figures:
    """Return the figures of a drain, without ``ids`` bytes sent; a command that its steps do not explain is another."""
    calls = Counter(work.calls)
    calls["del|llen"] = calls.pop("del", 0) + calls.pop("llen", 0)  # the token is put back or taken away
    calls.subtract(BULK - Calls(llen=1) + Calls({"del|llen": 1}))
    steps, reads, settlements = calls["zscore"], calls["zremrangebyrank"], calls["hincrby"]
    records = Calls(set=JOBS, publish=settlements) if results else Calls()
    for times, share in ((steps, STEP), (reads, READ), (settlements, SETTLEMENT), (1, records)):
        calls.subtract({name: times * count for name, count in share.items()})
    figures: dict[str, Any] = {
        "steps": steps,
        "reads of up to 100 jobs": reads,
        "waits for a token": calls.pop("blpop", 0),
        "tokens set": calls.pop("rpush", 0),
        "looks that find nothing": calls.pop("zrange"),
        "bytes sent": work.sent - steps * STEP_SENT - ids,
        "bytes received": work.received - steps * STEP_RECEIVED,
    }
    return figures | {f"{name} beyond its share": count for name, count in calls.items() if count}


def least(attempt: Callable[[], list[str]]) -> list[str]:
    """Return what is off in the best of some rounds: other work on the machine only ever adds."""
    best = attempt()
    for _ in range(ROUNDS - 1):
        if not best:
            break
        best = min(best, attempt(), key=len)
    return best
