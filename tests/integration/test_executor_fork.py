"""A forked child leaves the executor of its parent: what is pending there is the parent's."""

from __future__ import annotations

import asyncio
import os
import signal
import warnings
from collections.abc import Callable

import pytest
from executor_kit import executor_app

from taskq import Executor

DEADLINE = 20  # seconds after which a child that does not end is ended, by its alarm


@pytest.fixture
def app(url, namespace):
    with executor_app(url, namespace) as app:
        yield app


def in_a_child(act: Callable[[], None]) -> int:
    """Run ``act`` in a forked child; return its exit code: 0 if it returned, 1 if it raised, -14 if it did not end."""
    with warnings.catch_warnings():  # Python warns of forks where threads run, from 3.12 on
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        signal.alarm(DEADLINE)
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def shut_down(executor: Executor, **options: bool) -> None:
    executor.shutdown(**options)


def aio_shut_down(executor: Executor, **options: bool) -> None:
    asyncio.run(executor.aio.shutdown(**options))


@pytest.mark.parametrize("shutdown", [shut_down, aio_shut_down])
@pytest.mark.parametrize("options", [{"cancel_futures": True}, {"wait": False, "cancel_futures": True}, {}], ids=str)
def test_a_child_cancels_nothing_of_its_parents_and_waits_for_nothing(executor, add, worker, shutdown, options):
    futures = [executor.submit(add, number) for number in range(3)]
    code = in_a_child(lambda: shutdown(executor, **options))
    assert (code, len(worker.claim(count=10)), len(executor._pending)) == (0, 3, 3)
    assert not any(future.cancelled() for future in futures)


@pytest.mark.parametrize("shutdown", [shut_down, aio_shut_down])
def test_a_child_shuts_down_although_a_thread_of_the_parent_was_at_work(executor, add, worker, shutdown):
    executor.submit(add, 1)
    with executor._changed:  # held in the child for ever
        code = in_a_child_of_a_thread(lambda: shutdown(executor))
    assert code == 0
    worker.run_all()


def in_a_child_of_a_thread(act: Callable[[], None]) -> int:
    """Fork in another thread, in which the locks of this one belong to somebody else."""
    from data_queue_kit import Call

    return Call(in_a_child, act).end(2 * DEADLINE)


def test_the_parent_may_go_on_after_a_child_has_shut_down(executor, add, worker):
    assert in_a_child(executor.shutdown) == 0
    with worker.serving():
        assert executor.submit(add, 1).result(DEADLINE) == 1
