"""The systems that are measured, by name."""

from __future__ import annotations

from benchmarks.peers.spec import System
from benchmarks.peers.systems import ardiq, arq, celery, dramatiq, floor, huey, rq, saq, streaq, taskiq, taskq

SYSTEMS: dict[str, System] = {
    module.SYSTEM.name: module.SYSTEM
    for module in (floor, taskq, celery, rq, dramatiq, huey, arq, saq, taskiq, streaq, ardiq)
}
