"""The same from an event loop."""

from __future__ import annotations

import asyncio
import queue as standard
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError

import pytest
from client_kit import DEADLINE, client_app, later

from taskq import TaskQ
from taskq.broker import queues
from taskq.errors import BadArguments, JobConflict, UnknownOrExpired, UnknownTask


@pytest.fixture
def app(url, namespace):
    with client_app("aio", url, namespace) as app:
        yield app


async def until(reached):
    async with asyncio.timeout(DEADLINE):
        while not reached():  # noqa: ASYNC110 (the news comes from another thread)
            await asyncio.sleep(0.005)


def test_a_result_is_awaited(add, worker):
    async def main():
        result = await add.aio.delay(1, b=2)
        later(worker.run_all)
        return await result

    assert asyncio.run(main()) == 3


def test_a_result_that_is_there_is_awaited(add, worker):
    async def main():
        result = await add.aio.delay(1)
        worker.run_all()
        return await result, await result.aio.get(DEADLINE), await result.aio.exception()

    assert asyncio.run(main()) == (1, 1, None)


def test_many_are_awaited_together(add, worker):
    async def main():
        with worker.serving():
            results = await asyncio.gather(*[add.aio.delay(number) for number in range(100)])
            return [await result for result in results]

    assert asyncio.run(main()) == list(range(100))


def test_concurrent_calls_travel_together(start_server, namespace):
    server = start_server()
    with TaskQ("aio", server.url, namespace) as app, server.client() as client:
        task = app.task(name="t")(abs)

        async def main():
            await task.aio.delay(1)
            client.config_resetstat()
            await asyncio.gather(*[task.aio.delay(number) for number in range(200)])
            return client.info("commandstats")["cmdstat_evalsha"]["calls"]

        assert asyncio.run(main()) <= 3
        assert app.Queue("default").qsize() == 201


def test_each_of_the_calls_that_travel_together_gets_its_own_answer(add):
    async def main():
        return await asyncio.gather(
            add.aio.delay(1),
            add.aio.apply_async((1,), job_id="one"),
            add.aio.apply_async((1,), job_id="one"),
            add.aio.apply_async((2,), job_id="one"),
            add.aio.delay("x"),
            return_exceptions=True,
        )

    first, one, same, other, bad = asyncio.run(main())
    assert one.id == same.id != first.id
    assert (type(other), type(bad)) == (JobConflict, BadArguments)


def test_a_cancelled_call_does_not_disturb_its_neighbours(app, add):
    async def main():
        await add.aio.delay(0)
        calls = [asyncio.ensure_future(add.aio.delay(number)) for number in range(10)]
        await asyncio.sleep(0)
        calls[5].cancel()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        return [isinstance(end, asyncio.CancelledError) for end in ended]

    assert asyncio.run(main()) == [number == 5 for number in range(10)]


def test_loops_one_after_another_work(add, worker):
    with worker.serving():
        for number in range(3):
            assert asyncio.run(round_trip(add, number)) == number


async def round_trip(task, number):
    return await (await task.aio.delay(number))


def test_loops_in_several_threads_work(add, worker):
    found = standard.Queue()

    def run(number):
        found.put(asyncio.run(round_trip(add, number)))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    with worker.serving():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
    assert sorted(found.get_nowait() for _ in threads) == [0, 1, 2, 3]


def test_a_failure_is_raised_by_await(add, worker):
    async def main():
        result = await add.aio.delay(1)
        worker.raise_(worker.claim_one(), ValueError("no"), "tb")
        with pytest.raises(ValueError, match="no"):
            await result
        return await result.aio.failed(), await result.aio.traceback(), (await result.aio.record()).ending

    assert asyncio.run(main()) == (True, "tb", "failed")


def test_a_cancelled_job_does_not_look_like_a_cancelled_wait(add):
    async def main():
        result = await add.aio.delay(1)
        assert await result.aio.cancel()
        with pytest.raises(CancelledError):
            await result
        return await result.aio.cancelled(), asyncio.current_task().cancelling()

    assert asyncio.run(main()) == (True, 0)


