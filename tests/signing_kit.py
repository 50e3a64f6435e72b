"""A worker of one thread that checks, runs and settles jobs as a real one does, and somebody who writes to Redis."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import redis
from servers import TestServer

from taskq import TaskQ
from taskq.broker import work, workers
from taskq.broker.broker import Broker
from taskq.broker.finishing import finish_ended, relay_outbox
from taskq.broker.keys import QueueKeys
from taskq.client.context import current_job
from taskq.worker.attempt import Attempt, Batch
from taskq.worker.execution import Execution
from taskq.worker.leases import Lease, ServedQueue
from taskq.worker.options import QueueChoice
from taskq.worker.protocol import DEFERRED, JobFrame
from taskq.worker.verdicts import settlement_of

NEW, OLD = "new-" * 8, "old-" * 8
QUEUES = ("default", "other")


class InnerWorker:
    """Runs what is ready in this thread, with the parts that a real worker has in several processes."""

    def __init__(self, app: TaskQ) -> None:
        self.id = "w" + secrets.token_hex(4)
        self.broker = Broker(app.broker.address, app.settings.namespace)
        self.broker.signer = app._signer
        self.execution = Execution(app, self.id, 1)
        self.ran: list[str] = []
        self.queues = [ServedQueue(QueueChoice(name), self.broker.keys(name), self.id) for name in QUEUES]
        for name in QUEUES:
            app.Queue(name).qsize()
            self.broker.run(workers.register(self.broker.keys(name), self.id, workers.LeaseTimes(5, 25)))

    def run_all(self) -> None:
        """Run until no queue has anything ready."""
        while sum(self.run_claimed(queue) + self.do_chores(queue) for queue in self.queues):
            pass

    def do_chores(self, queue: ServedQueue) -> int:
        """Finish what ended inside a script and send follow-ups on; return how many there were."""
        finished = finish_ended(self.broker, queue.keys, signer=self.broker.signer)
        return finished + relay_outbox(self.broker, self.broker.keys, queue.keys.queue)

    def run_claimed(self, queue: ServedQueue) -> int:
        """Run what is ready in one queue; return how many jobs that were."""
        claims = self.broker.run(work.step(queue.keys, self.id, work.StepRequest(count=100))).claims
        for at in range(0, len(claims), 3):
            unique, state, data = claims[at].decode(), claims[at + 1], claims[at + 2]
            self._run_one(Lease(queue, unique, state.split(b";")[0].decode(), state, data, self.id, 0))
        return len(claims)

    def _run_one(self, lease: Lease) -> None:
        frame = JobFrame(1, lease.queue.keys.queue, lease.unique, int(lease.delivery), lease.state, lease.data)
        attempt = self.execution.prepare(frame, Batch(0, 0, 0.0))
        ended = attempt.refusal or self._settled(attempt)
        keys = lease.queue.keys
        if ended is not None and ended.verdict == DEFERRED:
            self.broker.run(work.release(keys, self.id, [(lease.unique, lease.delivery, 1)]))
        elif ended is None:
            self.broker.run(work.step(keys, self.id, work.StepRequest(plain=[lease.unique, lease.delivery])))
        else:
            settled = work.StepRequest(full=[settlement_of(lease, ended)])
            assert self.broker.run(work.step(keys, self.id, settled)).letters == "A"

    def _settled(self, attempt: Attempt) -> Any:
        token = current_job.set(None)
        self.ran.append(attempt.job_id)
        try:
            self.execution.run(attempt)
        except Exception as error:
            attempt.error = error
        finally:
            current_job.reset(token)
        return self.execution.settle(attempt, 0, 1.0, 2.0)

    def close(self) -> None:
        self.broker.close()


class Intruder:
    """Somebody who may write to Redis, and has no key."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self.client = client
        self.namespace = namespace

    def keys(self, queue: str = "default") -> QueueKeys:
        return QueueKeys(self.namespace, queue)

    def stored(self, unique: str, queue: str = "default") -> bytes:
        """Return a job as it is stored."""
        found: Any = self.client.hget(self.keys(queue).key("jobs"), unique)
        assert isinstance(found, bytes)
        return found

    def put(self, unique: str, data: bytes, queue: str = "default") -> str:
        """Write a job as one that is ready, as if a producer had sent it."""
        if self.client.hset(self.keys(queue).key("jobs"), unique, data):
            self.client.hincrby(self.keys(queue).key("meta"), "enqueued", 1)
        self.client.zadd(self.keys(queue).key("ready"), {unique: 1.0})
        return f"{queue}/{unique}"

    def dead(self, queue: str = "default") -> Collection[str]:
        """Return the ids of dead jobs."""
        found: Any = self.client.zrange(self.keys(queue).key("dead"), 0, -1)
        return [one.decode() for one in found]


@contextmanager
def intruder_at(server: TestServer, namespace: str) -> Iterator[Intruder]:
    """Yield an intruder."""
    with server.client() as client:
        yield Intruder(client, namespace)
