"""The floor: its worker, with one loop for each process, thread, greenlet or coroutine."""

from __future__ import annotations

from benchmarks.peers import job

if job.POOL == "gevent" and job.IN_WORKER:
    from gevent import monkey

    monkey.patch_all()

import asyncio
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgpack
import redis
import redis.asyncio

QUEUE = "floor"
BATCH = 100 if job.SHORT and job.WORKLOAD != "roundtrip" else 1
TASKS: dict[str, Callable[..., int]] = {
    "noop": job.ran,
    "nap": job.slept,
    "burn": job.burned,
    "carry": job.carried,
}
QUEUES = job.QUEUES or (QUEUE,)
CROWD = 100  # jobs that are popped at once where each gets a greenlet or coroutine of its own
AGAIN = 0.02  # seconds after which a loop whose server is away tries again
BLOCK = 5  # seconds; the client's own timeout is off, as it would come first
PRODUCER = redis.Redis.from_url(job.WIDE_URL, socket_timeout=None)


def sender(name: str) -> Callable[..., None]:
    name, _, queue = name.partition("@")
    queue = queue or QUEUE

    def send(*args: Any) -> None:
        PRODUCER.lpush(queue, msgpack.packb((name, args, "")))

    return send


def asender(name: str) -> Callable[..., Awaitable[None]]:
    client = redis.asyncio.Redis.from_url(job.WIDE_URL, socket_timeout=None)

    async def send(*args: Any) -> None:
        await client.lpush(QUEUE, msgpack.packb((name, args, "")))

    return send


def bulk(name: str) -> Callable[[list[tuple[Any, ...]]], None]:
    def send(calls: list[tuple[Any, ...]]) -> None:
        pipe = PRODUCER.pipeline(transaction=False)
        for args in calls:
            pipe.lpush(QUEUE, msgpack.packb((name, args, "")))
        pipe.execute()

    return send


def call(number: int) -> int:
    PRODUCER.lpush(QUEUE, msgpack.packb(("noop", (number,), "reply")))
    return int(PRODUCER.blpop(["reply"], timeout=60)[1])


def answer(pipe: Any, number: int, value: int, reply: str) -> None:
    if reply:
        pipe.rpush(reply, value)
    else:
        pipe.set(f"floor:result:{number}", value, ex=job.KEPT)


def loop(client: redis.Redis) -> None:
    while True:
        if (popped := pop(client, BATCH)) is None:
            continue
        pipe = client.pipeline(transaction=False)
        for body in popped[1]:
            name, args, reply = msgpack.unpackb(body)
            value = TASKS[name](*args)
            if job.RESULTS:
                answer(pipe, args[0], value, reply)
        pipe.execute()  # sends nothing where there is nothing


async def aloop(client: redis.asyncio.Redis) -> None:
    while True:
        if (popped := await apop(client, BATCH)) is None:
            continue
        pipe = client.pipeline(transaction=False)
        for body in popped[1]:
            name, args, reply = msgpack.unpackb(body)
            value = await job.aslept(*args) if name == "nap" else TASKS[name](*args)
            if job.RESULTS:
                answer(pipe, args[0], value, reply)
        if job.RESULTS:
            await pipe.execute()


def pop(client: redis.Redis, count: int) -> Any:
    try:
        return client.blmpop(BLOCK, len(QUEUES), *QUEUES, direction="RIGHT", count=count)
    except redis.ConnectionError:  # the server is away
        time.sleep(AGAIN)
        return None


async def apop(client: redis.asyncio.Redis, count: int) -> Any:
    try:
        return await client.blmpop(BLOCK, len(QUEUES), *QUEUES, direction="RIGHT", count=count)
    except redis.ConnectionError:
        await asyncio.sleep(AGAIN)
        return None


def crowd(client: redis.Redis) -> None:
    """Start a greenlet for each job: as many connections as jobs would be the server's cost, not a loop's."""
    from gevent.pool import Pool

    pool = Pool(job.SLOTS)
    while True:
        if popped := pop(client, CROWD):
            for body in popped[1]:
                name, args, _ = msgpack.unpackb(body)
                pool.spawn(TASKS[name], *args)


async def acrowd(client: redis.asyncio.Redis) -> None:
    """Start a coroutine for each job."""
    free, running = asyncio.Semaphore(job.SLOTS), set()
    while True:
        if popped := await apop(client, CROWD):
            for body in popped[1]:
                await free.acquire()
                task = asyncio.create_task(job.aslept(*msgpack.unpackb(body)[1]))
                running.add(task)
                task.add_done_callback(running.discard)
                task.add_done_callback(lambda _: free.release())


async def loops() -> None:
    client = redis.asyncio.Redis.from_url(job.WIDE_URL, socket_timeout=None)
    if job.WORKLOAD == "crowd":
        await acrowd(client)
    await asyncio.gather(*(aloop(client) for _ in range(job.SLOTS)))


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if job.POOL == "asyncio":
        asyncio.run(loops())
    if job.POOL == "process":
        for _ in range(job.SLOTS - 1):
            if os.fork() == 0:
                break
        loop(redis.Redis.from_url(job.WIDE_URL, socket_timeout=None))
    client = redis.Redis.from_url(job.WIDE_URL, socket_timeout=None)
    if job.WORKLOAD == "crowd":
        crowd(client)
    for _ in range(job.SLOTS):
        threading.Thread(target=loop, args=(client,), daemon=True).start()
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
