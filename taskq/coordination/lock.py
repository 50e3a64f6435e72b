"""Lock and RLock: one holder among all processes, under a lease that lives as long as the holder."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from taskq.broker import permits
from taskq.client.line import deadline_of
from taskq.client.operation import Operation
from taskq.coordination.permits import AioPermits, Hold, Permits
from taskq.coordination.primitive import current_owner
from taskq.errors import LeaseLost, NotHeld

if TYPE_CHECKING:
    from taskq.app import TaskQ

NO_LIMIT = -1  # the timeout of a lock that is waited for without one, as in threading


class Lock(Permits):
    """``threading.Lock`` across machines; made by ``app.Lock(name)``.

    Taken it is held under a lease, which this process renews in the background; should the process die, the next in
    line has the lock when the lease runs out. Whoever waits is served first come, first served, and told when it is
    their turn. Any thread of the process that took it may give it back, another process may not.

    It is advisory: a holder that was stopped for longer than its lease goes on without it. Where that matters, let the
    resource refuse a ``fence`` lower than the highest that it has seen
    (https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html).
    Contract: https://docs.python.org/3/library/threading.html#lock-objects
    """

    kind = "lock"
    _any_thread = True  # of this process may give it back

    def __init__(self, app: TaskQ, name: str, lease: float | None = None) -> None:
        """Make a handle; see ``app.Lock``."""
        super().__init__(app, name, 1, lease)

    @property
    def aio(self) -> AioLock:
        """The same methods as coroutines."""
        return AioLock(self)

    @property
    def fence(self) -> int | None:
        """A number greater than that of every earlier holder, for the resource to check; None while not held here.

        Raises:
            LeaseLost: it was held, and the lease ran out meanwhile.
        """
        hold = self._hold_of(current_owner(), others=self._any_thread)
        if hold is None:
            return None
        if hold.lost:
            raise self._lost(hold)
        return hold.fence

    def _lost(self, hold: Hold) -> LeaseLost:
        return LeaseLost(f"{self!r} was held with fence {hold.fence}, but its lease ran out meanwhile; release it")

    def acquire(self, blocking: bool = True, timeout: float = NO_LIMIT) -> bool:
        """Take the lock.

        Args:
            blocking: wait for it.
            timeout: seconds to wait; -1 for as long as it takes.

        Returns:
            Whether it is held now. One round trip where it is free, two where it is waited for.

        Raises:
            ValueError: a timeout without waiting, or a negative one.
            OverflowError: the timeout is too long.
            BrokerError: the server refused or was not reached. So do all other methods.
        """
        return self._perform(self._acquire(blocking, timeout))

    def release(self) -> None:
        """Give the lock back; the next in line has it at once.

        Raises:
            NotHeld: it is not held here; a RuntimeError.
            LeaseLost: it was, but the lease ran out meanwhile; a RuntimeError.
        """
        self._perform(self._release())

    def locked(self) -> bool:
        """Tell whether anybody holds it."""
        return self._app.broker.run(permits.count(self._keys, 1)).held > 0

    def _acquire(self, blocking: bool, timeout: float) -> Operation[bool]:
        deadline = deadline_of(check_lock_wait(blocking, timeout))
        hold = yield from self._take(deadline, wait=bool(blocking) and timeout != 0)
        return hold is not None

    def _enter(self) -> Operation[bool]:
        return self._acquire(True, NO_LIMIT)

    def _exit(self) -> Operation[None]:
        return self._release()

    def _release(self) -> Operation[None]:
        hold = self._hold_of(current_owner(), others=self._any_thread)
        if hold is None or not self._let_go(hold):
            raise NotHeld(f"{self!r} is not held here, and only its holder may release it")
        yield from self._give_back(hold)


class RLock(Lock):
    """``threading.RLock`` across machines: its holder may take it again; made by ``app.RLock(name)``.

    The holder is a thread, a greenlet or an asyncio task of one process; only it may give the lock back.
    Contract: https://docs.python.org/3/library/threading.html#rlock-objects
    """

    kind = "rlock"
    _any_thread = False

    def _acquire(self, blocking: bool, timeout: float) -> Operation[bool]:
        hold = self._own()
        if hold is not None:
            check_lock_wait(blocking, timeout)
            if hold.lost:
                raise self._lost(hold)
            hold.depth += 1
            return True
        return (yield from super()._acquire(blocking, timeout))

    def _release(self) -> Operation[None]:
        hold = self._own()
        if hold is not None and hold.depth > 1:
            hold.depth -= 1
            return
        yield from super()._release()

    def _own(self) -> Hold | None:
        return self._hold_of(current_owner())


class AioLock(AioPermits):
    """``lock.aio``; see Lock for arguments and errors. Cancelling a wait leaves nothing behind."""

    def __init__(self, lock: Lock) -> None:
        super().__init__(lock)
        self._lock = lock

    async def acquire(self, blocking: bool = True, timeout: float = NO_LIMIT) -> bool:  # noqa: ASYNC109 (the contract's name)
        """See ``Lock.acquire``."""
        return await self._lock._aperform(self._lock._acquire(blocking, timeout))

    async def release(self) -> None:
        """See ``Lock.release``."""
        await self._lock._aperform(self._lock._release())

    async def locked(self) -> bool:
        """See ``Lock.locked``."""
        return (await self._lock._app.broker.arun(permits.count(self._lock._keys, 1))).held > 0


def check_lock_wait(blocking: object, timeout: Any) -> float | None:
    """Return the seconds to wait, None without a limit, by the rules of ``threading.Lock.acquire``.

    Raises:
        ValueError, OverflowError, TypeError: as there.
    """
    if not blocking:
        if timeout != NO_LIMIT:
            raise ValueError("can't specify a timeout for a non-blocking call")
        return 0.0
    if not timeout >= 0 and timeout != NO_LIMIT:  # so that it is no NaN either
        raise ValueError(f"timeout value {timeout} must be a non-negative number")
    if timeout > threading.TIMEOUT_MAX:
        raise OverflowError(f"timeout value {timeout} is too large")
    return None if timeout == NO_LIMIT else float(timeout)
