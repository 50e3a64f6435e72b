"""What mypy must say of the public names: checked by ``test_api.py``, never run."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Coroutine
from typing import Any, assert_type

from taskq import AsyncResult, Executor, JobContext, LifoQueue, PriorityQueue, Queue, ResultSet, Signature, Task, TaskQ
from taskq.client.detail import JobDetail
from taskq.client.hooks import Sending
from taskq.client.inspection import JobInfo
from taskq.client.task import CoroutineTask
from taskq.contrib import otel
from taskq.coordination.barrier import Barrier
from taskq.coordination.condition import Condition

app = TaskQ("typing", "redis://localhost", result_ttl=60.0)
TaskQ("typing", result_tll=60.0)  # type: ignore[call-arg]
TaskQ("typing", signing_key="k" * 32)
TaskQ("typing", signing_key=["k" * 32, "o" * 32], require_signed=False)
TaskQ("typing", signing_key=7)  # type: ignore[arg-type]

assert_type(app.Queue("a"), Queue)
assert_type(app.LifoQueue("a", maxsize=3), LifoQueue)
assert_type(app.PriorityQueue("a"), PriorityQueue)


@app.task
def add(a: int, b: int = 0) -> int:
    return a + b


@app.task(queue="slow", max_retries=2, retry_on=(OSError, ValueError), backoff=0.5)
def name_of(key: bytes, *, upper: bool = False) -> str:
    return key.decode()


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@app.task(ignore_result=True)
async def store(data: bytes) -> None:
    pass


@app.task(bind=True)
def aware(job: JobContext, depth: int) -> list[str]:
    return [job.id] * depth


@app.task(bind=True, queue=app.Queue("b"))
async def aware_too(job: JobContext) -> str:
    return job.id


def declarations() -> None:
    app.task(queeu="slow")  # type: ignore[call-overload]
    app.task(max_retries="3")  # type: ignore[call-overload]


def arguments() -> None:
    assert_type(add(1, 2), int)
    assert_type(add.delay(1, 2), AsyncResult[int])
    assert_type(add.delay(1), AsyncResult[int])
    assert_type(name_of.delay(b"k", upper=True), AsyncResult[str])
    fetched = assert_type(fetch("u"), Coroutine[Any, Any, bytes])
    fetched.close()
    assert_type(fetch.delay("u"), AsyncResult[bytes])
    assert_type(store.delay(b""), AsyncResult[None])
    assert_type(aware.delay(3), AsyncResult[list[str]])
    assert_type(aware(3), list[str])
    assert_type(aware_too.delay(), AsyncResult[str])
    told = assert_type(aware_too(), Coroutine[Any, Any, str])
    told.close()
    add.delay("1")  # type: ignore[arg-type]
    add.delay()  # type: ignore[call-arg]
    add.delay(1, 2, 3)  # type: ignore[call-arg]
    add.delay(1, c=2)  # type: ignore[call-arg]
    name_of.delay("k")  # type: ignore[arg-type]
    aware.delay()  # type: ignore[call-arg]


def options() -> None:
    assert_type(add.apply_async((1, 2), countdown=5, priority=1.5, queue="a"), AsyncResult[int])
    assert_type(add.apply_async((1,), {"b": 2}, link=[(name_of, (b"x",)), fetch], job_id="one"), AsyncResult[int])
    add.apply_async((1,), countdwn=5)  # type: ignore[call-arg]
    add.apply_async((1,), countdown="5")  # type: ignore[arg-type]
    assert_type(app.send_task("typing.add", (1, 2), send_by_name=True), AsyncResult[Any])
    assert_type(app.AsyncResult("default/x"), AsyncResult[Any])


def results(one: AsyncResult[int], many: ResultSet[str]) -> None:
    assert_type(one.result(5), int)
    assert_type(one.get(), int)
    assert_type(one.exception(), BaseException | None)
    assert_type(one.state, str)
    assert_type(one.cancel(), bool)
    assert_type(one.then(lambda done: done.get() + 1), AsyncResult[int])
    assert_type(add.delay_many(range(3), range(3)), ResultSet[int])
    assert_type(many.get(), list[str])
    assert_type(many[0], AsyncResult[str])
    assert_type(many[1:], ResultSet[str])
    assert_type([result.get() for result in many], list[str])


async def in_a_loop(one: AsyncResult[int], many: ResultSet[str], queue: Queue) -> None:
    assert_type(await one, int)
    assert_type(await one.aio.get(1), int)
    assert_type(await one.aio.cancel(), bool)
    assert_type(await add.aio.delay(1, 2), AsyncResult[int])
    assert_type(await fetch.aio.apply_async(("u",), countdown=1), AsyncResult[bytes])
    assert_type(await add.aio.delay_many(range(2)), ResultSet[int])
    assert_type(await many.aio.get(), list[str])
    assert_type(await queue.aio.qsize(), int)
    assert_type(await app.aio.send_task("typing.add"), AsyncResult[Any])
    await add.aio.delay("1")  # type: ignore[arg-type]


class Refused(Exception):
    """An error of the app's own."""


