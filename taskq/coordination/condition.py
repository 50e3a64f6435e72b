"""Condition: wait, without the lock, until another process that has it says that something changed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from taskq.broker import conditions
from taskq.broker.conditions import ALL
from taskq.client.line import deadline_of, is_over, next_look, subscribed
from taskq.client.operation import Hear, MakeBell, Operation
from taskq.client.waiting import check_wait
from taskq.coordination.lock import NO_LIMIT, Lock, RLock
from taskq.coordination.primitive import Primitive, brief, current_owner
from taskq.errors import BrokerError, InvalidOption, LeaseLost, NotHeld, PrimitiveConflict, TaskqError, shorten

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.client.signals import Bell, Signal
    from taskq.coordination.permits import Hold

T = TypeVar("T")

logger = logging.getLogger(__name__)


class _OwnLock(RLock):
    """The lock of a condition that was given none."""

    kind = "condition"

    def __repr__(self) -> str:
        return f"Condition({self.name!r})"


class Condition(Primitive):
    """``threading.Condition`` across machines; made by ``app.Condition(name)``.

    Its lock is held under a lease as every lock is. Waiters are notified first come, first served; one whose process
    died is passed over, and one that is cancelled after it was notified hands the notification on. As in ``threading``
    more than were meant may wake: check what is waited for, as ``wait_for`` does.
    Contract: https://docs.python.org/3/library/threading.html#condition-objects
    """

    kind = "condition"

    def __init__(self, app: TaskQ, name: str, lock: Lock | None = None) -> None:
        """Make a handle; see ``app.Condition``."""
        super().__init__(app, name)
        self._lock = check_lock(lock, app) if lock is not None else app._primitive(_OwnLock(app, name))

    def __repr__(self) -> str:
        own = isinstance(self._lock, _OwnLock)
        return f"Condition({self.name!r})" if own else f"Condition({self.name!r}, {self._lock!r})"

    @property
    def aio(self) -> AioCondition:
        """The same methods as coroutines."""
        return AioCondition(self)

    @property
    def fence(self) -> int | None:
        """See ``Lock.fence``; it is another one after each wait."""
        return self._lock.fence

    def acquire(self, blocking: bool = True, timeout: float = NO_LIMIT) -> bool:
        """Take the lock; see ``Lock.acquire``."""
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        """Give the lock back; see ``Lock.release``."""
        self._lock.release()

    def locked(self) -> bool:
        """Tell whether anybody holds the lock."""
        return self._lock.locked()

    def wait(self, timeout: float | None = None) -> bool:
        """Give the lock back, block until notified, and take the lock again.

        Args:
            timeout: seconds to wait for the notification; None for as long as it takes. Taking the lock again may
                take longer.

        Returns:
            Whether it was notified. Three round trips, two more where the lock is not free.

        Raises:
            NotHeld: the caller does not hold the lock; a RuntimeError.
            LeaseLost: it did, but the lease ran out meanwhile; a RuntimeError.
            InvalidTimeout: ``timeout`` is no number.
            PrimitiveConflict: the name is in use with another lock.
            BrokerError: the server refused or was not reached; then alone the lock is not held afterwards.
        """
        return self._perform(self._wait(timeout))

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until ``predicate`` is true; it is called with the lock held.

        Args:
            predicate: what to wait for; a plain function, also under ``.aio``.
            timeout: seconds to wait; None for as long as it takes.

        Returns:
            What ``predicate`` returned last. Raises as ``wait`` does.
        """
        return self._perform(self._wait_for(predicate, timeout))

    def notify(self, n: int = 1) -> None:
        """Wake those who wait longest; each goes on when it has the lock.

        Args:
            n: how many at most.

        Raises:
            NotHeld, LeaseLost, PrimitiveConflict, BrokerError: as ``wait``.
        """
        self._perform(self._notify(n))

    def notify_all(self) -> None:
        """Wake all who wait; see ``notify``."""
        self._perform(self._notify(ALL))

    def __enter__(self) -> Self:
        self._lock.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._lock.__exit__(kind, error, traceback)
        except NotHeld as missing:
            self._unless_told(error, missing)

    async def __aenter__(self) -> Self:
        await self._lock.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._lock.__aexit__(kind, error, traceback)
        except NotHeld as missing:
            self._unless_told(error, missing)

    def _unless_told(self, error: BaseException | None, missing: NotHeld) -> None:
        while isinstance(error, Exception) and not isinstance(error, BrokerError):
            error = error.__cause__ or error.__context__
        if error is None:
            raise missing
        logger.error("%s", missing, extra={"action": "lock_missing"})  # a wait ended without it, and ``error`` says why

    @property
    def _lock_name(self) -> str:
        return f"{self._lock.kind}:{self._lock.name}"

    def _held(self) -> Hold:
        """Return the caller's hold of the lock, by the lock's own rule of whose it is."""
        hold = self._lock._hold_of(current_owner(), others=self._lock._any_thread)
        if hold is None:
            raise NotHeld(f"the lock of {self!r} is not held here: acquire it before wait and notify")
        if hold.lost:
            raise LeaseLost(f"the lock of {self!r} was held with fence {hold.fence}, but its lease ran out meanwhile")
        return hold

    def _wait(self, timeout: object) -> Operation[bool]:
        deadline = deadline_of(check_wait(timeout))
        hold = self._held()
        bell = yield MakeBell()
        listener = self._listener
        signal = listener.signals.open(bell.ring)
        cut: BaseException | None = None
        try:
            notified, cut = yield from self._sleep(hold, signal, bell, deadline)
            cut = yield from self._take_again(hold, notified, cut)
            if cut is None:
                return notified
            raise cut
        finally:
            cut = None  # it refers to this frame
            listener.signals.close(signal)

    def _take_again(self, before: Hold, notified: bool, cut: BaseException | None) -> Operation[BaseException | None]:
        """Take the lock as it was held ``before``; answers what interrupted the wait, to be raised with the lock held.

        Raises:
            BaseException: what ends the wait without the lock. Whoever was notified hands that on, as it does where
                it was interrupted.
        """
        try:
            again, cut = yield from insisted(lambda hurried: self._lock._take(None, wait=True, hurried=hurried), cut)
            assert again is not None
            again.depth = before.depth
        except BaseException:
            if notified:
                yield from self._hand_on()
            raise
        else:
            if notified and cut is not None:
                yield from self._hand_on()
            return cut
        finally:
            cut = None  # it refers to this frame

    def _sleep(
        self, hold: Hold, signal: Signal, bell: Bell, deadline: float | None
    ) -> Operation[tuple[bool, BaseException | None]]:
        """Give the lock back and wait in line.

        Returns:
            Whether the caller was notified, and what interrupted the wait, to be raised with the lock held.

        Raises:
            BrokerError: the server was not reached; the place goes stale there, and the lock is not to be had either.
            BaseException: what came before the lock was given back.
        """
        given = False
        try:
            yield from subscribed(self._listener, bell, deadline)
            who = self._app._sender.who
            # The lock is still held: between standing in line and giving it back nobody can notify.
            self._check_same((yield conditions.join(self._keys, signal.address, lock=self._lock_name, who=who)))
            given = self._let_go(hold)
            yield from self._lock._give_back(hold)
            return (yield from self._stand(signal, bell, deadline)), None
        except BrokerError:
            raise
        except BaseException as error:
            in_line, cut = yield from insisted(lambda _: self._leave(signal.address, hurried=True), error)
            if not given:
                raise
            return not in_line, cut

    def _let_go(self, hold: Hold) -> bool:
        if not self._lock._let_go(hold):
            raise NotHeld(f"the lock of {self!r} was released by another thread while this one began to wait")
        return True

    def _stand(self, signal: Signal, bell: Bell, deadline: float | None) -> Operation[bool]:
        """Wait in line; answers whether the caller was notified."""
        while True:
            yield Hear(bell, next_look(self._listener, deadline))
            if signal.news:
                return True
            if is_over(deadline):
                return not (yield from self._leave(signal.address))
            if not (yield conditions.look(self._keys, signal.address)):
                return True

    def _leave(self, address: str, *, hurried: bool = False) -> Operation[bool]:
        call = conditions.leave(self._keys, address)
        in_line: bool = yield brief(call) if hurried else call
        return in_line

    def _wait_for(self, predicate: Callable[[], T], timeout: object) -> Operation[T]:
        deadline = deadline_of(check_wait(timeout))
        result = predicate()
        while not result:
            yield from self._wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
            result = predicate()
            if is_over(deadline):
                break
        return result

    def _hand_on(self) -> Operation[None]:
        """Notify the next instead of the caller, which was cancelled after it was notified."""
        try:
            yield brief(conditions.notify(self._keys, 1, lock=self._lock_name))
        except TaskqError as error:
            logger.warning("%r: a notification was lost: %s", self, error, extra={"action": "notify_failed"})

    def _notify(self, n: Any) -> Operation[None]:
        if not isinstance(n, int):
            raise TypeError(f"n must be a whole number, not {shorten(n)}")
        self._held()
        if n > 0:
            self._check_same((yield conditions.notify(self._keys, n, lock=self._lock_name)))

    def _check_same(self, answer: object) -> None:
        if isinstance(answer, conditions.Conflict):
            raise PrimitiveConflict(
                f"{self!r}: the name is in use with the lock {answer.lock!r}, made by {answer.by!r}; "
                "use the same lock everywhere, or another name"
            )


