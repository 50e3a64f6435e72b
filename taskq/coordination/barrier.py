"""Barrier: a number of parties wait for one another, in all processes together."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Hashable, Sequence
from threading import BrokenBarrierError
from typing import TYPE_CHECKING, Any, Final, NoReturn

from taskq.broker import barriers
from taskq.broker.barriers import Conflict, Place, Standing
from taskq.client.keeper import Kind, check_lease
from taskq.client.line import deadline_of, is_over, next_look
from taskq.client.operation import Hear, MakeBell, Operation
from taskq.client.waiting import check_wait
from taskq.coordination.primitive import Primitive, brief, tidied
from taskq.errors import InvalidOption, PrimitiveConflict, TaskqError, shorten

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.broker.call import Call
    from taskq.client.signals import Bell, Signal

MOST_PARTIES: Final = 100_000  # one script tells them all, and the server does nothing else for a tenth of a second

logger = logging.getLogger(__name__)


class Barrier(Primitive):
    """``threading.Barrier`` across machines; made by ``app.Barrier(name, parties)``.

    Who waits does so under a lease, which its process renews in the background: a party that dies while it waits, or
    while it runs the action, breaks the barrier within its lease and a beat (a fifth of it). More parties than fit may
    come at any time; those beyond are the next generation.

    Unlike in ``threading`` it stays broken until ``reset`` also after the process that broke it has ended.
    Contract: https://docs.python.org/3/library/threading.html#barrier-objects
    """

    kind = "barrier"

    def __init__(
        self,
        app: TaskQ,
        name: str,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
        lease: float | None = None,
    ) -> None:
        """Make a handle; see ``app.Barrier``."""
        super().__init__(app, name)
        self._parties = check_parties(parties)
        self._action = check_action(action)
        self._timeout = check_wait(timeout)
        self._given_lease = lease
        self._lease = app.settings.lease if lease is None else check_lease(lease)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self._parties})"

    @property
    def aio(self) -> AioBarrier:
        """The same methods as coroutines."""
        return AioBarrier(self)

    @property
    def parties(self) -> int:
        """How many have to come."""
        return self._parties

    @property
    def n_waiting(self) -> int:
        """How many wait at this moment.

        Raises:
            BrokerError: the server refused or was not reached. So do all other methods.
        """
        return min(self._parties, self._app.broker.read(barriers.count(self._keys)))

    @property
    def broken(self) -> bool:
        """Whether it is broken."""
        return self._app.broker.read(barriers.is_broken(self._keys))

    def wait(self, timeout: float | None = None) -> int:
        """Block until all parties have come.

        Args:
            timeout: seconds to wait, after which the barrier breaks for all; the barrier's own where None. Once all
                have come it has no effect: then only the action is waited for.

        Returns:
            A number from 0 to ``parties - 1``, another one for each party: the order in which they came. One round
            trip; who runs the action needs one more.

        Raises:
            threading.BrokenBarrierError: the barrier is broken or was reset, a party gave up or died, or the action
                failed.
            PrimitiveConflict: the name is in use with another number of parties.
            InvalidTimeout: ``timeout`` is no number.
        """
        return self._perform(self._wait(timeout))

    def reset(self) -> None:
        """Make the barrier usable again; who waits gets BrokenBarrierError."""
        self._perform(self._end_waits(anew=True))

    def abort(self) -> None:
        """Break the barrier: who waits, and who comes until ``reset``, gets BrokenBarrierError."""
        self._perform(self._end_waits(anew=False))

    def _end_waits(self, *, anew: bool) -> Operation[None]:
        who = self._app._sender.who
        self._check_same((yield barriers.end_waits(self._keys, parties=self._parties, anew=anew, who=who)))

    def _wait(self, timeout: object) -> Operation[int]:
        seconds = self._timeout if timeout is None else check_wait(timeout)
        bell = yield MakeBell()
        listener, keeper = self._listener, self._app._sender.keeper
        signal = listener.signals.open(bell.ring)
        party = _Party(self, signal.address)
        try:
            standing = yield from self._pass(party, signal, bell, deadline_of(seconds))
        except BaseException as error:
            if not party.acted and (party.place is not None or not isinstance(error, TaskqError)):
                yield from tidied(barriers.leave(self._keys, party.address, party.place, stays=False, idle=True))
            raise
        finally:
            keeper.drop(party)
            listener.signals.close(signal)
        if standing is Standing.BROKEN or party.place is None:
            self._raise_broken()
        return party.place.ticket % self._parties

    def _pass(self, party: _Party, signal: Signal, bell: Bell, deadline: float | None) -> Operation[Standing]:
        """Arrive and wait; answers RELEASED or BROKEN."""
        while True:
            standing = yield from self._enter(party)
            if standing is Standing.ACTING:
                return (yield from self._act(party))
            if standing is not Standing.WAITING:
                return standing
            self._listener.start()  # when it listens all bells ring, and what was told before is asked for
            yield Hear(bell, next_look(self._listener, deadline, self._lease))
            while signal.news:
                told = Standing(signal.news.popleft().decode())
                if told is not Standing.LOOK:
                    return told
            if is_over(deadline):
                leave = barriers.leave(self._keys, party.address, party.place, stays=True, idle=True)
                left: Standing = yield brief(leave)
                if left is not Standing.WAITING:
                    return left
                deadline = None

    def _enter(self, party: _Party) -> Operation[Standing]:
        answer = yield barriers.enter(
            self._keys,
            party.address,
            party.place,
            parties=self._parties,
            acts=self._action is not None,
            lease=self._lease,
            who=self._app._sender.who,
        )
        self._check_same(answer)
        if party.place is None and answer.place is not None:
            party.place = answer.place
            if answer.standing is not Standing.RELEASED:
                self._app._sender.keeper.keep(party)
        standing: Standing = answer.standing
        return standing

    def _act(self, party: _Party) -> Operation[Standing]:
        assert self._action is not None
        assert party.place is not None
        party.acted = True  # whatever happens now, no other party may run it as well
        try:
            self._action()
        except BaseException:
            try:
                yield brief(barriers.finish(self._keys, party.address, party.place, done=False))
            except TaskqError as error:  # its lease runs out and breaks the barrier
                logger.warning("%r was not broken: %s", self, error, extra={"action": "barrier_failed"})
            raise
        release = barriers.finish(self._keys, party.address, party.place, done=True)
        try:
            ended: Standing = yield release
        except TaskqError:
            raise
        except BaseException:  # cancelled, but what was done is done
            yield from tidied(release)
            raise
        return ended

    def _check_same(self, answer: object) -> None:
        if isinstance(answer, Conflict):
            raise PrimitiveConflict(
                f"{self!r}: the name is in use with {answer.parties} parties, made by {answer.by!r}; "
                "use the same number everywhere, or another name"
            )

    def _raise_broken(self) -> NoReturn:
        raise BrokenBarrierError(
            f"{self!r} is broken: a party gave up, failed or died, or it was reset or aborted; reset() makes it usable"
        )


class _Party:
    """One caller of ``wait``; see ``Kept``.

    Attributes:
        place: None until it is known.
        acted: whether it began the action.
    """

    __slots__ = ("_barrier", "acted", "address", "lease", "place")

    kind = Kind.PLACE
    limit = 0

    def __init__(self, barrier: Barrier, address: str) -> None:
        self._barrier = barrier
        self.address = address
        self.lease = barrier._lease
        self.place: Place | None = None
        self.acted = False

    @property
    def tag(self) -> str:
        """See ``Kept``."""
        return self._barrier._keys.queue

    @property
    def group(self) -> Hashable:
        """See ``Kept``."""
        return (self._barrier._keys.prefix, self.lease)

    def renewal(self, addresses: Sequence[str]) -> Call[list[str]]:
        """See ``Kept``."""
        return barriers.keep(self._barrier._keys, addresses, self.lease)

    def lose(self) -> None:
        """See ``Kept``; never called, as a renewal names nobody: how a wait ended is told by signal."""


class AioBarrier:
    """``barrier.aio``; see Barrier for arguments and errors. The action runs in the event loop.

    Cancelling a wait breaks the barrier, unless all parties have come.
    """

    def __init__(self, barrier: Barrier) -> None:
        self._barrier = barrier

    async def wait(self, timeout: float | None = None) -> int:  # noqa: ASYNC109 (the contract's name)
        """See ``Barrier.wait``."""
        return await self._barrier._aperform(self._barrier._wait(timeout))

    async def reset(self) -> None:
        """See ``Barrier.reset``."""
        await self._barrier._aperform(self._barrier._end_waits(anew=True))

    async def abort(self) -> None:
        """See ``Barrier.abort``."""
        await self._barrier._aperform(self._barrier._end_waits(anew=False))

    async def n_waiting(self) -> int:
        """See ``Barrier.n_waiting``."""
        here = await self._barrier._app.broker.aread(barriers.count(self._barrier._keys))
        return min(self._barrier.parties, here)

    async def broken(self) -> bool:
        """See ``Barrier.broken``."""
        return await self._barrier._app.broker.aread(barriers.is_broken(self._barrier._keys))


def check_parties(parties: object) -> int:
    """Return a number of parties.

    Raises:
        InvalidOption: if it is no whole number from 1; a ValueError.
    """
    if isinstance(parties, bool) or not isinstance(parties, int) or not 1 <= parties <= MOST_PARTIES:
        raise InvalidOption(f"parties {shorten(parties)} of a barrier must be a whole number from 1 to {MOST_PARTIES}")
    return parties


def check_action(action: Any) -> Callable[[], object] | None:
    """Return an action.

    Raises:
        InvalidOption: if it cannot be called, or would have to be awaited.
    """
    if action is not None and (not callable(action) or inspect.iscoroutinefunction(action)):
        raise InvalidOption(f"action {shorten(action)} of a barrier must be a function without arguments, not async")
    checked: Callable[[], object] | None = action
    return checked
