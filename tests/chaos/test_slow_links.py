"""Large calls over slow links: what moves is not given up, however long it takes; what stands still is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chaos.proxy import NONE, Fault, Proxy
from servers import TestServer
from worker_kit import bench

from taskq import TaskQ
from taskq.broker.call import Command
from taskq.errors import Indeterminate

DEADLINE = 4.0  # seconds for which a call is repeated; half of it is the silence that means a broken connection
SLOW = Fault(rate=400_000)  # bytes a second
STALLED = Fault(request=500_000, silent=True)
LARGE = "x" * 3_000_000  # takes twice the deadline
REPLY_TIMEOUT = 15.0  # seconds of silence after which a worker sends a call again


@pytest.fixture
def proxy(server: TestServer) -> Iterator[Proxy]:
    with Proxy(server.socket) as made:
        yield made


@pytest.fixture
def app(proxy: Proxy, namespace: str) -> Iterator[TaskQ]:
    with TaskQ("slow", proxy.url, namespace, call_deadline=DEADLINE, max_body=2 * len(LARGE)) as app:

        @app.task(name="keep")
        def keep(data: str) -> None: ...

        yield app


Send = Callable[[Fault], float]


@pytest.fixture(params=["sync", "aio"])
def send(request: pytest.FixtureRequest, app: TaskQ, proxy: Proxy) -> Send:
    """Enqueue a large job over a connection on which a fault begins then; return how many seconds that took."""
    keep = app.tasks["keep"]

    def sync(fault: Fault) -> float:
        keep.delay("")
        proxy.arm(fault)
        began = time.monotonic()
        keep.delay(LARGE)
        return time.monotonic() - began

    async def aio(fault: Fault) -> float:
        await keep.aio.delay("")
        proxy.arm(fault)
        began = time.monotonic()
        await keep.aio.delay(LARGE)
        return time.monotonic() - began

    return sync if request.param == "sync" else lambda fault: asyncio.run(aio(fault))


def test_a_large_job_that_moves_is_sent_once(app: TaskQ, proxy: Proxy, send: Send) -> None:
    assert send(SLOW) > DEADLINE
    assert (proxy.accepted, app.Queue("default").qsize()) == (1, 2)


def test_a_large_job_that_stands_still_is_sent_over_another_connection(app: TaskQ, proxy: Proxy, send: Send) -> None:
    assert DEADLINE / 2 <= send(STALLED) < DEADLINE
    assert (proxy.accepted, app.Queue("default").qsize()) == (2, 2)


def test_a_large_job_that_always_stands_still_is_given_up_in_time(app: TaskQ, proxy: Proxy, send: Send) -> None:
    proxy.always = STALLED
    began = time.monotonic()
    with pytest.raises(Indeterminate, match=r"may have run|Timeout"):
        send(STALLED)
    assert time.monotonic() - began < 3 * DEADLINE
    proxy.always = NONE


@pytest.mark.parametrize("way", ["sync", "aio"])
def test_a_large_reply_that_moves_is_read(app: TaskQ, proxy: Proxy, server: TestServer, way: str) -> None:
    key = f"{app.settings.namespace}-large"
    proxy.always = SLOW
    command = Command(("GET", key), len)
    with server.client() as client:
        client.set(key, LARGE, ex=60)
        began = time.monotonic()
        found = app.broker.read(command) if way == "sync" else asyncio.run(app.broker.aread(command))
        client.delete(key)
    assert (found, proxy.accepted) == (len(LARGE), 1)
    assert time.monotonic() - began > DEADLINE


@pytest.mark.fault(13)
def test_a_large_result_is_settled_by_its_first_call(
    server: TestServer, proxy: Proxy, namespace: str, tmp_path: Path
) -> None:
    proxy.always = Fault(rate=110_000)
    size = 2_000_000  # takes longer than REPLY_TIMEOUT
    with bench(proxy.url, namespace, tmp_path) as rig:
        rig.start("thread", "-A", "apps.faulty:app")
        with TaskQ("near", server.url, namespace) as near:
            job = near.send_task("large", (size,), send_by_name=True)
            began = time.monotonic()
            assert len(job.result(timeout=60)) == size
            assert time.monotonic() - began > REPLY_TIMEOUT
        assert rig.workers[0].stop() == 0
        assert "lost" not in rig.workers[0].lines()
        assert "heartbeat failed" not in rig.workers[0].lines()
