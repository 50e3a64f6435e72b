"""Where in a picture a job is drawn: a lane for each slot of each child of each worker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from taskq.client.runs import Run

MAX_LANES = 400  # of more, those that come one after another share a row: children that are replaced make thousands


@dataclass(frozen=True, slots=True)
class Lane:
    """A row of jobs that ran one after another.

    Attributes:
        worker: the worker's id; empty for what ended outside of any slot.
        name: for people, such as ``child 17, slot 3``.
        leads: whether it is the first one of its child.
    """

    worker: str
    name: str
    leads: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """Jobs with their lanes.

    Attributes:
        runs: those whose end is known, by start; one that never started counts by its end.
        lanes: from top to bottom; the workers, and the children of each, in the order of their first job.
        lane_of: of each job the number of its lane.
        slots: how many slots ran them.
        queues: of each worker's id the queues whose jobs it ran.
    """

    runs: list[Run]
    lanes: list[Lane]
    lane_of: list[int]
    slots: int
    queues: dict[str, list[str]]

    def name_of(self, worker: str) -> str:
        """Return what a worker is called: its id, and what it worked for."""
        queues = self.queues.get(worker, [])
        more = ", ..." if len(queues) > MAX_QUEUES else ""
        return f"{worker} ({', '.join(queues[:MAX_QUEUES])}{more})" if worker else "ended outside of a worker's slots"

    @property
    def shared(self) -> bool:
        """Whether slots share lanes, so that a lane does not tell the slot."""
        return self.slots > len(self.lanes)


MAX_QUEUES = 3  # in the name of a worker
Slot = tuple[str, int, int]
NO_SLOT: Slot = ("", 0, 0)


def lay_out(runs: Iterable[Run], most: int = MAX_LANES) -> Layout:
    """Give each job whose end is known a lane."""
    ordered = sorted((run for run in runs if run.finished is not None), key=begin)
    spans: dict[Slot, tuple[float, float]] = {}
    queues: dict[str, dict[str, None]] = {}
    for run in ordered:
        slot = slot_of(run)
        first, last = spans.get(slot, (begin(run), 0.0))
        spans[slot] = (first, max(last, run.finished or 0.0))
        queues.setdefault(slot[0], {})[run.queue] = None
    rows = _rows(spans) if len(spans) <= most else _shared_rows(spans)
    lanes, number = [], {}
    before = ("", 0)
    for slots in rows:
        worker, child, _ = slots[0]
        lanes.append(Lane(worker, _name(slots), (worker, child) != before))
        before = (worker, child)
        number.update(dict.fromkeys(slots, len(lanes) - 1))
    return Layout(
        ordered,
        lanes,
        [number[slot_of(run)] for run in ordered],
        len(spans.keys() - {NO_SLOT}),
        {worker: sorted(names) for worker, names in queues.items()},
    )


def slot_of(run: Run) -> Slot:
    """Return where a job ran; ``NO_SLOT`` if it never started."""
    return (run.worker, run.child, run.slot) if run.took is not None else NO_SLOT


def place_of(slot: Slot) -> str:
    """Return a slot's name inside its worker."""
    return f"child {slot[1]}, slot {slot[2]}" if slot != NO_SLOT else ""


def begin(run: Run) -> float:
    """Return when a job began; one that never started, when it ended."""
    return run.started if run.started is not None else run.finished or 0.0


def _rows(spans: dict[Slot, tuple[float, float]]) -> list[list[Slot]]:
    workers: dict[str, float] = {}
    children: dict[tuple[str, int], float] = {}
    for slot, (first, _) in spans.items():
        workers[slot[0]] = min(first, workers.get(slot[0], first))
        children[slot[:2]] = min(first, children.get(slot[:2], first))
    return [
        [slot]
        for slot in sorted(
            spans, key=lambda slot: (slot == NO_SLOT, workers[slot[0]], slot[0], children[slot[:2]], slot[1], slot[2])
        )
    ]


def _shared_rows(spans: dict[Slot, tuple[float, float]]) -> list[list[Slot]]:
    """Put slots of a worker that were used one after another into one row each."""
    found: dict[str, list[list[Slot]]] = defaultdict(list)
    for slot in sorted(spans, key=lambda slot: spans[slot]):
        rows = found[slot[0]]
        free = next((row for row in rows if spans[row[-1]][1] <= spans[slot][0]), None)
        if free is not None and slot != NO_SLOT:
            free.append(slot)
        else:
            rows.append([slot])
    outside = [row for row in found.pop("", []) if row == [NO_SLOT]]
    return [row for rows in found.values() for row in rows] + outside


def _name(slots: list[Slot]) -> str:
    return place_of(slots[0]) if len(slots) == 1 else f"{len(slots)} slots in turn"