@app.task(raises=(Refused, ValueError))
def refuse(text: str) -> None:
    raise Refused(text)


def plain(a: int, *, b: str = "") -> str:
    return b * a


def executors(executor: Executor) -> None:
    assert_type(app.Executor(), Executor)
    assert_type(app.Executor(queue=app.Queue("a")), Executor)
    assert_type(executor.submit(add, 1, b=2), AsyncResult[int])
    assert_type(executor.submit(fetch, "u"), AsyncResult[bytes])
    assert_type(executor.submit(plain, 1, b="x"), AsyncResult[str])
    assert_type(list(executor.map(add, range(3), timeout=5, chunksize=2)), list[int])
    assert_type(list(executor.map(fetch, ["u"], buffersize=2)), list[bytes])
    executor.submit(add, "1")  # type: ignore[call-overload]
    executor.submit(plain, 1, c="x")  # type: ignore[call-arg]
    concurrent.futures.wait([executor.submit(add, 1)])
    with executor as entered:
        assert_type(entered, Executor)
    app.task(raises=SystemExit)  # type: ignore[arg-type]


def signatures() -> None:
    assert_type(add.s(1), Signature)
    assert_type(add.si(1, b=2), Signature)
    add.apply_async((1,), link=[add.s(), fetch.si("u"), fetch], link_error=store.s())
    fetch.si(1)  # type: ignore[arg-type]


async def executors_in_a_loop(executor: Executor) -> None:
    assert_type(await executor.aio.submit(add, 1), AsyncResult[int])
    assert_type(await executor.aio.submit(fetch, "u"), AsyncResult[bytes])
    assert_type([value async for value in await executor.aio.map(add, range(3))], list[int])
    await executor.aio.shutdown()
    loop = asyncio.get_running_loop()
    assert_type(await loop.run_in_executor(executor, add, 1, 2), int)


def hooks() -> None:
    @app.hooks.after_send
    def sent(sending: Sending, error: BaseException | None) -> None:
        assert_type((sending.many, sending.memo), tuple[bool, dict[object, Any]])

    @app.hooks.before_run
    def starts(context: JobContext) -> None:
        assert_type((context.worker, context.age), tuple[str, float])

    otel.instrument(app)
    otel.instrument("app")  # type: ignore[arg-type]


def meetings() -> None:
    barrier = assert_type(app.Barrier("b", 3, action=lambda: None, timeout=5, lease=60), Barrier)
    assert_type(barrier.wait(1.5), int)
    assert_type((barrier.parties, barrier.n_waiting, barrier.broken), tuple[int, int, bool])
    app.Barrier("b")  # type: ignore[call-arg]
    condition = assert_type(app.Condition("c", app.RLock("l")), Condition)
    with condition as entered:
        assert_type(entered.wait(1), bool)
        assert_type(entered.wait_for(lambda: [1]), list[int])
        condition.notify(2)
    app.Condition("c", app.Semaphore("s"))  # type: ignore[arg-type]


async def meetings_in_a_loop(barrier: Barrier, condition: Condition) -> None:
    assert_type(await barrier.aio.wait(), int)
    assert_type(await barrier.aio.broken(), bool)
    async with condition as entered, condition.aio as again:
        assert_type((entered, again), tuple[Condition, Condition])
        assert_type(await condition.aio.wait_for(lambda: "yes", 1), str)
        await condition.aio.notify_all()


def kinds(task: Task[..., Any], coroutine: CoroutineTask[[str], bytes]) -> None:
    task.delay(1, x=2)
    coroutine.delay("u")


def operators() -> None:
    assert_type([one.ready for one in app.inspect.queues()], list[int])
    assert_type(next(app.inspect.workers()[0].running.__iter__()).task, str)
    assert_type(list(app.inspect.jobs(queue="q", state=("dead", "ready"), limit=5)), list[JobInfo])
    assert_type(app.inspect.job("q/x"), JobDetail)
    app.control.pause("q")
    app.control.resume("q")
    assert_type(app.control.purge("q", told=print), int)
    assert_type(app.control.retry(["q/x"]) + app.control.drop(one.id for one in app.inspect.jobs()), int)
    assert_type(app.control.move("q/x", to="r").now, str)
    assert_type([app.control.repair(one) for one in app.inspect.fsck(queue="q", strict=True)], list[bool])
    with app.events(kinds=["failed"], duration=5) as events:
        assert_type([event.kind for event in events], list[str])


async def operators_in_a_loop() -> None:
    assert_type([job.state async for job in app.inspect.aio.jobs(state="dead")], list[str])
    assert_type(await app.inspect.aio.job("q/x"), JobDetail)
    assert_type(await app.control.aio.retry(["q/x"], print), int)
    assert_type([await app.control.aio.repair(one) async for one in app.inspect.aio.fsck()], list[bool])
    assert_type((await app.control.aio.move("q/x", "r")).problem, str)
