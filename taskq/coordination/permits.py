"""Taking and giving back permits: what Lock, RLock and the semaphores have in common."""

from __future__ import annotations

import logging
import os
import threading
from abc import abstractmethod
from collections.abc import Hashable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from taskq.broker import permits
from taskq.broker.line import LAST_PLACE, NO_PLACE
from taskq.broker.permits import Conflict, Given, Refused, TooMany
from taskq.broker.session import FORKED
from taskq.client.keeper import Kind, check_lease
from taskq.client.line import is_over, next_look, subscribed
from taskq.client.operation import Hear, MakeBell, Operation
from taskq.coordination.primitive import Primitive, brief, current_owner, tidied, within
from taskq.errors import BrokerError, Indeterminate, LeaseLost, PrimitiveConflict, TaskqError

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.broker.call import Call

logger = logging.getLogger(__name__)


class Hold:
    """One permit that this process holds; see ``Kept``.

    Attributes:
        owner: who took it.
        fence: greater than that of every earlier one of the same name.
        depth: how often the owner took it, for locks that are taken again.
        lost: another may have it.
    """

    __slots__ = ("_doubted", "_lost", "_of", "address", "depth", "fence", "lease", "owner")

    def __init__(self, of: Permits, address: str, owner: Any, fence: int) -> None:
        self._of = of  # which the app refers to weakly: what is held must be found again by its name
        self.address = address
        self.owner = owner
        self.fence = fence
        self.lease = of._lease
        self._doubted = self._lost = False
        self.depth = 1

    def __str__(self) -> str:
        return f"{self._of!r}, fence {self.fence},"

    kind = Kind.PERMIT

    @property
    def tag(self) -> str:
        """See ``Kept``."""
        return self._of._keys.queue

    @property
    def limit(self) -> int:
        """See ``Kept``."""
        return self._of._limit

    @property
    def group(self) -> Hashable:
        """See ``Kept``."""
        return (self._of._keys.prefix, self.lease)

    def renewal(self, addresses: Sequence[str]) -> Call[list[str]]:
        """See ``Kept``."""
        return permits.keep(self._of._keys, addresses, self.lease)

    @property
    def lost(self) -> bool:
        """Whether the lease ran out, or may have, as the server is away."""
        return self._lost or self._doubted

    def lose(self) -> None:
        """See ``Kept``."""
        self._lost = True

    def doubt(self, doubted: bool) -> None:
        """See ``Doubtable``."""
        self._doubted = doubted

    def use_up(self) -> None:
        """See ``Usable``."""
        self._of._forget(self.address)