def test_awaiting_an_unknown_id_ends(app):
    async def main():
        with pytest.raises(UnknownOrExpired):
            await app.AsyncResult("default/none")

    asyncio.run(main())


def test_a_timeout_ends_the_wait(add):
    async def main():
        started = time.monotonic()
        with pytest.raises(TimeoutError, match="has not ended"):
            await (await add.aio.delay(1)).aio.get(0.05)
        return time.monotonic() - started

    assert asyncio.run(main()) >= 0.05


def test_a_look_finds_what_has_ended(add, worker):
    async def main():
        one, many = await add.aio.delay(1), await add.aio.delay_many([2, 3])
        with pytest.raises(TimeoutError):
            await one.aio.get(0)
        assert not await many.aio.wait(0)
        worker.run_all()
        return await one.aio.get(0), await many.aio.get(0)

    assert asyncio.run(main()) == (1, [2, 3])


def test_a_cancelled_wait_leaves_nothing_behind(app, add):
    async def main():
        result = await add.aio.delay(1)
        wait = asyncio.ensure_future(result.aio.get())
        await until(lambda: app._listener._registry.waiting() == 1)
        wait.cancel()
        await asyncio.gather(wait, return_exceptions=True)
        return app._listener._registry.waiting(), result._done_callbacks, await result.aio.state()

    assert asyncio.run(main()) == (0, [], "ready")


def test_waiting_does_not_block_the_loop(add, worker):
    async def main():
        result = await add.aio.delay(1)
        wait = asyncio.ensure_future(result.aio.get(DEADLINE))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not wait.done()
        worker.run_all()
        return await wait

    assert asyncio.run(main()) == 1


def test_wrap_future_of_the_standard_library_works(add, worker):
    async def main():
        result = await add.aio.delay(1)
        later(worker.run_all)
        return await asyncio.wait_for(asyncio.wrap_future(result), DEADLINE)

    assert asyncio.run(main()) == 1


def test_states_and_questions(app, add, worker):
    async def main():
        result = await add.aio.apply_async((1,), countdown=60)
        seen = [await result.aio.state(), await result.aio.done(), await result.aio.revoke()]
        queue = app.Queue("asked", maxsize=1)
        await add.aio.apply_async((1,), queue=queue)
        seen += [await queue.aio.qsize(), await queue.aio.empty(), await queue.aio.full()]
        await queue.aio.pause()
        seen.append((await queue.aio.info()).paused)
        await queue.aio.resume()
        return [*seen, (await queue.aio.info()).paused, await queue.aio.purge()]

    assert asyncio.run(main()) == ["delayed", False, True, 1, False, True, True, False, 1]


def test_a_full_queue_refuses_and_waits_in_a_loop_too(app, add):
    async def main():
        small = app.Queue("small", maxsize=1)
        await add.aio.apply_async((1,), queue=small)
        with pytest.raises(standard.Full):
            await add.aio.apply_async((2,), queue=small, timeout=0)
        sending = asyncio.ensure_future(add.aio.apply_async((2,), queue=small, timeout=DEADLINE))
        await small.aio.purge()
        return (await sending).queue

    assert asyncio.run(main()) == "small"


def test_the_apps_own_questions(app, add, worker):
    async def main():
        result = await app.aio.send_task("add", (1,), {"b": 1})
        worker.run_all()
        assert await (await app.aio.AsyncResult(result.unique)).aio.get(DEADLINE) == 2
        await (await app.aio.AsyncResult(result.id)).aio.forget()
        assert not await app.AsyncResult(result.id).aio.ready()
        with pytest.raises(UnknownTask):
            await app.aio.send_task("ad")
        await app.aio.close()
        return (await add.aio.delay(1)).queue

    assert asyncio.run(main()) == "default"


TIDY = """
import asyncio, sys
from taskq import TaskQ
app = TaskQ("tidy", sys.argv[1], sys.argv[2])
task = app.task(name="t")(abs)
async def main():
    await task.aio.delay(1)
asyncio.run(main())
asyncio.run(main())
"""


def test_a_loop_that_ends_closes_its_connection(url, namespace, app):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TIDY, url, namespace],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert app.broker.run(queues.inspect(app.broker.keys("default"))).ready == 2
