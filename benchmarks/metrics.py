"""Measure what ``--metrics-port`` costs: no-ops drained by one worker with and without it, in turns, best of five."""

from __future__ import annotations

import argparse

from benchmarks.rig import Rig, machine, rig

RUNS = 5  # of which the best counts: other work on the machine only ever takes away
POOLS = {"process": ("-c", "2"), "thread": ("-c", "10"), "asyncio": ("-c", "100")}
COUNTED = ("--metrics-port", "0")


def drain(bench: Rig, pool: str, count: int, *options: str) -> float:
    """Return the jobs a second from the first start to the last end."""
    from benchmarks import app

    bench.reset()
    (app.anoop if pool == "asyncio" else app.noop).delay_many(range(count))
    with bench.worker(pool, *POOLS[pool], *options):
        bench.wait(count)
    return count / bench.check(count)


def main() -> None:
    """Print a line for each pool."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics", description=__doc__)
    parser.add_argument("--jobs", type=int, default=40_000)
    count = parser.parse_args().jobs
    print(machine())
    with rig() as bench:
        for pool in POOLS:
            plain, counted = 0.0, 0.0
            for _ in range(RUNS):
                plain = max(plain, drain(bench, pool, count))
                counted = max(counted, drain(bench, pool, count, *COUNTED))
            each = (1 / counted - 1 / plain) * 1e6
            print(f"{pool}: {plain:,.0f}/s, counted {counted:,.0f}/s ({counted / plain - 1:+.0%}, {each:.1f} us a job)")


if __name__ == "__main__":
    main()