class Permits(Primitive):
    """A number of permits under a name; each is held by whoever took it, until given back or its lease runs out."""

    def __init__(self, app: TaskQ, name: str, limit: int, lease: float | None = None) -> None:
        super().__init__(app, name)
        self._limit = limit
        self._given_lease = lease
        self._lease = app.settings.lease if lease is None else check_lease(lease)
        self._holds: list[Hold] = []
        self._guard = threading.RLock()  # the collector may end a wait, which forgets, while this thread has it
        self._pid = os.getpid()

    def __enter__(self) -> Self:
        self._perform(self._enter())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._perform(self._exit())
        except LeaseLost as lost:
            _unless_raised(error, lost)

    async def __aenter__(self) -> Self:
        await self._aperform(self._enter())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._aperform(self._exit())
        except LeaseLost as lost:
            _unless_raised(error, lost)

    @abstractmethod
    def _enter(self) -> Operation[bool]:
        """Take one, however long that takes."""

    @abstractmethod
    def _exit(self) -> Operation[None]:
        """Give one back."""

    def _is_like(self, other: Primitive) -> bool:
        return super()._is_like(other) and isinstance(other, Permits) and other._lease == self._lease

    def _check_fork(self) -> None:
        if self._pid != os.getpid():
            with FORKED:
                if self._pid != os.getpid():  # what the parent holds stays the parent's
                    self._holds, self._guard, self._pid = [], threading.RLock(), os.getpid()

    def _take(self, deadline: float | None, *, wait: bool, hurried: bool = False) -> Operation[Hold | None]:
        """Take a permit; None if there is none, or none came before ``deadline``.

        Args:
            deadline: of the wait, in monotonic seconds; None without a limit.
            wait: stand in line.
            hurried: a server that is away is not waited for.
        """
        self._check_fork()
        listener = self._listener
        bell = yield MakeBell()
        turn = LAST_PLACE if wait and listener.epoch is not None else NO_PLACE
        signal = listener.signals.open(bell.ring)
        try:
            while True:
                call = self._take_call(signal.address, turn)
                answer = yield brief(call) if hurried else within(call, deadline if wait else None)
                if isinstance(answer, Given):
                    return self._held(signal.address, answer.fence)
                self._check_same(answer)
                if isinstance(answer, Refused):
                    if not wait or is_over(deadline):
                        return None
                    yield from subscribed(listener, bell, deadline)
                    turn = LAST_PLACE
                    continue
                turn = answer.turn
                yield Hear(bell, next_look(listener, deadline, answer.again))
                if signal.news:
                    return self._held(signal.address, int(signal.news[-1]))
                if is_over(deadline):
                    return (yield from self._leave_line(signal.address))
        except BaseException as error:
            self._forget(signal.address)
            refused = isinstance(error, BrokerError | PrimitiveConflict) and not isinstance(error, Indeterminate)
            if not refused or turn not in {NO_PLACE, LAST_PLACE}:  # else the server has nothing of this caller
                yield from tidied(self._give_call([signal.address]))
            raise
        finally:
            listener.signals.close(signal)

    def _leave_line(self, address: str) -> Operation[Hold | None]:
        """Wait no more; answers the permit if it was given meanwhile."""
        try:
            given = yield brief(permits.leave(self._keys, address))
        except TaskqError as error:
            logger.info("%r: a place in line was left behind: %s", self, error, extra={"action": "not_tidied"})
            return None
        return self._held(address, given.fence) if given is not None else None

    def _check_same(self, answer: object) -> None:
        if isinstance(answer, Conflict):
            raise PrimitiveConflict(
                f"{self!r}: the name is in use with {answer.limit} permits, made by {answer.by!r}; "
                "use the same number everywhere, or another name"
            )

    def _take_call(self, address: str, turn: str) -> Call[Any]:
        return permits.take(
            self._keys, address, limit=self._limit, lease=self._lease, turn=turn, who=self._app._sender.who
        )

    def _give_call(self, addresses: Sequence[str], count: int = 0, *, bounded: bool = False) -> Call[int | TooMany]:
        return permits.give(self._keys, addresses, limit=self._limit, lease=self._lease, count=count, bounded=bounded)

    def _held(self, address: str, fence: int) -> Hold:
        hold = Hold(self, address, current_owner(), fence)
        self._take_up(hold)
        return hold

    def _take_up(self, hold: Hold) -> None:
        with self._guard:
            self._holds.append(hold)
        self._app._sender.keeper.keep(hold)

    def _forget(self, address: str) -> None:
        """Hold nothing under ``address``, however far that got."""
        with self._guard:
            for hold in [hold for hold in self._holds if hold.address == address]:
                self._holds.remove(hold)
        self._app._sender.keeper.drop(Hold(self, address, None, 0))

    def _hold_of(self, owner: Any, *, others: bool = False) -> Hold | None:
        """Return the last permit that ``owner`` took here, else, with ``others``, the last that anybody took."""
        self._check_fork()
        with self._guard:
            own = [hold for hold in self._holds if hold.owner == owner]
            found = own or (self._holds if others else [])
            return found[-1] if found else None

    def _let_go(self, hold: Hold) -> bool:
        """Keep ``hold`` no more; False if another thread was quicker."""
        self._app._sender.keeper.drop(hold)
        with self._guard:
            if hold not in self._holds:
                return False
            self._holds.remove(hold)
            return True

    def _give_back(self, hold: Hold) -> Operation[None]:
        """Give back one permit.

        Raises:
            LeaseLost: it was not held any more.
        """
        try:
            held = yield self._give_call([hold.address])
        except TaskqError:
            raise
        except BaseException:  # interrupted perhaps before it was sent, and nobody else gives it back
            yield from tidied(self._give_call([hold.address]))
            raise
        if not held:
            raise LeaseLost(
                f"{self!r} was held, but its lease of {hold.lease:g} s ran out meanwhile: what it protected may have "
                "been touched by others; check the fencing number there, or give it a longer lease"
            )


class AioPermits:
    """What ``.aio`` of all of them can do: ``async with``."""

    def __init__(self, permits_: Permits) -> None:
        self._permits = permits_

    async def __aenter__(self) -> Permits:
        return await self._permits.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._permits.__aexit__(kind, error, traceback)


def _unless_raised(error: BaseException | None, lost: LeaseLost) -> None:
    """Raise ``lost``, unless that would hide what was raised in the block."""
    if error is None:
        raise lost
    logger.error("%s", lost, extra={"action": "lease_lost"})
