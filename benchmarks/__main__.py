"""Run all measurements and print one table: what, taskq, floor, bar."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator

import msgspec
import redis

from benchmarks.rig import Rig, is_alive, machine, rig, tree_cpu, tree_rss

POOLS = {"process": ("-c", "2"), "thread": ("-c", "10"), "gevent": ("-c", "100"), "asyncio": ("-c", "100")}
DRAINS = 3  # of which the median is shown, with the range: a shared machine is noisy
Row = tuple[str, str, str, str]  # what, taskq, floor, bar


def rate(count: int, seconds: float) -> str:
    return f"{count / seconds:,.0f}/s"


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def enqueue_rows(rig: Rig, count: int) -> Iterator[Row]:
    """One by one beside redis-py's LPUSH, alternating so that both see the same machine; and in bulk."""
    from benchmarks.app import noop

    rig.reset()
    rig.client.ping()
    noop.delay(0)
    ours, bare = [], []
    for _ in range(5):
        bare.append(timed(lambda: [rig.client.lpush("floor", b"x" * 40) for _ in range(count // 5)]))
        ours.append(timed(lambda: [noop.delay(i) for i in range(count // 5)]))
    share = statistics.median(b / o for b, o in zip(bare, ours, strict=True))
    yield (
        "enqueue one by one",
        rate(count, sum(ours)),
        f"LPUSH {rate(count, sum(bare))}",
        f"{share:.0%} of LPUSH (75 %)",
    )
    rig.reset()
    noop.delay(0)
    seconds = min(timed(lambda: noop.delay_many(range(count * 5))) for _ in range(3))
    pipe = timed(lambda: pipeline(rig.client, count * 5))
    yield "enqueue delay_many", rate(count * 5, seconds), f"pipeline {rate(count * 5, pipe)}", "150,000/s"
    rig.reset()
    noop.delay(0)
    before = rig.dataset()
    noop.delay_many(range(count * 5))
    size = (rig.dataset() - before) / (count * 5)
    yield "memory per queued no-op", f"{size:.0f} bytes", "-", "300 bytes"


def pipeline(client: redis.Redis, count: int) -> None:
    for start in range(0, count, 1000):
        pipe = client.pipeline(transaction=False)
        for _ in range(min(1000, count - start)):
            pipe.lpush("floor", b"x" * 40)
        pipe.execute()


def floor_drain(rig: Rig, count: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Pop 100 at a time into a processing list, decode, call, acknowledge: at least once, no lease, no result."""
    from benchmarks.app import noop

    rig.reset()
    pack = msgspec.msgpack.encode
    for start in range(0, count, 1000):
        rig.client.rpush("floor", *(pack(("benchmarks.app.noop", (i,))) for i in range(start, start + 1000)))
    function = noop.function
    started = clock()
    while batch := rig.client.lpop("floor", 100):
        rig.client.rpush("processing", *batch)
        for body in batch:
            function(*msgspec.msgpack.decode(body)[1])
        rig.client.ltrim("processing", len(batch), -1)
    return clock() - started


def drain_rows(rig: Rig, count: int, pools: list[str]) -> Iterator[Row]:
    """Queue jobs, start one worker, time from the first start to the last end."""
    from benchmarks import app as tasks

    for results, bar in ((False, 60_000), (True, 40_000)):
        for pool in pools:
            task = getattr(tasks, ("a" if pool == "asyncio" else "") + ("answer" if results else "noop"))
            floors, ours = [], []
            for _ in range(DRAINS):
                floors.append(floor_drain(rig, count))
                rig.reset()
                task.delay_many(range(count))
                with rig.worker(pool, *POOLS[pool]):
                    rig.wait(count)
                    ours.append(rig.check(count))
            floor, seconds = statistics.median(floors), statistics.median(ours)
            name = f"drain {pool} {'with' if results else 'without'} results"
            shown = f"{rate(count, seconds)} ({count / max(ours):,.0f} to {count / min(ours):,.0f})"
            yield name, shown, f"batch loop {rate(count, floor)}", f"{bar:,}/s"


def latency_rows(rig: Rig) -> Iterator[Row]:
    """Back-to-back round trips to an idle worker, beside a bare push and pop."""
    from benchmarks.app import answer

    rig.reset()
    with rig.worker("process", "-c", "1"):
        rig.wait_ready()
        for i in range(50):
            answer.delay(i).get(timeout=30)
        ours = sorted(timed(lambda: answer.delay(0).get(timeout=30)) for _ in range(500))
    bare = sorted(timed(lambda: (rig.client.lpush("k", "x"), rig.client.brpop("k"))) for _ in range(500))
    shown = ", ".join(f"p{p} {ours[int(len(ours) * p / 100)] * 1000:.2f}" for p in (50, 95, 99))
    yield "round trip (ms)", shown, f"push+pop p50 {bare[250] * 1000:.2f}", "p50 < 1 ms"


def sleep_rows(rig: Rig) -> Iterator[Row]:
    """2,000 jobs of 50 ms, 100 at a time."""
    from benchmarks import app as tasks

    for pool in ("gevent", "thread", "asyncio"):
        rig.reset()
        with rig.worker(pool, "-c", "100"):
            rig.wait_ready()
            (tasks.anap if pool == "asyncio" else tasks.nap).delay_many(range(2000), [0.05] * 2000)
            rig.wait(2000)
            seconds = rig.check(2000)
        yield f"2,000 x 50 ms, {pool} -c 100", f"{seconds:.3f} s", "ideal 1.000 s", "1.15 s"


def delayed_rows(rig: Rig) -> Iterator[Row]:
    """How long after its due time a delayed job starts, with free slots."""
    from benchmarks.app import noop

    rig.reset()
    with rig.worker("thread", "-c", "10"):
        rig.wait_ready()
        due = {}
        for i in range(200):
            noop.apply_async((i,), countdown=0.5 + i * 0.013)
            due[i] = time.time() + 0.5 + i * 0.013
        rig.wait(200)
        late = sorted(start - due[number] for number, _, start, _ in rig.records())
    shown = ", ".join(f"p{p} {late[int(len(late) * p / 100)] * 1000:.1f}" for p in (50, 99))
    yield "delayed jobs start late by (ms)", shown, "-", "p99 < 50 ms"


def recovery_rows(rig: Rig) -> Iterator[Row]:
    """From a child's kill in mid-job to its job's second start; from a supervisor's to its children's end."""
    from benchmarks.app import nap

    again, gone = [], []
    for _ in range(5):
        rig.reset()
        with rig.worker("process", "-c", "1") as process:
            rig.wait_ready()
            nap.delay(0, 0.5)
            child = rig.wait_child(process.pid)
            time.sleep(0.2)
            os.kill(child, signal.SIGKILL)
            killed = time.time()
            rig.wait(1)
            again.append(rig.records()[0][2] - killed)
            child = rig.wait_child(process.pid)
            process.kill()
            started = time.monotonic()
            while is_alive(child):
                time.sleep(0.005)
            gone.append(time.monotonic() - started)
    yield (
        "killed child: its job starts again after",
        f"{statistics.median(again):.2f} s (worst {max(again):.2f})",
        "-",
        "1 s",
    )
    yield (
        "killed supervisor: children gone after",
        f"{statistics.median(gone):.2f} s (worst {max(gone):.2f})",
        "-",
        "2 s",
    )


def idle_rows(rig: Rig) -> Iterator[Row]:
    """An idle gevent worker with one child: memory and CPU over 20 s."""
    rig.reset()
    with rig.worker("gevent", "-c", "100") as process:
        rig.wait_ready()
        time.sleep(2)
        before, started = tree_cpu(process.pid), time.monotonic()
        time.sleep(20)
        share = (tree_cpu(process.pid) - before) / (time.monotonic() - started)
        size = tree_rss(process.pid) / 1e6
    yield "idle gevent worker, 1 child", f"{size:.1f} MB RSS, {share:.2%} of a core", "-", "80 MB, 1 %"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200_000, help="jobs per drain (default 200,000)")
    parser.add_argument(
        "--only", default="", help="run measurements whose group begins so: enqueue, drain, latency, ..."
    )
    parser.add_argument("--pools", default=",".join(POOLS))
    parser.add_argument("--record", action="store_true", help="only measure and write what the tests compare CPU with")
    options = parser.parse_args()
    if options.record:
        from benchmarks.pace import record  # which needs the floor above

        record()
        return
    with rig() as bench:
        groups: dict[str, Callable[[], Iterator[Row]]] = {
            "enqueue": lambda: enqueue_rows(bench, 20_000),
            "drain": lambda: drain_rows(bench, options.jobs, options.pools.split(",")),
            "latency": lambda: latency_rows(bench),
            "sleep": lambda: sleep_rows(bench),
            "delayed": lambda: delayed_rows(bench),
            "recovery": lambda: recovery_rows(bench),
            "idle": lambda: idle_rows(bench),
        }
        server = bench.client.info("server")
        name = (
            f"Valkey {server['valkey_version']}" if "valkey_version" in server else f"Redis {server['redis_version']}"
        )
        print(f"taskq {importlib.metadata.version('taskq')}, {name} (AOF everysec), {machine()}")
        print(f"{'what':42} {'taskq':38} {'floor, same run':28} bar")
        for group, measure in groups.items():
            if group.startswith(options.only):
                for what, ours, floor, bar in measure():
                    print(f"{what:42} {ours:38} {floor:28} {bar}", flush=True)


if __name__ == "__main__":
    main()
