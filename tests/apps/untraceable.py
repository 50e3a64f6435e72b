"""An app that asks for traces where their package is not installed."""

import sys

sys.modules["opentelemetry"] = None  # type: ignore[assignment]

from taskq.contrib import otel  # noqa: E402, F401
