"""Faults of jobs: they kill, block and empty what they run in, and give back what nobody can carry."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
from fault_kit import APP, Recovered, send
from worker_kit import Bench, wait_until

from taskq import TaskQ
from taskq.errors import RemoteError, ResultTooLarge, TimeLimitExceeded, UnknownOrExpired

DEATHS = {  # the last one is what the kernel does when no memory is left
    "0": "exited with code 0",
    "1": "exited with code 1",
    "segfault": "SIGSEGV",
    "abort": "SIGABRT",
    "killed": "SIGKILL",
}  # the last one as by the kernel when no memory is left


@pytest.mark.fault(24, 25)
def test_whatever_way_a_job_kills_its_child_it_has_crashed_and_the_worker_goes_on(
    rig: Bench, faulty: TaskQ, pool: str
) -> None:
    worker = rig.start(pool, *APP)
    for how, words in DEATHS.items():
        sent = send(faulty, "die", how)
        found = wait_until(lambda sent=sent: (one := faulty.inspect.job(sent.id)).crashes and one, how)
        assert words in found.errors[-1].message
        sent.revoke(terminate=True)
    assert send(faulty, "sane", 1).result(timeout=20) == 1, worker.lines()


@pytest.mark.fault(25, 30)
def test_a_job_that_uses_something_up_fails_and_the_next_one_has_it_again(
    rig: Bench, faulty: TaskQ, pool: str, tmp_path: Path
) -> None:
    worker = rig.start(pool, *APP)
    raised = {}
    whats = ["memory", "descriptors", str(tmp_path / "large")] + ["threads"] * (pool != "gevent")  # greenlets cost none
    for what in whats:
        with pytest.raises((MemoryError, OSError, RuntimeError)) as failed:
            send(faulty, "use_up", what).result(timeout=20)
        raised[Path(what).name] = failed.type.__name__
        assert send(faulty, "sane", 1).result(timeout=20) == 1, worker.lines()
    assert raised.pop("threads", "RuntimeError") == "RuntimeError"
    assert raised == {"memory": "MemoryError", "descriptors": "OSError", "large": "OSError"}
    assert "could not be renewed" not in worker.lines()


@pytest.mark.fault(26)
@pytest.mark.parametrize("task", ["stubborn", "hog"])
def test_a_job_that_nothing_can_interrupt_ends_with_its_child_and_costs_no_heartbeat(
    rig: Bench, faulty: TaskQ, pool: str, task: str, recovered: Recovered
) -> None:
    worker = rig.start(pool, *APP)
    sent = send(faulty, task)
    wait_until(lambda: rig.noted("start"), "it runs")
    begun = time.monotonic()
    with pytest.raises(TimeLimitExceeded):
        sent.result(timeout=20)
    recovered(begun)
    assert send(faulty, "sane", 1).result(timeout=20) == 1
    assert "could not be renewed" not in worker.lines()
    assert rig.counts("start")[task] == 1


@pytest.mark.fault(27)
def test_a_result_that_nobody_can_carry_fails_its_job_once(rig: Bench, faulty: TaskQ, pool: str) -> None:
    rig.start(pool, *APP)
    kinds = {"huge": ResultTooLarge} | dict.fromkeys(("lock", "endless", "deep", "generator"), RemoteError)
    sent = {kind: send(faulty, "answer", kind) for kind in kinds}
    for kind, error in kinds.items():
        with pytest.raises(error) as failed:
            sent[kind].result(timeout=20)
        assert kind == "huge" or failed.value.type == "SerializationError"
        assert faulty.inspect.job(sent[kind].id).attempt == 1


@pytest.mark.fault(28, 29)
def test_whatever_a_job_raises_it_fails_with_a_text_and_the_worker_goes_on(
    rig: Bench, faulty: TaskQ, pool: str
) -> None:
    worker = rig.start(pool, *APP)
    children = worker.children()
    names = ("Hostile", "NotAnException", "SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError")
    for name in (*names, "StopIteration"):
        with pytest.raises(RemoteError) as failed:
            send(faulty, "throw", name).result(timeout=20)
        assert failed.value.type.rpartition(".")[2] == name
    assert send(faulty, "sane", 1).result(timeout=20) == 1
    assert worker.children() == children


@pytest.mark.fault(33)
def test_a_job_that_changes_its_process_spoils_neither_limits_nor_the_end_of_the_worker(
    rig: Bench, faulty: TaskQ, pool: str
) -> None:
    worker = rig.start(pool, *APP, *(("-c", "1") if pool == "process" else ()))
    refused = send(faulty, "meddle").result(timeout=20)
    assert bool(refused) == (pool in {"thread", "asyncio"})  # only the main thread may set handlers
    assert send(faulty, "sane", 1).result(timeout=20) == 1
    with pytest.raises(TimeLimitExceeded):
        send(faulty, "hog").result(timeout=20)  # its child is killed: the next one has all that was taken away
    assert send(faulty, "sane", 2).result(timeout=20) == 2
    send(faulty, "meddle").result(timeout=20)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.lines()


@pytest.mark.fault(33)
def test_ids_of_a_process_whose_dice_were_fixed_stay_different(rig: Bench, faulty: TaskQ) -> None:
    rig.start("thread", *APP)
    found = []
    for _ in range(2):
        random.seed(0)
        found.append(send(faulty, "sane", 1).unique)
    assert found[0] != found[1]


@pytest.mark.fault(41)
def test_a_result_that_expires_before_anybody_read_it_is_no_endless_wait(rig: Bench, faulty: TaskQ) -> None:
    rig.start("thread")
    sent = rig.app.nap.apply_async((1, 0.3), result_ttl=0.001)
    with pytest.raises(UnknownOrExpired):  # nobody is told: who has only the id reads now and then
        faulty.AsyncResult(sent.id).result(timeout=20)
