"""Semaphore and BoundedSemaphore: a number of permits for all processes together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskq.broker.permits import TooMany
from taskq.client.line import deadline_of
from taskq.client.operation import Operation
from taskq.client.waiting import check_wait
from taskq.coordination.permits import AioPermits, Hold, Permits
from taskq.coordination.primitive import current_owner, tidied
from taskq.errors import InvalidOption, LeaseLost, TaskqError, shorten

if TYPE_CHECKING:
    from taskq.app import TaskQ

MOST_PERMITS = 2**53  # the largest whole number that a Lua script can compare exactly


class Semaphore(Permits):
    """``threading.Semaphore`` across machines; made by ``app.Semaphore(name, value)``.

    Permits are held under leases, which this process renews in the background; those of a process that died are free
    when its leases run out. ``release`` gives back a permit that this process holds, first one that the calling thread
    took; where it holds none it adds one, as ``threading`` does. For each that was added one that lapses stays taken: a
    signal that was consumed does not come back with the end of its consumer.
    Contract: https://docs.python.org/3/library/threading.html#semaphore-objects
    """

    kind = "semaphore"
    _bounded = False

    def __init__(self, app: TaskQ, name: str, value: int = 1, lease: float | None = None) -> None:
        """Make a handle; see ``app.Semaphore``."""
        super().__init__(app, name, check_permits(value), lease)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self._limit})"

    @property
    def aio(self) -> AioSemaphore:
        """The same methods as coroutines."""
        return AioSemaphore(self)

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a permit.

        Args:
            blocking: wait for one.
            timeout: seconds to wait; None for as long as it takes.

        Returns:
            Whether one was taken. One round trip where one is free, two where it is waited for.

        Raises:
            ValueError: a timeout without waiting.
            PrimitiveConflict: the name is in use with another value.
            BrokerError: the server refused or was not reached. So do all other methods.
        """
        return self._perform(self._acquire(blocking, timeout))

    def release(self, n: int = 1) -> None:
        """Give permits back.

        Args:
            n: how many.

        Raises:
            ValueError: ``n`` is less than one; or a bounded semaphore would have more than it began with.
            LeaseLost: they were held, but a lease ran out meanwhile; a RuntimeError.
        """
        self._perform(self._release(n))

    def _acquire(self, blocking: bool, timeout: object) -> Operation[bool]:
        if not blocking and timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        seconds = check_wait(timeout)
        hold = yield from self._take(deadline_of(seconds), wait=bool(blocking) and seconds != 0)
        return hold is not None

    def _enter(self) -> Operation[bool]:
        return self._acquire(True, None)

    def _exit(self) -> Operation[None]:
        return self._release(1)

    def _release(self, n: object) -> Operation[None]:
        if not isinstance(n, int) or n < 1:
            raise ValueError(f"n must be one or more, not {shorten(n)}")
        holds: list[Hold] = []
        try:
            while len(holds) < n and (hold := self._hold_of(current_owner(), others=True)) is not None:
                holds.append(hold)
                if not self._let_go(hold):  # another thread was quicker
                    holds.pop()
            addresses = [hold.address for hold in holds]
            held: int | TooMany = yield self._give_call(addresses, n - len(holds), bounded=self._bounded)
        except TaskqError:
            raise
        except BaseException:  # interrupted perhaps before it was sent, and nobody else gives back what was held
            if holds:
                for hold in holds:
                    self._forget(hold.address)
                yield from tidied(self._give_call([hold.address for hold in holds], bounded=self._bounded))
            raise
        if not isinstance(held, TooMany):
            if held < len(holds):
                raise LeaseLost(
                    f"{len(holds) - held} of {len(holds)} permits of {self!r} were lost: a lease ran out meanwhile"
                )
            return
        for hold in holds[held.dropped :]:
            self._take_up(hold)
        raise ValueError(f"{self!r} released too many times")


class BoundedSemaphore(Semaphore):
    """A semaphore that never has more permits than it began with; made by ``app.BoundedSemaphore(name, value)``."""

    _bounded = True


class AioSemaphore(AioPermits):
    """``semaphore.aio``; see Semaphore for arguments and errors. Cancelling a wait leaves nothing behind."""

    def __init__(self, semaphore: Semaphore) -> None:
        super().__init__(semaphore)
        self._semaphore = semaphore

    async def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:  # noqa: ASYNC109 (the contract's name)
        """See ``Semaphore.acquire``."""
        return await self._semaphore._aperform(self._semaphore._acquire(blocking, timeout))

    async def release(self, n: int = 1) -> None:
        """See ``Semaphore.release``."""
        await self._semaphore._aperform(self._semaphore._release(n))


def check_permits(value: object) -> int:
    """Return a number of permits.

    Raises:
        InvalidOption: if it is no whole number, or negative; a ValueError.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_PERMITS:
        raise InvalidOption(f"initial value {shorten(value)} of a semaphore must be a whole number, 0 or more")
    return value
