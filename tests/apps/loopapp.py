"""Coroutines and event loops that share one gevent child with other jobs."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator

from taskq.app import TaskQ

app = TaskQ("loopapp", url="redis://127.0.0.1:1/0")
closed: list[str] = []


@app.task(name="native_thread")
async def native_thread() -> int:
    await asyncio.sleep(0.001)
    return threading.get_native_id()


async def mixed(value: int) -> list[object]:
    """Wait, block in a patched call, wait: others run in all three."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    await asyncio.sleep(0.005)
    time.sleep(0.005)  # noqa: ASYNC251 (that it blocks is the point)
    unchanged = asyncio.get_running_loop() is loop and asyncio.current_task() is task is not None
    await asyncio.sleep(0.005)
    return [value, unchanged and asyncio.get_running_loop() is loop]


@app.task(name="amixed")
async def amixed(value: int) -> list[object]:
    return await mixed(value)


@app.task(name="runs_a_loop")
def runs_a_loop(value: int) -> list[object]:
    return asyncio.run(mixed(value))


@app.task(name="looks_for_a_loop")
def looks_for_a_loop() -> bool:
    time.sleep(0.003)
    return asyncio._get_running_loop() is not None


@app.task(name="leaves_a_generator")
async def leaves_a_generator() -> None:
    """Drop an async generator half-way, after others ran: its loop is to close it."""

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)  # only a loop can do this
            closed.append("closed")

    await asyncio.sleep(0.002)
    time.sleep(0.002)  # noqa: ASYNC251 (that it blocks is the point)
    async for _ in numbers():
        break
    await asyncio.sleep(0.002)


@app.task(name="count_closed")
def count_closed() -> int:
    return len(closed)


@app.task(name="talks")
async def talks() -> str:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()

    server = await asyncio.start_server(answer, "localhost", 0, family=socket.AF_INET)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("localhost", port, family=socket.AF_INET)
        writer.write(b"hello\n")
        line = await reader.readline()
        writer.close()
    return line.decode().strip()


@app.task(name="works_in_a_thread")
async def works_in_a_thread() -> str:
    return await asyncio.to_thread(str.upper, "done")
