"""Shows a worker's figures to Prometheus, over HTTP, with the project's own client library.

Names and units follow https://prometheus.io/docs/practices/naming/. Every label has few values: the queues that the
worker serves, the tasks that its app has, and words of ours.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final

from taskq.errors import InvalidOption, MissingDependency, shorten

try:
    from prometheus_client import CollectorRegistry, MetricsHandler, ProcessCollector
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        InfoMetricFamily,
        Metric,
    )
    from prometheus_client.registry import Collector
except ImportError:
    raise MissingDependency(
        "metrics need prometheus-client, which is not installed: pip install 'taskq[prometheus]'"
    ) from None

if TYPE_CHECKING:
    from taskq.worker.metrics import Figures, QueueFigures
    from taskq.worker.tally import Buckets

logger = logging.getLogger("taskq.worker")
LOOPBACK: Final = "127.0.0.1"  # what is shown names tasks and queues, and asks for no password
PLACES: Final = 8  # connections at once: each takes a thread and a descriptor, which the children are to have
IDLE: Final = 5.0  # seconds for a client to say more, and to take an answer; half of what a scrape behind it waits
LONGEST: Final = 10.0  # seconds of one connection, where others wait: no scrape waits longer by default
LOOK: Final = 0.5  # seconds between two looks for connections to cut, while all places are taken
REST: Final = 0.2  # seconds after an accept that failed: for want of descriptors it would fail again at once


def expose(port: int, host: str = LOOPBACK) -> Callable[[Callable[[], Figures]], Callable[[], None]]:
    """Return what shows the figures of a worker at ``http://host:port/metrics``.

    Args:
        port: 0 takes a free one, which the log tells.
        host: an address of this machine; others than loopback are seen by the network.

    Returns:
        For ``Supervisor``: a function that takes where the figures come from, begins, and returns what ends it. It
        raises InvalidOption where the address cannot be used.
    """

    def show(read: Callable[[], Figures]) -> Callable[[], None]:
        registry = CollectorRegistry()
        registry.register(WorkerCollector(read))
        ProcessCollector(registry=registry)
        where = f"[{host}]" if ":" in host else host
        try:
            server = _Server(host, port, registry)
        except (OSError, OverflowError, ValueError) as error:  # ValueError: no name of a host
            reason = getattr(error, "strerror", None) or str(error)
            raise InvalidOption(
                f"metrics cannot be shown at {shorten(f'{where}:{port}')}: {reason}; choose another "
                "--metrics-port or --metrics-host"
            ) from None
        server.start()
        logger.info(
            "metrics are at http://%s:%d/metrics", where, server.port,
            extra={"action": "metrics_ready", "port": server.port},
        )  # fmt: skip
        return server.end

    return show


class _Handler(MetricsHandler):
    timeout = IDLE


class _Server(ThreadingMixIn, TCPServer):
    """Answers a few clients at once; the others wait in the system's line, where they take nothing of this process."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64  # that wait; beyond it the system lets clients try again

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        """Take the address; raises OSError, OverflowError or ValueError where it cannot be used."""
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, *_, address = found[0]
        self._places = threading.BoundedSemaphore(PLACES)
        self._since: dict[socket.socket, float] = {}  # monotonic seconds
        self._ended = threading.Event()
        super().__init__((str(address[0]), port), _Handler.factory(registry))

    @property
    def port(self) -> int:
        """The one that was taken."""
        return int(self.socket.getsockname()[1])

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self._accept, name="taskq-metrics", daemon=True).start()

    def end(self) -> None:
        """Answer nobody new."""
        self._ended.set()
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # ends an accept, which a mere close does not
        self.server_close()

    def _accept(self) -> None:
        while self._take_place():
            try:
                request, address = self.get_request()
            except OSError:
                self._places.release()
                self._ended.wait(REST)
                continue
            self._since[request] = time.monotonic()
            try:
                self.process_request(request, address)
            except RuntimeError:  # there is no room for another thread
                self.shutdown_request(request)
                self._leave(request)
                self._ended.wait(REST)

    def _take_place(self) -> bool:
        while not self._ended.is_set():
            if self._places.acquire(timeout=LOOK):
                return True
            self._cut_long()
        return False

    def _cut_long(self) -> None:
        now = time.monotonic()
        for request, since in tuple(self._since.items()):
            if now - since > LONGEST:
                with suppress(OSError):  # it ends by itself meanwhile
                    request.shutdown(socket.SHUT_RDWR)

    def _leave(self, request: Any) -> None:
        del self._since[request]
        self._places.release()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one client, in a thread of its own."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._leave(request)

    def handle_error(self, *_: Any) -> None:
        """Log what is wrong here; a client that hangs up is not."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            logger.error("metrics could not be shown", exc_info=error, extra={"action": "metrics_failed"})


class WorkerCollector(Collector):
    """Turns figures into metrics, each time that somebody asks."""

    def __init__(self, read: Callable[[], Figures]) -> None:
        self._read = read

    def describe(self) -> list[Metric]:
        """Say nothing beforehand: else the registry would ask for the figures while the worker starts."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return all metrics of this moment."""
        figures = self._read()
        yield from _worker(figures)
        yield from _jobs(figures)
        yield from _server(figures)
        yield from _queues(figures.queues)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"taskq_{name}", text, value)


