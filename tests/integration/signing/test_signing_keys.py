"""Keys change, are unknown, or are not there everywhere; and what pickle may not do where they are."""

from __future__ import annotations

import pickle

import pytest
from client_kit import DEADLINE
from coordination_kit import until
from signing_kit import NEW, OLD, InnerWorker

from taskq.broker.items import ARRIVAL
from taskq.errors import SerializationError, UnknownSigningKey
from taskq.model.signing import is_signed


def test_jobs_of_the_old_key_run_after_a_rotation(make, server, namespace):
    before = make(OLD).tasks["add"].delay(1, 2)
    now = make([NEW, OLD])
    after = now.tasks["add"].delay(3, 4)
    worker = InnerWorker(now)
    worker.run_all()
    worker.close()
    assert (now.AsyncResult(before.id).get(DEADLINE), after.get(DEADLINE)) == (3, 7)


def test_a_job_of_a_key_that_is_not_known_yet_waits_for_a_worker_that_knows_it(make):
    early = make([NEW, OLD]).tasks["add"].delay(1, 2)
    behind, ahead = InnerWorker(make(OLD)), InnerWorker(make([NEW, OLD]))
    behind.run_all()
    assert early.state == "delayed"
    until(lambda: ahead.run_all() or early.done(), "it runs", DEADLINE)
    assert (behind.ran, ahead.ran, early.get(DEADLINE)) == ([], [early.id], 3)
    behind.close()
    ahead.close()


def test_a_job_of_a_key_that_nobody_knows_ends_saying_so(make, app, worker, intruder):
    job = make("unknown-" * 5).tasks["add"].delay(1, 2)
    intruder.client.hset(intruder.keys().key("state"), job.unique, "1;0;0;0;20")
    worker.run_all()
    until(lambda: worker.run_all() or intruder.dead(), "it ends", DEADLINE)
    with pytest.raises(UnknownSigningKey):
        app.AsyncResult(job.id).get(DEADLINE)


def test_signatures_can_be_introduced_before_they_are_required(make, plain):
    lenient = make(require_signed=False)
    results = [plain.tasks["add"].delay(1, 2), lenient.tasks["add"].delay(3, 4)]
    worker = InnerWorker(lenient)
    worker.run_all()
    worker.close()
    assert [lenient.AsyncResult(result.id).get(DEADLINE) for result in results] == [3, 7]


def test_what_was_not_signed_does_not_become_signed_by_its_follow_ups(make, plain, intruder):
    lenient = make(require_signed=False)
    job = plain.tasks["add"].apply_async((1, 2), link=plain.tasks["told"].s())
    worker = InnerWorker(lenient)
    worker.run_claimed(worker.queues[0])
    worker.do_chores(worker.queues[0])
    worker.close()
    assert not is_signed(intruder.stored(f"{job.unique}.l0", "other"))


# -- pickled items ---


def test_a_pickled_item_is_not_read_where_what_is_stored_must_be_signed(make, intruder):
    box = make(allow_pickle=True).Queue("box")
    box.put(1)
    key = intruder.keys("box").key("items")
    ((member, score),) = intruder.client.zrange(key, 0, 0, withscores=True)
    intruder.client.zadd(key, {member[:ARRIVAL] + b"pickle;" + pickle.dumps(2): score})
    intruder.client.zrem(key, member)
    with pytest.raises(SerializationError, match="items are not signed"):
        box.get(timeout=DEADLINE)


def test_a_pickled_item_is_not_put_where_nobody_would_read_it(make):
    with pytest.raises(SerializationError, match="items are not signed"):
        make(allow_pickle=True, serializer="pickle").Queue("box").put(1)


def test_pickled_items_are_read_where_signatures_are_not_required(make):
    box = make(allow_pickle=True, serializer="pickle", require_signed=False).Queue("box")
    box.put({1})
    assert box.get(timeout=DEADLINE) == {1}
