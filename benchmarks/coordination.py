"""Measure Events, locks and data queues beside bare commands, and print one table: what, taskq, floor, bar.

Times are of the machine's monotonic clock, which all its processes share.
"""

from __future__ import annotations

import argparse
import os
import sys

if __name__ == "__main__" and sys.argv[1:2] == ["greenlets"]:
    from gevent import monkey

    monkey.patch_all()

import contextlib
import itertools
import json
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis

from benchmarks.rig import Rig, machine, rig
from taskq import TaskQ
from taskq.broker import permits

PATIENCE = 60.0  # seconds for any one step
ROUNDS = 5  # of which the median is shown: a shared machine is noisy
Row = tuple[str, str, str, str]  # what, taskq, floor, bar


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def rate(count: int, seconds: float) -> str:
    return f"{count / seconds:,.0f}/s"


class Part:
    """A process that plays a part of a measurement: one of the functions of ``PARTS``."""

    def __init__(self, name: str, *arguments: object) -> None:
        command = [sys.executable, "-m", "benchmarks.coordination", name, *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def say(self, word: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def hear(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def parts(*wanted: tuple[object, ...]) -> Iterator[list[Part]]:
    """Start processes for the length of a block; each has said that it is ready."""
    started: list[Part] = []
    try:
        for name, *arguments in wanted:
            started.append(Part(str(name), *arguments))
        for part in started:
            part.hear()
        yield started
    finally:
        for part in started:
            part.close()


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError("a measurement does not go on")
        time.sleep(0.0005)


def client() -> redis.Redis:
    return redis.Redis.from_url(os.environ["TASKQ_URL"])


def app() -> TaskQ:
    return TaskQ("bench")


def say(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def connected() -> TaskQ:
    """Return an app that listens already."""
    made = app()
    made._listener.start()
    until(lambda: made._listener.epoch is not None)
    return made


# -- parts of other processes


def subscriber() -> None:
    """Tell when each message came, a line for a line."""
    pubsub = client().pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("floor")
    pubsub.get_message(timeout=5)
    say("ready")
    while True:
        if pubsub.get_message(timeout=PATIENCE) is not None:
            say(time.monotonic())


def waiters(count: str, name: str) -> None:
    """Wait in threads, again and again; tell when the last was woken."""
    event, go, done = connected().Event(name), threading.Semaphore(0), threading.Semaphore(0)
    woken: list[float] = []

    def wait() -> None:
        while True:
            go.acquire()
            event.wait()
            woken.append(time.monotonic())
            done.release()

    for _ in range(int(count)):
        threading.Thread(target=wait, daemon=True).start()
    say("ready")
    for _ in sys.stdin:
        woken.clear()
        go.release(int(count))
        for _ in range(int(count)):
            done.acquire()
        say(max(woken))


def greenlets(count: str, name: str) -> None:
    """Wait in greenlets; tell bytes before and while they wait, then when the last was woken."""
    import gevent

    event = connected().Event(name)
    before = _resident()
    waiting = [gevent.spawn(event.wait) for _ in range(int(count))]
    say("ready")
    gevent.get_hub().threadpool.apply(sys.stdin.readline)  # all wait now
    say([before, _resident()])
    gevent.joinall(waiting)
    say(time.monotonic())
    if not all(each.value for each in waiting):
        raise AssertionError("a waiter was not woken")


def holder(turns: str) -> None:
    """Take a lock in turns with another process; tell when it was taken and given back."""
    lock, taken, given = connected().Lock("hand-over"), [], []
    look = permits.count(lock._keys, 1)
    say("ready")
    sys.stdin.readline()
    for turn in range(int(turns)):
        lock.acquire()
        taken.append(time.monotonic())
        while turn < int(turns) - 1 and not lock._app.broker.run(look).waiting:
            time.sleep(0.0001)
        given.append(time.monotonic())
        lock.release()
    say([taken, given])


def popper() -> None:
    """Pop as many as each line says; tell when the last came."""
    server = client()
    server.ping()
    say("ready")
    for line in sys.stdin:
        for _ in range(int(line)):
            server.blpop("floor")
        say(time.monotonic())


def getter() -> None:
    """Get as many as each line says, ``n`` one by one or ``n many``; tell when the last came."""
    queue = connected().Queue("items")
    queue.qsize()
    say("ready")
    for line in sys.stdin:
        left, _, many = line.strip().partition(" ")
        count = int(left)
        while count > 0:
            if many:
                count -= len(queue.get_many(1000))
            else:
                queue.get()
                count -= 1
        say(time.monotonic())


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


PARTS: dict[str, Callable[..., None]] = {
    part.__name__: part for part in (subscriber, waiters, greenlets, holder, popper, getter)
}


# -- measurements


def floor(times: int) -> float:
    """Return the median from PUBLISH in one process to its arrival in another."""
    with parts(("subscriber",)) as (other,), client() as server:
        taken = []
        for _ in range(times):
            started = time.monotonic()
            server.publish("floor", "x")
            taken.append(other.hear() - started)
    return statistics.median(taken)


def listed(server: redis.Redis, name: str) -> int:
    return int(server.zcard(f"taskq:{{event:{name}}}:waiters"))


def asked(server: redis.Redis) -> int:
    """Return how many scripts were called since the counters were reset; each waiter calls one and then waits."""
    return int(server.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])


def event_rows(bench: Rig, bare: str) -> Iterator[Row]:
    """From before ``set()`` to after ``wait()``."""
    event, server = connected().Event("one"), bench.client
    with parts(("waiters", 1, "one")) as (other,):
        taken = []
        for _ in range(300):
            other.say()
            until(lambda: listed(server, "one") == 1)
            started = time.monotonic()
            event.set()
            taken.append(other.hear() - started)
            event.clear()
    yield "Event: set to wake-up of one waiter, p50", milliseconds(statistics.median(taken)), bare, "1 ms"
    event = connected().Event("many")
    with parts(*[("waiters", 100, "many")] * 10) as others:
        last = []
        for _ in range(ROUNDS):
            server.config_resetstat()
            for other in others:
                other.say()
            until(lambda: asked(server) >= 1000 and listed(server, "many") == len(others))
            started = time.monotonic()
            event.set()
            last.append(max(other.hear() for other in others) - started)
            event.clear()
    shown = f"{milliseconds(statistics.median(last))} (to {milliseconds(max(last))})"
    yield "Event: last of 1,000 waiters in 10 processes", shown, bare, "100 ms"


def greenlet_rows(bench: Rig, bare: str) -> Iterator[Row]:
    """Ten thousand waiters of one process, over one listening connection."""
    event, count = connected().Event("crowd"), 10_000
    before = len(bench.client.client_list(_type="pubsub"))
    bench.client.config_resetstat()
    with parts(("greenlets", count, "crowd")) as (other,):
        until(lambda: asked(bench.client) >= count)
        other.say()
        resident = other.hear()
        listening = len(bench.client.client_list(_type="pubsub")) - before
        started = time.monotonic()
        event.set()
        seconds = other.hear() - started
    size = (resident[1] - resident[0]) / count
    yield "Event: last of 10,000 in one gevent process", milliseconds(seconds), bare, "-"
    yield "  its connections that listen; memory a waiter", f"{listening}; {size:,.0f} bytes", "-", "1; -"


def lock_rows(_: Rig, bare: str) -> Iterator[Row]:
    """From before ``release()`` in one process to after ``acquire()`` in the other, which stood in line."""
    with parts(("holder", 300), ("holder", 300)) as others:
        for other in others:
            other.say()
        logs = [other.hear() for other in others]
    turns = sorted((taken, given) for log in logs for taken, given in zip(*log, strict=True))
    for (_, given), (taken, _) in itertools.pairwise(turns):
        if taken < given:
            raise AssertionError("two held it at once")
    passed = [after[0] - before[1] for before, after in itertools.pairwise(turns)]
    yield "Lock: hand-over between two processes, p50", milliseconds(statistics.median(passed)), bare, "1.5 ms"


def queue_rows(bench: Rig, _: str) -> Iterator[Row]:
    """One process puts, another gets; alternating with RPUSH and BLPOP, so that both see the same machine."""
    queue, count, many = connected().Queue("items"), 5_000, 100_000
    shares, rates, bares = [], [], []
    bulk: list[float] = []
    with parts(("popper",), ("getter",)) as (bare, ours):
        queue.put(0)
        ours.say("1")
        ours.hear()
        for _ in range(ROUNDS):
            bares.append(_timed(bare, f"{count}", lambda: [bench.client.rpush("floor", b"7") for _ in range(count)]))
            rates.append(_timed(ours, f"{count}", lambda: [queue.put(7) for _ in range(count)]))
            shares.append(bares[-1] / rates[-1])
        bulk += [_timed(ours, f"{many} many", lambda: queue.put_many(range(many))) for _ in range(ROUNDS)]
    yield (
        "Queue: put and get between two processes",
        rate(count, statistics.median(rates)),
        f"RPUSH/BLPOP {rate(count, statistics.median(bares))}",
        f"{statistics.median(shares):.0%} of it (60 %)",
    )
    yield "Queue: put_many and get_many", rate(many, statistics.median(bulk)), "-", "100,000/s"


def _timed(other: Part, word: str, work: Callable[[], object]) -> float:
    other.say(word)
    started = time.monotonic()
    work()
    seconds: float = other.hear() - started
    return seconds


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in PARTS:
        PARTS[sys.argv[1]](*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coordination", description=__doc__)
    parser.add_argument("--only", default="", help="measurements whose group begins so: event, greenlets, lock, queue")
    options = parser.parse_args()
    groups = {"event": event_rows, "greenlets": greenlet_rows, "lock": lock_rows, "queue": queue_rows}
    with rig() as bench:
        print(machine())
        print(f"{'what':48} {'taskq':30} {'floor, same run':28} bar")
        for group, measure in groups.items():
            if group.startswith(options.only):
                bare = "-" if group == "queue" else f"PUBLISH to SUBSCRIBE {milliseconds(floor(300))}"
                for what, ours, below, bar in measure(bench, bare):
                    print(f"{what:48} {ours:30} {below:28} {bar}", flush=True)


if __name__ == "__main__":
    main()
