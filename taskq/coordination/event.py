"""Event: a flag that any process sets, and that wakes everybody who waits for it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from taskq.broker import events
from taskq.client.line import deadline_of, is_over, next_look, subscribed
from taskq.client.operation import Hear, MakeBell, Operation
from taskq.client.waiting import check_wait
from taskq.coordination.primitive import Primitive

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.client.listener import Listener
    from taskq.client.signals import Bell, Signal

NEVER: Final = -1  # sets that a waiter was told of


class Event(Primitive):
    """``threading.Event`` across machines; made by ``app.Event(name)``.

    The flag is kept for 90 days after its last use. ``wait`` costs one round trip where the flag is set, else two, and
    no more however long it takes; ``set`` one. All waiters of a process share its one listening connection.
    Contract: https://docs.python.org/3/library/threading.html#event-objects
    """

    kind = "event"

    def __init__(self, app: TaskQ, name: str) -> None:
        super().__init__(app, name)
        self._crowd = _Crowd()

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
        waiter, signal = self._crowd.join(bell, listener)
        try:
            yield from subscribed(listener, bell, deadline)
            seen = None
            while True:
                flag: events.Flag = yield events.wait(self._keys, signal.address)
                if seen is None:
                    seen = flag.sets
                if (
                    flag.up or flag.sets > seen or 0 < flag.sets < seen
                ):  # less: the server began anew, and it was set since
                    return True
                seen = flag.sets
                yield Hear(bell, next_look(listener, deadline))
                if waiter.told > seen:
                    return True
                if is_over(deadline):
                    return False
        finally:
            if self._crowd.leave(waiter, listener):
                yield events.leave(self._keys, signal.address)


class _Waiter:
    """One caller of ``wait``; ``told``: of how many sets it heard."""

    __slots__ = ("bell", "told")

    def __init__(self, bell: Bell) -> None:
        self.bell = bell
        self.told = NEVER


class _Crowd:
    """The waiters of one Event in this process. They share one address, or a set would mean a message for each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: dict[_Waiter, object] = {}
        self._untold = False  # whether one left that was not told, so that the server may know the address
        self._signal: Signal | None = None
        self._listener: Listener | None = None

    def join(self, bell: Bell, listener: Listener) -> tuple[_Waiter, Signal]:
        """Return a new waiter, and the signal by which it is told."""
        if (
            self._listener is not listener
        ):  # a fork, whose lock may be held by a thread that is not here; or a new start
            self._listener, self._lock, self._waiters, self._signal = listener, threading.Lock(), {}, None
        waiter = _Waiter(bell)
        with self._lock:
            if self._signal is None:
                self._signal = listener.signals.open(self._look)
            self._waiters[waiter] = None
            return waiter, self._signal

    def leave(self, waiter: _Waiter, listener: Listener) -> bool:
        """Take ``waiter`` out; True if nobody is left and the server may still know the address."""
        with self._lock:
            if self._waiters.pop(waiter, self) is self or self._signal is None:
                return False
            self._untold = self._untold or waiter.told == NEVER
            if self._waiters:
                return False
            listener.signals.close(self._signal)  # a later waiter takes a new address, which nobody takes off the list
            self._signal = None
            untold, self._untold = self._untold, False
            return untold

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
