"""What a worker shows to Prometheus, read with Prometheus' own parser."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_kit import Cli
from metrics_kit import labelled, missing, names, open_ports, scrape, value
from servers import TestServer
from tcp_kit import Listener
from worker_kit import Bench, bench, wait_until

from taskq import TaskQ
from taskq.broker import queues
from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
from taskq.client.workers import ask, list_workers
from taskq.worker import metrics
from taskq.worker.metrics import Meter, QueueReader
from taskq.worker.tally import OUTCOMES

SHOWN = ("--metrics-port", "0")
DEPLOY = Path(__file__).parents[2] / "docs/deploy"
ADD = {"queue": "default", "task": "apps.acceptance.add"}


def outcomes(samples: Any) -> dict[tuple[str, str], int]:
    return {
        (told["task"].rpartition(".")[2], told["outcome"]): int(number)
        for (name, labels), number in samples.items()
        if name == "taskq_jobs_total" and number and (told := dict(labels))
    }


def test_jobs_are_counted_by_what_became_of_them(rig: Bench, pool: str) -> None:
    worker = rig.start(pool, *SHOWN)
    app, other = rig.app, TaskQ("other", rig.url, rig.namespace)
    results = [app.add.delay(i, i) for i in range(20)]
    results += [app.fail_until.delay(1, 2), app.boom.delay("no"), other.task(name="nobody")(print).delay()]
    for result in results[:21]:
        result.result(timeout=20)
    expected = {
        ("add", "succeeded"): 20, ("fail_until", "retried"): 2, ("fail_until", "succeeded"): 1, ("boom", "failed"): 1,
        ("unknown", "deferred"): 1,
    }  # fmt: skip
    wait_until(lambda: outcomes(scrape(worker)) == expected, f"{expected}")


def test_a_job_whose_child_died_is_counted_as_crashed(rig: Bench) -> None:
    worker = rig.start("process", *SHOWN)
    rig.app.die.delay(1)
    wait_until(lambda: outcomes(scrape(worker)).get(("die", "crashed")) == 1, "it is counted")


def test_a_job_that_was_revoked_while_it_ran_is_counted_as_cancelled(rig: Bench) -> None:
    worker = rig.start("process", *SHOWN)
    result = rig.app.nap.delay(1, 60)
    wait_until(lambda: rig.noted("start"), "it runs")
    result.revoke(terminate=True)
    wait_until(lambda: outcomes(scrape(worker)).get(("nap", "cancelled")) == 1, "it is counted")


def test_a_job_that_ended_without_its_lease_is_counted_as_dropped(rig: Bench) -> None:
    first = rig.start("thread", *SHOWN)
    rig.app.nap.delay(1, 3)
    wait_until(lambda: rig.noted("start"), "it runs")
    second = rig.start("thread", *SHOWN)
    first.signal(signal.SIGSTOP)  # the child goes on
    try:
        wait_until(lambda: len(rig.noted("start")) == 2, "the other one runs it again")
    finally:
        first.signal(signal.SIGCONT)
    dropped = wait_until(lambda: value(scrape(first), "outcomes_dropped_total", queue="default"), "it is counted")
    assert (dropped, value(scrape(second), "outcomes_dropped_total", queue="default")) == (1, 0)


def test_what_may_happen_is_shown_before_it_does(rig: Bench) -> None:
    samples = scrape(rig.start("thread", *SHOWN, "-Q", "default"))
    for task in ("unknown", "apps.acceptance.add"):
        about = {"queue": "default", "task": task}
        found = {word: value(samples, "jobs_total", **about, outcome=word) for word in OUTCOMES.values()}
        assert found == dict.fromkeys(OUTCOMES.values(), 0)
    assert labelled(samples, "queue_events_total", "event") == dict.fromkeys(queues.COUNTERS, 0)
    assert labelled(samples, "outcomes_dropped_total", "queue") == {"default": 0}


def test_waits_and_runs_are_in_histograms(rig: Bench, pool: str) -> None:
    worker = rig.start(pool, *SHOWN)
    for result in [rig.app.anap.delay(i, 0.02) for i in range(10)]:
        result.result(timeout=20)
    about = {"queue": "default", "task": "apps.acceptance.anap"}
    samples = wait_until(
        lambda: (found := scrape(worker)) and value(found, "job_run_seconds_count", **about) and found, ""
    )
    assert value(samples, "job_run_seconds_count", **about) == 10
    assert value(samples, "job_run_seconds_bucket", **about, le="0.01") == 0
    assert value(samples, "job_run_seconds_bucket", **about, le="+Inf") == 10
    assert 0.2 <= (value(samples, "job_run_seconds_sum", **about) or 0.0) < 20
    assert value(samples, "job_wait_seconds_count", **about) == 10
    assert 0 <= (value(samples, "job_wait_seconds_sum", **about) or 0.0) < 200


def test_queues_are_shown_by_state_with_the_age_of_their_oldest_job(rig: Bench) -> None:
    rig.app.rank.delay_many(range(3))
    rig.app.app.control.pause("ranked")
    rig.app.rank.apply_async((4,), countdown=100)
    worker = rig.start("thread", *SHOWN, "-Q", "default,ranked")
    samples = scrape(worker)
    jobs = {state: value(samples, "queue_jobs", queue="ranked", state=state) for state in ("ready", "delayed", "dead")}
    assert jobs == {"ready": 3, "delayed": 1, "dead": 0}
    for state in ("ready", "delayed"):
        assert 0 < (value(samples, "queue_oldest_job_age_seconds", queue="ranked", state=state) or 0) < 60
    assert value(samples, "queue_oldest_job_age_seconds", queue="ranked", state="dead") is None
    assert labelled(samples, "queue_paused", "queue") == {"default": 0, "ranked": 1}
    assert value(samples, "queue_events_total", queue="ranked", event="enqueued") == 4
    assert value(samples, "queue_jobs", queue="urgent", state="ready") is None  # another worker's


def test_dead_jobs_are_shown(rig: Bench) -> None:
    worker = rig.start("thread", *SHOWN)
    with pytest.raises(RuntimeError):
        rig.app.boom.delay("no").result(timeout=20)
    wait_until(lambda: value(scrape(worker), "queue_jobs", queue="default", state="dead") == 1, "it is shown")
    assert (value(scrape(worker), "queue_oldest_job_age_seconds", queue="default", state="dead") or 0) > 0


def test_what_runs_is_shown(rig: Bench, pool: str) -> None:
    worker = rig.start(pool, *SHOWN, "-c", "2")
    task = rig.app.anap if pool == "asyncio" else rig.app.nap
    task.delay(1, 30)
    wait_until(lambda: rig.noted("start"), "it runs")
    samples = scrape(worker)
    assert (value(samples, "worker_slots"), value(samples, "worker_busy_slots")) == (2, 1)
    first = value(samples, "worker_oldest_run_seconds", queue="default") or 0.0
    wait_until(lambda: (value(scrape(worker), "worker_oldest_run_seconds", queue="default") or 0.0) > first, "it ages")


def test_the_worker_and_its_server_are_shown(rig: Bench) -> None:
    worker = rig.start("thread", *SHOWN, "--processes", "2")
    wait_until(lambda: labelled(scrape(worker), "worker_children", "state") == {"up": 2, "wanted": 2}, "both are up")
    samples = scrape(worker)
    assert labelled(samples, "worker_info", "pool") == {"thread": 1}
    assert (value(samples, "worker_ready"), value(samples, "worker_paused"), value(samples, "redis_up")) == (1, 0, 1)
    assert 0 <= (value(samples, "worker_heartbeat_age_seconds") or 0.0) < 5
    assert (value(samples, "redis_call_seconds_count") or 0) > 0
    assert 0 < (value(samples, "redis_call_seconds_sum") or 0) < 30
    assert labelled(samples, "redis_errors_total", "kind") == dict.fromkeys(
        ("lost", "busy", "refused", "unreachable"), 0
    )
    assert ("process_resident_memory_bytes", frozenset()) in samples


def test_a_paused_worker_is_shown_as_paused(rig: Bench) -> None:
    worker = rig.start("thread", *SHOWN, "--name", "mill")
    ask(rig.app.app.broker, list_workers(rig.app.app.broker)[0].id, "pause")
    wait_until(lambda: value(scrape(worker), "worker_paused") == 1, "it is paused")


def test_without_its_server_a_worker_goes_on_to_show_itself(namespace: str, tmp_path: Path) -> None:
    with TestServer() as server, bench(server.url, namespace, tmp_path) as rig:
        worker = rig.start("thread", *SHOWN)
        rig.app.add.delay(1, 1).result(timeout=20)
        server.stop()
        wait_until(lambda: value(scrape(worker), "worker_ready") == 0, "it is not ready")
        began = time.monotonic()
        samples = scrape(worker)
        assert time.monotonic() - began < 8
        assert value(samples, "redis_up") == 0
        assert value(samples, "jobs_total", **ADD, outcome="succeeded") == 1
        assert value(samples, "queue_jobs", queue="default", state="ready") is None
        assert (value(samples, "redis_errors_total", kind="lost") or 0) >= 1
        before = value(samples, "redis_errors_total", kind="unreachable") or 0
        wait_until(
            lambda: (value(scrape(worker), "redis_errors_total", kind="unreachable") or 0) > before,
            "attempts are counted",
        )


def test_a_worker_shows_nothing_unless_it_is_asked_to(rig: Bench) -> None:
    quiet, asked = rig.start("thread"), rig.start("thread", *SHOWN)
    assert (open_ports(quiet), len(open_ports(asked))) == (set(), 1)


@pytest.mark.corrupts
def test_a_queue_that_the_server_refuses_to_show_hides_no_other(
    rig: Bench, server: TestServer, caplog: pytest.LogCaptureFixture
) -> None:
    broker = rig.app.app.broker
    rig.app.rank.delay(1)
    with server.client() as client:
        client.set(broker.keys("default").key("ready"), "a text")
    reader = QueueReader(Broker(broker.address, broker.namespace), [broker.keys("default"), broker.keys("ranked")])
    up, found = reader.read()
    reader.close()
    assert (up, [(queue.name, queue.jobs["ready"]) for queue in found]) == (True, [("ranked", 1)])
    assert [record.getMessage()[:31] for record in caplog.records] == ["metrics leave queue default out"]


def test_a_server_that_is_silent_is_told_in_one_plain_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics, "PATIENCE", 0.3)
    with Listener(lambda connection: bool(connection.recv(1)) and time.sleep(2)) as silent:
        broker = Broker(parse_url(silent.url), "ns")
        reader = QueueReader(broker, [broker.keys("a"), broker.keys("b")])
        assert reader.read() == (False, [])
        reader.close()
    assert caplog.messages == [f"metrics leave the queues out: server {broker.address} does not answer"]


def test_at_its_end_no_connection_is_left(namespace: str) -> None:
    with TestServer() as server, server.client() as client:
        meter = Meter(lambda _: lambda: None, dict, list, list, 1)
        broker = Broker(parse_url(server.url), namespace)
        meter.open(broker, [broker.keys("default")])
        before = len(client.client_list())
        assert meter.figures().up
        assert len(client.client_list()) == before + 1
        meter.close()
        wait_until(lambda: len(client.client_list()) == before, "it is closed")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metrics-port", "x"], "--metrics-port 'x' must be a whole number from 0 to 65535"),
        (["--metrics-port", "65536"], "--metrics-port 65536 must be a whole number from 0 to 65535"),
        (["--metrics-host", "::1"], "--metrics-host says where to show metrics; say at which --metrics-port too"),
    ],
)
def test_a_wrong_address_is_told(rig: Bench, options: list[str], message: str) -> None:
    told = Cli({**rig.environment(), "TASKQ_APP": "apps.acceptance:app"}, rig.folder)("worker", *options)
    assert (told.code, told.out, told.err) == (2, "", f"taskq: {message}\n")


def test_a_port_that_is_taken_is_told(rig: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told = Cli({**rig.environment(), "TASKQ_APP": "apps.acceptance:app"}, rig.folder)(
            "worker", "--metrics-port", str(port)
        )
    reason = f"metrics cannot be shown at '127.0.0.1:{port}': Address already in use"
    assert (told.code, told.err) == (2, f"taskq: {reason}; choose another --metrics-port or --metrics-host\n")


def test_every_metric_is_described_where_operators_look(rig: Bench) -> None:
    worker = rig.start("thread", *SHOWN)
    rig.app.add.delay(1, 1).result(timeout=20)
    samples = wait_until(
        lambda: (found := scrape(worker)) and value(found, "job_run_seconds_count", **ADD) and found, ""
    )
    page = (DEPLOY / "metrics.md").read_text()
    endings = ("_bucket", "_count", "_sum", "_created")
    told = {next((name.removesuffix(end) for end in endings if name.endswith(end)), name) for name in names(samples)}
    assert [name for name in sorted(told) if f"`{name}`" not in page] == []


RULES = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"][0]["rules"]


def test_every_alert_is_about_what_a_new_worker_shows_already(rig: Bench) -> None:
    samples = scrape(rig.start("thread", *SHOWN))
    lacking = {rule["alert"]: lacks for rule in RULES if (lacks := missing(samples, rule["expr"]))}
    assert lacking == {}


def test_an_alert_about_dead_jobs_is_about_every_way_to_die() -> None:
    (rule,) = (rule for rule in RULES if rule["alert"] == "TaskqJobsDie")
    assert 'event=~"failed|crashed|lost|unknown"' in rule["expr"]
