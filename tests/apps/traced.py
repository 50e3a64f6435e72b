"""An app whose jobs are traced; in a worker its spans go to the file that TRACED_SPANS names, a JSON object a line."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

from taskq import TaskQ
from taskq.contrib.otel import instrument

NAP = 0.05  # seconds: long enough for jobs of one pool to run side by side


def build(provider: TracerProvider) -> TaskQ:
    """Return an app that makes its spans with ``provider``, as do its tasks."""
    app = TaskQ("traced")
    instrument(app, provider)
    tracer = provider.get_tracer("tests")

    @app.task(name="nap")
    def nap() -> None:
        with tracer.start_as_current_span("inner"):
            time.sleep(NAP)

    @app.task(name="anap")
    async def anap() -> None:
        with tracer.start_as_current_span("inner"):
            await asyncio.sleep(NAP)

    @app.task(name="quick")
    async def quick() -> None:
        tracer.start_span("inner").end()

    @app.task(name="send")
    def send() -> str:
        return quick.delay().id

    @app.task(name="flaky", bind=True, max_retries=1, retry_on=ValueError, backoff=0.0)
    def flaky(context: object) -> None:
        if context.attempt == 1:  # type: ignore[attr-defined]
            raise ValueError("the reason")

    return app


def _provider() -> TracerProvider:
    provider = TracerProvider()
    if path := os.environ.get("TRACED_SPANS"):
        out = Path(path).open("a", buffering=1, encoding="utf-8")  # noqa: SIM115 (open as long as the process)
        exporter = ConsoleSpanExporter(out=out, formatter=lambda span: span.to_json(indent=None) + "\n")
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


app = build(_provider())
