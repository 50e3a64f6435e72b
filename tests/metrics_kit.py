"""Asks workers for their metrics and reads them with the parser of Prometheus' own client library."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from worker_kit import Worker, wait_until

PATIENCE = 10.0  # seconds for an answer, as Prometheus has it
ACCEPT = "application/openmetrics-text; version=1.0.0"  # the stricter of the two formats: its parser refuses nonsense

SERIES = re.compile(r"(taskq_\w+)(?:\{([^}]*)\})?")  # of an expression; labels are compared by = and =~ only
GROUPS = re.compile(r"\b(?:by|on) ?\(([^)]*)\)")

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def where(worker: Worker) -> str:
    """Return the address that a worker has told in its log."""
    pattern = re.compile(r"metrics are at (http://\S+)")
    return str(wait_until(lambda: pattern.search(worker.lines()), "it tells where its metrics are").group(1))


def read(text: str) -> Samples:
    """Return all samples of an answer; fails if one is told twice."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def scrape(worker: Worker) -> Samples:
    """Ask a worker as Prometheus does."""
    request = urllib.request.Request(where(worker), headers={"Accept": ACCEPT})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return read(answer.read().decode())


def value(samples: Samples, name: str, **labels: str) -> float | None:
    """Return one sample, None if it is not told."""
    return samples.get((f"taskq_{name}", frozenset(labels.items())))


def labelled(samples: Samples, name: str, label: str) -> dict[str, float]:
    """Return the samples of one name by one of their labels."""
    found: dict[str, float] = {}
    for (told, labels), number in samples.items():
        if told == f"taskq_{name}":
            word = dict(labels)[label]
            found[word] = found.get(word, 0.0) + number
    return found


def names(samples: Samples) -> set[str]:
    """Return the names that begin with ours."""
    return {name for name, _ in samples if name.startswith("taskq_")}


def open_ports(worker: Worker) -> set[int]:
    """Return the TCP ports at which a worker listens."""
    sockets = set()
    for entry in Path(f"/proc/{worker.pid}/fd").iterdir():
        target = str(entry.readlink())
        if target.startswith("socket:["):
            sockets.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{worker.pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                found.add(int(fields[1].rpartition(":")[2], 16))
    return found


def missing(samples: Samples, expression: str) -> list[str]:
    """Return which series and labels of an expression are none of those that are told.

    Each word of a label that is compared with several must be told: an alert is silent about one that is not.
    """
    known = {name: set[str]() for name, _ in samples}
    for name, labels in samples:
        known[name] |= {label for label, _ in labels}
    lacks = []
    for name, conditions in SERIES.findall(expression):
        wanted = re.findall(r'(\w+)=~?"([^"]*)"', conditions)
        for label, words in wanted:
            for word in words.split("|"):
                if not any(told == name and dict(labels).get(label) == word for told, labels in samples):
                    lacks.append(f"{name} {label}={word}")
        if name not in known:
            lacks.append(name)
    grouped = {label.strip() for labels in GROUPS.findall(expression) for label in labels.split(",")}
    labels = set().union(*(known.get(name, set()) for name, _ in SERIES.findall(expression)))
    return lacks + sorted(grouped - labels - {"instance", "le"})


def total(samples: Samples, name: str, words: Iterable[str]) -> float:
    """Return the sum over some of a counter's outcomes."""
    found = labelled(samples, name, "outcome")
    return sum(found.get(word, 0.0) for word in words)
