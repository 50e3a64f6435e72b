"""Celery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery

from benchmarks.peers import job

app = Celery("bench", broker=job.URL, backend=job.URL if job.RESULTS else None)
app.conf.update(
    task_ignore_result=not job.RESULTS,
    result_expires=job.KEPT,
    broker_connection_retry_on_startup=True,
)


@app.task
def noop(number: int) -> int:
    return job.ran(number)


@app.task
def nap(number: int, seconds: float) -> int:
    return job.slept(number, seconds)


@app.task
def carry(number: int, text: str) -> int:
    return job.carried(number, text)


@app.task
def burn(number: int, loops: int) -> int:
    return job.burned(number, loops)


TASKS: dict[str, Any] = {"noop": noop, "nap": nap, "burn": burn, "carry": carry}


def sender(name: str) -> Callable[..., Any]:
    name, _, queue = name.partition("@")
    task = TASKS[name]
    return task.s().set(queue=queue).delay if queue else task.delay


def bulk(name: str) -> Callable[[list[tuple[Any, ...]]], None]:
    task = TASKS[name]

    def send(calls: list[tuple[Any, ...]]) -> None:
        with app.producer_pool.acquire(block=True) as producer, producer.batch(1_000):
            for args in calls:
                task.apply_async(args, producer=producer)

    return send


def call(number: int) -> int:
    return noop.delay(number).get(timeout=60)
