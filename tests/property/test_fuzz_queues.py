"""A queue whose keys somebody wrote into by hand: each job ends or is put aside, and nobody who reads it stumbles."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import TIMED
from mutations import HOSTILE, REASONS, fuzzed, is_one_line, mutated
from servers import TestServer

from taskq import TaskQ
from taskq.broker import fsck, jobs, queues, workers
from taskq.broker import work as calls
from taskq.broker.address import parse_url
from taskq.broker.broker import Broker
from taskq.broker.call import Command
from taskq.broker.finishing import finish_ended, relay_outbox
from taskq.client.context import current_job
from taskq.errors import UnknownOrExpired
from taskq.model.discipline import Discipline
from taskq.model.job import Job, encode_body, encode_header
from taskq.model.outcome import Ending, ErrorInfo, add_error, decode_record
from taskq.worker import verdicts
from taskq.worker.attempt import Batch
from taskq.worker.execution import Execution
from taskq.worker.leases import Lease, ServedQueue
from taskq.worker.options import QueueChoice
from taskq.worker.protocol import DEFERRED, Done, Frame, FrameReader, JobFrame, Jobs, encode_frame

pytestmark = TIMED
ROUNDS = 12  # steps of the worker: two are enough for jobs that nobody wrote into
TIMES = workers.LeaseTimes(5, 25)
DELETE_ALL = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end"


def sent(task: str, **meta: Any) -> bytes:
    """Return header and body of a call, as a producer sends them."""
    return encode_header("reply").encode() + encode_body(task, b"\x91\x01", "", meta)


LINK = ("next", "l0", 0, sent("add"))
LINKED = sent("add", link=[LINK], link_error=[LINK], takes={"link": [0], "link_error": [0]}, result_ttl=60, root="q/r")
STORED = [b"1700000000000;" + data for data in (sent("add"), sent("fail"), sent("nothing"), LINKED)]
STATES = [b"1;0;0;0;0", b"3;1;0;1;2\n" + add_error(b"", ErrorInfo("ValueError", "why"))]
stored, states, reasons = mutated(STORED), mutated(STATES), mutated(REASONS)
ids = mutated([b"victim", b"other"]) | st.sampled_from(HOSTILE)
scores = st.sampled_from([0.0, -5.0, 1e300, -1e300, float("inf"), float("-inf")])
counts = st.sampled_from([b"discipline", b"maxsize", b"seq", b"enqueued", b"done", b"grace", b"seen", b"declared_by"])
CORRUPTIONS = st.one_of(
    st.tuples(st.just("job"), stored, states),
    st.tuples(st.just("job"), stored, states),
    st.tuples(st.just("id"), st.sampled_from(["ready", "delayed", "suspect", "dead", "quarantine"]), ids),
    st.tuples(st.just("score"), st.sampled_from(["ready", "delayed", "suspect"]), scores),
    st.tuples(st.just("field"), st.just("ended"), st.tuples(st.just(b"victim") | ids, reasons)),
    st.tuples(st.just("field"), st.just("outbox"),
              st.tuples(mutated([b"next/u", b"q/u"]), mutated([b"0\n" + sent("add"), b"5\n" + sent("add")]))),
    st.tuples(st.just("field"), st.just("revoked"), st.tuples(st.just(b"victim") | ids, mutated([b"r", b"t"]))),
    st.tuples(st.just("field"), st.just("meta"), st.tuples(counts, mutated([b"fifo", b"0", b"1700000000000000"]))),
    st.tuples(st.just("field"), st.just("l:ghost"), st.tuples(ids, mutated([b"1;5;0;0", b"2;9;1"]))),
    st.tuples(st.just("id"), st.just("workers"), ids),
    st.tuples(st.just("record"), mutated([b"\x93\x01\xa9succeeded\xc4\x01\x01"]), st.none()),
)  # fmt: skip


class Scene:
    """One queue, whoever writes into it, and a worker whose child is a call away."""

    def __init__(self, app: TaskQ, broker: Broker, queue: str) -> None:
        self.app, self.broker = app, broker
        self.keys = broker.keys(queue)
        self.queue = ServedQueue(QueueChoice(queue), self.keys, "w")
        self.execution = Execution(app, "w", 1, (queue,))
        self.handles = itertools.count(1)

    def start(self, discipline: Discipline) -> None:
        for name in (self.keys.queue, "next"):
            self.run(queues.declare(self.broker.keys(name), discipline, 0, "test"))
            self.broker.read(jobs.register_queue(self.keys.namespace, name))
        self.run(workers.register(self.keys, "w", TIMES))
        first = [Job(unique, sent("add")) for unique in ("good", "victim", "also-good")]
        assert self.run(jobs.enqueue(self.keys, [*first, Job("later", sent("add"), 3_600_000)])) == "AAAA"

    def run(self, call: Any) -> Any:
        return self.broker.run(call)

    def command(self, *parts: Any) -> Any:
        return self.broker.read(Command(parts, lambda reply: reply))

    def corrupt(self, kind: str, first: Any, second: Any) -> None:
        if kind == "job":
            self.command("HSET", self.keys.key("jobs"), "victim", first)
            self.command("HSET", self.keys.key("state"), "victim", second)
        elif kind == "id":
            self.command("ZADD", self.keys.key(first), "0", second)
            if first != "workers":
                self.command("HSETNX", self.keys.key("jobs"), second, STORED[0])
        elif kind == "score":
            self.command("ZADD", self.keys.key(first), repr(second), "victim")
        elif kind == "field":
            self.command("HSET", self.keys.key(first), *second)
            self.command("ZADD", self.keys.key("workers"), "0", "ghost")
        else:
            self.command("SET", self.keys.result("victim"), first)

    # --- what a worker does

    def drain(self) -> None:
        request, releases = calls.StepRequest(), list[tuple[str, str, int]]()
        for _ in range(ROUNDS):
            request.count, request.suspects = 10, 1
            reply = self.run(calls.step(self.keys, "w", request))
            request, releases = calls.StepRequest(), []
            for lease, ended in self.work(reply):
                if ended.verdict == DEFERRED:
                    releases.append((lease.unique, lease.delivery, max(1, ended.delay_ms)))
                else:
                    request.full.append(verdicts.settlement_of(lease, ended))
            if releases:
                self.run(calls.release(self.keys, "w", releases))
            self.do_chores([settlement.unique for settlement in request.full])
            if not reply.claims and not request:
                return

    def work(self, reply: calls.StepReply) -> Iterator[tuple[Lease, Any]]:
        """Send what was claimed through the frames of a child, and yield its answers."""
        leases, frames = {}, []
        for at in range(0, len(reply.claims), 3):
            unique, state, data = reply.claims[at : at + 3]
            delivery = state[: state.index(b";")].decode()
            handle = next(self.handles)
            leases[handle] = Lease(self.queue, unique.decode(), delivery, state, data, "w", reply.now)
            frames.append(JobFrame(handle, self.keys.queue, unique.decode(), int(delivery), state, data))
        ((_, given),) = FrameReader().feed(encode_frame(Frame.JOBS, Jobs(0, reply.now, frames)))
        done = Done([], [self.answer(frame) for frame in given.jobs], 1)
        ((_, done),) = FrameReader().feed(encode_frame(Frame.DONE, done))
        for ended in done.ended:
            yield leases[ended.handle], ended

    def answer(self, frame: JobFrame) -> Any:
        token = current_job.set(None)
        try:
            attempt = self.execution.prepare(frame, Batch(0, 0, 1.0))
            if attempt.refusal is not None:
                return attempt.refusal
            try:
                self.execution.run(attempt)
            except Exception as error:
                attempt.error = error
            return self.execution.settle(attempt, 0, 2.0, 2.5)
        finally:
            current_job.reset(token)

    def do_chores(self, held: list[str]) -> None:
        for worker in self.run(workers.heartbeat(self.keys, "w", TIMES)).over:
            self.run(workers.reap(self.keys, worker, TIMES))
        self.run(workers.reap(self.keys, "ghost", TIMES))
        finish_ended(self.broker, self.keys)
        relay_outbox(self.broker, self.broker.keys, self.keys.queue)
        self.run(workers.reconcile(self.keys, "w", held))
        self.broker.read(workers.revoked(self.keys))

    # --- what others see

    def look(self) -> None:
        """Whoever inspects gets an answer, or one line."""
        name = self.keys.queue
        for unique in ("good", "victim", "later"):
            try:
                found = self.app.inspect.job(f"{name}/{unique}")
            except UnknownOrExpired:
                continue
            assert is_one_line(found.problem, 7000)
        assert list(self.app.inspect.jobs(queue=name)) is not None
        self.run(queues.inspect(self.keys))
        assert all("\n" not in finding.text for finding in fsck.check(self.broker))

    def members(self, name: str) -> set[bytes]:
        kind = self.command("TYPE", self.keys.key(name))
        command = ("HKEYS",) if b"hash" in bytes(str(kind), "ascii") else ("ZRANGE", 0, -1)
        return set(self.command(command[0], self.keys.key(name), *command[1:]))

    def clear(self) -> None:
        """Leave nothing, or what looks at the whole namespace takes longer each time."""
        self.command("EVAL", DELETE_ALL, 0, f"{self.keys.namespace}:*")


@pytest.fixture(scope="module")
def scenes(server: TestServer) -> Iterator[Callable[[], Scene]]:
    namespace, numbers = f"fz{secrets.token_hex(4)}", itertools.count()
    broker = Broker(parse_url(server.url), namespace)
    with TaskQ("fuzz", server.url, namespace) as app, pytest.MonkeyPatch.context() as patch:
        patch.setattr(fsck, "PAUSE", 0.001)  # nobody else is at work here

        @app.task(name="add")
        def add(a: int, b: int = 0) -> int:
            return a + b

        @app.task(name="fail")
        def fail(*args: object) -> None:
            raise ValueError(*args)

        yield lambda: Scene(app, broker, f"q{next(numbers)}")
    broker.close()


@fuzzed(80)
@given(st.sampled_from(Discipline), st.lists(CORRUPTIONS, min_size=1, max_size=3))
def test_a_queue_that_somebody_wrote_into_is_drained_and_can_be_looked_at(scenes, discipline, corruptions):
    scene = scenes()
    scene.start(discipline)
    try:
        for corruption in corruptions:
            scene.corrupt(*corruption)
        scene.look()
        scene.drain()
        scene.look()
        for unique in ("good", "also-good"):
            record = decode_record(scene.command("GET", scene.keys.result(unique)))
            assert record.ending == Ending.SUCCEEDED
        aside = set().union(*map(scene.members, ("delayed", "suspect", "dead", "quarantine")))
        assert scene.members("jobs") <= aside
        assert not scene.members("ready") | scene.members("l:w") | scene.members("ended") | scene.members("outbox")
    finally:
        scene.clear()
