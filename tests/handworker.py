"""A worker of one thread that a test moves by hand: it claims, runs and settles through the broker's own calls."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskq.broker import work, workers
from taskq.broker.broker import Broker
from taskq.model.job import Body, Header, decode_body, decode_state, split_data
from taskq.model.outcome import RECORD_VERSION, Ending, Record, Verdict, encode_record, error_info

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskq import TaskQ

IDLE = 0.001  # seconds between two looks at an empty queue


@dataclass(frozen=True)
class Claimed:
    """A job that the worker holds."""

    queue: str
    unique: str
    delivery: str
    header: Header
    body: Body

    @property
    def id(self) -> str:
        return f"{self.queue}/{self.unique}"


class HandWorker:
    """Works for the tasks of ``app``, over a connection of its own."""

    def __init__(self, app: TaskQ, *queues: str) -> None:
        self.app = app
        self.queues = queues or ("default",)
        self.id = "w" + secrets.token_hex(4)
        self.broker = Broker(app.broker.address, app.settings.namespace)
        self.settled = 0
        self.register()

    def register(self) -> None:
        for queue in self.queues:
            self.broker.run(workers.register(self.broker.keys(queue), self.id, workers.LeaseTimes(5, 25)))

    def claim(self, queue: str = "", count: int = 1) -> list[Claimed]:
        queue = queue or self.queues[0]
        reply = self.broker.run(work.step(self.broker.keys(queue), self.id, work.StepRequest(count=count)))
        found = []
        for at in range(0, len(reply.claims), 3):
            unique, state, data = reply.claims[at : at + 3]
            header, body = split_data(data)
            found.append(Claimed(queue, unique.decode(), str(decode_state(state).delivery), header, decode_body(body)))
        return found

    def claim_one(self, queue: str = "") -> Claimed:
        (job,) = self.claim(queue)
        return job

    def return_(self, job: Claimed, value: Any) -> None:
        """Settle ``job`` as one whose task returned ``value``."""
        task = self.app.tasks[job.body.task]
        payload = task.signature.encode_result(task.codec, value)
        record = Record(RECORD_VERSION, Ending.SUCCEEDED, payload, task.codec.name, task=task.name, worker=self.id)
        self.settle(job, Verdict.DONE, record, int(task.result_ttl * 1000))

    def raise_(self, job: Claimed, error: BaseException, traceback: str = "", ttl_ms: int = 60_000) -> None:
        """Settle ``job`` as one whose task raised ``error``."""
        info = error_info(error, traceback)
        record = Record(RECORD_VERSION, Ending.FAILED, error=info, task=job.body.task, worker=self.id)
        self.settle(job, Verdict.DEAD, record, ttl_ms)

    def settle(self, job: Claimed, verdict: Verdict, record: Record | None, ttl_ms: int) -> None:
        stored = encode_record(record) if record is not None and "i" not in job.header.flags else b""
        full = work.FullSettlement(job.unique, job.delivery, verdict, stored, ttl_ms, b"", job.header.reply)
        reply = self.broker.run(work.step(self.broker.keys(job.queue), self.id, work.StepRequest(full=[full])))
        assert reply.letters == "A"
        self.settled += 1

    def run(self, job: Claimed) -> None:
        """Run ``job`` and settle it as it ends."""
        task = self.app.tasks[job.body.task]
        try:
            args, kwargs = task.signature.decode_arguments(task.codec, job.body.payload)
            value = task.function(*args, **kwargs)
            if task.is_async:
                value = asyncio.run(value)
        except Exception as error:
            self.raise_(job, error)
        else:
            self.return_(job, value)

    def run_all(self) -> int:
        """Run what is ready; return how many jobs that were."""
        count = 0
        for queue in self.queues:
            while jobs := self.claim(queue, 100):
                for job in jobs:
                    self.run(job)
                count += len(jobs)
        return count

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Run whatever comes, in a thread, for the length of a block."""
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                if not self.run_all():
                    stop.wait(IDLE)

        thread = threading.Thread(target=serve, name="handworker", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(10)

    def close(self) -> None:
        self.broker.close()
