"""Traces that go on from a producer through the wait of its job into the run, with OpenTelemetry.

Built on ``app.hooks`` alone. Names are those of OpenTelemetry's semantic conventions for messaging, in the version that
``SCHEMA`` says; what they have no name for is called ``taskq.…``.
"""

from __future__ import annotations

import time
from contextvars import Token
from typing import TYPE_CHECKING, Final

from taskq.app import TaskQ
from taskq.errors import ConfigError, InvalidOption, MissingDependency, shorten
from taskq.model.outcome import error_info
from taskq.version import VERSION

try:
    from opentelemetry import context as contexts
    from opentelemetry import propagate, trace
except ImportError:
    raise MissingDependency(
        "taskq.contrib.otel needs opentelemetry-api, which is not installed: pip install 'taskq[otel]'"
    ) from None

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from taskq.client.context import JobContext
    from taskq.client.hooks import Sending
    from taskq.model.outcome import ErrorInfo, Outcome

# The conventions for messaging are in development, so their Python package has them in a private module: said here once
# more, and compared with it by a test.
SCHEMA: Final = "https://opentelemetry.io/schemas/1.44.0"
SYSTEM: Final = "messaging.system"
DESTINATION: Final = "messaging.destination.name"
OPERATION: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGE_ID: Final = "messaging.message.id"
CONVERSATION: Final = "messaging.message.conversation_id"
CLIENT: Final = "messaging.client.id"
ERROR_TYPE: Final = "error.type"
EXCEPTION: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"

TASK: Final = "taskq.task"
ATTEMPT: Final = "taskq.attempt"
DELIVERY: Final = "taskq.delivery"
OUTCOME: Final = "taskq.outcome"


def instrument(app: TaskQ, tracer_provider: trace.TracerProvider | None = None) -> None:
    """Make spans of what ``app`` sends and runs, and have the trace context travel with its jobs.

    Call it once, in the module that makes the app, so that producers and workers both do.

    Args:
        app: whose hooks are used.
        tracer_provider: who makes the spans; the global one where None, also if that is set later.

    Raises:
        InvalidOption: ``app`` is none.
        ConfigError: it is instrumented already, and each span would be there twice.
    """
    if not isinstance(app, TaskQ):
        raise InvalidOption(f"instrument({shorten(app)}): give the TaskQ whose jobs are to be traced")
    hooks = app.hooks
    if any(isinstance(getattr(hook, "__self__", None), _Tracing) for hook in hooks.before_send):
        raise ConfigError(f"app {app.name!r} is instrumented already; call instrument once, where the app is made")
    tracing = _Tracing(tracer_provider)
    hooks.before_send(tracing.before_send)
    hooks.after_send(tracing.after_send)
    hooks.before_run(tracing.before_run)
    hooks.after_outcome(tracing.after_outcome)


class _Tracing:
    """The hooks of one app.

    Args:
        provider: see ``instrument``.
    """

    def __init__(self, provider: trace.TracerProvider | None) -> None:
        self._tracer = trace.get_tracer("taskq", VERSION, provider, SCHEMA)
        self._running: dict[tuple[str, int], tuple[trace.Span, Token[Context]]] = {}  # by job id and delivery

    def before_send(self, sending: Sending) -> None:
        """Begin the producer's span and put its context into the headers.

        A job of ``delay_many`` gets a span of its making alone, as the conventions say of messages sent in batches.
        """
        operation = "create" if sending.many else "send"
        span = self._tracer.start_span(
            f"{operation} {sending.queue}",
            kind=trace.SpanKind.PRODUCER,
            attributes={
                **_attributes(operation, sending.task, sending.queue, sending.job_id),
                OPERATION_TYPE: operation,
            },
        )
        propagate.inject(sending.headers, trace.set_span_in_context(span))
        if sending.many:
            span.end()
        else:
            sending.memo[self] = span

    def after_send(self, sending: Sending, error: BaseException | None) -> None:
        """End the producer's span."""
        span: trace.Span | None = sending.memo.pop(self, None)
        if span is not None:
            if error is not None:
                _note_error(span, error_info(error))
            span.end()

    def before_run(self, context: JobContext) -> None:
        """Begin the span of the run, make that of the wait, and let the task's own spans be children of the run."""
        now = time.time_ns()
        parent = propagate.extract({key: value for key, value in context.headers.items() if isinstance(value, str)})
        shared = _attributes("process", context.task, context.queue, context.id)
        shared |= {ATTEMPT: context.attempt, DELIVERY: context.delivery, CLIENT: context.worker}
        if context.root != context.id:
            shared[CONVERSATION] = context.root
        span = self._tracer.start_span(
            f"process {context.task}",
            parent,
            trace.SpanKind.CONSUMER,
            {**shared, OPERATION_TYPE: "process"},
            start_time=now,
        )
        within = trace.set_span_in_context(span, parent)
        if context.attempt == 1:
            sent = trace.get_current_span(parent).get_span_context().is_valid
            self._note_wait(context, parent if sent else within, shared, now)
        self._running[context.id, context.delivery] = span, contexts.attach(within)

    def _note_wait(self, context: JobContext, parent: Context, shared: dict[str, str | int], now: int) -> None:
        """Make the span of the wait up to ``now``, in nanoseconds.

        Its length is by the server's clock alone, its end by this machine's: so no difference between the clocks makes
        it too long or too short, or lets it reach into the run.
        """
        span = self._tracer.start_span(
            f"wait {context.queue}",
            parent,
            trace.SpanKind.INTERNAL,
            {**shared, OPERATION: "wait"},
            start_time=now - round(context.age * 1e9),
        )
        span.end(now)

    def after_outcome(self, context: JobContext, outcome: Outcome) -> None:
        """End the span of the run."""
        found = self._running.pop((context.id, context.delivery), None)
        if found is None:  # ``before_run`` failed, and the log says why
            return
        span, token = found
        contexts.detach(token)
        span.set_attribute(OUTCOME, outcome.verdict.name.lower())
        if (error := outcome.error) is not None:
            _note_error(span, error)
        span.end()


def _attributes(operation: str, task: str, queue: str, job_id: str) -> dict[str, str | int]:
    return {SYSTEM: "taskq", DESTINATION: queue, OPERATION: operation, MESSAGE_ID: job_id, TASK: task}


def _note_error(span: trace.Span, error: ErrorInfo) -> None:
    """Record an exception from its data: in a worker nothing holds on to the object and the frames that it holds."""
    event = {EXCEPTION_TYPE: error.type, EXCEPTION_MESSAGE: error.message}
    if error.traceback:
        event[EXCEPTION_STACKTRACE] = error.traceback
    span.set_attribute(ERROR_TYPE, error.type)
    span.add_event(EXCEPTION, event)
    span.set_status(trace.Status(trace.StatusCode.ERROR, f"{error.type}: {error.message}"))