def _worker(figures: Figures) -> Iterator[Metric]:
    about = figures.about
    info = {key: str(about[key]) for key in ("worker", "pool")} | {"version": figures.version}
    yield InfoMetricFamily("taskq_worker", "Which worker this is.", info)
    yield _gauge("worker_ready", "1 if the worker is ready for jobs, as of 'taskq health --ready'.", about["ready"])
    yield _gauge("worker_paused", "1 if somebody paused the worker.", about["state"] == "paused")
    children = GaugeMetricFamily(
        "taskq_worker_children", "Child processes that take jobs, and wanted.", labels=["state"]
    )
    for state in ("up", "wanted"):
        children.add_metric([state], about["children"][state])
    yield children
    yield _gauge("worker_slots", "Jobs that the worker runs at once.", figures.slots)
    yield _gauge("worker_busy_slots", "Jobs that run.", figures.busy)
    ages = (("heartbeat", "the server took a heartbeat"), ("claim", "the server answered a claim"))
    for name, what in ages:
        if about[f"{name}_age"] is not None:
            yield _gauge(f"worker_{name}_age_seconds", f"Seconds since {what}.", about[f"{name}_age"])
    oldest = GaugeMetricFamily(
        "taskq_worker_oldest_run_seconds",
        "Seconds that the longest running job of a queue runs here.",
        labels=["queue"],
    )
    for queue, seconds in figures.oldest.items():
        oldest.add_metric([queue], seconds)
    yield oldest


def _jobs(figures: Figures) -> Iterator[Metric]:
    outcomes = CounterMetricFamily(
        "taskq_jobs",
        "Jobs that this worker dealt with, by what became of them: succeeded, retried (failed, and is tried again), "
        "failed (for good), crashed (its child died), cancelled, deferred (given back: its task, the version of its "
        "envelope or its signing key is unknown here).",
        labels=["queue", "task", "outcome"],
    )
    waits: dict[tuple[str, str], Any] = {}
    runs: dict[tuple[str, str], Any] = {}
    for (queue, task, outcome), sums in figures.jobs.items():
        outcomes.add_metric([queue, task, outcome], sums.jobs)
        for found, buckets in ((waits, sums.waits), (runs, sums.runs)):
            if any(buckets.counts):
                whole = found.setdefault((queue, task), ([0] * len(buckets.counts), [0.0]))
                whole[0][:] = map(sum, zip(whole[0], buckets.counts, strict=True))
                whole[1][0] += buckets.total
    yield outcomes
    dropped = CounterMetricFamily(
        "taskq_outcomes_dropped",
        "Jobs that ended here after their lease was taken away: whoever got them next says what became of them.",
        labels=["queue"],
    )
    for queue, count in figures.dropped.items():
        dropped.add_metric([queue], count)
    yield dropped
    yield _histograms(
        "job_wait_seconds",
        "Seconds from a job's acceptance to its first start; a delay that was asked for counts too.",
        waits,
        figures.bounds,
    )
    yield _histograms("job_run_seconds", "Seconds that attempts ran, but those whose child died.", runs, figures.bounds)


def _histograms(
    name: str, text: str, found: dict[tuple[str, str], tuple[list[int], list[float]]], bounds: Sequence[float]
) -> Metric:
    family = HistogramMetricFamily(f"taskq_{name}", text, labels=["queue", "task"])
    for key, (counts, total) in found.items():
        family.add_metric(list(key), list(_cumulated(counts, bounds)), total[0])
    return family


def _cumulated(counts: Iterable[int], bounds: Sequence[float]) -> Iterator[tuple[str, float]]:
    """Yield buckets as the format wants them: each with all below it, the last without an end."""
    total = 0
    for bound, count in zip((*map(float, bounds), None), counts, strict=True):
        total += count
        yield "+Inf" if bound is None else str(bound), total


def _server(figures: Figures) -> Iterator[Metric]:
    if figures.up is not None:
        yield _gauge("redis_up", "1 if the server answered just now.", figures.up)
    calls: Buckets = figures.calls
    family = HistogramMetricFamily(
        "taskq_redis_call_seconds", "Seconds until the server answered a call of this worker."
    )
    family.add_metric([], list(_cumulated(calls.counts, figures.bounds)), calls.total)
    yield family
    errors = CounterMetricFamily(
        "taskq_redis_errors",
        "Calls that failed: the connection was lost, the server busy (loading, failing over), or it refused; and "
        "attempts to connect again, where it was unreachable.",
        labels=["kind"],
    )
    for kind, count in figures.errors.items():
        errors.add_metric([kind], count)
    yield errors


def _queues(found: Sequence[QueueFigures]) -> Iterator[Metric]:
    jobs = GaugeMetricFamily(
        "taskq_queue_jobs", "Jobs in a queue, by state; every worker of it tells the same.", labels=["queue", "state"]
    )
    ages = GaugeMetricFamily(
        "taskq_queue_oldest_job_age_seconds",
        "Seconds since a job was accepted: about the oldest of the ready ones, the first in line of the others.",
        labels=["queue", "state"],
    )
    paused = GaugeMetricFamily("taskq_queue_paused", "1 if the queue is paused.", labels=["queue"])
    events = CounterMetricFamily(
        "taskq_queue_events",
        "What happened to the jobs of a queue since it exists, wherever they ran.",
        labels=["queue", "event"],
    )
    for queue in found:
        for state, count in queue.jobs.items():
            jobs.add_metric([queue.name, state], count)
        for state, seconds in queue.ages.items():
            ages.add_metric([queue.name, state], seconds)
        paused.add_metric([queue.name], queue.paused)
        for event, count in queue.counters.items():
            events.add_metric([queue.name, event], count)
    yield from (jobs, ages, paused, events)
