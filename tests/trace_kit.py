"""Makes spans in this process, and reads those of workers beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from apps.traced import build
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from taskq import TaskQ

Span = dict[str, Any]


class Traces:
    """The spans of this process and of workers whose spans go to ``path``, as the SDK writes them in JSON."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._memory = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._memory))
        self.tracer = self.provider.get_tracer("tests")

    def app(self) -> TaskQ:
        """Return the producer's app, with the settings of the environment."""
        return build(self.provider)

    def spans(self) -> list[Span]:
        """Return all that ended, and in workers were exported, by the time they began."""
        lines = [span.to_json(indent=None) for span in self._memory.get_finished_spans()]
        if self._path.exists():
            lines += self._path.read_text("utf-8").splitlines()
        return sorted(map(json.loads, lines), key=lambda span: span["start_time"])

    def named(self, name: str) -> list[Span]:
        """Return the spans of one name."""
        return [span for span in self.spans() if span["name"] == name]

    def trees(self) -> list[Any]:
        """Return each trace as the names of its spans: ``(name, [children])``, or the name where there are none.

        A span whose parent is of another trace or nowhere begins a tree of its own.
        """
        spans = self.spans()

        def grown(span: Span) -> Any:
            mine = [one for one in spans if is_child(one, span)]
            children = sorted(map(grown, mine), key=str)
            return (span["name"], children) if children else span["name"]

        return [grown(span) for span in spans if not any(is_child(span, one) for one in spans)]


def is_child(span: Span, parent: Span) -> bool:
    """Tell whether ``parent`` is what ``span`` names as its parent, in the same trace."""
    ids = parent["context"]
    return (span["parent_id"], span["context"]["trace_id"]) == (ids["span_id"], ids["trace_id"])