class AioCondition:
    """``condition.aio``; see Condition for arguments and errors. A wait has the lock again also when cancelled.

    The default lock belongs to the task that took it: what runs its argument in a task of its own, as
    ``asyncio.wait_for`` does before Python 3.12, does not hold it; use ``timeout``.
    """

    def __init__(self, condition: Condition) -> None:
        self._condition = condition

    async def acquire(self, blocking: bool = True, timeout: float = NO_LIMIT) -> bool:  # noqa: ASYNC109 (the contract's name)
        """See ``Condition.acquire``."""
        return await self._condition._lock.aio.acquire(blocking, timeout)

    async def release(self) -> None:
        """See ``Condition.release``."""
        await self._condition._lock.aio.release()

    async def locked(self) -> bool:
        """See ``Condition.locked``."""
        return await self._condition._lock.aio.locked()

    async def wait(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 (the contract's name)
        """See ``Condition.wait``."""
        return await self._condition._aperform(self._condition._wait(timeout))

    async def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:  # noqa: ASYNC109 (the contract's name)
        """See ``Condition.wait_for``."""
        return await self._condition._aperform(self._condition._wait_for(predicate, timeout))

    async def notify(self, n: int = 1) -> None:
        """See ``Condition.notify``."""
        await self._condition._aperform(self._condition._notify(n))

    async def notify_all(self) -> None:
        """See ``Condition.notify_all``."""
        await self._condition._aperform(self._condition._notify(ALL))

    async def __aenter__(self) -> Condition:
        return await self._condition.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._condition.__aexit__(kind, error, traceback)


def insisted(
    attempt: Callable[[bool], Operation[T]], cut: BaseException | None
) -> Operation[tuple[T, BaseException | None]]:
    """Run an operation, and again for as long as its caller is interrupted meanwhile.

    Args:
        attempt: makes it; given whether the caller was interrupted, and has no time for a server that is away.
        cut: what interrupted it before.

    Returns:
        Its answer, and the last interrupt, which the caller has to raise.

    Raises:
        TaskqError: as the operation does; the interrupt instead where there was one.
        BaseException: a KeyboardInterrupt: as in ``threading`` it ends the wait at once.
    """
    try:
        while True:
            try:
                return (yield from attempt(cut is not None)), cut
            except Exception as error:
                if cut is None or not isinstance(error, TaskqError):
                    raise
                logger.warning("an interrupted wait ended as it stood: %s", error, extra={"action": "wait_cut_short"})
                raise cut from None
            except (KeyboardInterrupt, SystemExit, GeneratorExit):
                raise
            except BaseException as error:  # a cancellation, a GreenletExit, a gevent.Timeout, a time limit
                cut = error
    finally:
        cut = None  # it refers to this frame


def check_lock(lock: Any, app: TaskQ) -> Lock:
    """Return a condition's lock.

    Raises:
        InvalidOption: if it is no Lock or RLock of ``app``.
    """
    if not isinstance(lock, Lock) or lock._app is not app:
        raise InvalidOption(f"lock {shorten(lock)} of a condition must be a Lock or RLock of the same app")
    return lock
