"""Workers with signing keys, as processes: what is forged never runs, keys are changed under way, and stay hidden."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from servers import TestServer
from signing_kit import NEW, OLD, intruder_at
from worker_kit import Bench, Worker, bench, wait_until

from taskq import TaskQ
from taskq.errors import SignatureError, TimeLimitExceeded
from taskq.model.job import encode_body, encode_header

CANARY = "canary-0123456789-0123456789-0123456789"
FORGED = b"1700000000000;" + encode_header().encode() + encode_body("apps.acceptance.mark", b"\x91\x07")
DEADLINE = 20.0  # seconds


@pytest.fixture
def keys(monkeypatch):
    """Set the keys of what is started from now on."""
    monkeypatch.delenv("TASKQ_SIGNING_KEY", raising=False)

    def set_keys(text: str) -> None:
        if text:
            monkeypatch.setenv("TASKQ_SIGNING_KEY", text)
        else:
            monkeypatch.delenv("TASKQ_SIGNING_KEY", raising=False)

    return set_keys


@pytest.fixture
def make_rig(server: TestServer, namespace: str, tmp_path: Path, keys):
    """Bind the app, with keys, to a namespace of this test."""
    with contextlib.ExitStack() as stack:

        def make(text: str) -> Bench:
            keys(text)
            return stack.enter_context(bench(server.url, namespace, tmp_path))

        yield make


@pytest.fixture
def intruder(server, namespace):
    with intruder_at(server, namespace) as intruder:
        yield intruder


def test_a_forged_job_is_never_run_in_any_pool(make_rig, intruder, pool):
    rig = make_rig(NEW)
    worker = rig.start(pool)
    intruder.put("forged", FORGED)
    genuine = [rig.app.add.delay(number, 1) for number in range(20)]
    assert [result.get(DEADLINE) for result in genuine] == list(range(1, 21))
    wait_until(lambda: "forged" in intruder.dead(), "it is dead")
    with pytest.raises(SignatureError, match="default/forged is not signed"):
        rig.app.app.AsyncResult("default/forged").get(DEADLINE)
    assert rig.noted("start") == []
    assert len([line for line in worker.lines().splitlines() if "default/forged" in line]) == 1


def test_what_a_supervisor_writes_is_signed(make_rig):
    """It has killed the child, so it makes the result itself."""
    rig = make_rig(NEW)
    rig.start("process")
    limited = rig.app.spin.delay(1)
    with pytest.raises(TimeLimitExceeded):
        limited.get(DEADLINE)


def test_no_job_is_lost_while_keys_are_changed(make_rig, keys, server, namespace):
    """Every process knows the new key before any signs with it; even one that is behind loses nothing."""
    rig = make_rig(OLD)
    first = rig.start("thread")
    before = [rig.app.add.delay(number, 1) for number in range(20)]
    keys(f"{NEW},{OLD}")
    with TaskQ("ahead", server.url, namespace, signing_key=[NEW, OLD]) as ahead:
        early = [ahead.send_task("apps.acceptance.add", (n, 1), send_by_name=True) for n in range(20)]
        rig.start("thread")
        assert first.stop() == 0
        assert [result.get(DEADLINE) for result in early] == list(range(1, 21))
        found = [ahead.AsyncResult(result.id).get(DEADLINE) for result in before]
    assert found == list(range(1, 21))


def test_a_worker_without_the_key_runs_what_others_refuse(make_rig, keys, server, namespace):
    rig = make_rig("")
    rig.start("thread")
    assert rig.app.add.delay(1, 2).get(DEADLINE) == 3
    with TaskQ("strict", server.url, namespace, signing_key=NEW) as strict:
        result = strict.send_task("apps.acceptance.add", (1, 2), send_by_name=True)
        with pytest.raises(SignatureError, match=r"the result of job .* is not signed"):
            result.get(DEADLINE)


def outputs_of(worker: Worker) -> list[str]:
    """Return what everybody on the machine sees of a worker and its children, and its log."""
    pids = [worker.pid, *worker.children()]
    seen = [Path(f"/proc/{pid}/{name}").read_text("utf-8", "replace") for pid in pids for name in ("cmdline", "comm")]
    return [*seen, worker.lines()]


@pytest.mark.parametrize("by_file", [False, True], ids=["variable", "file"])
def test_a_key_is_seen_nowhere(make_rig, keys, intruder, monkeypatch, tmp_path, server, by_file):
    file = tmp_path / "key"
    file.write_text(CANARY)
    rig = make_rig("" if by_file else CANARY)
    if by_file:
        monkeypatch.setenv("TASKQ_SIGNING_KEY_FILE", str(file))
    worker = rig.start("process", "--log-level", "DEBUG")
    intruder.put("forged", FORGED)
    wait_until(lambda: "forged" in intruder.dead(), "it is dead")
    with server.client() as client:
        stored = [str(client.dump(key)) for key in client.scan_iter(f"{rig.namespace}:*")]
    shown = [*outputs_of(worker), *stored, repr(rig.app.app.settings), repr(vars(rig.app.app))]
    worker.stop()
    assert [text for text in [*shown, worker.lines()] if CANARY in text] == []
