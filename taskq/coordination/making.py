"""The methods of an app that make primitives. Their modules are imported at the first use."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast
from weakref import WeakValueDictionary

from taskq.errors import PrimitiveConflict

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.coordination import lock as locks
    from taskq.coordination.barrier import Barrier
    from taskq.coordination.condition import Condition
    from taskq.coordination.event import Event
    from taskq.coordination.lock import Lock, RLock
    from taskq.coordination.primitive import Primitive
    from taskq.coordination.semaphore import BoundedSemaphore, Semaphore
    from taskq.model.types import Form

_Primitive = TypeVar("_Primitive", bound="Primitive")

# A look and an entry in the dictionary of names are two steps. Reentrant: a signal's handler may ask for one too.
NAMING = threading.RLock()
os.register_at_fork(after_in_child=NAMING._at_fork_reinit)  # type: ignore[attr-defined]  # as the stdlib's own locks


class MakesPrimitives:
    """A part of ``TaskQ``, and of nothing else."""

    name: str
    _primitives: WeakValueDictionary[tuple[type, str], Primitive]

    @property
    def _app(self) -> TaskQ:
        return cast("TaskQ", self)

    def Event(self, name: str) -> Event:  # noqa: N802 (as in the standard library)
        """Return the Event of that name; while one is in use here, the same object.

        Raises:
            InvalidName: it is not 1 to 100 letters, digits, '.', '_' or '-'.
        """
        from taskq.coordination.event import Event

        return self._primitive(Event(self._app, name))

    def Lock(self, name: str, lease: float | None = None) -> Lock:  # noqa: N802
        """Return the Lock of that name; while one is in use here, the same object.

        Args:
            name: 1 to 100 letters, digits, '.', '_' or '-'.
            lease: seconds after which the lock of a process that died is given to the next; the app's where None.

        Raises:
            InvalidName, InvalidTimeout: name or lease cannot be used.
        """
        from taskq.coordination.lock import Lock

        return self._primitive(Lock(self._app, name, lease))

    def RLock(self, name: str, lease: float | None = None) -> RLock:  # noqa: N802
        """Return the RLock of that name; see ``Lock``."""
        from taskq.coordination.lock import RLock

        return self._primitive(RLock(self._app, name, lease))

    def Semaphore(self, name: str, value: int = 1, lease: float | None = None) -> Semaphore:  # noqa: N802
        """Return the Semaphore of that name; while one is in use here, the same object.

        Args:
            name: 1 to 100 letters, digits, '.', '_' or '-'.
            value: how many permits it has, 0 or more; the same everywhere.
            lease: seconds after which the permits of a process that died are free; the app's where None.

        Raises:
            PrimitiveConflict: this app has it with another value.
            InvalidName, InvalidOption, InvalidTimeout: name, value or lease cannot be used.
        """
        from taskq.coordination.semaphore import Semaphore

        return self._primitive(Semaphore(self._app, name, value, lease))

    def BoundedSemaphore(self, name: str, value: int = 1, lease: float | None = None) -> BoundedSemaphore:  # noqa: N802
        """Return the BoundedSemaphore of that name; see ``Semaphore``."""
        from taskq.coordination.semaphore import BoundedSemaphore

        return self._primitive(BoundedSemaphore(self._app, name, value, lease))

    def Barrier(  # noqa: N802
        self,
        name: str,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
        lease: float | None = None,
    ) -> Barrier:
        """Return a handle of the Barrier of that name, with an action and a timeout of its own.

        Args:
            name: 1 to 100 letters, digits, '.', '_' or '-'.
            parties: how many wait for one another, 1 or more; the same everywhere.
            action: called without arguments by the last that comes, before all are released.
            timeout: seconds that ``wait`` takes where it is given none; None for as long as it takes.
            lease: seconds after which a party that died breaks the barrier; the app's where None.

        Raises:
            PrimitiveConflict: this app has it with another number of parties.
            InvalidName, InvalidOption, InvalidTimeout: an argument cannot be used.
        """
        from taskq.coordination.barrier import Barrier

        made = Barrier(self._app, name, parties, action, timeout, lease)
        self._primitive(made)  # refuses another number
        return made

    def Condition(self, name: str, lock: locks.Lock | None = None) -> Condition:  # noqa: N802
        """Return the Condition of that name; while one is in use here, the same object.

        Args:
            name: 1 to 100 letters, digits, '.', '_' or '-'.
            lock: a Lock or RLock of this app, the same everywhere; an RLock of its own where None.

        Raises:
            PrimitiveConflict: this app has it with another lock.
            InvalidName, InvalidOption: name or lock cannot be used.
        """
        from taskq.coordination.condition import Condition

        return self._primitive(Condition(self._app, name, lock))

    def _forms(self) -> tuple[Form, ...]:
        """Return how this app's own objects travel as arguments and results."""
        from taskq.coordination.travel import forms_of

        return forms_of(self._app)

    def _primitive(self, made: _Primitive) -> _Primitive:
        """Return the object that is known by this kind and name, else ``made``: threads share what one holds."""
        with NAMING:
            known = self._primitives.setdefault((type(made), made.name), made)
        if not made._is_like(known):
            raise PrimitiveConflict(
                f"{made!r}: app {self.name!r} has {known!r} with another number, lock or lease; keep one of them, "
                "or use another name"
            )
        assert isinstance(known, type(made))
        return known
