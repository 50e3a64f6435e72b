"""Event: a flag that any process sets, and that wakes everybody who waits for it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from taskq.broker import events
from taskq.client.line import deadline_of, is_over, next_look, subscribed
from taskq.client.operation import Hear, MakeBell, Operation
from taskq.client.waiting import check_wait
from taskq.coordination.primitive import Primitive, tidied, within

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.client.listener import Listener
    from taskq.client.signals import Bell, Signal

NEVER: Final = -1  # sets that a waiter was told of


class Event(Primitive):
    """``threading.Event`` across machines; made by ``app.Event(name)``.

    The flag is kept for 90 days after its last use. ``wait`` costs one round trip however long
    it takes, and one more where it is given up; ``set`` one. All waiters of a process share one listening connection.
    Contract: https://docs.python.org/3/library/threading.html#event-objects
    """

    kind = "event"

    def __init__(self, app: TaskQ, name: str) -> None:
        super().__init__(app, name)
        self._crowds: dict[Listener, _Crowd] = {}  # by listener: a fork has another one, and so has a closed app

    @property
    def aio(self) -> AioEvent:
        """The same methods as coroutines."""
        return AioEvent(self)

    def is_set(self) -> bool:
        """Tell whether the flag is set.

        Raises:
            BrokerError: the server refused or was not reached. So do all other methods.
        """
        return self._app.broker.read(events.is_set(self._keys))

    def set(self) -> None:
        """Set the flag. All that wait are woken, also if it is cleared at once."""
        self._app.broker.run(events.set_event(self._keys))

    def clear(self) -> None:
        """Clear the flag."""
        self._app.broker.run(events.clear(self._keys))

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the flag is set.

        Args:
            timeout: seconds to wait; None for as long as it takes, 0 or less for a look.

        Returns:
            True if it was set when called or at any moment since; False if the time ran out before. A wait outlives
            reconnects and restarts of the server.

        Raises:
            InvalidTimeout: ``timeout`` is no number.
        """
        return self._perform(self._wait(timeout))

    def _wait(self, timeout: object) -> Operation[bool]:
        seconds = check_wait(timeout)
        if seconds == 0:
            up: bool = yield events.is_set(self._keys)
            return up
        deadline = deadline_of(seconds)
        bell = yield MakeBell()
        listener = self._listener
        crowd = self._crowd_of(listener)
        waiter, signal = crowd.join(bell)
        listed = True
        try:
            yield from subscribed(listener, bell, deadline)
            seen = None
            while True:
                flag: events.Flag = yield within(events.wait(self._keys, signal.address), deadline)
                if seen is None:
                    seen = flag.sets
                listed = not flag.up
                if flag.up or flag.sets > seen or 0 < flag.sets < seen:
                    return True  # fewer: the server began anew, and it was set since
                seen = flag.sets
                yield Hear(bell, next_look(listener, deadline))
                if waiter.told > seen:
                    listed = False
                    return True
                if is_over(deadline):
                    return False
        finally:
            if crowd.leave(waiter, listed=listed):
                yield from tidied(events.leave(self._keys, signal.address))

    def _crowd_of(self, listener: Listener) -> _Crowd:
        crowd = self._crowds.get(listener)
        if crowd is None:
            crowd = self._crowds.setdefault(listener, _Crowd(listener))  # of two threads that come first, one's
            for other in [other for other in list(self._crowds) if other is not listener]:
                self._crowds.pop(other, None)
        return crowd


class _Waiter:
    """One caller of ``wait``; ``told``: of how many sets it heard."""

    __slots__ = ("bell", "told")

    def __init__(self, bell: Bell) -> None:
        self.bell = bell
        self.told = NEVER


class _Crowd:
    """The waiters of one Event in this process. They share one address, or a set would mean a message for each."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._lock = threading.RLock()  # the collector may end a wait, which leaves, while this thread has it
        self._waiters: dict[_Waiter, object] = {}
        self._listed = False  # whether the server may have the address still when the last one has left
        self._signal: Signal | None = None

    def join(self, bell: Bell) -> tuple[_Waiter, Signal]:
        """Return a new waiter, and the signal by which it is told."""
        waiter = _Waiter(bell)
        with self._lock:
            self._waiters[waiter] = None  # first: whoever leaves now lets the signal be
            if self._signal is None:
                self._signal = self._listener.signals.open(self._look)
            return waiter, self._signal

    def leave(self, waiter: _Waiter, *, listed: bool) -> bool:
        """Take ``waiter`` out; True if nobody is left and the server may still have the address.

        Args:
            waiter: who leaves.
            listed: it had itself listed and heard of no set since, which empties the list.
        """
        with self._lock:
            del self._waiters[waiter]
            self._listed = self._listed or listed
            if self._waiters or self._signal is None:
                return False
            self._listener.signals.close(self._signal)  # a later waiter takes a new address, which nobody takes away
            self._signal = None
            listed, self._listed = self._listed, False
            return listed

    def _look(self) -> None:
        with self._lock:
            signal = self._signal
            if signal is None:
                return
            told = int(signal.news[-1]) if signal.news else NEVER
            signal.news.clear()
            waiters = list(self._waiters)
            for waiter in waiters:
                waiter.told = max(waiter.told, told)
        for waiter in waiters:
            waiter.bell.ring()


class AioEvent:
    """``event.aio``; see Event for arguments and errors. Cancelling a wait leaves nothing behind."""

    def __init__(self, event: Event) -> None:
        self._event = event

    async def is_set(self) -> bool:
        """See ``Event.is_set``."""
        return await self._event._app.broker.aread(events.is_set(self._event._keys))

    async def set(self) -> None:
        """See ``Event.set``."""
        await self._event._app.broker.arun(events.set_event(self._event._keys))

    async def clear(self) -> None:
        """See ``Event.clear``."""
        await self._event._app.broker.arun(events.clear(self._event._keys))

    async def wait(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 (the contract's name)
        """See ``Event.wait``."""
        return await self._event._aperform(self._event._wait(timeout))
