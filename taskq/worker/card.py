"""What a worker says of itself: one JSON object, small enough to be read for each of a hundred workers."""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from taskq.model.job import decode_state, peek
from taskq.worker.children import Child
from taskq.worker.dispatch import Hand
from taskq.worker.leases import Lease
from taskq.worker.protocol import SlotTable

MAX_CARD = 32_000  # bytes; the names of 256 queues take up to 27,000, then fewer jobs are told
MAX_RUNNING = 100  # jobs, those that have run longest
GLANCE = 512  # bytes of a job that are read: its header and the name of its task
ROWS = 256  # of a slot table that are read in one go, about 0.1 ms; then the supervisor's loop may run

Row = tuple[float, int, int]  # monotonic seconds of the start, handle, slot


def encode_card(fields: Mapping[str, Any], hands: Iterable[Hand], offset_us: int) -> bytes:
    """Return the card: ``fields``, how many jobs run, and in ``running`` those that have run longest, as many as fit.

    Each is a list: id, task, the child's process id, slot, seconds of the start by the server's clock, attempt.

    Args:
        fields: all else that is told.
        hands: the children; the loop may change them meanwhile.
        offset_us: the server's clock minus the monotonic one.
    """
    longest, busy = _longest(hands)
    text = json.dumps({**fields, "busy": busy, "running": []})
    entries: list[str] = []
    room = MAX_CARD - len(text)
    for (started, _, slot), child, lease in longest:
        entry = json.dumps(_entry(lease, child.pid, slot, started + offset_us / 1_000_000))
        room -= len(entry) + 2
        if room < 0:
            break
        entries.append(entry)
    return f"{text[:-2]}{', '.join(entries)}]}}".encode()


def _longest(hands: Iterable[Hand]) -> tuple[list[tuple[Row, Child, Lease]], int]:
    """Return what has run longest, and how many jobs run.

    Another thread may bury a child meanwhile, which closes its table: a ValueError.
    """
    found, busy = [], 0
    for hand in tuple(hands):
        with suppress(ValueError):
            rows = list(_rows(hand.child.table))
            busy += len(rows)
            for row in heapq.nsmallest(MAX_RUNNING, rows):
                lease = hand.held.get(row[1])
                if lease is not None:  # else it was answered just now
                    found.append((row, hand.child, lease))
    return heapq.nsmallest(MAX_RUNNING, found, key=lambda one: one[0]), busy


def _rows(table: SlotTable) -> Iterator[Row]:
    for slot in range(table.slots):
        if slot % ROWS == ROWS - 1:
            time.sleep(0)  # lets the loop run, which may wait for the interpreter's lock
        started, _, handle, _ = table.row(slot)
        if handle:
            yield started, handle, slot


def _entry(lease: Lease, pid: int, slot: int, started: float) -> list[Any]:
    _, task = peek(lease.data[:GLANCE])
    try:
        attempt = decode_state(lease.state).attempts + 1
    except ValueError:
        attempt = 1
    return [f"{lease.queue.name}/{lease.unique}", task, pid, slot, round(started, 3), attempt]
