"""A worker's place in its queues: examined before it is taken, given back at the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from taskq.broker import acl, doctor, workers
from taskq.broker.broker import Broker
from taskq.broker.session import FIRST_CONTACT, reply_timeout
from taskq.broker.workers import LeaseTimes
from taskq.errors import TaskqError, WorkerError
from taskq.worker.leases import ServedQueue

logger = logging.getLogger("taskq.worker")
LEAST_WORDS = 0.2  # seconds for each further step of a stop whose time is over


def examine(broker: Broker, names: Sequence[str]) -> None:
    """Warn of what is not as it should be at the server; raises what makes it unfit for these queues."""
    link = broker.link(timeout=reply_timeout(FIRST_CONTACT))  # whoever starts a worker looks on
    try:
        findings = doctor.examine(link, broker.namespace, names)
    finally:
        link.close()
    broker.note_answer()  # from here on it may restart: what follows waits for it as for any call
    for finding in findings:
        if finding.level == "warn" and not (broker.address.revive and finding.name == "memory-limit"):
            logger.warning("%s", finding.text, extra={"action": "doctor", "check": finding.name})
    doctor.refuse(findings)
    probes = {probe.parts: probe for name in names for probe in acl.probes(broker.keys(name))}  # most are of no queue
    for probe in probes.values():
        broker.read(probe)  # a user without a worker's rights is refused here, not with the first job in its hands


def register(broker: Broker, queues: Sequence[ServedQueue], times: LeaseTimes) -> None:
    """Get a lease on each queue.

    Raises:
        WorkerError: a worker of this id has one.
    """
    for queue in queues:
        if not broker.run(workers.register(queue.keys, queue.worker, times)):
            raise WorkerError(f"worker id {queue.worker} is taken in queue {queue.name}; was the machine cloned?")


def deregister(broker: Broker, queues: Sequence[ServedQueue], deadline: float) -> None:
    """Give the leases back, as far as that is done at ``deadline`` (monotonic seconds)."""
    for queue in queues:
        try:
            broker.run(workers.deregister(queue.keys, queue.worker), left(deadline))
        except TaskqError as error:
            logger.warning(
                "queue %s keeps this worker's lease until it ends: %s", queue.name, error,
                extra={"action": "not_deregistered", "queue": queue.name},
            )  # fmt: skip
            if left(deadline) <= LEAST_WORDS:
                break


def left(deadline: float) -> float:
    """Return the seconds for the next step of a stop: what is left, or a little."""
    return max(LEAST_WORDS, deadline - time.monotonic())
