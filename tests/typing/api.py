"""What mypy must say of the public names: checked by ``test_api.py``, never run."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, assert_type

from taskq import AsyncResult, JobContext, LifoQueue, PriorityQueue, Queue, ResultSet, Task, TaskQ
from taskq.client.task import CoroutineTask

app = TaskQ("typing", "redis://localhost", result_ttl=60.0)
TaskQ("typing", result_tll=60.0)  # type: ignore[call-arg]

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


def kinds(task: Task[..., Any], coroutine: CoroutineTask[[str], bytes]) -> None:
    task.delay(1, x=2)
    coroutine.delay("u")
