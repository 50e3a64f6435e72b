"""Follow-ups run as jobs of their own, once each, whoever dies meanwhile."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter

import pytest
from handworker import HandWorker
from worker_kit import Bench, wait_until

from taskq.broker import jobs, queues, work
from taskq.broker.call import Command
from taskq.broker.finishing import follow_ups, relay_outbox
from taskq.model.outcome import RECORD_VERSION, Ending, Record, Verdict, encode_record

PRODUCER = """
import os, signal
from apps.acceptance import add, boom, mourn, told
add.apply_async((2, 3), link=[told.s("a"), told.si(0, "b")], link_error=mourn.s("never"))
boom.apply_async(("no",), link=told.s("never"), link_error=[mourn.s("c"), mourn.s("d")])
os.kill(os.getpid(), signal.SIGKILL)
"""


def is_quiet(rig: Bench) -> bool:
    """Tell whether no job waits or runs anywhere."""
    found = [rig.app.app.broker.run(queues.inspect(rig.app.app.broker.keys(name))) for name in ("default", "urgent")]
    return not any((info.ready, info.running, info.outbox, info.ending, info.delayed) != (0,) * 5 for info in found)


def test_results_and_failures_reach_the_jobs_that_follow(rig: Bench, pool: str) -> None:
    rig.start(pool)
    sent = rig.app.add.apply_async((2, 3), link=[rig.app.told.s("a"), rig.app.told.si(0, "b")])
    failed = rig.app.boom.apply_async(("no",), link_error=[rig.app.mourn.s("c"), rig.app.mourn.s("d")])
    wait_until(lambda: len(rig.noted("told") + rig.noted("mourn")) == 4, "all followed")
    assert sorted(rig.noted("told")) == ["a:5", "b:0"]
    end = f"failed:RuntimeError:apps.acceptance.boom:{failed.id}"
    assert sorted(rig.noted("mourn")) == [f"c:{end}", f"d:{end}"]
    assert rig.app.app.AsyncResult(f"urgent/{sent.unique}.l0").result(timeout=20) == "a:5"


def test_what_follows_runs_though_the_producer_was_killed(rig: Bench) -> None:
    done = subprocess.run([sys.executable, "-c", PRODUCER], env=rig.environment(), check=False, timeout=30)
    assert done.returncode == -signal.SIGKILL
    rig.start("thread")
    wait_until(lambda: len(rig.noted("told") + rig.noted("mourn")) == 4 and is_quiet(rig), "all followed")
    assert sorted(rig.noted("told")) == ["a:5", "b:0"]
    assert Counter(key[0] for key in rig.noted("mourn")) == {"c": 1, "d": 1}


def test_every_other_end_is_a_failure_with_its_reason(rig: Bench) -> None:
    mourn = rig.app.mourn
    rig.app.add.apply_async((1, 2), expires=0.01, link_error=mourn.s("late"))
    wait_until(lambda: rig.app.default.info().ready == 1, "it waits")
    rig.start("process")
    rig.app.die.apply_async((1000,), link_error=mourn.s("crash"))
    rig.app.spin.apply_async((1,), link_error=mourn.s("limit"))
    wait_until(lambda: len(rig.noted("mourn")) == 3, "all followed", 60)
    assert sorted(key.rpartition(":")[0] for key in rig.noted("mourn")) == [
        "crash:crashed:JobCrashed:apps.acceptance.die",
        "late:expired:JobExpired:apps.acceptance.add",
        "limit:failed:TimeLimitExceeded:apps.acceptance.spin",
    ]


def test_a_cancelled_job_is_followed_by_nothing(rig: Bench) -> None:
    assert rig.app.add.apply_async((1, 2), link=rig.app.told.s("a"), link_error=rig.app.mourn.s("b")).cancel()
    rig.start("thread")
    rig.app.add.apply_async((1, 2), link=rig.app.told.s("later")).result(timeout=20)
    wait_until(lambda: rig.noted("told") and is_quiet(rig), "the other followed")
    assert (rig.noted("told"), rig.noted("mourn")) == (["later:3"], [])


@pytest.fixture
def settled(rig: Bench) -> HandWorker:
    """A worker settled a job with two follow-ups, and died before it sent them on."""
    rig.app.add.apply_async((1, 2), link=[rig.app.told.si(3, "a"), rig.app.told.si(4, "b")])
    worker = HandWorker(rig.app.app)
    job = worker.claim_one()
    record = Record(RECORD_VERSION, Ending.SUCCEEDED, b"\x03", task=job.body.task)
    full = work.FullSettlement(
        job.unique, job.delivery, Verdict.DONE, encode_record(record), 60_000, b"", "",
        follow_ups(job.body.meta["link"]),
    )  # fmt: skip
    keys = worker.broker.keys("default")
    assert worker.broker.run(work.step(keys, worker.id, work.StepRequest(full=[full]))).letters == "A"
    return worker


@pytest.mark.fault(40)
def test_what_a_killed_worker_did_not_send_on_is_sent_by_another(rig: Bench, settled: HandWorker) -> None:
    settled.close()
    rig.start("thread")
    wait_until(lambda: len(rig.noted("told")) == 2 and is_quiet(rig), "both followed")
    assert sorted(rig.noted("told")) == ["a:3", "b:4"]


@pytest.mark.fault(39, 40)
def test_what_was_sent_on_twice_runs_once(rig: Bench, settled: HandWorker) -> None:
    broker, keys = settled.broker, settled.broker.keys("default")
    messages = broker.read(jobs.outbox(keys))
    assert relay_outbox(broker, broker.keys, "default") == 2
    rig.start("thread")
    wait_until(lambda: len(rig.noted("told")) == 2 and is_quiet(rig), "both followed")
    for name, message in messages:  # as if the sender died before it took them out
        broker.read(Command(("HSET", keys.key("outbox"), name, message), int))
    relay_outbox(broker, broker.keys, "default")
    settled.close()
    rig.app.add.apply_async((5, 5), link=rig.app.told.s("last")).result(timeout=20)
    wait_until(lambda: "last:10" in rig.noted("told") and is_quiet(rig), "the last one followed")
    assert sorted(rig.noted("told")) == ["a:3", "b:4", "last:10"]


@pytest.mark.fault(40)
def test_each_follow_up_is_accepted_once_while_workers_are_killed(rig: Bench) -> None:
    number = 400
    workers = [rig.start("thread") for _ in range(2)]
    sent = [
        rig.app.nap.apply_async((key, 0.01), link=rig.app.told.s(str(key)), link_error=rig.app.mourn.s(str(key)))
        for key in range(number)
    ]
    dice = random.Random(7)
    for _ in range(4):
        before = len(rig.noted("told"))
        wait_until(lambda before=before: len(rig.noted("told")) > min(before + 40, number - 1), "load runs")
        victim = dice.randrange(2)
        if dice.random() < 0.5:
            workers[victim].signal(signal.SIGKILL)
            workers[victim] = rig.start("thread", ready=False)
        else:
            for child in workers[victim].children():
                os.kill(child, signal.SIGKILL)
    assert [result.result(timeout=60) for result in sent] == list(range(number))
    wait_until(lambda: len(rig.counts("told")) == number and is_quiet(rig), "all followed", 60)
    assert (rig.counts("told").keys(), rig.noted("mourn")) == ({f"{key}:{key}" for key in range(number)}, [])
    assert rig.app.urgent.info().counters["enqueued"] == number


def test_each_final_failure_of_a_job_that_is_put_back_in_line_is_followed(rig: Bench) -> None:
    rig.start("thread")
    sent = rig.app.boom.apply_async(("no",), link_error=rig.app.mourn.s("c"))
    for failures in (1, 2, 3):
        wait_until(lambda failures=failures: len(rig.noted("mourn")) == failures and is_quiet(rig), "it followed")
        assert rig.app.app.control.retry([sent.id]) == 1
    wait_until(lambda: len(rig.noted("mourn")) == 4 and is_quiet(rig), "the last one followed")
    ids = [f"urgent/{sent.unique}.e0{life}" for life in ("", ".2", ".3", ".4")]
    assert [rig.app.app.AsyncResult(name).result(timeout=20) for name in ids] == ["no"] * 4


def test_a_dead_job_that_is_moved_and_fails_there_is_followed_again(rig: Bench) -> None:
    rig.start("thread")
    sent = rig.app.boom.apply_async(("no",), link_error=rig.app.mourn.s("c"))
    wait_until(lambda: len(rig.noted("mourn")) == 1 and is_quiet(rig), "it followed")
    moved = rig.app.app.control.move(sent.id, "urgent")
    wait_until(lambda: len(rig.noted("mourn")) == 2 and is_quiet(rig), "it followed again")
    assert rig.app.app.AsyncResult(f"{moved.now}.e0").result(timeout=20) == "no"


def test_the_success_of_a_job_that_was_dead_is_followed_once(rig: Bench) -> None:
    rig.start("thread")
    follow = {"link": rig.app.told.s("a"), "link_error": rig.app.mourn.s("b")}
    sent = rig.app.fail_until.apply_async((1, 4), **follow)
    wait_until(lambda: len(rig.noted("mourn")) == 1 and is_quiet(rig), "its failure is followed")
    assert rig.app.app.control.retry([sent.id]) == 1
    wait_until(lambda: rig.noted("told") and is_quiet(rig), "its success is followed")
    assert (rig.noted("told"), len(rig.noted("mourn"))) == (["a:5"], 1)
    assert rig.app.app.AsyncResult(f"urgent/{sent.unique}.l0").result(timeout=20) == "a:5"
