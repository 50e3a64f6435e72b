"""Any sequence of calls: a reentrant lock has one holder, as deep as it took it, and is free when all are released."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from machines import TIMED, run_machine

from taskq import TaskQ
from taskq.coordination.lock import RLock

EXAMPLES = 200
STEPS = 30
DEADLINE = 10.0  # seconds
ACTORS = 4  # threads: two of each of two apps
PICK = st.integers(0, ACTORS - 1)


class RLockMachine(RuleBasedStateMachine):
    """Threads of two apps and one lock."""

    apps: ClassVar[list[TaskQ]]
    threads: ClassVar[list[ThreadPoolExecutor]]

    def __init__(self) -> None:
        super().__init__()
        name = f"n{secrets.token_hex(4)}"
        self.locks: list[RLock] = [self.apps[n % 2].RLock(name) for n in range(ACTORS)]
        self.holder: int | None = None
        self.depth = 0
        self.fence = 0

    def _in(self, actor: int, call: Callable[[], Any]) -> Any:
        return self.threads[actor].submit(call).result(DEADLINE)

    @rule(actor=PICK)
    def acquire(self, actor: int) -> None:
        free = self.holder in {None, actor}
        lock = self.locks[actor]
        assert self._in(actor, lambda: lock.acquire(False)) is free
        if not free:
            return
        fence = self._in(actor, lambda: lock.fence)
        if self.holder is None:
            assert fence > self.fence, "19: fences strictly grow"
        else:
            assert fence == self.fence
        self.holder, self.depth, self.fence = actor, self.depth + 1, fence

    @rule(actor=PICK)
    def release(self, actor: int) -> None:
        if self.holder != actor:
            with pytest.raises(RuntimeError):
                self._in(actor, self.locks[actor].release)
            return
        self._in(actor, self.locks[actor].release)
        self.depth -= 1
        self.holder = actor if self.depth else None

    @invariant()
    def all_see_whether_it_is_held(self) -> None:
        assert [self.locks[n].locked() for n in range(2)] == [self.holder is not None] * 2

    def teardown(self) -> None:
        """The holder releases as often as it acquired, and everybody gets the lock."""
        while self.holder is not None:
            self.release(self.holder)
        for actor in range(ACTORS):
            self.acquire(actor)
            self.release(actor)
        self.all_see_whether_it_is_held()


@pytest.fixture
def crowd(url: str, namespace: str) -> Iterator[dict[str, Any]]:
    """Two apps and a thread for each actor."""
    with ExitStack() as stack:
        apps = [stack.enter_context(TaskQ(f"app{n}", url, namespace)) for n in range(2)]
        threads = [stack.enter_context(ThreadPoolExecutor(1, f"actor{n}")) for n in range(ACTORS)]
        yield {"apps": apps, "threads": threads}


@TIMED
def test_any_sequence_of_calls(crowd):
    run_machine(RLockMachine, crowd, examples=EXAMPLES, kinds=1, steps=STEPS)
