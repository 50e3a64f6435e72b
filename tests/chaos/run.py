"""The chaos run: ``python -m tests.chaos.run --seconds 60 --seed 1``. Exits 1 if a promise was not kept."""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from taskq.broker import browsing, jobs, queues
from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
from taskq.broker.keys import QueueKeys
from taskq.model.job import decode_body, split_data

TESTS = str(Path(__file__).parents[1])
if TESTS not in sys.path:
    sys.path.insert(0, TESTS)  # as pytest has it, for the kits of the tests

if TYPE_CHECKING:
    from chaos.checker import Verdict

DRAIN = 120.0  # seconds in which all jobs must have ended after the last fault
LOOK = 0.1  # seconds between two looks at the queues


def chaos(seconds: float, seed: int, folder: Path, tell: Callable[[str], None]) -> Verdict:
    """Run producers and workers under the faults of a seed, drain, and judge.

    Args:
        seconds: for which faults happen.
        seed: draws them and what is sent.
        folder: for the logs.
        tell: is given each line to print.
    """
    from chaos.checker import judge, parse
    from chaos.fleet import Fleet, pause_until
    from chaos.nemesis import Nemesis
    from chaos.plan import draw

    strikes = draw(seed, seconds)
    tell(f"seed {seed}, {seconds:g} s, {len(strikes)} faults, logs in {folder}")
    with Fleet(folder, seed) as fleet:
        broker = Broker(parse_url(fleet.server.url), fleet.namespace)
        nemesis = Nemesis(fleet, lambda name, paused: broker.run(queues.pause(broker.keys(name), paused)), tell)
        nemesis.run(strikes, begin := time.monotonic())
        pause_until(begin + seconds)
        fleet.heal()
        fleet.end_producers()
        findings = _drain(broker, tell)
        findings += fleet.ended_early + fleet.end_workers() + _fsck(broker)
        findings += [f"{name} shows a traceback" for name in fleet.tracebacks()]
        sent = [line for log in fleet.producer_logs() for line in parse(log.read_text())]
        faults = nemesis.faults()
        reasons = {fault.worker for fault in faults if not fault.pid}
        findings += [f"{name} lost its lease without a reason" for name in fleet.fenced() if name not in reasons]
        verdict = judge(sent, parse(fleet.jobs_log.read_text()), faults, _dead(broker), nemesis.disturbances())
        broker.close()
    verdict.findings += findings
    for line in verdict.lines():
        tell(line)
    return verdict


def _drain(broker: Broker, tell: Callable[[str], None]) -> list[str]:
    """Wait until no job waits or runs anywhere; return what is left after DRAIN seconds."""
    from chaos.plan import QUEUES

    begin = time.monotonic()
    while True:
        found = [broker.run(queues.inspect(broker.keys(name))) for name in QUEUES]
        left = [one for one in found if one.ready + one.delayed + one.running + one.suspect + one.ending + one.outbox]
        if not left:
            tell(f"drained in {time.monotonic() - begin:.1f} s")
            return []
        if time.monotonic() > begin + DRAIN:
            return [f"not drained after {DRAIN:g} s: {one}" for one in left]
        time.sleep(LOOK)


def _dead(broker: Broker) -> list[str]:
    """Return the keys of the jobs that ended in the dead sets."""
    from chaos.app import app
    from chaos.plan import QUEUES

    found = []
    for keys in map(broker.keys, QUEUES):
        for unique in _dead_in(broker, keys):
            place = broker.run(jobs.find(keys, unique))
            if place is not None:
                body = decode_body(split_data(place.data)[1])
                task = app.tasks[body.task]
                found.append(task.signature.decode_arguments(task.codec, body.payload)[0][0])
    return found


def _dead_in(broker: Broker, keys: QueueKeys) -> Iterator[str]:
    start = 0
    while (page := broker.run(browsing.browse(keys, "dead", start, browsing.PAGE))).looked:
        yield from (glance.unique for glance in page.jobs)
        start += page.looked


def _fsck(broker: Broker) -> list[str]:
    if importlib.util.find_spec("taskq.broker.fsck") is None:
        return []
    from taskq.broker import fsck

    return [f"fsck: {finding}" for finding in fsck.check(broker, strict=True)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="of an earlier run, to repeat it")
    parser.add_argument("--keep", action="store_true", help="keep the logs also where all is well")
    options = parser.parse_args()
    os.environ |= {"TASKQ_EMBEDDED": "0"}
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="taskq-chaos-"))
    verdict = chaos(options.seconds, seed, folder, lambda line: print(line, flush=True))  # noqa: T201
    if verdict.good and not options.keep:
        shutil.rmtree(folder)
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
