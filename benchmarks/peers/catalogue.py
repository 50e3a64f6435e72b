"""All workloads, and the letters of docs/benchmarks.md under which several of them are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.peers import crowds, growth, idling, network, senders, starting, workloads
from benchmarks.peers.bench import Bench
from benchmarks.peers.figures import Sample
from benchmarks.peers.workloads import Scale

WORKLOADS: dict[str, Callable[[Bench, Scale], Iterator[Sample]]] = {
    "enqueue": workloads.enqueue,
    "drain": workloads.drain,
    "roundtrip": workloads.roundtrip,
    "halfload": crowds.half_load,
    "sleep": workloads.sleep,
    "crowd": crowds.crowd,
    "cpu": workloads.compute,
    "mixed": workloads.mixed,
    "memory": workloads.resident,
    "children": idling.children,
    "fleet": idling.fleet,
    "growth": growth.growth,
    "network": network.far,
    "payload": senders.payload,
    "senders": senders.senders,
    "startup": starting.start,
    "restart": starting.restart,
}
LETTERS = {
    "a": ("enqueue",),
    "b": ("drain",),
    "c": ("roundtrip", "halfload"),
    "d": ("sleep", "crowd"),
    "e": ("cpu",),
    "f": ("mixed",),
    "g": ("memory", "children"),
    "h": ("cost", "fleet"),
    "i": ("growth",),
    "j": ("network", "payload", "senders", "startup", "restart"),
}
NAMES = tuple(name for names in LETTERS.values() for name in names)


def names_of(asked: list[str]) -> list[str]:
    """Return the names of workloads for names and letters; what is neither stays as it is."""
    return list(dict.fromkeys(name for each in asked for name in LETTERS.get(each, (each,))))
